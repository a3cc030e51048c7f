"""Decides by a step's column over the whole corpus: percentiles of groups, the best share, the best so many."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.barrier import Barrier, Outcome
from tamis.pipeline.passes.decide import kept, kept_column, rule_names
from tamis.pipeline.passes.stage import SourceShard, Stage, shard_file
from tamis.pipeline.storage.column_file import ColumnFile, aligned, writer
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.keep import Keep
from tamis.schemas.steps import PerplexityStep, StepConfig
from tamis.schemas.tables import STATE_SCHEMA
from tamis.scorers.selection.order_statistics import Groups, Partial, PassTask, group_rows
from tamis.scorers.selection.selection import Decision, PercentileRange, Selection, rule_of

__all__ = [
    "ColumnReader",
    "RankedColumn",
    "find_thresholds",
    "merge_partials",
    "rewrite_states",
    "select",
    "unit_column",
]

ROW_BITS = 40
"""A row's position is its shard's index and its number in the shard: it tells rows of equal doc_id apart."""


def unit_column(config: StepConfig) -> str | None:
    """Return the column that `keep.of` measures by; None where documents count one each."""
    tokens = f"{config.name}_tokens" if hasattr(config, "name") else f"{config.verb}_tokens"
    units: dict[str, str | None] = {
        "documents": None,
        "characters": "text_chars",
        "bytes": "text_bytes",
        "tokens": tokens,
    }
    return units[kept(config).of]


@dataclass(frozen=True)
class ColumnReader:
    """Reads some columns of a shard with its row states, batch by batch.

    Attributes:
        documents: folder of the documents.
        state: folder of the row states.
        folders: column to folder, for columns that steps added.
        names: the columns wanted; `doc_id` comes always.
    """

    documents: str
    state: str
    folders: Mapping[str, str]
    names: Sequence[str]

    @classmethod
    def of(cls, barrier: Barrier, names: Sequence[str]) -> "ColumnReader":
        """Return a reader of what a barrier has."""
        wanted = dict.fromkeys(["doc_id", *names])
        folders = {name: barrier.columns[name] for name in wanted if name in barrier.columns}
        return cls(barrier.documents, barrier.state, folders, tuple(wanted))

    def read(self, shard: SourceShard) -> Iterator[tuple[pa.RecordBatch, RowState, npt.NDArray[np.uint64]]]:
        """Yield columns, row states, and the rows' positions in the corpus."""
        by_folder: dict[str, list[str]] = {}
        for name in self.names:
            by_folder.setdefault(self.folders.get(name, self.documents), []).append(name)
        first = shard.index << ROW_BITS
        with ExitStack() as stack:
            files = [
                stack.enter_context(ColumnFile(shard_file(folder, shard.key), names))
                for folder, names in by_folder.items()
            ]
            states = stack.enter_context(ColumnFile(shard_file(self.state, shard.key)))
            for batch, state in zip(aligned(files), states, strict=True):
                positions = np.arange(first, first + batch.num_rows, dtype=np.uint64)
                first += batch.num_rows
                yield batch, RowState.from_batch(state), positions


def merge_partials(parts: Sequence[bytes]) -> bytes:
    """Join the partials of shards."""
    return Partial.merge([Partial.from_bytes(part) for part in parts]).to_bytes()


def rewrite_states(
    reader: ColumnReader,
    shard: SourceShard,
    folder: str,
    change: Callable[[pa.RecordBatch, RowState, npt.NDArray[np.uint64]], None],
) -> int:
    """Write a shard's row states after `change` has let rows fall; return how many are alive."""
    alive = 0
    with writer(shard_file(folder, shard.key), STATE_SCHEMA) as out:
        for batch, state, positions in reader.read(shard):
            change(batch, state, positions)
            alive += int(state.mask.sum())
            out.write_batch(state.to_batch())
    return alive


@dataclass(frozen=True)
class RankedColumn:
    """The column decided by, the rows that take part, and their groups."""

    reader: ColumnReader
    column: str
    unit: str | None
    by: tuple[str, ...]

    def values(self, batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
        """Return the column; NaN where a row has no value."""
        column: npt.NDArray[Any] = batch.column(self.column).to_numpy(zero_copy_only=False)
        return column.astype(np.float64)

    def groups(self, batch: pa.RecordBatch) -> Groups | None:
        """Return the rows' groups."""
        return group_rows([batch.column(name) for name in self.by]) if self.by else None

    def units(self, batch: pa.RecordBatch) -> Any:
        """Return what a row weighs; None for one each."""
        return None if self.unit is None else batch.column(self.unit).to_numpy(zero_copy_only=False)


@dataclass(frozen=True)
class _Accumulate:
    """One pass over a shard's columns."""

    source: RankedColumn
    task: PassTask

    def __call__(self, shard: SourceShard) -> bytes:
        """Return the shard's partial."""
        partials = []
        for batch, state, positions in self.source.reader.read(shard):
            rows = np.flatnonzero(state.mask & ~np.isnan(self.source.values(batch)))
            taken = batch.take(pa.array(rows))
            partials.append(
                self.task.accumulate(
                    self.source.values(taken),
                    taken.column("doc_id"),
                    self.source.units(taken),
                    self.source.groups(taken),
                    positions[rows],
                )
            )
        if not partials:
            empty = np.zeros(0)
            groups = Groups(np.zeros(0, np.int64), []) if self.source.by else None
            partials.append(self.task.accumulate(empty, pa.array([], pa.string()), None, groups, empty))
        return Partial.merge(partials).to_bytes()


@dataclass(frozen=True)
class _Apply:
    """Lets the rows of a shard fall that the decision doesn't keep."""

    stage: Stage
    source: RankedColumn
    decision: Decision
    rule: int

    def __call__(self, shard: SourceShard) -> int:
        """Write the shard's row states; return how many rows are alive."""
        return rewrite_states(self.source.reader, shard, self.stage.state, self._change)

    def _change(self, batch: pa.RecordBatch, state: RowState, positions: npt.NDArray[np.uint64]) -> None:
        values = self.source.values(batch)
        ranged = kept(self.stage.config).percentile is not None
        missing = np.isnan(values)
        if not ranged:  # what has no value can't be among the best
            state.fall(self.stage.index, missing, self.rule)
        rows = np.flatnonzero(state.mask & ~missing)
        taken = batch.take(pa.array(rows))
        groups = self.source.groups(taken)
        keep = self.decision.keep(values[rows], taken.column("doc_id"), groups, positions[rows])
        falls = np.zeros(batch.num_rows, bool)
        falls[rows[~keep]] = True
        thresholds = np.full(batch.num_rows, np.nan)
        thresholds[rows] = self._thresholds(values[rows], groups)
        state.fall(self.stage.index, falls, self.rule, values, thresholds)

    def _thresholds(self, values: npt.NDArray[np.float64], groups: Groups | None) -> npt.NDArray[np.float64]:
        """Return the bound that each row was held against: the one it broke, or the nearer one."""
        if groups is None:
            groups = Groups(np.zeros(len(values), np.int64), [()])
        known = [self.decision.thresholds.get(label) for label in groups.labels]
        low = np.array([math.nan if found is None else found.low for found in known])[groups.codes]
        high = np.array([math.nan if found is None else found.high for found in known])[groups.codes]
        bounds = np.where((values < low) | ~np.isfinite(high), low, high)
        return np.where(np.isfinite(bounds), bounds, np.nan)


def _largest_first(config: StepConfig, keep: Keep) -> bool:
    """Return whether large values are best: as `best` says; of perplexities the small ones."""
    if keep.best is not None:
        return keep.best == "high"
    return not isinstance(config, PerplexityStep)


def find_thresholds(barrier: Barrier, source: RankedColumn, selection: Selection) -> tuple[Selection, int]:
    """Make the passes that a selection asks for; return it with its decision ready, and how many passes it took."""
    passes = 0
    while (task := selection.next_pass()) is not None:
        passes += 1
        label = f"{barrier.stage.label}: threshold, pass {passes}"
        partial = barrier.engine.reduce(
            label, barrier.shards, _Accumulate(source, task), merge_partials, small=barrier.small
        )
        selection.advance(Partial.from_bytes(partial))
    return selection, passes


def select(barrier: Barrier) -> Outcome:
    """Find the thresholds of a step's `keep` in a few passes over its column, and let rows fall by them."""
    stage = barrier.stage
    keep = kept(stage.config)
    column = kept_column(stage.config)
    unit = unit_column(stage.config)
    reader = ColumnReader.of(barrier, [column, *keep.by, *([unit] if unit is not None else [])])
    source = RankedColumn(reader, column, unit, keep.by)
    rule = rule_of(keep)
    selection, passes = find_thresholds(
        barrier, source, Selection(rule, largest=_largest_first(stage.config, keep), grouped=bool(keep.by))
    )
    decision = selection.decision()
    kind = "percentile" if keep.percentile is not None else "fraction" if keep.fraction is not None else "documents"
    position = [name.endswith(f"_{kind}") for name in rule_names(stage.config)].index(True)
    apply = _Apply(stage, source, decision, position)
    barrier.engine.map(f"{stage.label}: decide", barrier.shards, apply, small=barrier.small)
    return Outcome(
        thresholds={f"{column}_{kind}": _shown(decision, isinstance(rule, PercentileRange))},
        metrics={"passes": passes},
        warnings=tuple(f"step {stage.label}: {note}" for note in selection.notes()),
    )


def _shown(decision: Decision, ranged: bool) -> Any:
    """Return thresholds as plain numbers, by group where there are groups."""
    found = {}
    for label, threshold in sorted(decision.thresholds.items(), key=lambda item: str(item[0])):
        name = "/".join("null" if part is None else part for part in label)
        found[name] = [_number(threshold.low), _number(threshold.high)] if ranged else _number(threshold.value)
    return found.get("") if list(found) == [""] else found


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
