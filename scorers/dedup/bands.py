"""Bands of signatures (locality-sensitive hashing): which texts are looked at in pairs, and with what recall.

A signature of b bands of r rows; two texts are candidates where all rows of a band agree, which happens with the
probability 1 - (1 - s^r)^b at Jaccard similarity s (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4).
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.dedup.bands_kernels import band_hashes
from tamis.scorers.dedup.minhash import MinHash, Permutations, Signatures
from tamis.scorers.dedup.shingles import Shingles

__all__ = ["PRESETS", "BandRows", "Bands", "NearDuplicatePreset", "band_rows", "optimal_bands", "partition_of"]


_TWENTIETHS = tuple(i / 20 for i in range(21))


class Bands(NamedTuple):
    """A signature's division.

    Attributes:
        bands: number of bands.
        rows: entries in each.
    """

    bands: int
    rows: int

    @property
    def permutations(self) -> int:
        """Entries that are used of a signature."""
        return self.bands * self.rows

    @property
    def threshold(self) -> float:
        """The similarity at which the curve is steepest, about (1 / bands)^(1 / rows)."""
        return float((1.0 / self.bands) ** (1.0 / self.rows))

    def recall(self, similarity: float) -> float:
        """Return the probability that two texts of this Jaccard similarity become candidates."""
        return float(1.0 - (1.0 - similarity**self.rows) ** self.bands)

    def curve(self, similarities: Sequence[float] = _TWENTIETHS) -> list[tuple[float, float]]:
        """Return (similarity, recall) for each similarity, by default 0, 0.05, ... 1."""
        return [(similarity, self.recall(similarity)) for similarity in similarities]


@functools.cache
def optimal_bands(
    threshold: float, permutations: int, *, false_positive_weight: float = 0.5, false_negative_weight: float = 0.5
) -> Bands:
    """Return the bands and rows that datasketch's `MinHashLSH` takes for a threshold.

    They have the least weighted sum of the two areas between the recall curve and the ideal step: the integral of the
    curve below the threshold, and of its complement above.

    Args:
        threshold: the Jaccard similarity wanted, 0 to 1.
        permutations: the signature's length, at least 2; bands x rows may be less.
        false_positive_weight: weight of the area below the threshold.
        false_negative_weight: weight of the area above.

    Raises:
        ConfigError: if an argument is out of its range.
    """
    from scipy.integrate import quad

    if not 0 <= threshold <= 1:
        msg = f"the threshold of near-duplicates is a Jaccard similarity from 0 to 1, not {threshold}"
        raise ConfigError(msg)
    if permutations < 2:
        msg = f"bands need a signature of at least 2 permutations, not {permutations}"
        raise ConfigError(msg)
    if min(false_positive_weight, false_negative_weight) < 0:
        msg = "the weights of false positives and negatives can't be negative"
        raise ConfigError(msg)
    best, least = Bands(0, 0), float("inf")
    for bands in range(1, permutations + 1):
        for rows in range(1, permutations // bands + 1):
            shape = Bands(bands, rows)
            positives, _ = quad(shape.recall, 0.0, threshold)
            negatives, _ = quad(lambda s, shape=shape: 1.0 - shape.recall(s), threshold, 1.0)
            error = positives * false_positive_weight + negatives * false_negative_weight
            if error < least:
                best, least = shape, error
    return best


class BandRows(NamedTuple):
    """What matching needs of a signature: a row for each band of each document that has shingles.

    Attributes:
        keys: the band's hash, uint64 (n,); the first bits say which partition it belongs to.
        documents: the number of the document, uint64 (n,).
        digests: the digest of the document's shingles, uint64 (n,).
    """

    keys: npt.NDArray[np.uint64]
    documents: npt.NDArray[np.uint64]
    digests: npt.NDArray[np.uint64]

    def split(self, partitions: int) -> "list[BandRows]":
        """Return the rows of each partition: partition p of P has the keys from p/P to (p + 1)/P of the hash space."""
        parts = partition_of(self.keys, partitions)
        order = np.argsort(parts, kind="stable")
        ends = np.cumsum(np.bincount(parts, minlength=partitions))
        cuts = [np.split(column[order], ends[:-1]) for column in self]
        return [BandRows(*columns) for columns in zip(*cuts, strict=True)]

    @classmethod
    def concatenate(cls, parts: "Sequence[BandRows]") -> "BandRows":
        """Return the rows of all parts."""
        empty = np.zeros(0, np.uint64)
        whole = [cls(empty, empty, empty), *parts]
        return cls(*(np.concatenate(columns) for columns in zip(*whole, strict=True)))


def partition_of(keys: npt.NDArray[np.uint64], partitions: int) -> npt.NDArray[np.int64]:
    """Return the partition of each 64-bit hash: the hash space cut into equal ranges, by its upper 32 bits.

    Raises:
        ConfigError: if there isn't at least one partition, or there are more than 2^31.
    """
    if not 1 <= partitions <= 2**31:
        msg = f"the hash space is cut into 1 to 2^31 partitions, not {partitions}"
        raise ConfigError(msg)
    return ((keys >> np.uint64(32)) * np.uint64(partitions) >> np.uint64(32)).astype(np.int64)


def band_rows(signatures: Signatures, bands: Bands, documents: npt.NDArray[np.uint64]) -> BandRows:
    """Return the band rows of a batch; documents without a shingle have none, so they never match.

    Args:
        signatures: their signatures (n, at least bands x rows).
        bands: the division; entries beyond bands x rows aren't used.
        documents: a number for each document (n,), unique in the corpus, such as shard << 32 | row.

    Raises:
        DataError: if the signatures are too short, or the arrays differ in length.
    """
    if signatures.minima.shape[1] < bands.permutations or bands.permutations < 1:
        msg = f"{bands.bands} bands of {bands.rows} need longer signatures than {signatures.minima.shape[1]} entries"
        raise DataError(msg)
    if len(documents) != len(signatures):
        msg = f"{len(signatures)} signatures came with {len(documents)} document numbers"
        raise DataError(msg)
    rows = np.flatnonzero(signatures.counts)
    keys = np.empty((len(rows), bands.bands), np.uint64)
    band_hashes(np.ascontiguousarray(signatures.minima), rows, bands.rows, keys)
    return BandRows(
        keys.reshape(-1), np.repeat(documents[rows], bands.bands), np.repeat(signatures.digests[rows], bands.bands)
    )


class NearDuplicatePreset(NamedTuple):
    """A published recipe's parameters.

    Attributes:
        shingles: what a text is cut into.
        bands: how signatures are divided.
        verify: the least Jaccard similarity of shingles that makes an edge; None: candidates are edges.
    """

    shingles: Shingles
    bands: Bands
    verify: float | None

    def minhash(self, *, seed: int = 1) -> MinHash:
        """Return the signer."""
        return MinHash(self.shingles, Permutations(self.bands.permutations, seed))


PRESETS = {
    "fineweb": NearDuplicatePreset(Shingles("words", 5, "simplified"), Bands(14, 8), None),
    "dolma3": NearDuplicatePreset(Shingles("words", 5, "folded"), Bands(26, 11), 0.8),
}
"""FineWeb (Penedo et al. 2024, arXiv:2406.17557): 5-word shingles of simplified text, 14 bands of 8, unverified.
Dolma 3 (OLMo 3's corpus, 2025): 5-word shingles, 26 bands of 11, true Jaccard similarity of at least 0.8 inside
clusters."""
