"""Decides by a step's column over the whole corpus: percentiles of groups, the best share, the best so many."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.context import Corpus, Decision, Outcome
from tamis.pipeline.corpus.given import Given, group_name
from tamis.pipeline.corpus.search import Search
from tamis.pipeline.graph.passes import Done, Values
from tamis.pipeline.passes.shard_reader import ColumnReader, rewrite_states
from tamis.pipeline.passes.stage import Stage
from tamis.pipeline.steps.base import Step
from tamis.pipeline.storage.place import Shard
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.errors import ConfigError
from tamis.scorers.selection.groups import GroupLabel, Groups, group_rows
from tamis.scorers.selection.order_statistics import Partial, PassTask
from tamis.scorers.selection.selection import Decision as Thresholds
from tamis.scorers.selection.selection import PercentileRange, Rule, Selection, rule_of

__all__ = ["SELECTION_PASSES", "RankedColumn", "find_thresholds", "select", "shown_thresholds", "unit_column"]

SELECTION_PASSES = 6
"""A selection is over after so many passes: two as a rule, and in the last one all rows left are looked at."""


def unit_column(step: Step) -> str | None:
    """Return the column that `keep` measures by; None where documents count one each."""
    units: dict[str, str | None] = {
        "documents": None,
        "characters": "text_chars",
        "bytes": "text_bytes",
        "tokens": f"{getattr(step, 'name', step.verb)}_tokens",
    }
    return units[step.kept.unit]


@dataclass(frozen=True)
class RankedColumn:
    """The column decided by, the rows that take part, and their groups; the work of a selection's passes."""

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

    def each_group(
        self, batch: pa.RecordBatch, known: npt.NDArray[np.bool_]
    ) -> Iterator[tuple[GroupLabel, npt.NDArray[np.int64]]]:
        """Yield the groups that have known rows, and those rows."""
        groups = self.groups(batch) or Groups.one(batch.num_rows)
        for code, label in enumerate(groups.labels):
            rows = np.flatnonzero(known & (groups.codes == code))
            if len(rows):
                yield label, rows

    def units(self, batch: pa.RecordBatch) -> Any:
        """Return what a row weighs; None for one each."""
        return None if self.unit is None else batch.column(self.unit).to_numpy(zero_copy_only=False)

    def __call__(self, task: PassTask, shard: Shard) -> Partial:
        """Return the shard's partial."""
        return Partial.merge([self.nothing(task), *self._partials(task, shard)])

    def _partials(self, task: PassTask, shard: Shard) -> Iterable[Partial]:
        for batch, state, positions in self.reader.read(shard):
            rows = np.flatnonzero(state.mask & ~np.isnan(self.values(batch)))
            taken = batch.take(pa.array(rows))
            yield task.accumulate(
                self.values(taken), taken.column("doc_id"), self.units(taken), self.groups(taken), positions[rows]
            )

    def nothing(self, task: PassTask) -> Partial:
        """Return the partial of no rows."""
        empty = np.zeros(0)
        groups = Groups(np.zeros(0, np.int64), []) if self.by else None
        return task.accumulate(empty, pa.array([], pa.string()), None, groups, empty)


@dataclass(frozen=True)
class _Begin:
    """A selection at its beginning."""

    rule: Rule
    largest: bool
    grouped: bool

    def __call__(self, values: Values) -> Selection:
        del values
        return Selection(self.rule, largest=self.largest, grouped=self.grouped, passes=SELECTION_PASSES)


def find_thresholds(
    corpus: Corpus, source: RankedColumn, rule: Rule, *, largest: bool = True, what: str = "threshold, pass"
) -> Search[Selection]:
    """Return the search for a rule's thresholds."""
    return Search.over(corpus, what, _Begin(rule, largest, bool(source.by)), source, SELECTION_PASSES)


@dataclass(frozen=True)
class _Apply:
    """Lets the rows of a shard fall that the decision doesn't keep."""

    stage: Stage
    source: RankedColumn
    search: Search[Selection] | None
    rule: int
    ranged: bool
    given: Given

    def __call__(self, shard: Shard, values: Values) -> Done:
        """Write the shard's row states."""
        thresholds = _decided(self.search, self.given, values)

        def change(batch: pa.RecordBatch, state: RowState, positions: npt.NDArray[np.uint64]) -> None:
            self._change(thresholds, batch, state, positions)

        fell = rewrite_states(self.source.reader, shard, self.stage.state, change)
        return Done(b"", self.stage.rejections(fell))

    def _change(
        self, decision: Thresholds, batch: pa.RecordBatch, state: RowState, positions: npt.NDArray[np.uint64]
    ) -> None:
        values = self.source.values(batch)
        missing = np.isnan(values)
        if not self.ranged:  # what has no value can't be among the best
            state.fall(self.stage.index, missing, self.rule)
        rows = np.flatnonzero(state.mask & ~missing)
        taken = batch.take(pa.array(rows))
        groups = self.source.groups(taken)
        keep = decision.keep(values[rows], taken.column("doc_id"), groups, positions[rows])
        falls = np.zeros(batch.num_rows, bool)
        falls[rows[~keep]] = True
        thresholds = np.full(batch.num_rows, np.nan)
        thresholds[rows] = _bounds(decision, values[rows], groups)
        state.fall(self.stage.index, falls, self.rule, values, thresholds)


def _decided(search: Search[Selection] | None, given: Given, values: Values) -> Thresholds:
    """Return what was found in the corpus, with what was given in its place; without a search, what was given."""
    if search is None:
        only = given.of(())
        return Thresholds({} if only is None else {(): only})
    return given.over(search.state(values).decision())


def _bounds(decision: Thresholds, values: npt.NDArray[np.float64], groups: Groups | None) -> npt.NDArray[np.float64]:
    """Return the bound that each row was held against: the one it broke, or the nearer one."""
    if groups is None:
        groups = Groups.one(len(values))
    known = [decision.thresholds.get(label) for label in groups.labels]
    low = np.array([math.nan if found is None else found.low for found in known])[groups.codes]
    high = np.array([math.nan if found is None else found.high for found in known])[groups.codes]
    bounds = np.where((values < low) | ~np.isfinite(high), low, high)
    return np.where(np.isfinite(bounds), bounds, np.nan)


def select(corpus: Corpus) -> Decision:
    """Find the thresholds of a step's `keep` in a few passes over its column, and let rows fall by them.

    Raises:
        ConfigError: if the step keeps nothing by a column.
    """
    stage = corpus.stage
    step = stage.step
    keep = step.kept
    column = step.kept_column
    if column is None:
        msg = f"step {stage.label} has no column that `keep` could be about"
        raise ConfigError(msg)
    unit = unit_column(step)
    names = [column, *keep.by, *([unit] if unit is not None else [])]
    source = RankedColumn(ColumnReader.of(corpus.state, corpus.columns, names), column, unit, keep.by)
    rule = rule_of(keep)
    largest = (keep.best or step.best) == "high"
    given = Given(keep.thresholds, largest)
    search = None if given.complete else find_thresholds(corpus, source, rule, largest=largest)
    kind = keep.share or "documents"
    ranged = isinstance(rule, PercentileRange)
    apply = _Apply(stage, source, search, step.rule(step.keep_rule(kind)), ranged, given)
    report = _Found(search, step.keep_rule(kind), stage.label, ranged, given)
    inputs = () if search is None else search.inputs
    passes = () if search is None else search.passes(corpus)
    return Decision((*passes, corpus.each_shard("decide", apply, inputs=inputs)), report=report, reads=inputs)


@dataclass(frozen=True)
class _Found:
    """What a selection found."""

    search: Search[Selection] | None
    rule: str
    label: str
    ranged: bool
    given: Given

    def __call__(self, values: Values) -> Outcome:
        decision = _decided(self.search, self.given, values)
        thresholds = {self.rule: shown_thresholds(decision, ranged=self.ranged)}
        if self.search is None:
            return Outcome(thresholds=thresholds, metrics={"passes": 0})
        notes = () if self.given.numbers is not None else self.search.state(values).notes()
        return Outcome(
            thresholds=thresholds,
            metrics={"passes": sum(bool(values[name]) for name in self.search.names)},
            warnings=tuple(f"step {self.label}: {note}" for note in notes),
        )


def shown_thresholds(decision: Thresholds, *, ranged: bool) -> Any:
    """Return thresholds as plain numbers, by group where there are groups."""
    found = {}
    for label, threshold in sorted(decision.thresholds.items(), key=lambda item: str(item[0])):
        pair = [_number(threshold.low), _number(threshold.high)]
        found[group_name(label)] = pair if ranged else _number(threshold.value)
    return found.get("") if list(found) == [""] else found


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
