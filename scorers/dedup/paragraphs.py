"""Lines or paragraphs that a corpus has more than once, as cc_net (Wenzek et al. 2020, arXiv:1911.00359) removes them.

1. A shard's texts -> units and their keys (`units`) -> what it has of each key (`tally`).
2. A partition's tallies -> the keys whose copies go, with the first copy of each (`repeated`).
3. A shard's units and those keys -> spans to remove (`spans`), a unit with the line breaks behind it; where the last
   units of a text go, those before them go.

Units are equal if their folded words are; keys are 64-bit hashes of them, so that a unit is taken for a copy by mistake
with a chance of (units compared) / 2^64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.scorers.dedup.bands import partition_of
from tamis.scorers.dedup.copies import CopyRows, KeyTally
from tamis.scorers.dedup.cuts import Cuts
from tamis.scorers.dedup.near_duplicates import Shard, document_numbers
from tamis.scorers.dedup.paragraph_kernels import find_units, hash_units
from tamis.scorers.dedup.words import Folding, folding_table
from tamis.scorers.text.noise import id_words
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["RepeatedParagraphs", "Units"]


class Units(NamedTuple):
    """The lines or paragraphs of some texts, by text and place.

    Attributes:
        texts: row of the text, int64 (n,).
        starts: first byte in the text.
        ends: byte after the last.
        nexts: first byte of what follows its line breaks.
        keys: hash of its folded words, uint64; 0 where it takes no part, having too few.
    """

    texts: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    nexts: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64]


def _ordinals(texts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return each unit's number in its text."""
    return np.arange(len(texts)) - np.searchsorted(texts, texts)


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
        keys[:count][words[:count] < self.least_words] = 0
        return Units(texts_of[:count], starts[:count], ends[:count], nexts[:count], keys[:count])

    def located(self, texts: "Texts | TextBuffer", keys: npt.NDArray[np.uint64]) -> Units:
        """Return the units of texts whose keys are known, as `units` gave them: no word is looked at again."""
        data, offsets = as_buffer(texts)
        texts_of, starts, ends, nexts = (np.empty(len(keys), np.int64) for _ in range(4))
        find_units(data, offsets, 1 if self.unit == "lines" else 2, texts_of, starts, ends, nexts)
        return Units(texts_of, starts, ends, nexts, keys)

    @staticmethod
    def tally(
        texts: npt.NDArray[np.int64],
        keys: npt.NDArray[np.uint64],
        documents: npt.NDArray[np.uint64],
        ids: npt.NDArray[np.uint64],
    ) -> KeyTally:
        """Return what of each key a shard has; places are units' numbers in their texts.

        Args:
            texts: of its units, see `Units`.
            keys: likewise.
            documents: the numbers of its texts, ascending (texts,).
            ids: their ids, uint64 (texts, 2).
        """
        part = np.flatnonzero(keys)
        return KeyTally.of(CopyRows(keys[part], documents[texts[part]], _ordinals(texts)[part]), documents, ids)

    def repeated(self, tallies: Sequence[KeyTally]) -> KeyTally:
        """Return the keys of a partition whose copies go, from the tallies of all shards."""
        whole = KeyTally.joined(tallies)
        return whole.take((whole.counts > 1) & (whole.holders >= self.least_documents))

    def spans(
        self,
        units: Units,
        repeated: KeyTally,
        documents: npt.NDArray[np.uint64],
        known: npt.NDArray[np.uint64] | None = None,
    ) -> Cuts:
        """Return what of some texts goes.

        Args:
            units: theirs.
            repeated: the keys whose copies go, of all partitions, ascending; the first copies are by `documents` and
                `places`.
            documents: the texts' numbers.
            known: keys that earlier runs have kept, ascending: all copies of them go.
        """
        goes = np.zeros(len(units.keys), np.bool_)
        part = np.flatnonzero(units.keys)
        if len(repeated.keys):
            places = np.minimum(np.searchsorted(repeated.keys, units.keys[part]), len(repeated.keys) - 1)
            found = repeated.keys[places] == units.keys[part]
            if self.keep == "first":
                found &= (repeated.documents[places] != documents[units.texts[part]]) | (
                    repeated.places[places] != _ordinals(units.texts)[part]
                )
            goes[part[found]] = True
        if known is not None and len(known):
            places = np.minimum(np.searchsorted(known, units.keys[part]), len(known) - 1)
            goes[part[known[places] == units.keys[part]]] = True
        starts, ends = units.starts.copy(), units.nexts
        # where the last units of a text go, so do the line breaks before them
        last = np.ones(len(goes), np.bool_)
        last[:-1] = units.texts[1:] != units.texts[:-1]
        kept = np.maximum.accumulate(np.where(goes, -1, np.arange(len(goes))))[last & goes]
        kept = kept[(kept >= 0) & (units.texts[kept] == units.texts[last & goes])]
        starts[kept + 1] = units.ends[kept]
        return Cuts(units.texts[goes], starts[goes], ends[goes])

    def find(
        self, shards: Sequence[Shard], *, partitions: int = 1, known: npt.NDArray[np.uint64] | None = None
    ) -> list[Cuts]:
        """Return what goes of each of some shards in memory; the result doesn't depend on sharding or partitions."""
        units = [self.units(shard.texts) for shard in shards]
        ids = [id_words(shard.ids) for shard in shards]
        numbers = [document_numbers(i, len(one)) for i, one in enumerate(ids)]
        tallies = [self.tally(one.texts, one.keys, *of) for one, *of in zip(units, numbers, ids, strict=True)]
        owners = [partition_of(one.keys, partitions) for one in tallies]
        parts = [
            self.repeated([one.take(owner == part) for one, owner in zip(tallies, owners, strict=True)])
            for part in range(partitions)
        ]
        repeated = KeyTally.joined(parts).in_order()
        return [self.spans(one, repeated, of, known) for one, of in zip(units, numbers, strict=True)]
