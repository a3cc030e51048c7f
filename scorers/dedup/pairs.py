"""Candidate pairs of a partition of the hash space, and which of them are near-duplicates indeed.

Documents with the same shingles in the same order (equal digests in one bucket) are similar by 1 without a look, so
each is tied to the first of them, and only one of each kind is compared with others: a bucket of a million copies costs
a million rows, not 10^12 pairs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import DataError
from tamis.scorers.dedup.bands import BandRows
from tamis.scorers.dedup.pairs_kernels import agreements, bucket_pairs, intersections, large_buckets
from tamis.scorers.dedup.shared_keys import rows_of_shared_keys
from tamis.scorers.dedup.shingles import ShingleSets

__all__ = [
    "NEIGHBOURS",
    "Candidates",
    "Edges",
    "candidate_pairs",
    "unique_pairs",
    "verify_by_sets",
    "verify_by_signatures",
]

NEIGHBOURS = 128
"""Different texts of a bucket that each is compared with; see `candidate_pairs`."""


_SHARD = np.uint64(32)
_ROW = np.uint64(0xFFFFFFFF)


class Edges(NamedTuple):
    """Pairs of documents that are near-duplicates.

    Attributes:
        a: the number of one document, uint64 (n,).
        b: the number of the other, greater.
        similarity: their Jaccard similarity, true or estimated, float64 (n,); NaN where it wasn't looked at.
        same: whether the texts have the same shingles in the same order, so that they count as one text.
    """

    a: npt.NDArray[np.uint64]
    b: npt.NDArray[np.uint64]
    similarity: npt.NDArray[np.float64]
    same: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, pairs: npt.NDArray[np.uint64], similarity: npt.ArrayLike, *, same: bool = False) -> "Edges":
        """Return pairs (n, 2) as edges."""
        n = len(pairs)
        values = np.ascontiguousarray(np.broadcast_to(np.asarray(similarity, np.float64), (n,)))
        return cls(pairs[:, 0].copy(), pairs[:, 1].copy(), values, np.full(n, same, np.bool_))

    def take(self, chosen: npt.NDArray[np.bool_]) -> "Edges":
        """Return those of a mask (n,)."""
        return Edges(self.a[chosen], self.b[chosen], self.similarity[chosen], self.same[chosen])

    @classmethod
    def concatenate(cls, parts: "Sequence[Edges]") -> "Edges":
        """Return all edges, each pair once (of several, the one of highest similarity, NaN last), in order."""
        whole = [cls.of(np.zeros((0, 2), np.uint64), 0.0), *parts]
        a, b, similarity, same = (np.concatenate(columns) for columns in zip(*whole, strict=True))
        order = np.lexsort((np.nan_to_num(-similarity, nan=np.inf), ~same, b, a))
        a, b, similarity, same = a[order], b[order], similarity[order], same[order]
        fresh = np.ones(len(a), np.bool_)
        fresh[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
        return cls(a[fresh], b[fresh], similarity[fresh], same[fresh])


class Candidates(NamedTuple):
    """What the bands of a partition say.

    Attributes:
        equal: pairs of documents with equal digests (n, 2), the smaller number first, each once.
        pairs: other pairs that share a band (m, 2), the smaller number first, each once.
        left_out: comparisons that the bound on neighbours left out, repeats in several bands included.
    """

    equal: npt.NDArray[np.uint64]
    pairs: npt.NDArray[np.uint64]
    left_out: int


def candidate_pairs(
    rows: BandRows, *, every: bool, neighbours: int = NEIGHBOURS, limit: int | None = None
) -> Candidates:
    """Return the pairs of documents that agree in a band; the result is the same for any order of the rows.

    Args:
        rows: all rows of a partition, of all shards.
        every: False ties all of a bucket to one document, which is enough for connected components of unverified
            candidates. True gives all pairs, which verification and `link: kept` need.
        neighbours: with `every`, the number of other texts of the bucket, in the order of their digests, that each is
            paired with: it bounds the work where a bucket holds many thousand different texts. Those are joined by
            others all the same wherever they resemble each other; what was left out is counted.
        limit: pairs of different texts, repeats included, beyond which `neighbours` is halved until they fit, for
            memory's sake; at one neighbour there are no more pairs than rows.

    Raises:
        DataError: if `neighbours` is below 1.
    """
    if neighbours < 1:
        msg = f"each text of a bucket is compared with at least one neighbour, not {neighbours}"
        raise DataError(msg)
    shared = rows_of_shared_keys(rows.keys)
    keys, documents, digests = (column[shared] for column in rows)
    order = np.arange(len(keys))
    for begin, end in large_buckets(keys, digests, documents, order).tolist():
        order[begin:end] = begin + np.lexsort((documents[begin:end], digests[begin:end]))
    documents, digests = documents[order], digests[order]
    nothing = np.empty((0, 2), np.uint64)
    bound = neighbours if every else 0
    n_equal, n_pairs, left_out = bucket_pairs(keys, digests, documents, bound, nothing, nothing)
    while limit is not None and n_pairs > limit and bound > 1:
        bound //= 2
        n_equal, n_pairs, left_out = bucket_pairs(keys, digests, documents, bound, nothing, nothing)
    equal, pairs = np.empty((n_equal, 2), np.uint64), np.empty((n_pairs, 2), np.uint64)
    bucket_pairs(keys, digests, documents, bound, equal, pairs)
    return Candidates(unique_pairs(equal), unique_pairs(pairs), left_out)


def unique_pairs(pairs: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return each pair (n, 2) once, in ascending order."""
    if not len(pairs):
        return pairs
    shards, rows = (int(part.max()) + 1 for part in (pairs >> _SHARD, pairs & _ROW))
    if shards * rows <= 1 << 32:  # one word a pair is sorted many times as fast as two
        narrow = (pairs >> _SHARD) * np.uint64(rows) + (pairs & _ROW)
        words = np.sort(narrow[:, 0] << _SHARD | narrow[:, 1])
        words = words[np.concatenate([[True], words[1:] != words[:-1]])]
        narrow = np.stack([words >> _SHARD, words & _ROW], axis=1)
        return narrow // np.uint64(rows) << _SHARD | narrow % np.uint64(rows)
    ordered = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    fresh = np.ones(len(ordered), np.bool_)
    fresh[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return ordered[fresh]


def _places(pairs: npt.NDArray[np.uint64], documents: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    places = np.searchsorted(documents, pairs)
    known = places < len(documents)
    known[known] = documents[places[known]] == pairs[known]
    if not known.all():
        missing = int(pairs[~known][0])
        msg = f"document {missing >> 32}:{missing & 0xFFFFFFFF} (shard:row) of a pair came without its shingles"
        raise DataError(msg)
    return places


def verify_by_sets(
    pairs: npt.NDArray[np.uint64], documents: npt.NDArray[np.uint64], sets: ShingleSets, threshold: float
) -> Edges:
    """Return the pairs whose sets of shingles have at least this Jaccard similarity, with that similarity.

    Args:
        pairs: document numbers (n, 2).
        documents: the numbers of the documents that come with sets, ascending (m,).
        sets: their sets (m).
        threshold: the least similarity.

    Raises:
        DataError: if a document of a pair is missing.
    """
    places = _places(pairs, documents)
    common = np.empty(len(pairs), np.int64)
    left, right = np.ascontiguousarray(places[:, 0]), np.ascontiguousarray(places[:, 1])
    intersections(sets.bounds, sets.hashes, left, right, common)
    sizes = np.diff(sets.bounds)
    union = sizes[left] + sizes[right] - common
    similarity = np.where(union > 0, common / np.maximum(union, 1), 0.0)
    found = similarity >= threshold
    return Edges.of(pairs[found], similarity[found])


def verify_by_signatures(
    pairs: npt.NDArray[np.uint64],
    documents: npt.NDArray[np.uint64],
    minima: npt.NDArray[np.unsignedinteger],
    threshold: float,
) -> Edges:
    """Return the pairs of which at least this share of the signatures' entries agree; see `verify_by_sets`.

    The share estimates the Jaccard similarity s with the standard error sqrt(s (1 - s) / entries).

    Raises:
        DataError: if a document of a pair is missing.
    """
    places = _places(pairs, documents)
    same = np.empty(len(pairs), np.int64)
    left, right = np.ascontiguousarray(places[:, 0]), np.ascontiguousarray(places[:, 1])
    agreements(np.ascontiguousarray(minima), left, right, same)
    similarity = same / minima.shape[1]
    found = similarity >= threshold
    return Edges.of(pairs[found], similarity[found])
