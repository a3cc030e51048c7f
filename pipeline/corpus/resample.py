"""Fits DSIR's ratio of target to raw pool over the whole corpus, and measures what a selection gained."""

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.barrier import Barrier, Outcome
from tamis.pipeline.corpus.select import ColumnReader, merge_partials, rewrite_states, unit_column
from tamis.pipeline.formats.options import ReadOptions, Split, data_suffixes
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.passes.decide import keep_rule, kept, rule_names
from tamis.pipeline.passes.stage import SourceShard, Stage, shard_file
from tamis.pipeline.steps.annotators import local_folder
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile, aligned, writer
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.errors import ConfigError, DataError, RunError
from tamis.schemas.steps import DsirStep
from tamis.schemas.tables import described
from tamis.scorers.dsir.divergence import kl_reduction
from tamis.scorers.dsir.features import NgramCounter, NgramFeatures
from tamis.scorers.dsir.model import DsirModel
from tamis.scorers.dsir.sampling import DsirDecision, DsirPass, DsirSampling
from tamis.scorers.selection.order_statistics import Partial
from tamis.scorers.selection.selection import TopDocuments, TopFraction, TopWeight, rule_of
from tamis.scorers.text.noise import id_words

__all__ = ["CountFile", "CountShard", "features_of", "fit_target", "resample", "resampled_columns"]

SPLIT_BYTES = 128 << 20
FITTED = "fit.json"
"""Written last into a fitted model's folder: its presence says that the fit is whole."""


def features_of(config: DsirStep, models: Mapping[str, str]) -> NgramFeatures:
    """Return what a step counts."""
    if "tokenizer" in models:
        from tamis.scorers.dsir.piece_tokens import PieceTokenizer

        return NgramFeatures(config.ngrams, config.buckets, config.hash, PieceTokenizer(Path(models["tokenizer"])))
    return NgramFeatures(config.ngrams, config.buckets, config.hash, config.tokens)


def _packed(counts: npt.NDArray[np.int64]) -> bytes:
    out = io.BytesIO()
    np.save(out, counts, allow_pickle=False)
    return out.getvalue()


def _sum(parts: Sequence[bytes]) -> bytes:
    total = np.load(io.BytesIO(parts[0]), allow_pickle=False)
    for part in parts[1:]:
        total = total + np.load(io.BytesIO(part), allow_pickle=False)
    return _packed(total)


@dataclass(frozen=True)
class CountShard:
    """Bucket counts of the rows alive of a shard; then their number and that of its documents' n-grams is implied."""

    text: str
    state: str
    features: NgramFeatures
    limit: int | None

    def __call__(self, shard: SourceShard) -> bytes:
        """Return the counts, int64 (buckets + 1): the last one is the number of documents."""
        counter = NgramCounter(self.features, self.limit)
        documents = 0
        with (
            ColumnFile(shard_file(self.text, shard.key), ["text"]) as texts,
            ColumnFile(shard_file(self.state, shard.key), ["step"]) as states,
        ):
            for batch in aligned([texts, states]):
                alive = batch.column("step").to_numpy() == -1
                documents += int(alive.sum())
                if not counter.add(batch.column("text").filter(pa.array(alive))):
                    break
        return _packed(np.append(counter.counts, documents))


@dataclass(frozen=True)
class CountFile:
    """Bucket counts of a part of a target corpus."""

    features: NgramFeatures
    options: ReadOptions
    limit: int | None

    def __call__(self, split: Split) -> bytes:
        """Return the counts, int64 (buckets + 2): then the number of documents, and of records that can't be read."""
        counter = NgramCounter(self.features, self.limit)
        documents = errors = 0
        for read in read_split(split, "target", self.options):
            documents += read.documents.num_rows
            errors += read.errors.num_rows
            if read.documents.num_rows and not counter.add(read.documents.column("text")):
                break
        return _packed(np.append(counter.counts, [documents, errors]))


def _limit(config: DsirStep, parts: int) -> int | None:
    """Return the n-grams that each of the parts may count, as the reference divides its limit."""
    return None if config.max_ngrams is None else config.max_ngrams // max(1, parts)


def fit_target(barrier: Barrier, config: DsirStep) -> tuple[str, dict[str, Any]]:
    """Count the rows alive and the target files, fit, and keep the model in the step's folder.

    Returns:
        The model's folder, and figures about the fit.

    Raises:
        DataError: if the pool or a target is empty.
        InputError: if a target's files can't be read.
    """
    folder = barrier.folder("model")
    note = filesystem.join(folder, FITTED)
    if filesystem.exists(note):
        with filesystem.open_binary(note) as stream:
            return folder, json.loads(stream.read())
    label = barrier.stage.label
    features = features_of(config, barrier.stage.models)
    limit = _limit(config, len(barrier.shards))
    text = barrier.columns.get("text", barrier.documents)
    raw = _load(
        barrier.engine.reduce(f"{label}: pool", barrier.shards, CountShard(text, barrier.state, features, limit), _sum)
    )
    metrics: dict[str, Any] = {"pool_documents": int(raw[-1])}
    if not raw[-1]:
        msg = f"step {label}: no document is left to resample; look at what the steps before it rejected"
        raise DataError(msg)
    targets: dict[str, npt.NDArray[np.int64]] = {}
    for name, reference in config.targets.items():
        counts = _count_target(barrier, config, features, name, reference)
        targets[name] = counts[:-2]
        metrics[f"{name}_documents"] = int(counts[-2])
        if counts[-1]:
            metrics[f"{name}_errors"] = int(counts[-1])
        if not counts[:-2].sum():
            msg = f"step {label}: the target {reference} holds no text in the field {config.text!r}"
            raise DataError(msg)
    single = not isinstance(config.target, dict)
    model = DsirModel.fit(
        raw[:-1],
        next(iter(targets.values())) if single else targets,
        smoothing=config.smoothing,
        ngrams=config.ngrams,
        hash=config.hash,
        tokens=features.tokens,
    )
    _keep(model, folder)
    with filesystem.write_atomically(note) as stream:
        stream.write(json.dumps(metrics).encode())
    return folder, metrics


def _load(data: bytes) -> npt.NDArray[np.int64]:
    array: npt.NDArray[np.int64] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def _count_target(
    barrier: Barrier, config: DsirStep, features: NgramFeatures, name: str, reference: str
) -> npt.NDArray[np.int64]:
    options = ReadOptions(text=config.text)
    files = filesystem.expand(reference, suffixes=data_suffixes())
    splits = [split for file in files for split in plan_splits(file, options, SPLIT_BYTES)]
    if not splits:
        msg = f"step {barrier.stage.label}: the target {reference} is empty"
        raise DataError(msg)
    work = CountFile(features, options, _limit(config, len(splits)))
    return _load(barrier.engine.reduce(f"{barrier.stage.label}: {name}", splits, work, _sum))


def _keep(model: DsirModel, folder: str) -> None:
    """Save a model where the run keeps its files."""
    with tempfile.TemporaryDirectory(prefix="tamis-") as scratch:
        model.save(scratch)
        for file in sorted(Path(scratch).iterdir()):
            with filesystem.write_atomically(filesystem.join(folder, file.name)) as stream:
                stream.write(file.read_bytes())


TARGET_SCHEMA = pa.schema([described("dsir_target", pa.string(), "the target that drew the document")])


def resampled_columns(step: DsirStep) -> pa.Schema:
    """Return the columns that the draw adds: with several targets, which one drew the document."""
    return TARGET_SCHEMA if isinstance(step.target, dict) and len(step.target) > 1 else pa.schema([])


@dataclass(frozen=True)
class _Weights:
    """Reads what the draw looks at."""

    reader: ColumnReader
    columns: tuple[str, ...]
    unit: str | None

    def of(self, batch: pa.RecordBatch) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], Any]:
        """Return log weights (rows, targets), tokens, and what a row weighs."""
        weights = np.column_stack([batch.column(name).to_numpy(zero_copy_only=False) for name in self.columns])
        tokens = batch.column("dsir_tokens").to_numpy(zero_copy_only=False).astype(np.int64)
        return weights, tokens, None if self.unit is None else batch.column(self.unit).to_numpy(zero_copy_only=False)


@dataclass(frozen=True)
class _Accumulate:
    """One pass over a shard's weights."""

    source: _Weights
    task: DsirPass

    def __call__(self, shard: SourceShard) -> bytes:
        """Return the shard's partial."""
        partials = []
        for batch, state, positions in self.source.reader.read(shard):
            rows = np.flatnonzero(state.mask)
            taken = batch.take(pa.array(rows))
            weights, tokens, units = self.source.of(taken)
            partials.append(self.task.accumulate(weights, taken.column("doc_id"), tokens, units, positions[rows]))
        if not partials:
            none = np.zeros((0, len(self.source.columns)))
            partials.append(self.task.accumulate(none, pa.array([], pa.string()), np.zeros(0, np.int64)))
        return Partial.merge(partials).to_bytes()


@dataclass(frozen=True)
class _Apply:
    """Lets the rows of a shard fall that weren't drawn, and says which target drew the others."""

    stage: Stage
    source: _Weights
    decision: DsirDecision
    targets: tuple[str, ...]
    min_tokens: int
    rule: int
    columns: str | None

    def __call__(self, shard: SourceShard) -> int:
        """Write the shard's row states (and columns); return how many rows are alive."""
        with ExitStack() as stack:
            out = None
            if self.columns is not None:
                out = stack.enter_context(writer(shard_file(self.columns, shard.key), TARGET_SCHEMA))

            def change(batch: pa.RecordBatch, state: RowState, positions: npt.NDArray[np.uint64]) -> None:
                drawn = self._change(batch, state, positions)
                if out is not None:
                    names = pa.array([None if target < 0 else self.targets[target] for target in drawn], pa.string())
                    out.write_batch(pa.RecordBatch.from_arrays([names], schema=TARGET_SCHEMA))

            return rewrite_states(self.source.reader, shard, self.stage.state, change)

    def _change(self, batch: pa.RecordBatch, state: RowState, positions: npt.NDArray[np.uint64]) -> list[int]:
        rows = np.flatnonzero(state.mask)
        taken = batch.take(pa.array(rows))
        weights, tokens, _ = self.source.of(taken)
        drawn = np.full(batch.num_rows, -1, np.int64)
        drawn[rows] = self.decision.choose(weights, taken.column("doc_id"), tokens, positions[rows])
        length = np.zeros(batch.num_rows)
        length[rows] = tokens
        state.fall(self.stage.index, state.mask & (length < self.min_tokens), 0, length, float(self.min_tokens))
        # What fell is the weight with its noise, towards the first target; the threshold is that of the draw.
        keys = np.full(batch.num_rows, np.nan)
        keys[rows] = self.decision.draw.keys(weights[:, 0], id_words(taken.column("doc_id")))
        first = self.decision.thresholds.get(0)
        edge = first.value if first is not None and np.isfinite(first.value) else np.nan
        state.fall(self.stage.index, drawn < 0, self.rule, keys, edge)
        return drawn.tolist()  # type: ignore[no-any-return]


def resample(barrier: Barrier) -> Outcome:
    """Draw documents by their weights: exactly as many as asked for, the same on any runner and in any order."""
    stage = barrier.stage
    config = stage.config
    if not isinstance(config, DsirStep):
        msg = f"step {stage.label} doesn't resample"
        raise RunError(msg)
    model = DsirModel.load(local_folder(stage.models["model"]))
    columns = tuple(f"dsir_log_weight_{name}" for name in model.targets) or ("dsir_log_weight",)
    unit = unit_column(config)
    names = [*columns, "dsir_tokens", *([unit] if unit is not None else [])]
    source = _Weights(ColumnReader.of(barrier, names), columns, unit)
    rule = rule_of(kept(config))
    if not isinstance(rule, TopDocuments | TopFraction | TopWeight):
        msg = f"step {stage.label} draws a fraction or a number of documents, no percentiles"
        raise ConfigError(msg)
    proportions = None
    if model.targets:
        given = config.proportions
        proportions = [given[n] for n in model.targets] if given is not None else model.proportions.tolist()
    sampling = DsirSampling(
        rule, seed=barrier.seed, proportions=proportions, top_k=config.top_k, min_tokens=config.min_tokens
    )
    passes = 0
    while (task := sampling.next_pass()) is not None:
        passes += 1
        label = f"{stage.label}: draw, pass {passes}"
        work = _Accumulate(source, task)
        partial = barrier.engine.reduce(label, barrier.shards, work, merge_partials, small=barrier.small)
        sampling.advance(Partial.from_bytes(partial))
    kind = "fraction" if config.keep.fraction is not None else "documents"
    adds = resampled_columns(config).names
    folder = barrier.folder("target") if adds else None
    decision = sampling.decision()
    position = rule_names(config).index(keep_rule(config, kind))
    apply = _Apply(stage, source, decision, model.targets, config.min_tokens, position, folder)
    barrier.engine.map(f"{stage.label}: decide", barrier.shards, apply, small=barrier.small)
    thresholds = {
        model.targets[target] if model.targets else "target": threshold.value if np.isfinite(threshold.value) else None
        for target, threshold in decision.thresholds.items()
    }
    return Outcome(
        columns=dict.fromkeys(adds, folder or ""),
        thresholds={keep_rule(config, kind): thresholds, "dsir_tokens_min": config.min_tokens},
        metrics={"passes": passes, "candidates": sampling.candidates} | _measure_gain(barrier, model),
        warnings=tuple(f"step {stage.label}: {note}" for note in sampling.notes()),
    )


def _measure_gain(barrier: Barrier, model: DsirModel) -> dict[str, float]:
    """Return by how much the rows drawn are nearer to the targets than the pool is (KL reduction, nats).

    A random selection of the pool has the pool's own distribution in expectation, so the pool is the baseline.
    """
    text = barrier.columns.get("text", barrier.documents)
    work = CountShard(text, barrier.stage.state, model.features, None)
    counts = _load(barrier.engine.reduce(f"{barrier.stage.label}: gain", barrier.shards, work, _sum))
    if not counts[:-1].sum():
        return {}
    return {"kl_reduction": round(kl_reduction(model.target_counts, counts[:-1], model.raw_counts), 6)}
