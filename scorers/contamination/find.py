"""Which documents hold evaluation items, which parts of them, and where.

The default, `aligned`: wherever an n-gram of four words is shared, the item's words are aligned with those of the
document around it (Smith and Waterman 1981), so that changed, dropped and added words cost only themselves. An item's
coverage is the share of its words' weight (see `tamis.scorers.contamination.index`) that the alignment has in common.

* An item is found *whole* where its coverage reaches what its weight asks for: 1 up to the weight `short`, `threshold`
  from `long` on, linear between. So a short item must be there word for word.
* It is found *in part* where the coverage reaches `partial`, from the item's beginning on, with at least the weight
  `long`/2 in common. The end alone is often shared by many items (a question, answers to choose from).
* Items below the weight `short` say too little to be found by themselves: they are left out.

`ngrams` is the classical rule (Brown et al. 2020, arXiv:2005.14165): an item is found where one of its 13-grams stands,
or where it is shorter one of its 8-grams, or else all of it; its coverage is the share of its n-grams that stand in the
document. N-grams of many items, or of many of the corpus's documents, are boilerplate and say nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import ConfigError
from tamis.scorers.contamination.index import ContaminationIndex
from tamis.scorers.contamination.scan_kernels import (
    FILTER_BITS,
    fill_beginnings,
    find_grams,
    find_grams_of_sizes,
    scan_documents,
)
from tamis.scorers.dedup.cuts import Cuts
from tamis.scorers.dedup.words import folding_table
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["Aligned", "Hits", "NGrams", "gram_hits", "hit_spans", "one_of_each_item", "side_by_side"]

_GAP = 1.0
"""Weight that a skipped word costs; a word that half of the items have weighs 0.7, a rare one 7."""

_SPREAD = 24
"""Words around an item's length, and half of it, that are looked at."""

_LEAST_RUN = 0.1
"""Share of an item's weight that a run of equal words must have before it is aligned."""

_FEW_POSTINGS = 20
"""Places of an n-gram in the items up to which it is telling."""

_COMMON_RUN = 0.35
"""Share of the weight that a run must have which begins at an n-gram of more places."""

MOST_ITEMS = 20
"""Items that share an n-gram up to which `ngrams` takes it for a sign of any of them."""

_DENSE = 0.8
"""Share of the weight between a part's first and last word that must be there."""


class Hits(NamedTuple):
    """Items in a batch of documents, by document, place and item.

    Attributes:
        documents: row in the batch, int64 (n,).
        items: which of the index's items.
        coverage: share of the item that is there, 0 to 1, float64.
        whole: whether it counts as whole, or as a part.
        starts: first byte of the match in the document.
        ends: byte after its last.
        item_starts: first byte of the match in the item's text.
        item_ends: byte after its last.
    """

    documents: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    coverage: npt.NDArray[np.float64]
    whole: npt.NDArray[np.bool_]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    item_starts: npt.NDArray[np.int64]
    item_ends: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[np.int64]) -> "Hits":
        """Return some of the hits."""
        return Hits(*(column[rows] for column in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Aligned:
    """The default way; see the module.

    Attributes:
        threshold: coverage from which on a long item counts as whole.
        partial: coverage from which on it counts as a part.
        short: weight of an item, in nats, below which it isn't looked for.
        long: weight from which on the threshold holds.
    """

    threshold: float = 0.65
    partial: float = 0.4
    short: float = 20.0
    long: float = 45.0

    def __post_init__(self) -> None:
        if not 0 < self.partial <= self.threshold <= 1:
            msg = f"partial ({self.partial}) and threshold ({self.threshold}) must be above 0, up to 1, in that order"
            raise ConfigError(msg)
        if not 0 < self.short < self.long:
            msg = f"the weights short ({self.short}) and long ({self.long}) must be above 0, in that order"
            raise ConfigError(msg)

    def required(self, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the coverage that items of these weights need; above 1 where they are left out."""
        part = np.clip((np.asarray(weights, np.float64) - self.short) / (self.long - self.short), 0, 1)
        return np.where(weights < self.short, 2.0, 1.0 - (1.0 - self.threshold) * part)

    def left_out(self, index: ContaminationIndex) -> npt.NDArray[np.int64]:
        """Return the items that aren't looked for, as they weigh too little."""
        return np.flatnonzero(index.item_weights < self.short)

    def find(self, texts: "Texts | TextBuffer", index: ContaminationIndex) -> Hits:
        """Find the index's items in each text; a text's hits depend on nothing else."""
        data, offsets = as_buffer(texts)
        weights = index.item_weights
        out = np.empty((1024, 7), np.float64)
        look = index.lookup
        few = _FEW_POSTINGS * -(-len(index) // max(index.distinct, 1))  # each form of an item has its own places
        while True:
            count = scan_documents(
                data, offsets, folding_table(index.folding), index.size, index.grams, look.directory, look.shift,
                look.bits, index.posting_bounds, index.posting_items, index.posting_words, index.bounds, index.words,
                index.weights, weights, _LEAST_RUN, self.partial, _GAP, _SPREAD, few, _COMMON_RUN, out,
            )  # fmt: skip
            if count <= len(out):
                break
            out = np.empty((count, 7), np.float64)
        rows = out[:count]
        coverage = np.where(rows[:, 2] > 1 - 1e-5, 1.0, rows[:, 2])  # sums of float32
        documents, items, starts, ends, first, last = (rows[:, i].astype(np.int64) for i in (0, 1, 3, 4, 5, 6))
        total = weights[items]
        whole = coverage >= self.required(total) - 1e-6
        from_start = np.cumsum(np.append(0, index.weights), dtype=np.float64)
        skipped = from_start[index.bounds[items] + first] - from_start[index.bounds[items]]
        between = from_start[index.bounds[items] + last + 1] - from_start[index.bounds[items] + first]
        dense = coverage * total >= _DENSE * between
        part = dense & (skipped <= 0.1 * total) & (coverage * total >= self.long / 2) & (total >= self.short)
        begin = index.bounds[items]
        hits = Hits(
            documents, items, coverage, whole, starts, ends, index.starts[begin + first], index.ends[begin + last]
        ).take(np.flatnonzero(whole | part))
        return hits.take(np.lexsort((hits.items, hits.starts, hits.documents)))


def gram_hits(
    texts: "Texts | TextBuffer", index: ContaminationIndex
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return all n-grams of the index in the texts, and the postings that each stands for.

    Returns:
        rows: (document, n-gram, number of its first word, first byte, byte after the last), int64 (n, 5).
        postings: for each row and posting the row and the posting, int64 (m, 2).
    """
    data, offsets = as_buffer(texts)
    look, table = index.lookup, folding_table(index.folding)
    out = np.empty((4096, 5), np.int64)
    while True:
        count = find_grams(data, offsets, table, index.size, index.grams, look.directory, look.shift, look.bits, out)
        if count <= len(out):
            break
        out = np.empty((count, 5), np.int64)
    return out[:count], _postings(out[:count], index)


def _postings(rows: npt.NDArray[np.int64], index: ContaminationIndex) -> npt.NDArray[np.int64]:
    """Return for each row (whose second column is an n-gram) and posting the row and the posting, int64 (m, 2)."""
    count = len(rows)
    sizes = index.posting_bounds[rows[:, 1] + 1] - index.posting_bounds[rows[:, 1]]
    owner = np.repeat(np.arange(count), sizes)
    begins = np.repeat(index.posting_bounds[rows[:, 1]] - np.cumsum(sizes) + sizes, sizes)
    return np.stack([owner, begins + np.arange(len(owner))], axis=1)


def hit_spans(hits: Hits) -> Cuts:
    """Return the bytes of the documents that hits lie in, as spans to remove: those that overlap or touch are one."""
    order = np.lexsort((hits.starts, hits.documents))
    spans: list[list[int]] = []
    for document, start, end in zip(
        hits.documents[order].tolist(), hits.starts[order].tolist(), hits.ends[order].tolist(), strict=True
    ):
        if spans and spans[-1][0] == document and start <= spans[-1][2]:
            spans[-1][2] = max(spans[-1][2], end)
        else:
            spans.append([document, start, end])
    columns = np.array(spans, np.int64).reshape(-1, 3)
    return Cuts(*(np.ascontiguousarray(columns[:, i]) for i in range(3)))


def side_by_side(texts: "Texts | TextBuffer", index: ContaminationIndex, hits: Hits) -> pa.Table:
    """Return a row for each hit: the document's row, the item, what counts, and both matches as they stand there.

    Columns: `document` (int64), `item` (int64), `coverage` (float64), `whole` (bool), `document_match` and `item_match`
    (strings).
    """
    documents, items = as_buffer(texts), as_buffer(index.items)

    def cut(
        buffer: TextBuffer, rows: npt.NDArray[np.int64], first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
    ) -> list[str]:
        base = buffer.offsets[rows]
        bounds = zip((base + first).tolist(), (base + last).tolist(), strict=True)
        return [buffer.data[a:b].tobytes().decode(errors="replace") for a, b in bounds]

    return pa.table(
        {
            "document": hits.documents,
            "item": hits.items,
            "coverage": hits.coverage,
            "whole": hits.whole,
            "document_match": pa.array(cut(documents, hits.documents, hits.starts, hits.ends), pa.large_string()),
            "item_match": pa.array(cut(items, hits.items, hits.item_starts, hits.item_ends), pa.large_string()),
        }
    )


def one_of_each_item(hits: Hits, index: ContaminationIndex) -> Hits:
    """Return the hits without those of other forms of an item at the same place.

    Of an item's hits in a document that overlap one stays: a whole one rather than a part, then the longest, then the
    one of greatest coverage.
    """
    groups = index.groups[hits.items]
    if index.distinct == len(index) or not len(groups):
        return hits
    length = hits.ends - hits.starts
    order = np.lexsort((hits.items, -hits.coverage, -length, ~hits.whole, groups, hits.documents))
    kept: list[int] = []
    taken: list[tuple[int, int]] = []
    last = (-1, -1)
    for row in order.tolist():
        key = (int(hits.documents[row]), int(groups[row]))
        if key != last:
            last, taken = key, []
        start, end = int(hits.starts[row]), int(hits.ends[row])
        if not any(start < other_end and other < end for other, other_end in taken):
            taken.append((start, end))
            kept.append(row)
    return hits.take(np.sort(np.array(kept, np.int64)))


def _telling(index: ContaminationIndex, common: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return how many n-grams each item has that aren't common, by place."""
    rows = np.repeat(~common, np.diff(index.posting_bounds))
    return np.bincount(index.posting_items[rows], minlength=len(index)).astype(np.int64)


class _SizesSearch:
    """Looks for the n-grams of several indexes, of a size each, in one go over the texts."""

    def __init__(self, indexes: list[ContaminationIndex]):
        self._sizes = np.array([index.size for index in indexes], np.int64)
        self._folding = indexes[0].folding if indexes else "folded"
        looks = [index.lookup for index in indexes]
        self._grams = np.concatenate([np.zeros(0, np.uint64), *(index.grams for index in indexes)])
        self._gram_bounds = np.cumsum([0, *(len(index.grams) for index in indexes)])
        self._directories = np.concatenate([np.zeros(0, np.int64), *(look.directory for look in looks)])
        self._directory_bounds = np.cumsum([0, *(len(look.directory) for look in looks)])
        self._shifts = np.array([look.shift for look in looks], np.uint64)
        bits = max(6, int(np.ceil(np.log2(max(1, len(self._grams)) * FILTER_BITS))))
        self._beginnings = np.zeros((1 << bits) // 64, np.uint64)
        for index in indexes:
            fill_beginnings(index.words, index.posting_words, index.size, self._beginnings)

    def rows(self, texts: "Texts | TextBuffer") -> list[npt.NDArray[np.int64]]:
        """Return for each index what `gram_hits` returns first: all of its n-grams in the texts."""
        data, offsets = as_buffer(texts)
        out = np.empty((4096, 6), np.int64)
        while True:
            count = find_grams_of_sizes(
                data, offsets, folding_table(self._folding), self._sizes, self._beginnings, self._grams,
                self._gram_bounds, self._directories, self._directory_bounds, self._shifts, out,
            )  # fmt: skip
            if count <= len(out):
                break
            out = np.empty((count, 6), np.int64)
        found = out[:count]
        return [found[found[:, 5] == k, :5] for k in range(len(self._sizes))]


class NGrams:
    """The classical way; see the module.

    Args:
        items: the items' texts.
        size: words in an n-gram.
        short: words in one for items of fewer words than `size`; items with fewer still must stand there in all.
        least: share of an item's n-grams from which on it counts as whole; any makes it a part.
        most_items: n-grams that more items than this have are boilerplate.
        most_documents: n-grams that more documents than this have are boilerplate too; see `counted`.
        groups: see `ContaminationIndex.build`.
    """

    def __init__(
        self,
        items: "Texts | TextBuffer",
        *,
        size: int = 13,
        short: int = 8,
        least: float = 0.0,
        most_items: int = MOST_ITEMS,
        most_documents: int | None = None,
        groups: Sequence[int] | None = None,
    ) -> None:
        if not 1 <= short <= size:
            msg = f"the n-grams of short items ({short}) have from one word to those of long ones ({size})"
            raise ConfigError(msg)
        self._least = least
        self._most = most_documents
        array = ContaminationIndex.build(items, size=1, groups=groups)
        lengths = np.diff(array.bounds)
        self._groups: list[tuple[ContaminationIndex, npt.NDArray[np.int64]]] = []
        sizes = np.where(lengths >= size, size, np.where(lengths >= short, short, lengths))
        for one in np.unique(sizes).tolist():
            rows = np.flatnonzero(sizes == one)
            forms = array.groups[rows].tolist()
            index = ContaminationIndex.build(array.items.take(rows), size=one, groups=forms)
            self._groups.append((index, rows))
        self._shared = [index.items_with > most_items for index, _ in self._groups]
        self._common = self._shared
        self._search = _SizesSearch([index for index, _ in self._groups])
        self.index = array

    def counted(self, counts: list[npt.NDArray[np.int64]]) -> None:
        """Leave out n-grams that more than `most_documents` documents have.

        Args:
            counts: what `count` gave for each shard, summed.
        """
        if self._most is not None:
            many = zip(self._shared, counts, strict=True)
            self._common = [shared | (count > self._most) for shared, count in many]

    def left_out(self) -> npt.NDArray[np.int64]:
        """Return the items of `index` that can't be found, as all of their n-grams are boilerplate."""
        found = [
            names[_telling(index, common) == 0]
            for (index, names), common in zip(self._groups, self._common, strict=True)
        ]
        return np.sort(np.concatenate([np.zeros(0, np.int64), *found]))

    @property
    def sizes(self) -> list[int]:
        """How many n-grams there are of each size, as `count` counts them."""
        return [len(index.grams) for index, _ in self._groups]

    def phrase(self, gram: int) -> str:
        """Return an n-gram, by its number among those of all sizes, as it stands in an item."""
        bounds = np.cumsum(self.sizes)
        which = int(np.searchsorted(bounds, gram, side="right"))
        index = self._groups[which][0]
        return index.phrase(gram - int(bounds[which]) + len(index.grams))

    def count(self, texts: "Texts | TextBuffer") -> list[npt.NDArray[np.int64]]:
        """Return for each size of n-gram how many of the texts have each n-gram."""
        counts = []
        for (index, _), rows in zip(self._groups, self._search.rows(texts), strict=True):
            pairs = np.unique(rows[:, :2], axis=0)
            counts.append(np.bincount(pairs[:, 1], minlength=len(index.grams)).astype(np.int64))
        return counts

    def find(self, texts: "Texts | TextBuffer") -> Hits:
        """Find the items in each text; hits name items of `index`."""
        parts = [
            self._find(found, index, names, common)
            for (index, names), common, found in zip(self._groups, self._common, self._search.rows(texts), strict=True)
        ]
        hits = Hits(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        return hits.take(np.lexsort((hits.items, hits.starts, hits.documents)))

    def _find(
        self,
        rows: npt.NDArray[np.int64],
        index: ContaminationIndex,
        names: npt.NDArray[np.int64],
        common: npt.NDArray[np.bool_],
    ) -> Hits:
        postings = _postings(rows, index)
        postings = postings[~common[rows[postings[:, 0], 1]]]
        documents, items = rows[postings[:, 0], 0], index.posting_items[postings[:, 1]]
        words = index.posting_words[postings[:, 1]]
        pairs, which = np.unique(np.stack([documents, items], axis=1), axis=0, return_inverse=True)
        n = len(pairs)
        distinct = np.unique(np.stack([which.reshape(-1), words], axis=1), axis=0)
        found = np.bincount(distinct[:, 0], minlength=n)
        coverage = found / _telling(index, common)[pairs[:, 1]]
        starts, ends = np.full(n, np.iinfo(np.int64).max), np.zeros(n, np.int64)
        np.minimum.at(starts, which.reshape(-1), rows[postings[:, 0], 3])
        np.maximum.at(ends, which.reshape(-1), rows[postings[:, 0], 4])
        first, last = np.full(n, np.iinfo(np.int64).max), np.zeros(n, np.int64)
        np.minimum.at(first, which.reshape(-1), words)
        np.maximum.at(last, which.reshape(-1), words + index.size - 1)
        whole = coverage >= max(self._least, 1e-12)
        return Hits(
            pairs[:, 0], names[pairs[:, 1]], coverage, whole, starts, ends, index.starts[first], index.ends[last]
        )
