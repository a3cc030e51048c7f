"""Lines or paragraphs that a corpus has more than once, as cc_net (Wenzek et al. 2020, arXiv:1911.00359) removes them.

1. A shard's texts -> units and their keys (`units`).
2. A partition's keys -> first and later copies (`tamis.scorers.dedup.copies.compare_copies`).
3. A shard's copies -> spans to remove (`spans`), a unit with the line breaks behind it; where the last units of a text
   go, those before them go.

Units are equal if their folded words are; keys are 64-bit hashes of them, so that a unit is taken for a copy by mistake
with a chance of (units compared) / 2^64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.scorers.dedup.copies import Copies, CopyRows, copies_by_shard
from tamis.scorers.dedup.cuts import Cuts
from tamis.scorers.dedup.near_duplicates import Shard, document_numbers
from tamis.scorers.dedup.paragraph_kernels import hash_units
from tamis.scorers.dedup.words import Folding, folding_table
from tamis.scorers.text.noise import id_words
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["RepeatedParagraphs", "Units"]


class Units(NamedTuple):
    """The lines or paragraphs of a shard's texts, by text and place.

    Attributes:
        texts: row of the text in the shard, int64 (n,).
        starts: first byte in the text.
        ends: byte after the last.
        nexts: first byte of what follows its line breaks.
        keys: hash of its folded words, uint64; 0 without words.
        words: number of words.
    """

    texts: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    nexts: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64]
    words: npt.NDArray[np.int64]


@dataclass(frozen=True)
class RepeatedParagraphs:
    """What counts as a repeat, and what goes.

    Attributes:
        unit: `lines`, parted by a line break, or `paragraphs`, parted by two or more.
        keep: `first`, in canonical order (by document id, then place), or `none` of the copies.
        folding: see `tamis.scorers.dedup.words`.
        least_words: units of fewer words take no part.
        least_documents: copies in fewer different documents stay.
    """

    unit: Literal["lines", "paragraphs"] = "lines"
    keep: Literal["first", "none"] = "first"
    folding: Folding = "simplified"
    least_words: int = 1
    least_documents: int = 1

    def __post_init__(self) -> None:
        if self.unit not in ("lines", "paragraphs") or self.keep not in ("first", "none"):
            msg = (
                f"lines or paragraphs are removed, the first or none of them kept, not {self.unit!r} and {self.keep!r}"
            )
            raise ConfigError(msg)
        if self.least_words < 1 or self.least_documents < 1:
            msg = "least_words and least_documents are at least 1"
            raise ConfigError(msg)

    def units(self, texts: "Texts | TextBuffer") -> Units:
        """Return all lines or paragraphs of texts."""
        data, offsets = as_buffer(texts)
        room = 64 + len(offsets) + int(np.count_nonzero(data[offsets[0] : offsets[-1]] == ord("\n")))
        texts_of, starts, ends, nexts, words = (np.empty(room, np.int64) for _ in range(5))
        keys = np.empty(room, np.uint64)
        breaks = 1 if self.unit == "lines" else 2
        table = folding_table(self.folding)
        count = hash_units(data, offsets, table, breaks, texts_of, starts, ends, nexts, keys, words)
        return Units(texts_of[:count], starts[:count], ends[:count], nexts[:count], keys[:count], words[:count])

    def rows(self, units: Units, shard: int, texts: int) -> CopyRows:
        """Return the rows that take part, in the units' order; see `taking_part`.

        Args:
            units: a shard's units.
            shard: the shard's number.
            texts: its number of texts.
        """
        part = self.taking_part(units)
        return CopyRows(units.keys[part], document_numbers(shard, texts)[units.texts[part]], units.starts[part])

    def taking_part(self, units: Units) -> npt.NDArray[np.int64]:
        """Return the units that take part, int64 (rows,)."""
        return np.flatnonzero(units.words >= self.least_words)

    def spans(self, units: Units, copies: Copies, known: npt.NDArray[np.uint64] | None = None) -> Cuts:
        """Return what of a shard's texts goes.

        Args:
            units: the shard's units.
            copies: those that are repeated, by row of `rows`.
            known: keys that earlier runs have kept, ascending: all copies of them go.
        """
        part = self.taking_part(units)
        goes = np.zeros(len(units.keys), np.bool_)
        wanted = (copies.documents >= self.least_documents) & (~copies.first if self.keep == "first" else True)
        goes[part[copies.rows[wanted]]] = True
        if known is not None and len(known):
            places = np.minimum(np.searchsorted(known, units.keys[part]), len(known) - 1)
            goes[part[known[places] == units.keys[part]]] = True
        starts, ends = units.starts.copy(), units.nexts
        # where the last units of a text go, so do the line breaks before them
        last = np.ones(len(goes), np.bool_)
        last[:-1] = units.texts[1:] != units.texts[:-1]
        for row in np.flatnonzero(last & goes).tolist():
            first = row
            while first and goes[first - 1] and units.texts[first - 1] == units.texts[row]:
                first -= 1
            if first and units.texts[first - 1] == units.texts[row]:
                starts[first] = units.ends[first - 1]
        return Cuts(units.texts[goes], starts[goes], ends[goes])

    def find(
        self, shards: Sequence[Shard], *, partitions: int = 1, known: npt.NDArray[np.uint64] | None = None
    ) -> list[Cuts]:
        """Return what goes of each of some shards in memory; the result doesn't depend on sharding or partitions."""
        units = [self.units(shard.texts) for shard in shards]
        ids = [id_words(shard.ids) for shard in shards]
        rows = [self.rows(one, i, len(ids[i])) for i, one in enumerate(units)]
        return [
            self.spans(one, copies, known)
            for one, copies in zip(units, copies_by_shard(rows, ids, partitions), strict=True)
        ]
