"""The loops of `tamis.scorers.dedup.pairs`: pairs inside buckets, and the similarity of pairs."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import integer
from tamis.scorers.kernels.jit import kernel

__all__ = ["agreements", "bucket_pairs", "intersections", "large_buckets"]


_SMALL = 64
"""Rows of a bucket that are sorted by insertion."""


@kernel
def large_buckets(
    keys: npt.NDArray[np.uint64],
    digests: npt.NDArray[np.uint64],
    documents: npt.NDArray[np.uint64],
    order: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Order the rows of each bucket by digest and document, but for the large ones; return these as (first, end).

    Keys are ascending. `order` holds the rows' numbers, and is changed in place.
    """
    found = 0
    large = np.empty((len(keys) // _SMALL + 1, 2), np.int64)
    first = 0
    while first < len(keys):
        end = first + 1
        while end < len(keys) and keys[end] == keys[first]:
            end += 1
        if end - first > _SMALL:
            large[found, 0], large[found, 1] = first, end
            found += 1
        else:
            for i in range(first + 1, end):
                row = order[i]
                at = i
                while at > first:
                    before = order[at - 1]
                    if digests[before] < digests[row] or (
                        digests[before] == digests[row] and documents[before] <= documents[row]
                    ):
                        break
                    order[at] = before
                    at -= 1
                order[at] = row
        first = end
    return large[:found]


@kernel
def bucket_pairs(
    keys: npt.NDArray[np.uint64],
    digests: npt.NDArray[np.uint64],
    documents: npt.NDArray[np.uint64],
    neighbours: int,
    equal: npt.NDArray[np.uint64],
    pairs: npt.NDArray[np.uint64],
) -> tuple[int, int, int]:
    """Write the pairs of rows that share a key; return the number of equal ones, of others, and of those left out.

    Rows are sorted by key, digest and document. In a bucket, documents of one digest become pairs with the first of
    them; the first of each digest becomes a pair with those of the `neighbours` digests before it, or with the
    bucket's first alone where `neighbours` is 0. Nothing is written beyond the arrays (n, 2), so that empty ones count.
    """
    n_equal = 0
    n_pairs = 0
    left_out = 0
    firsts = np.empty(len(keys), np.uint64)
    begin = 0
    while begin < len(keys):
        end = begin + 1
        while end < len(keys) and keys[end] == keys[begin]:
            end += 1
        different = 0
        for i in range(begin, end):
            if i > begin and digests[i] == digests[i - 1]:
                if documents[i] != firsts[different - 1]:
                    if n_equal < len(equal):
                        equal[n_equal, 0] = firsts[different - 1]
                        equal[n_equal, 1] = documents[i]
                    n_equal += 1
                continue
            firsts[different] = documents[i]
            low = 0
            high = min(different, 1)
            if neighbours > 0:
                low = max(0, different - neighbours)
                high = different
                left_out += low
            for j in range(low, high):
                if n_pairs < len(pairs):
                    pairs[n_pairs, 0] = min(firsts[j], documents[i])
                    pairs[n_pairs, 1] = max(firsts[j], documents[i])
                n_pairs += 1
            different += 1
        begin = end
    return n_equal, n_pairs, left_out


@kernel
def intersections(
    bounds: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    left: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    out: npt.NDArray[np.int64],
) -> None:
    """Write the number of hashes that the sets `left[i]` and `right[i]`, both ascending, have in common."""
    for i in range(len(left)):
        a, a_end = integer(bounds[left[i]]), integer(bounds[left[i] + 1])
        b, b_end = integer(bounds[right[i]]), integer(bounds[right[i] + 1])
        common = 0
        while a < a_end and b < b_end:
            x, y = hashes[a], hashes[b]
            common += integer(x == y)
            a += integer(x <= y)
            b += integer(y <= x)
        out[i] = common


@kernel
def agreements(
    minima: npt.NDArray[np.unsignedinteger],
    left: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    out: npt.NDArray[np.int64],
) -> None:
    """Write the number of entries in which the signatures `left[i]` and `right[i]` agree."""
    for i in range(len(left)):
        same = 0
        for k in range(minima.shape[1]):
            same += integer(minima[left[i], k] == minima[right[i], k])
        out[i] = same
