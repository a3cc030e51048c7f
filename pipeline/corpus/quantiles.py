"""The number of the quantile that each document lies in, by the quantiles of the run's own corpus or of its groups."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.context import Corpus, Decision, Outcome
from tamis.pipeline.corpus.given import group_name
from tamis.pipeline.corpus.search import Search
from tamis.pipeline.corpus.select import SELECTION_PASSES, RankedColumn
from tamis.pipeline.graph.passes import Done, Values
from tamis.pipeline.passes.shard_reader import ColumnReader, rewrite_states
from tamis.pipeline.storage.column_file import intact_note
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.row_state import RowState
from tamis.scorers.selection.groups import GroupLabel
from tamis.scorers.selection.order_statistics import ByWeight, Goal, RankSearch, ordered_to_float
from tamis.scorers.selection.selection import PercentileRange

__all__ = ["QuantileBuckets", "QuantileSearch", "quantile_buckets"]

ALL = "all"
"""What the manifest calls the only group."""


@dataclass(frozen=True)
class QuantileBuckets:
    """What is put into buckets, and how the column is called.

    A document's bucket is the number of cuts that aren't above its value; cut k of n - 1 is the percentile 100 k / n,
    linear between two documents as `numpy.percentile` has it. Where documents weigh, cut k is the first value up to
    which (itself included) the documents weigh more than k / n of them all. Equal values are in one bucket, whatever
    its size.

    Attributes:
        column: the number.
        unit: column of what a document weighs, whole numbers; None: one each.
        buckets: how many there are.
        by: columns whose groups have cuts of their own.
        field: the column of the buckets.
        given: cuts of an earlier run, by the group's name; they stand in place of those of this corpus.
    """

    column: str
    unit: str | None
    buckets: int
    by: tuple[str, ...]
    field: pa.Field
    given: Mapping[str, Sequence[float | None]] | None = None

    @property
    def percents(self) -> tuple[float, ...]:
        """The percentiles of the cuts."""
        return tuple(100 * k / self.buckets for k in range(1, self.buckets))

    def goals(self, count: int, weight: int) -> Sequence[Goal]:
        """Return the documents that the cuts lie between, two for each; or one that is it, where documents weigh."""
        if self.unit is not None:
            return [ByWeight(k * weight // self.buckets) for k in range(1, self.buckets)]
        return [
            goal for percent in self.percents for goal in PercentileRange(percent, percent).goals(count, weight)[:2]
        ]

    def cuts(self, search: RankSearch) -> Mapping[GroupLabel, npt.NDArray[np.float64]]:
        """Return the cuts of each group, ascending, float64 (buckets - 1,)."""
        found = {}
        for label, answers in search.answers().items():
            known = (self.given or {}).get(group_name(label) or ALL)
            if known is not None:
                found[label] = np.array([math.inf if cut is None else cut for cut in known])
                continue
            count, _ = search.totals[label]
            # Beyond the last document, where nothing weighs anything, there is no cut.
            values = [math.inf if answer is None else ordered_to_float(answer.words[0]) for answer in answers]
            if self.unit is not None:
                found[label] = np.array(values)
                continue
            found[label] = np.array(
                [
                    PercentileRange(percent, percent).bound(percent, count, values[2 * i], values[2 * i + 1])
                    for i, percent in enumerate(self.percents)
                ]
            )
        return found


@dataclass(frozen=True)
class QuantileSearch:
    """The search for the cuts at its beginning.

    Attributes:
        wanted: what is put into buckets.
    """

    wanted: QuantileBuckets

    def __call__(self, values: Values) -> RankSearch:
        """Return it."""
        del values
        grouped = bool(self.wanted.by)
        return RankSearch(self.wanted.goals, settle_ties=False, grouped=grouped, passes=SELECTION_PASSES)


@dataclass(frozen=True)
class _Bucket:
    """Writes a shard's buckets; the row states stay as they are."""

    wanted: QuantileBuckets
    source: RankedColumn
    search: Search[RankSearch]
    state: Place

    def __call__(self, shard: Shard, values: Values) -> Done:
        """Write the column and the row states."""
        if intact_note(self.state.file(shard), []) is not None:
            return Done(reused=True)
        cuts = self.wanted.cuts(self.search.state(values))
        schema = pa.schema([self.wanted.field])

        def buckets(batch: pa.RecordBatch, state: RowState) -> pa.RecordBatch:
            return pa.RecordBatch.from_arrays([self._numbers(cuts, batch, state)], schema=schema)

        rewrite_states(self.source.reader, shard, self.state, _unchanged, buckets)
        return Done()

    def _numbers(
        self, cuts: Mapping[GroupLabel, npt.NDArray[np.float64]], batch: pa.RecordBatch, state: RowState
    ) -> pa.Array:
        values = self.source.values(batch)
        known = state.mask & ~np.isnan(values)
        found = np.zeros(batch.num_rows, np.int64)
        for label, rows in self.source.each_group(batch, known):
            found[rows] = np.searchsorted(cuts[label], values[rows], side="right")
        return pa.array(found, mask=~known)


def quantile_buckets(corpus: Corpus, wanted: QuantileBuckets) -> Decision:
    """Find the cuts of each group, and write each document's bucket; no document falls.

    Args:
        corpus: what there is to work with.
        wanted: what is put into buckets.
    """
    reader = ColumnReader.of(
        corpus.state, corpus.columns, [wanted.column, *wanted.by, *([] if wanted.unit is None else [wanted.unit])]
    )
    source = RankedColumn(reader, wanted.column, wanted.unit, wanted.by)
    search = Search.over(corpus, "quantiles, pass", QuantileSearch(wanted), source, SELECTION_PASSES)
    place = corpus.stage.state
    work = _Bucket(wanted, source, search, place)
    nodes = (*search.passes(corpus), corpus.each_shard("buckets", work, inputs=search.inputs))
    return Decision(nodes, {wanted.field.name: place}, _Found(wanted, search), search.inputs)


def _unchanged(*_: object) -> None:
    """Let no row fall."""


@dataclass(frozen=True)
class _Found:
    """The cuts, told by the group's name."""

    wanted: QuantileBuckets
    search: Search[RankSearch]

    def __call__(self, values: Values) -> Outcome:
        cuts = self.wanted.cuts(self.search.state(values))
        shown = {
            group_name(label) or ALL: [cut if math.isfinite(cut) else None for cut in found.tolist()]
            for label, found in sorted(cuts.items(), key=lambda item: str(item[0]))
        }
        return Outcome(thresholds={self.wanted.field.name: shown})
