"""Head, middle and tail by perplexity: by the percentiles of the run's own corpus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.pipeline.corpus.context import Corpus, Decision, Outcome
from tamis.pipeline.corpus.given import NOTHING_GIVEN, Given
from tamis.pipeline.corpus.search import Search
from tamis.pipeline.corpus.select import RankedColumn, find_thresholds, shown_thresholds
from tamis.pipeline.graph.passes import Done, Values
from tamis.pipeline.passes.shard_reader import ColumnReader, rewrite_states
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.row_state import RowState
from tamis.scorers.selection.groups import Groups
from tamis.scorers.selection.selection import Decision as Thresholds
from tamis.scorers.selection.selection import PercentileRange, Selection

__all__ = ["NAMES", "Bucketing", "corpus_buckets"]

NAMES = ("head", "middle", "tail")
"""Below the first percentile, below the second, the rest; `all` is without a perplexity, as in cc_net."""
ALL = "all"
"""What the manifest calls the only group."""


@dataclass(frozen=True)
class Bucketing:
    """What is put into buckets, and how the column is called.

    Attributes:
        column: the number.
        percentiles: that part the buckets.
        by: groups that have percentiles of their own.
        field: the column of the buckets.
        given: percentiles of an earlier run, by group.
    """

    column: str
    percentiles: tuple[float, float]
    by: tuple[str, ...]
    field: pa.Field
    given: Given = NOTHING_GIVEN


@dataclass(frozen=True)
class _Bucket:
    """Writes a shard's buckets beside its row states, which stay as they are."""

    source: RankedColumn
    search: Search[Selection]
    schema: pa.Schema
    state: Place
    given: Given

    def __call__(self, shard: Shard, values: Values) -> Done:
        """Write the column and the row states."""
        decision = self.given.over(self.search.state(values).decision())

        def buckets(batch: pa.RecordBatch, state: RowState) -> pa.RecordBatch:
            names = pa.array(self._names(decision, batch, state), pa.string())
            return pa.RecordBatch.from_arrays([names], schema=self.schema)

        rewrite_states(self.source.reader, shard, self.state, _unchanged, buckets)
        return Done()

    def _names(self, decision: Thresholds, batch: pa.RecordBatch, state: RowState) -> Sequence[str | None]:
        values = self.source.values(batch)
        groups = self.source.groups(batch) or Groups.one(batch.num_rows)
        known = [decision.thresholds.get(label) for label in groups.labels]
        low = np.array([np.nan if found is None else found.low for found in known])[groups.codes]
        high = np.array([np.nan if found is None else found.high for found in known])[groups.codes]
        names = np.where(values < low, NAMES[0], np.where(values < high, NAMES[1], NAMES[2])).astype(object)
        names[np.isnan(values) | np.isnan(low)] = "all"
        names[~state.mask] = None
        return names.tolist()  # type: ignore[no-any-return]


def corpus_buckets(corpus: Corpus, bucketing: Bucketing, state: Place) -> Decision:
    """Find the percentiles of each group, and write each row's bucket; no row falls.

    Args:
        corpus: what there is to work with.
        bucketing: what is put into buckets.
        state: place for the buckets and the row states, which stay as they are.
    """
    by = tuple(name for name in bucketing.by if name in corpus.columns)
    reader = ColumnReader.of(corpus.state, corpus.columns, [bucketing.column, *by])
    source = RankedColumn(reader, bucketing.column, None, by)
    search = find_thresholds(corpus, source, PercentileRange(*bucketing.percentiles), what="buckets, pass")
    schema = pa.schema([bucketing.field])
    given = bucketing.given
    if not by and isinstance(given.numbers, Mapping):
        given = replace(given, numbers=given.numbers.get(ALL))
    work = _Bucket(source, search, schema, state, given)
    nodes = (*search.passes(corpus), corpus.each_shard("buckets", work, inputs=search.inputs))
    return Decision(nodes, {bucketing.field.name: state}, _Found(search, bucketing.field.name, given), search.inputs)


def _unchanged(*_: object) -> None:
    """Let no row fall."""


@dataclass(frozen=True)
class _Found:
    search: Search[Selection]
    column: str
    given: Given

    def __call__(self, values: Values) -> Outcome:
        shown: Any = shown_thresholds(self.given.over(self.search.state(values).decision()), ranged=True)
        # One group without a name is told under a name all the same, since groups are what buckets have.
        return Outcome(thresholds={self.column: shown if isinstance(shown, dict) else {ALL: shown}})
