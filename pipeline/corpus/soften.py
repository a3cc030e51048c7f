"""Weights of documents by how common they are in the run's own corpus, see `tamis.scorers.selection.soft_weights`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.context import Corpus, Decision, Outcome
from tamis.pipeline.corpus.quantiles import QuantileBuckets, QuantileSearch
from tamis.pipeline.corpus.search import Search
from tamis.pipeline.corpus.select import SELECTION_PASSES, RankedColumn
from tamis.pipeline.graph.passes import Done, Values
from tamis.pipeline.passes.shard_reader import ColumnReader, rewrite_states
from tamis.pipeline.storage.column_file import intact_note
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.errors import DataError
from tamis.scorers.selection.groups import GroupLabel
from tamis.scorers.selection.order_statistics import RankSearch
from tamis.scorers.selection.soft_weights import soft_weights

__all__ = ["Softening", "soften"]


@dataclass(frozen=True)
class Softening:
    """What is weighed.

    Attributes:
        column: of perplexities.
        segments: how many.
        ratio: see `soft_weights`.
        by: columns whose groups have segments of their own.
        schema: of commonness, segment and weight.
    """

    column: str
    segments: int
    ratio: float
    by: tuple[str, ...]
    schema: pa.Schema

    @property
    def quantiles(self) -> QuantileBuckets:
        """The ends and the middles of segments: twice as many quantiles."""
        return QuantileBuckets(self.column, None, 2 * self.segments, self.by, self.schema.field(1))


class _Segments(NamedTuple):
    """Of a group: ends of segments, ascending in perplexity; middle and weight of each."""

    ends: npt.NDArray[np.float64]
    middles: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]


def _segments(label: str, wanted: Softening, search: RankSearch) -> Mapping[GroupLabel, _Segments]:
    """Return the segments of each group.

    Raises:
        DataError: if there can be no weights.
    """
    found = {}
    for group, cuts in wanted.quantiles.cuts(search).items():
        middles = cuts[::2]
        try:
            found[group] = _Segments(cuts[1::2], middles, soft_weights(middles.tolist(), ratio=wanted.ratio))
        except DataError as error:
            msg = f"step {label}: column {wanted.column}: {error}"
            raise DataError(msg) from None
    return found


@dataclass(frozen=True)
class _Weigh:
    """Writes a shard's columns beside its row states, which stay as they are."""

    label: str
    wanted: Softening
    source: RankedColumn
    search: Search[RankSearch]
    state: Place

    def __call__(self, shard: Shard, values: Values) -> Done:
        """Write them; return a line of JSON: documents of each segment."""
        if intact_note(self.state.file(shard), []) is not None:
            return Done(reused=True)
        known = _segments(self.label, self.wanted, self.search.state(values))
        rewrite_states(self.source.reader, shard, self.state, _unchanged, partial(self._columns, known))
        return Done()

    def _columns(self, known: Mapping[GroupLabel, _Segments], batch: pa.RecordBatch, state: RowState) -> pa.RecordBatch:
        perplexities = self.source.values(batch)
        there = state.mask & ~np.isnan(perplexities)
        numbers, weights = np.zeros(batch.num_rows, np.int64), np.zeros(batch.num_rows)
        for group, rows in self.source.each_group(batch, there):
            place = np.searchsorted(known[group].ends, perplexities[rows], side="right")
            numbers[rows] = self.wanted.segments - 1 - place
            weights[rows] = known[group].weights[place]
        with np.errstate(divide="ignore"):
            commonness = 1 / perplexities
        columns = [pa.array(column, mask=~there) for column in (commonness, numbers, weights)]
        return pa.RecordBatch.from_arrays(columns, schema=self.wanted.schema)


def _unchanged(*_: object) -> None:
    """Let no row fall."""


def soften(corpus: Corpus, wanted: Softening) -> Decision:
    """Write how common each document is, its segment and its weight; no document falls.

    Args:
        corpus: what there is to work with.
        wanted: what is weighed.
    """
    reader = ColumnReader.of(corpus.state, corpus.columns, [wanted.column, *wanted.by])
    source = RankedColumn(reader, wanted.column, None, wanted.by)
    search = Search.over(corpus, "segments, pass", QuantileSearch(wanted.quantiles), source, SELECTION_PASSES)
    place = corpus.stage.state
    work = _Weigh(corpus.label, wanted, source, search, place)
    nodes = (*search.passes(corpus), corpus.each_shard("weights", work, inputs=search.inputs))
    report = _Found(corpus.label, wanted, search)
    return Decision(nodes, dict.fromkeys(wanted.schema.names, place), report, search.inputs)


@dataclass(frozen=True)
class _Found:
    """The segments, from the rarest to the commonest, by the group's name."""

    label: str
    wanted: Softening
    search: Search[RankSearch]

    def __call__(self, values: Values) -> Outcome:
        metrics: dict[str, Any] = {}
        known = _segments(self.label, self.wanted, self.search.state(values))
        for group, found in sorted(known.items(), key=lambda item: str(item[0])):
            name = "/".join("null" if part is None else part for part in group) or "all"
            middles = [1 / middle if math.isfinite(middle) else 0.0 for middle in found.middles[::-1].tolist()]
            metrics[name] = {"commonness": middles, "weights": found.weights[::-1].tolist()}
        return Outcome(metrics={"segments": metrics})
