"""Repeated substrings of at least N bytes over a corpus in shards, found exactly, out of core.

A window is N consecutive bytes of one document; windows of different documents or places that are equal are copies.
What goes are the bytes of each copy that isn't the first in canonical order, but for those that a first copy has: so
one copy of everything stays whole. Stretches are narrowed to whole characters; short gaps between them may go too.

1. A shard's texts -> anchors (`anchors`): each window's first k-gram of bytes of least hash, which follows from the
   window alone, so equal windows have equal ones (winnowing: Schleimer, Wilkerson and Aiken 2003); consecutive windows
   share theirs, one anchor in (N - k + 2) / 2 bytes on random ones.
2. A partition's anchors of all shards -> those that occur twice (`repeated_anchors`).
3. A shard's texts and repeated anchors -> the keys of all windows that have one (`windows`): no other can be a copy.
4. A partition's windows -> stretches of first and later copies (`compare_windows`).
5. A shard's stretches -> spans to remove (`spans`).

Keys are 64-bit hashes: a window is taken for a copy by mistake with a chance of (windows compared) / 2^64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.scorers.dedup.bands import partition_of
from tamis.scorers.dedup.copies import CopyRows, first_copies, taken
from tamis.scorers.dedup.cuts import Cuts
from tamis.scorers.dedup.near_duplicates import Shard, document_numbers
from tamis.scorers.dedup.shared_keys import rows_of_shared_keys
from tamis.scorers.dedup.substrings_kernels import find_anchors, mark_spans, window_keys
from tamis.scorers.text.noise import id_words
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["Anchors", "RepeatedSubstrings", "Stretches", "WindowRuns", "compare_windows", "repeated_anchors"]


class Anchors(NamedTuple):
    """The anchors of a shard's windows, by text and place: a run of consecutive windows that have one.

    Attributes:
        hashes: of the anchor, uint64 (n,); the first bits say which partition it belongs to.
        texts: row of the text in the shard, int64.
        starts: first byte of the first window in the text; the run goes on to the text's next one.
    """

    hashes: npt.NDArray[np.uint64]
    texts: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]

    def to_send(self) -> npt.NDArray[np.uint64]:
        """Return the different hashes, those that occur several times twice."""
        distinct, counts = np.unique(self.hashes, return_counts=True)
        return np.repeat(distinct, np.minimum(counts, 2))


class WindowRuns(NamedTuple):
    """Runs of consecutive windows, by document and place.

    Attributes:
        hashes: of the anchor, uint64 (n,).
        documents: number of the document.
        starts: first byte of the first window in the text, int64.
        counts: how many windows.
        keys: of all windows, run after run, uint64 (sum of counts,).
    """

    hashes: npt.NDArray[np.uint64]
    documents: npt.NDArray[np.uint64]
    starts: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64]

    def split(self, partitions: int) -> "list[WindowRuns]":
        """Return the runs of each partition, in their order."""
        parts = partition_of(self.hashes, partitions)
        of_keys = np.repeat(parts, self.counts)
        found = []
        for part in range(partitions):
            mine = parts == part
            hashes, documents, starts, counts = taken(self[:4], mine)
            found.append(WindowRuns(hashes, documents, starts, counts, self.keys[of_keys == part]))
        return found

    @classmethod
    def concatenate(cls, parts: "Sequence[WindowRuns]") -> "WindowRuns":
        """Return the runs of all parts."""
        none = np.zeros(0, np.int64)
        empty = cls(none.astype(np.uint64), none.astype(np.uint64), none, none, none.astype(np.uint64))
        return cls(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))


class Stretches(NamedTuple):
    """Consecutive windows that are all first copies or all later ones, by document and place.

    Attributes:
        documents: number of the document, uint64 (n,).
        starts: first byte of the first window, int64.
        counts: how many windows.
        first: whether they are the first copies.
    """

    documents: npt.NDArray[np.uint64]
    starts: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    first: npt.NDArray[np.bool_]

    def in_order(self) -> "Stretches":
        """Return them by document and place."""
        order = np.lexsort((self.starts, self.documents))
        return Stretches(*taken(self, order))


def repeated_anchors(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the hashes that occur more than once among those of a partition, ascending, each once."""
    return np.unique(hashes[rows_of_shared_keys(hashes)])


def compare_windows(runs: WindowRuns, documents: npt.NDArray[np.uint64], ids: npt.NDArray[np.uint64]) -> Stretches:
    """Compare the windows of a partition; the result is the same for any order and sharding.

    Args:
        runs: all runs of the partition.
        documents: numbers of the documents that they name, ascending, each once (m,).
        ids: those documents' ids, uint64 (m, 2).

    Raises:
        DataError: if a document of the runs is missing.
    """
    ends = np.cumsum(runs.counts)
    owners = np.repeat(np.arange(len(runs.counts)), runs.counts)
    places = runs.starts[owners] + np.arange(len(runs.keys)) - (ends - runs.counts)[owners]
    rows, first = first_copies(CopyRows(runs.keys, runs.documents[owners], places), documents, ids)
    follows = np.zeros(len(rows), np.bool_)
    follows[1:] = (rows[1:] == rows[:-1] + 1) & (first[1:] == first[:-1]) & (owners[rows[1:]] == owners[rows[:-1]])
    begins = np.flatnonzero(~follows)
    counts = np.diff(np.append(begins, len(rows)))
    heads = rows[begins]
    return Stretches(runs.documents[owners[heads]], places[heads], counts, first[begins])


@dataclass(frozen=True)
class RepeatedSubstrings:
    """What counts as a repeat.

    Attributes:
        length: bytes of a window, N.
        gap: bytes between two stretches that go up to which they go too; 0 for none.
        gram: bytes of an anchor, k; None: half of the length. Longer ones are more, but fewer of them are repeated
            where no window is.
    """

    length: int = 500
    gap: int = 0
    gram: int | None = None

    def __post_init__(self) -> None:
        if self.length < 16:
            msg = f"repeated substrings have at least 16 bytes, not {self.length}"
            raise ConfigError(msg)
        if self.gap < 0:
            msg = f"the gap between repeated substrings can't be negative, as {self.gap} is"
            raise ConfigError(msg)
        if self.gram is not None and not 1 <= self.gram <= self.length:
            msg = f"an anchor has from 1 byte to the length of a repeat ({self.length}), not {self.gram}"
            raise ConfigError(msg)

    @property
    def size(self) -> int:
        """Bytes of an anchor."""
        return self.length // 2 if self.gram is None else self.gram

    def anchors(self, texts: "Texts | TextBuffer") -> Anchors:
        """Return the anchors of texts; those shorter than a window have none."""
        data, offsets = as_buffer(texts)
        window = self.length - self.size + 1
        room = 64 + 4 * int(offsets[-1] - offsets[0]) // (window + 1)
        while True:
            out = Anchors(np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64))
            count = find_anchors(data, offsets, self.size, window, *out)
            if count <= room:
                return Anchors(*taken(out, slice(count)))
            room = count

    def windows(
        self,
        texts: "Texts | TextBuffer",
        found: Anchors,
        repeated: npt.NDArray[np.uint64],
        documents: npt.NDArray[np.uint64],
    ) -> WindowRuns:
        """Return the windows of texts that have a repeated anchor, by text and place.

        Args:
            texts: the texts.
            found: their anchors.
            repeated: the hashes of all partitions that are repeated, ascending.
            documents: the texts' numbers.
        """
        data, offsets = as_buffer(texts)
        places = np.minimum(np.searchsorted(repeated, found.hashes), max(len(repeated) - 1, 0))
        again = np.flatnonzero(repeated[places] == found.hashes) if len(repeated) else np.zeros(0, np.int64)
        sizes = np.diff(offsets)
        stops = np.append(found.starts[1:], 0)
        last = np.append(found.texts[1:] != found.texts[:-1], True) if len(found.texts) else np.zeros(0, np.bool_)
        stops = np.where(last, sizes[found.texts] - self.length + 1, stops[: len(found.texts)])
        rows, starts = found.texts[again], found.starts[again]
        counts = stops[again] - starts
        keys = np.empty(int(counts.sum()), np.uint64)
        window_keys(data, offsets[rows] + starts, counts, self.length, keys)
        return WindowRuns(found.hashes[again], documents[rows], starts, counts, keys)

    def spans(
        self,
        texts: "Texts | TextBuffer",
        rows: npt.NDArray[np.int64],
        starts: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        first: npt.NDArray[np.bool_],
    ) -> Cuts:
        """Return what of texts goes.

        Args:
            texts: the texts.
            rows: the text of each stretch, ascending.
            starts: as those of `Stretches`, ascending within a text.
            counts: likewise.
            first: likewise.
        """
        data, offsets = as_buffer(texts)
        out = np.empty((64 + len(rows), 3), np.int64)
        while True:
            count = mark_spans(data, offsets, rows, starts, counts, first, self.length, self.gap, out)
            if count <= len(out):
                break
            out = np.empty((count, 3), np.int64)
        return Cuts(*(np.ascontiguousarray(out[:count, i]) for i in range(3)))

    def find(self, shards: Sequence[Shard], *, partitions: int = 1) -> list[Cuts]:
        """Return what goes of each of some shards in memory; the result doesn't depend on sharding or partitions."""
        found = [self.anchors(shard.texts) for shard in shards]
        sent = [one.to_send() for one in found]
        repeated = []
        for part in range(partitions):
            hashes = [one[partition_of(one, partitions) == part] for one in sent]
            repeated.append(repeated_anchors(np.concatenate([np.zeros(0, np.uint64), *hashes])))
        known = np.sort(np.concatenate([np.zeros(0, np.uint64), *repeated]))
        ids = [id_words(shard.ids) for shard in shards]
        numbers = [document_numbers(i, len(one)) for i, one in enumerate(ids)]
        runs = [
            self.windows(shard.texts, one, known, of).split(partitions)
            for shard, one, of in zip(shards, found, numbers, strict=True)
        ]
        documents = np.concatenate([np.zeros(0, np.uint64), *numbers])
        names = np.concatenate([np.zeros((0, 2), np.uint64), *ids])
        parts = [
            compare_windows(WindowRuns.concatenate([one[part] for one in runs]), documents, names)
            for part in range(partitions)
        ]
        whole = Stretches(*(np.concatenate(columns) for columns in zip(*parts, strict=True))).in_order()
        bounds = np.searchsorted(whole.documents, np.arange(len(shards) + 1, dtype=np.uint64) << np.uint64(32))
        cuts = []
        for i, shard in enumerate(shards):
            mine = slice(bounds[i], bounds[i + 1])
            rows = (whole.documents[mine] & np.uint64(0xFFFFFFFF)).astype(np.int64)
            cuts.append(self.spans(shard.texts, rows, whole.starts[mine], whole.counts[mine], whole.first[mine]))
        return cuts
