"""Fits DSIR's ratio of target to raw pool over the whole corpus, draws by it, and measures what the draw gained."""

import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.context import Corpus, Decision, Fit, Outcome
from tamis.pipeline.corpus.given import NOTHING_GIVEN, Given
from tamis.pipeline.corpus.search import Search
from tamis.pipeline.corpus.select import shown_thresholds
from tamis.pipeline.formats.options import ReadOptions, Split, data_suffixes
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.graph.passes import Done, Pass, TaskList, Values
from tamis.pipeline.passes.kept import Kept
from tamis.pipeline.passes.shard_reader import ColumnReader, rewrite_states
from tamis.pipeline.passes.stage import READ, Stage, StoredShards, stored_shards
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import intact_note, writer
from tamis.pipeline.storage.folders import local_folder, packed_folder, unpacked_folder
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.row_state import RowState
from tamis.pipeline.storage.temporary import temporary_folder
from tamis.pipeline.storage.value_file import read_value, write_value
from tamis.schemas.errors import ConfigError, DamagedError, DataError
from tamis.schemas.tables import described
from tamis.scorers.dsir.divergence import kl_reduction
from tamis.scorers.dsir.features import NgramCounter, NgramFeatures
from tamis.scorers.dsir.model import DsirModel
from tamis.scorers.dsir.sampling import DsirDecision, DsirPass, DsirSampling
from tamis.scorers.selection.groups import Groups, group_rows
from tamis.scorers.selection.order_statistics import Partial
from tamis.scorers.selection.selection import Decision as Decisions
from tamis.scorers.selection.selection import Rule, TopAmount, TopDocuments, TopFraction, TopWeight
from tamis.scorers.text.noise import id_words

__all__ = [
    "MODEL_FOLDER",
    "TARGET_FIELD",
    "CountFile",
    "CountShard",
    "Resampling",
    "fit_ratio",
    "fitted_model",
    "resample",
]

SPLIT_BYTES = 128 << 20
DRAW_PASSES = 6
"""A target's share is found in at most so many passes: two as a rule."""
MODEL_FOLDER = "models"
"""Folder of a run that its fitted models lie in on request, each in one that is called like its step."""
ONE_TARGET = "target"
"""What the manifest calls the only target."""
TARGET_FIELD = described("dsir_target", pa.string(), "the target that drew the document")


@dataclass(frozen=True)
class Resampling:
    """What is fitted and drawn.

    Attributes:
        name: what the columns' names begin with.
        features: what is counted.
        targets: name to files; empty if a model is given.
        several: whether the targets are told apart by name.
        text: the text field of the target files.
        smoothing: pseudo-count of the targets.
        max_ngrams: n-grams to fit each side on.
        rule: how many are drawn.
        unit: the column that a share is measured by.
        top_k: leave the noise out.
        min_tokens: shorter documents take no part.
        keep_rule: name of the rule that the others fall to.
        by: columns whose groups are drawn from apart.
        near_random: why the draw is little better than chance, if it is.
        given: thresholds of an earlier draw, by target or group.
        write_model: leave the model that is fitted in the run's folder.
    """

    name: str
    features: NgramFeatures
    targets: Mapping[str, str]
    several: bool
    text: str
    smoothing: float
    max_ngrams: int | None
    rule: Rule | None
    unit: str | None
    top_k: bool
    min_tokens: int
    keep_rule: str
    by: tuple[str, ...] = ()
    near_random: str | None = None
    given: Given = NOTHING_GIVEN
    write_model: bool = False


def _packed(counts: npt.NDArray[np.int64]) -> bytes:
    out = io.BytesIO()
    np.save(out, counts, allow_pickle=False)
    return out.getvalue()


def _load(data: bytes) -> npt.NDArray[np.int64]:
    array: npt.NDArray[np.int64] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def _sum(parts: Sequence[bytes]) -> bytes:
    total = _load(parts[0])
    for part in parts[1:]:
        total = total + _load(part)
    return _packed(total)


def _limit(limit: int | None, parts: int) -> int | None:
    """Return the n-grams that each of the parts may count, as the reference divides its limit."""
    return None if limit is None else limit // max(1, parts)


@dataclass(frozen=True)
class CountShard:
    """Bucket counts of the rows alive of a shard."""

    reader: ColumnReader
    features: NgramFeatures
    max_ngrams: int | None

    def __call__(self, shard: Shard, values: Values) -> bytes:
        """Return the counts, int64 (buckets + 1): the last one is the number of documents."""
        counter = NgramCounter(self.features, _limit(self.max_ngrams, len(stored_shards(values[READ]))))
        documents = 0
        for batch, state, _ in self.reader.read(shard):
            alive = state.mask
            documents += int(alive.sum())
            if not counter.add(batch.column("text").filter(pa.array(alive))):
                break
        return _packed(np.append(counter.counts, documents))


@dataclass(frozen=True)
class _TargetSplits:
    """The task list of a pass over the files of a target."""

    reference: str
    options: ReadOptions

    def __call__(self, values: Values) -> Iterable[Split]:
        """Return the parts of the files."""
        del values
        files = filesystem.expand(self.reference, suffixes=data_suffixes())
        return [split for file in files for split in plan_splits(file, self.options, SPLIT_BYTES)]


@dataclass(frozen=True)
class CountFile:
    """Bucket counts of a part of a target corpus."""

    features: NgramFeatures
    splits: _TargetSplits
    max_ngrams: int | None

    def __call__(self, split: Split, values: Values) -> bytes:
        """Return the counts, int64 (buckets + 2): then the number of documents, and of records that can't be read."""
        limit = None if self.max_ngrams is None else _limit(self.max_ngrams, len(list(self.splits(values))))
        counter = NgramCounter(self.features, limit)
        documents = errors = 0
        for read in read_split(split, "target", self.splits.options):
            documents += read.documents.num_rows
            errors += read.errors.num_rows
            if read.documents.num_rows and not counter.add(read.documents.column("text")):
                break
        return _packed(np.append(counter.counts, [documents, errors]))


@dataclass(frozen=True)
class _FitModel:
    """Fits the ratio and keeps the model in the place of the step."""

    label: str
    config: Resampling
    pool: str
    counts: Mapping[str, str]
    model: Place

    def __call__(self, task: None, values: Values) -> bytes:
        """Return figures about the fit, as JSON.

        Of a pool without documents nothing is drawn: the model weighs everything alike, and the run is complete.

        Raises:
            DataError: if a target is empty.
        """
        del task
        shards = stored_shards(values[READ])
        folder = self.model.of_corpus(shards[0].corpus if shards else "")
        note = f"{folder}.value"
        known = _fitted(note)
        if known is not None:
            return known
        raw = _load(values[self.pool]) if values[self.pool] else np.zeros(1, np.int64)
        metrics: dict[str, Any] = {"pool_documents": int(raw[-1])}
        targets: dict[str, npt.NDArray[np.int64]] = {}
        for name, reference in self.config.targets.items():
            found = values[self.counts[name]]
            counts = _load(found) if found else np.zeros(2, np.int64)
            metrics[f"{name}_documents"] = int(counts[-2])
            if counts[-1]:
                metrics[f"{name}_errors"] = int(counts[-1])
            if not counts[:-2].sum():
                msg = f"step {self.label}: the target {reference} holds no text in the field {self.config.text!r}"
                raise DataError(msg)
            targets[name] = counts[:-2]
        features = self.config.features
        model = DsirModel.fit(
            raw[:-1] if raw[-1] else sum(targets.values()),
            targets if self.config.several else next(iter(targets.values())),
            smoothing=self.config.smoothing,
            ngrams=features.ngrams,
            hash=features.hash,
            tokens=features.tokens,
        )
        shares = model.proportions.tolist() if self.config.several else None
        told = json.dumps({"metrics": metrics, "proportions": shares}).encode()
        with temporary_folder() as scratch:
            model.save(scratch)
            write_value(note, told + b"\n" + packed_folder(scratch))
        return told


def _fitted(note: str) -> bytes | None:
    """Return what was noted of a fit; None if there is none."""
    known = read_value(note, [])
    return None if known is None else known.partition(b"\n")[0]


def _model_folder(folder: str) -> Path:
    """Return a local folder with the files of a model that the run fitted.

    Raises:
        DamagedError: if it isn't what was written.
    """
    note = f"{folder}.value"
    known = read_value(note, [])
    if known is None:
        raise DamagedError(note, "it is missing")
    return unpacked_folder(note, known.partition(b"\n")[2])


def fitted_model(folder: str) -> DsirModel:
    """Load a model that the run fitted.

    Raises:
        DamagedError: if it isn't what was written.
    """
    return DsirModel.load(_model_folder(folder))


@dataclass(frozen=True)
class _UnlessFitted:
    """The task list of what a fit needs: nothing, where there is one."""

    tasks: TaskList
    model: Place

    def __call__(self, values: Values) -> Iterable[Any]:
        shards = stored_shards(values[READ])
        folder = self.model.of_corpus(shards[0].corpus if shards else "")
        return self.tasks(values) if _fitted(f"{folder}.value") is None else ()


def fit_ratio(corpus: Corpus, config: Resampling) -> Fit:
    """Return the passes that count the rows alive and the target files, fit, and keep the model."""
    model = corpus.stage.fitted_place("model")
    pool = corpus.each_shard(
        "pool",
        Kept(_pool_counter(corpus, config, corpus.state, config.max_ngrams), corpus.stage.fitted_place("pool")),
        combine=_sum,
        tasks=_UnlessFitted(StoredShards(), model),
        small=False,
    )
    targets: dict[str, Pass] = {}
    for name, reference in config.targets.items():
        splits = _TargetSplits(reference, ReadOptions(text=config.text))
        work = CountFile(config.features, splits, config.max_ngrams)
        listed = _UnlessFitted(splits, model)
        targets[name] = Pass(f"{corpus.label}: {name}", work, listed, _sum, (READ,), step=corpus.label)
    names = {name: node.name for name, node in targets.items()}
    fitted = f"{corpus.label}: fit"
    fit = Pass(
        fitted,
        _FitModel(corpus.label, config, pool.name, names, model),
        inputs=(READ, pool.name, *names.values()),
        step=corpus.label,
        small=True,
    )
    nodes: list[Pass] = [pool, *targets.values(), fit]
    if config.write_model:
        folder = filesystem.join(corpus.output, MODEL_FOLDER, corpus.label)
        left = _LeaveModel(model, folder)
        name = f"{corpus.label}: leave model"
        nodes.append(Pass(name, left, inputs=(READ,), after=(fitted,), step=corpus.label, small=True))
    return Fit(tuple(nodes), {"model": model}, _Fitted(fitted), (fitted,))


@dataclass(frozen=True)
class _LeaveModel:
    """Copies a fitted model into the run's folder."""

    model: Place
    folder: str

    def __call__(self, task: None, values: Values) -> bytes:
        """Return nothing; the model is there when it is over."""
        del task
        shards = stored_shards(values[READ])
        for file in sorted(_model_folder(self.model.of_corpus(shards[0].corpus if shards else "")).iterdir()):
            with filesystem.write_atomically(filesystem.join(self.folder, file.name)) as out:
                out.write(file.read_bytes())
        return b""


def _pool_counter(corpus: Corpus, config: Resampling, state: Place, max_ngrams: int | None) -> CountShard:
    return CountShard(ColumnReader.of(state, corpus.columns, ["text"]), config.features, max_ngrams)


@dataclass(frozen=True)
class _Fitted:
    name: str

    def __call__(self, values: Values) -> Outcome:
        return Outcome(metrics=json.loads(values[self.name])["metrics"])


def _model_of(stage: Stage, corpus: str) -> DsirModel:
    path = stage.model_paths(corpus)["model"]
    return fitted_model(path) if stage.step.fits else DsirModel.load(local_folder(path))


@dataclass(frozen=True)
class _Weights:
    """Reads what the draw looks at; the work of its passes."""

    reader: ColumnReader
    columns: tuple[str, ...]
    tokens: str
    unit: str | None
    by: tuple[str, ...] = ()

    def groups(self, batch: pa.RecordBatch) -> Groups | None:
        """Return the rows' groups; None if there are none."""
        return group_rows([batch.column(name) for name in self.by]) if self.by else None

    def of(self, batch: pa.RecordBatch) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], Any]:
        """Return log weights (rows, targets), tokens, and what a row weighs."""
        weights = np.column_stack([batch.column(name).to_numpy(zero_copy_only=False) for name in self.columns])
        tokens = batch.column(self.tokens).to_numpy(zero_copy_only=False).astype(np.int64)
        return weights, tokens, None if self.unit is None else batch.column(self.unit).to_numpy(zero_copy_only=False)

    def __call__(self, task: DsirPass, shard: Shard) -> Partial:
        """Return the shard's partial."""
        return Partial.merge([self.nothing(task), *self._partials(task, shard)])

    def _partials(self, task: DsirPass, shard: Shard) -> Iterable[Partial]:
        for batch, state, positions in self.reader.read(shard):
            rows = np.flatnonzero(state.mask)
            taken = batch.take(pa.array(rows))
            weights, tokens, units = self.of(taken)
            yield task.accumulate(weights, taken.column("doc_id"), tokens, units, positions[rows], self.groups(taken))

    def nothing(self, task: DsirPass) -> Partial:
        """Return the partial of no rows."""
        none, empty = np.zeros((0, len(self.columns))), np.zeros(0, np.int64)
        groups = Groups(empty, []) if self.by else None
        return task.accumulate(none, pa.array([], pa.string()), empty, None, empty, groups)


@dataclass(frozen=True)
class _Begin:
    """A draw at its beginning; several targets have shares, given or those of the model that was fitted."""

    rule: TopDocuments | TopFraction | TopWeight | TopAmount
    seed: int
    proportions: tuple[float, ...] | None
    fitted: str | None
    top_k: bool
    min_tokens: int
    grouped: bool

    def __call__(self, values: Values) -> DsirSampling:
        shares = self.proportions
        if shares is None and self.fitted is not None:
            shares = json.loads(values[self.fitted])["proportions"]
        return DsirSampling(
            self.rule,
            seed=self.seed,
            proportions=shares,
            top_k=self.top_k,
            min_tokens=self.min_tokens,
            passes=DRAW_PASSES,
            grouped=self.grouped,
        )


@dataclass(frozen=True)
class _Draw:
    """The decision of a draw: what was found in the corpus, with what was given in its place.

    Attributes:
        search: finds it; None where all was given.
        begin: a draw at its beginning.
        targets: their names; empty if there is one.
        given: thresholds of an earlier draw.
    """

    search: Search[DsirSampling] | None
    begin: _Begin
    targets: tuple[str, ...]
    given: Given

    @property
    def inputs(self) -> tuple[str, ...]:
        """The passes that the decision needs."""
        return () if self.search is None else self.search.inputs

    def __call__(self, values: Values) -> DsirDecision:
        """Return the decision."""
        sampling = self.begin(values) if self.search is None else self.search.state(values)
        found = sampling.decision()
        if found.groups is not None:
            return replace(found, groups=self.given.over(Decisions(found.groups)).thresholds)
        known = [self.given.of((name,)) for name in self.targets or (ONE_TARGET,)]
        merged = [(i, given or found.thresholds.get(i)) for i, given in enumerate(known)]
        return replace(found, thresholds={i: one for i, one in merged if one is not None})


@dataclass(frozen=True)
class _Apply:
    """Lets the rows of a shard fall that weren't drawn, and says which target drew the others."""

    stage: Stage
    source: _Weights
    draw: _Draw
    targets: tuple[str, ...]
    min_tokens: int
    rule: int
    columns: Place | None
    target: pa.Schema

    def __call__(self, shard: Shard, values: Values) -> Done:
        """Write the shard's row states (and columns)."""
        decision = self.draw(values)
        if self.columns is not None and intact_note(self.columns.file(shard), []) is None:
            filesystem.remove(self.stage.state.file(shard))  # both are written together
        with ExitStack() as stack:
            out: Any = None

            def change(batch: pa.RecordBatch, state: RowState, positions: npt.NDArray[np.uint64]) -> None:
                nonlocal out
                drawn = self._change(decision, batch, state, positions)
                if self.columns is None:
                    return
                if out is None:
                    out = stack.enter_context(writer(self.columns.file(shard), self.target))
                    out.note = {"targets": list(self.targets)}
                names = pa.array([None if target < 0 else self.targets[target] for target in drawn], pa.string())
                out.write_batch(pa.RecordBatch.from_arrays([names], schema=self.target))

            fell = rewrite_states(self.source.reader, shard, self.stage.state, change)
        return Done(b"", self.stage.rejections(fell))

    def _change(
        self, decision: DsirDecision, batch: pa.RecordBatch, state: RowState, positions: npt.NDArray[np.uint64]
    ) -> list[int]:
        rows = np.flatnonzero(state.mask)
        taken = batch.take(pa.array(rows))
        weights, tokens, _ = self.source.of(taken)
        drawn = np.full(batch.num_rows, -1, np.int64)
        groups = self.source.groups(taken)
        drawn[rows] = decision.choose(weights, taken.column("doc_id"), tokens, positions[rows], groups)
        length = np.zeros(batch.num_rows)
        length[rows] = tokens
        state.fall(self.stage.index, state.mask & (length < self.min_tokens), 0, length, float(self.min_tokens))
        # What fell is the weight with its noise, towards the first target; the threshold is that of the draw.
        keys = np.full(batch.num_rows, np.nan)
        keys[rows] = decision.draw.keys(weights[:, 0], id_words(taken.column("doc_id")))
        edges = np.full(batch.num_rows, np.nan)
        if groups is None:
            first = decision.thresholds.get(0)
            edges[rows] = first.value if first is not None else np.nan
        else:
            known = [(decision.groups or {}).get(label) for label in groups.labels]
            by_group = np.array([np.nan if found is None else found.value for found in known])
            edges[rows] = by_group[groups.codes] if known else np.nan
        edges[~np.isfinite(edges)] = np.nan
        state.fall(self.stage.index, drawn < 0, self.rule, keys, edges)
        return drawn.tolist()  # type: ignore[no-any-return]


def resample(
    corpus: Corpus, config: Resampling, names: Sequence[str], shares: Sequence[float] | None = None
) -> Decision:
    """Draw documents by their weights: exactly as many as asked for, the same on any runner and in any order.

    Args:
        corpus: what there is to work with.
        config: what is drawn.
        names: of several targets, in the model's order; empty for one.
        shares: proportions of these; those of the fit if None.

    Raises:
        ConfigError: if what is kept is no fraction and no number of documents.
    """
    stage = corpus.stage
    if not isinstance(config.rule, TopDocuments | TopFraction | TopWeight | TopAmount):
        msg = f"step {stage.label} draws a fraction or a number of documents, no percentiles"
        raise ConfigError(msg)
    weight, tokens = f"{config.name}_log_weight", f"{config.name}_tokens"
    columns = tuple(f"{weight}_{name}" for name in names) or (weight,)
    wanted = [*columns, tokens, *([config.unit] if config.unit is not None else []), *config.by]
    source = _Weights(ColumnReader.of(corpus.state, corpus.columns, wanted), columns, tokens, config.unit, config.by)
    fitted = f"{corpus.label}: fit" if config.targets else None
    proportions = None if shares is None else tuple(shares)
    begin = _Begin(config.rule, corpus.seed, proportions, fitted, config.top_k, config.min_tokens, bool(config.by))
    reads = (fitted,) if fitted is not None else ()
    given = config.given
    search = None
    if config.by or not all(given.of((name,)) for name in names or (ONE_TARGET,)):
        search = Search.over(corpus, "draw, pass", begin, source, DRAW_PASSES * max(1, len(names)), reads)
    draw = _Draw(search, begin, tuple(names), given)
    needed = draw.inputs or reads
    place = stage.place("target") if len(names) > 1 else None
    target = TARGET_FIELD.with_name(f"{config.name}_target")
    rule = stage.step.rule(config.keep_rule)
    apply = _Apply(stage, source, draw, tuple(names), config.min_tokens, rule, place, pa.schema([target]))
    decide = corpus.each_shard("decide", apply, inputs=needed)
    counter = _pool_counter(corpus, config, stage.state, None)
    gain = corpus.each_shard(
        "gain", Kept(counter, stage.place("gain")), combine=_sum, after=(decide.name,), small=False
    )
    report = _Drawn(draw, stage, tuple(names), config, gain.name)
    added = {} if place is None else {target.name: place}
    passes = () if search is None else search.passes(corpus)
    return Decision((*passes, decide, gain), added, report, (READ, gain.name, *needed))


@dataclass(frozen=True)
class _Drawn:
    """What a draw found, and what it gained: KL reduction against the pool, in nats.

    A random selection of the pool has the pool's own distribution in expectation, so the pool is the baseline.
    """

    draw: _Draw
    stage: Stage
    targets: tuple[str, ...]
    config: Resampling
    gain: str

    def __call__(self, values: Values) -> Outcome:
        search = self.draw.search
        sampling = None if search is None else search.state(values)
        decision = self.draw(values)
        thresholds: Any = {
            self.targets[target] if self.targets else ONE_TARGET: found.value if math.isfinite(found.value) else None
            for target, found in decision.thresholds.items()
        }
        if decision.groups is not None:
            thresholds = shown_thresholds(Decisions(decision.groups), ranged=False)
        metrics: dict[str, Any] = {
            "passes": 0 if search is None else sum(bool(values[name]) for name in search.names),
        }
        if sampling is not None:
            metrics["candidates"] = sampling.candidates
        notes = [] if sampling is None or self.config.given.numbers is not None else sampling.notes()
        counts = _load(values[self.gain]) if values[self.gain] else np.zeros(1, np.int64)
        if counts[:-1].sum():
            model = _model_of(self.stage, stored_shards(values[READ])[0].corpus)
            metrics["kl_reduction"] = round(kl_reduction(model.target_counts, counts[:-1], model.raw_counts), 6)
        return Outcome(
            thresholds={self.config.keep_rule: thresholds, f"{self.config.name}_tokens_min": self.config.min_tokens},
            metrics=metrics,
            warnings=tuple(
                f"step {self.stage.label}: {note}"
                for note in [*notes, *([self.config.near_random] if self.config.near_random else [])]
            ),
        )
