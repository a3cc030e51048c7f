"""Fits DSIR's ratio of target to raw pool over the whole corpus, and measures what a selection gained."""

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.barrier import Barrier
from pipeline.formats import filesystem
from pipeline.formats.options import ReadOptions, Split, data_suffixes
from pipeline.formats.reader import plan_splits, read_split
from pipeline.stages import SourceShard, shard_file
from pipeline.store import ColumnFile, aligned
from schemas.errors import DataError
from schemas.steps import DsirStep
from scorers.divergence import kl_reduction
from scorers.dsir import DsirModel
from scorers.dsir_features import NgramCounter, NgramFeatures

__all__ = ["CountFile", "CountShard", "features_of", "fit_target", "measure_gain"]

SPLIT_BYTES = 128 << 20
FITTED = "fit.json"
"""Written last into a fitted model's folder: its presence says that the fit is whole."""


def features_of(config: DsirStep, models: Mapping[str, str]) -> NgramFeatures:
    """Return what a step counts."""
    if "tokenizer" in models:
        from scorers.piece_tokens import PieceTokenizer

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
    work = CountFile(features, options, _limit(config, len(splits)))
    return _load(barrier.engine.reduce(f"{barrier.stage.label}: {name}", splits, work, _sum))


def _keep(model: DsirModel, folder: str) -> None:
    """Save a model where the run keeps its files."""
    with tempfile.TemporaryDirectory(prefix="tamis-") as scratch:
        model.save(scratch)
        for file in sorted(Path(scratch).iterdir()):
            with filesystem.write_atomically(filesystem.join(folder, file.name)) as stream:
                stream.write(file.read_bytes())


def measure_gain(barrier: Barrier, model: DsirModel, state: str) -> dict[str, float]:
    """Return by how much the rows alive in `state` are nearer to the targets than the pool is (KL reduction, nats).

    A random selection of the pool has the pool's own distribution in expectation, so the pool is the baseline.
    """
    text = barrier.columns.get("text", barrier.documents)
    work = CountShard(text, state, model.features, None)
    counts = _load(barrier.engine.reduce(f"{barrier.stage.label}: gain", barrier.shards, work, _sum))
    if not counts[:-1].sum():
        return {}
    return {"kl_reduction": round(kl_reduction(model.target_counts, counts[:-1], model.raw_counts), 6)}
