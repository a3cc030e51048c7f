"""Sets of shingles: the hashes of each run of a few words or characters of a text (Broder 1997)."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.scorers.dedup.shingle_kernels import hash_shingles
from tamis.scorers.dedup.words import Folding, folding_table
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["ShingleHash", "ShingleSets", "ShingleUnit", "Shingles"]

ShingleUnit: TypeAlias = Literal["words", "characters"]

ShingleHash: TypeAlias = Literal["mix64", "sha1"]
"""`sha1`: the first 64 bits of the SHA-1 of the shingle's UTF-8, words joined by one blank, little-endian, as
datasketch's `sha1_hash64` (its low half is `sha1_hash32`). `mix64`, many times faster: with the word's value m =
mix64(FNV-1a of its folded code points, 64 bits) or the character's code point, mix64(sum of m_i *
0x9E3779B97F4A7C15^(size - 1 - i))."""

_LARGEST = 1024


class ShingleSets(NamedTuple):
    """Sets of 64-bit hashes: set `i` is `hashes[bounds[i]:bounds[i + 1]]`, ascending and each once."""

    bounds: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def take(self, rows: npt.NDArray[np.int64]) -> "ShingleSets":
        """Return the sets of some rows, in that order."""
        sizes = np.diff(self.bounds)[rows]
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        places = np.repeat(self.bounds[:-1][rows] - bounds[:-1], sizes) + np.arange(bounds[-1])
        return ShingleSets(bounds, self.hashes[places])

    @classmethod
    def concatenate(cls, parts: "list[ShingleSets]") -> "ShingleSets":
        """Return the sets of all parts, one after the other."""
        sizes = [np.diff(part.bounds) for part in parts]
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate([np.zeros(0, np.int64), *sizes]))])
        return cls(bounds, np.concatenate([np.zeros(0, np.uint64), *(part.hashes for part in parts)]))


@dataclass(frozen=True)
class Shingles:
    """What a text is cut into.

    Attributes:
        unit: words or characters; characters are those of the folded text, words joined by one blank.
        size: units in a shingle, 1 to 1024.
        folding: see `tamis.scorers.dedup.words`.
        hash: see `ShingleHash`.
    """

    unit: ShingleUnit = "words"
    size: int = 5
    folding: Folding = "simplified"
    hash: ShingleHash = "mix64"

    def __post_init__(self) -> None:
        if self.unit not in ("words", "characters"):
            msg = f"shingles are of words or characters, not {self.unit!r}"
            raise ConfigError(msg)
        if not 1 <= self.size <= _LARGEST:
            msg = f"a shingle has 1 to {_LARGEST} {self.unit}, not {self.size}"
            raise ConfigError(msg)
        if self.hash not in ("mix64", "sha1"):
            msg = f"shingles are hashed by mix64 or sha1, not {self.hash!r}"
            raise ConfigError(msg)

    @property
    def arguments(self) -> tuple[npt.NDArray[np.uint32], bool, int, bool]:
        """What the kernels take: the folding's table, whether units are words, the size, whether SHA-1 hashes."""
        return folding_table(self.folding), self.unit == "words", self.size, self.hash == "sha1"

    def sequences(self, texts: "Texts | TextBuffer") -> ShingleSets:
        """Return the hashes of each text's shingles in the order of the text, repeats included (so no sets yet)."""
        data, offsets = as_buffer(texts)
        room = int(offsets[-1] - offsets[0]) * (1 if self.unit == "words" else 2) + len(offsets) + 1
        out = np.empty(room, np.uint64)
        bounds = np.empty(len(offsets), np.int64)
        hash_shingles(data, offsets, *self.arguments, out, bounds)
        return ShingleSets(bounds, out[: bounds[-1]])

    def sets(self, texts: "Texts | TextBuffer") -> ShingleSets:
        """Return the set of shingles of each text; empty for a text that is shorter than a shingle."""
        bounds, hashes = self.sequences(texts)
        parts = []
        sizes = np.zeros(len(bounds) - 1, np.int64)
        for row in range(len(bounds) - 1):
            part = hashes[bounds[row] : bounds[row + 1]]
            part.sort()
            if len(part) > 1:
                fresh = np.empty(len(part), np.bool_)
                fresh[0] = True
                np.not_equal(part[1:], part[:-1], out=fresh[1:])
                part = part[fresh]
            sizes[row] = len(part)
            parts.append(part)
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        return ShingleSets(ends, np.concatenate([np.zeros(0, np.uint64), *parts]))
