"""Repeated substrings of at least N bytes over a corpus in shards, found exactly, out of core.

A window is N consecutive bytes of one document; windows of different documents or places that are equal are copies.
What goes are the bytes of each copy that isn't the first in canonical order, but for those that a first copy has: so
one copy of everything stays whole. Stretches are narrowed to whole characters; short gaps between them may go too.

1. A shard's texts -> fingerprints (`fingerprint`): of each N - k + 1 consecutive k-grams of bytes the least hash, one
   in (N - k + 2) / 2 on random bytes. Two equal windows have an equal one (winnowing: Schleimer, Wilkerson and Aiken
2003). 2. A partition's fingerprints -> those that occur twice, or beside an equal one (`repeated_fingerprints`). 3. A
shard's texts and repeated fingerprints -> the keys of all windows that hold one (`windows`): no other can be a copy.
4. A partition's windows -> first and later copies (`tamis.scorers.dedup.copies.compare_copies`). 5. A shard's copies
-> spans to remove (`spans`).

Keys are 64-bit hashes: a window is taken for a copy by mistake with a chance of (windows compared) / 2^64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.scorers.dedup.bands import partition_of
from tamis.scorers.dedup.copies import Copies, CopyRows, copies_by_shard
from tamis.scorers.dedup.cuts import Cuts
from tamis.scorers.dedup.near_duplicates import Shard, document_numbers
from tamis.scorers.dedup.shared_keys import rows_of_shared_keys
from tamis.scorers.dedup.substrings_kernels import count_windows, fingerprints, mark_spans, window_keys
from tamis.scorers.text.noise import id_words
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["Fingerprints", "RepeatedSubstrings", "repeated_fingerprints"]


class Fingerprints(NamedTuple):
    """Fingerprints of a shard, by text and place.

    Attributes:
        hashes: uint64 (n,); the first bits say which partition each belongs to.
        texts: row of the text in the shard, int64.
        places: first byte in the text.
        tied: whether an equal one stands so near that both are in one window.
    """

    hashes: npt.NDArray[np.uint64]
    texts: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    tied: npt.NDArray[np.bool_]

    def partitions(self, count: int) -> npt.NDArray[np.int64]:
        """Return each fingerprint's partition."""
        return partition_of(self.hashes, count)

    def take(self, rows: npt.NDArray[np.int64]) -> "Fingerprints":
        """Return some of them."""
        return Fingerprints(self.hashes[rows], self.texts[rows], self.places[rows], self.tied[rows])


def repeated_fingerprints(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the hashes that occur more than once among those of a partition, ascending, each once."""
    return np.unique(hashes[rows_of_shared_keys(hashes)])


@dataclass(frozen=True)
class RepeatedSubstrings:
    """What counts as a repeat.

    Attributes:
        length: bytes of a window, N.
        gap: bytes between two stretches that go up to which they go too; 0 for none.
        gram: bytes of a fingerprint, k; None: a tenth of the length, from 8 to 50.
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
            msg = f"a fingerprint has from 1 byte to the length of a repeat ({self.length}), not {self.gram}"
            raise ConfigError(msg)

    @property
    def size(self) -> int:
        """Bytes of a fingerprint."""
        return min(max(self.length // 10, 8), 50) if self.gram is None else self.gram

    def fingerprint(self, texts: "Texts | TextBuffer") -> Fingerprints:
        """Return the fingerprints of texts; those shorter than a window have none."""
        data, offsets = as_buffer(texts)
        window = self.length - self.size + 1
        room = 64 + 4 * int(offsets[-1] - offsets[0]) // (window + 1)
        while True:
            out = Fingerprints(
                np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64), np.zeros(room, np.bool_)
            )
            count = fingerprints(data, offsets, self.size, window, *out)
            if count <= room:
                return out.take(np.arange(count))
            room = count

    def windows(
        self, texts: "Texts | TextBuffer", found: Fingerprints, repeated: npt.NDArray[np.uint64], shard: int
    ) -> CopyRows:
        """Return the windows of a shard's texts that hold a repeated fingerprint, by text and place.

        Args:
            texts: the shard's texts.
            found: their fingerprints.
            repeated: the hashes of all partitions that are repeated, ascending.
            shard: the shard's number.
        """
        data, offsets = as_buffer(texts)
        places = np.searchsorted(repeated, found.hashes)
        again = found.tied.copy()
        inside = places < len(repeated)
        again[inside] |= repeated[places[inside]] == found.hashes[inside]
        held = found.take(np.flatnonzero(again))
        count = count_windows(offsets, held.texts, held.places, self.size, self.length)
        keys, rows, starts = np.empty(count, np.uint64), np.empty(count, np.int64), np.empty(count, np.int64)
        window_keys(data, offsets, held.texts, held.places, self.size, self.length, keys, rows, starts)
        return CopyRows(keys, document_numbers(shard, 0 if not len(offsets) else len(offsets) - 1)[rows], starts)

    def spans(self, texts: "Texts | TextBuffer", windows: CopyRows, copies: Copies) -> Cuts:
        """Return what of a shard's texts goes.

        Args:
            texts: the shard's texts.
            windows: its windows, as `windows` gave them.
            copies: those that are repeated, by row of `windows`.
        """
        data, offsets = as_buffer(texts)
        rows = (windows.documents[copies.rows] & np.uint64(0xFFFFFFFF)).astype(np.int64)
        starts = windows.places[copies.rows]
        out = np.empty((64 + len(rows) // self.length, 3), np.int64)
        while True:
            count = mark_spans(data, offsets, rows, starts, copies.first, self.length, self.gap, out)
            if count <= len(out):
                break
            out = np.empty((count, 3), np.int64)
        return Cuts(*(np.ascontiguousarray(out[:count, i]) for i in range(3)))

    def find(self, shards: Sequence[Shard], *, partitions: int = 1) -> list[Cuts]:
        """Return what goes of each of some shards in memory; the result doesn't depend on sharding or partitions."""
        found = [self.fingerprint(shard.texts) for shard in shards]
        repeated = []
        for part in range(partitions):
            hashes = [one.hashes[one.partitions(partitions) == part] for one in found]
            repeated.append(repeated_fingerprints(np.concatenate([np.zeros(0, np.uint64), *hashes])))
        known = np.concatenate([np.zeros(0, np.uint64), *repeated])
        windows = [self.windows(shard.texts, found[i], known, i) for i, shard in enumerate(shards)]
        ids = [id_words(shard.ids) for shard in shards]
        copies = copies_by_shard(windows, ids, partitions)
        return [self.spans(shard.texts, windows[i], copies[i]) for i, shard in enumerate(shards)]
