"""MinHash signatures (Broder 1997), equal to those of `datasketch.MinHash` with the same hash, seed and scheme.

A permutation k of the scheme maps a shingle's hash h to

* `affine32`, datasketch's default: `a * fmix32(h mod 2^32) + b` modulo 2^32, with MurmurHash3's finaliser and odd a;
* `affine64`: the same with 64 bits;
* `legacy`, of datasketch before 2.0: `((a * h + b) mod 2^64 mod 2^61 - 1) mod 2^32` with h modulo 2^32.

Entry k of the signature is the least value over the text's shingles, and two texts' entries agree with a probability
that is the Jaccard similarity of their sets.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.scorers.dedup.shingle_kernels import AFFINE32, AFFINE64, LEGACY, sign_texts
from tamis.scorers.dedup.shingles import Shingles
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["MinHash", "Permutations", "Scheme", "Signatures"]

Scheme: TypeAlias = Literal["affine32", "affine64", "legacy"]
"""The family of permutations; see the module."""

_CODES = {"affine32": AFFINE32, "affine64": AFFINE64, "legacy": LEGACY}
_WIDTHS = {"affine32": 32, "affine64": 64, "legacy": 32}
_MERSENNE = np.uint64((1 << 61) - 1)


@dataclass(frozen=True)
class Permutations:
    """The permutations of a signature: those that `datasketch.MinHash(num_perm, seed, scheme=scheme)` draws.

    Attributes:
        count: how many.
        seed: datasketch's seed, 0 to 2^32 - 1.
        scheme: see the module.
    """

    count: int
    seed: int = 1
    scheme: Scheme = "affine32"

    def __post_init__(self) -> None:
        if self.count < 1:
            msg = f"a signature needs at least one permutation, not {self.count}"
            raise ConfigError(msg)
        if not 0 <= self.seed < 2**32:
            msg = f"the seed of MinHash's permutations must be from 0 to 2^32 - 1, not {self.seed}"
            raise ConfigError(msg)
        if self.scheme not in get_args(Scheme):
            msg = f"MinHash's permutations are one of {', '.join(get_args(Scheme))}, not {self.scheme!r}"
            raise ConfigError(msg)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The type of a signature's entries: uint32, or uint64 for `affine64`."""
        return np.dtype(np.uint64 if _WIDTHS[self.scheme] == 64 else np.uint32)

    def coefficients(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """Return a and b of each permutation, uint64 (count,)."""
        draw = np.random.RandomState(self.seed)
        if self.scheme == "legacy":
            pairs = [
                (draw.randint(1, _MERSENNE, dtype=np.uint64), draw.randint(0, _MERSENNE, dtype=np.uint64))
                for _ in range(self.count)
            ]
            both = np.array(pairs, np.uint64)
            return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])
        width, kind = _WIDTHS[self.scheme], self.dtype.type
        a = draw.randint(0, 1 << (width - 1), self.count, dtype=kind) * kind(2) + kind(1)
        b = draw.randint(0, 1 << width, self.count, dtype=kind)
        return a.astype(np.uint64), b.astype(np.uint64)


class Signatures(NamedTuple):
    """The signatures of a batch of texts.

    Attributes:
        minima: (n, permutations) of the scheme's type; the largest value throughout for a text without shingles.
        counts: number of shingles of each text, repeats included, int64 (n,). Where it is 0 the text is shorter than a
            shingle, and takes no part in matching: its signature is a placeholder.
        digests: uint64 (n,); equal wherever the texts have the same shingles in the same order.
    """

    minima: npt.NDArray[np.unsignedinteger]
    counts: npt.NDArray[np.int64]
    digests: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.counts)


class MinHash:
    """Signs texts.

    Args:
        shingles: what a text is cut into.
        permutations: the permutations.
    """

    def __init__(self, shingles: Shingles, permutations: Permutations) -> None:
        self.shingles = shingles
        self.permutations = permutations
        self._a, self._b = permutations.coefficients()

    def sign(self, texts: "Texts | TextBuffer") -> Signatures:
        """Return the signatures of texts; nothing depends on how texts are batched."""
        data, offsets = as_buffer(texts)
        rows = len(offsets) - 1
        kind = self.permutations.dtype
        minima = np.full((rows, self.permutations.count), np.iinfo(kind).max, np.uint64)
        counts = np.empty(rows, np.int64)
        digests = np.empty(rows, np.uint64)
        code = _CODES[self.permutations.scheme]
        sign_texts(data, offsets, *self.shingles.arguments, code, self._a, self._b, minima, counts, digests)
        return Signatures(minima.astype(kind), counts, digests)
