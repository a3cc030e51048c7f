"""The loops of `tamis.scorers.embeddings.hashed`."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import kernel
from tamis.scorers.kernels.portable_log import natural_log
from tamis.scorers.kernels.splitmix import mix64

__all__ = ["ONE", "byte_ngrams", "project"]

ONE = 1 << 16
"""The weight of an n-gram that stands once in a document, in units of the sums."""

_STEP = np.uint64(0x9E3779B97F4A7C15)


@kernel
def byte_ngrams(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], order: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return the hashes (31 bits) of all runs of 1 to `order` bytes, text after text, and where each text's end."""
    rows = len(offsets) - 1
    ends = np.zeros(rows + 1, np.int64)
    for row in range(rows):
        length = offsets[row + 1] - offsets[row]
        ends[row + 1] = ends[row]
        for size in range(1, order + 1):
            ends[row + 1] += max(0, length - size + 1)
    out = np.empty(ends[rows], np.int32)
    at = 0
    for row in range(rows):
        for begin in range(offsets[row], offsets[row + 1]):
            digest = np.uint64(0)
            for end in range(begin, min(begin + order, offsets[row + 1])):
                digest = mix64(digest + np.uint64(data[end]) + _STEP)
                out[at] = np.int32(digest >> np.uint64(33))
                at += 1
    return out, ends


@kernel
def project(
    ngrams: npt.NDArray[np.int32],
    ends: npt.NDArray[np.int64],
    key: np.uint64,
    entries: int,
    out: npt.NDArray[np.float32],
) -> None:
    """Fill `out` (texts, dimensions) with the unit vectors of texts; zeros for a text without an n-gram.

    The vector's entries are divided into `entries` segments; each distinct n-gram adds its weight with a random sign
    to one random entry of each (the block construction of Kane and Nelson 2014). Weights are whole numbers, so sums
    don't depend on an order.

    Args:
        ngrams: hashes of the texts' n-grams, text after text; each text's are sorted in place.
        ends: text i has `ngrams[ends[i]:ends[i + 1]]`.
        key: of the projection.
        entries: how many entries of the vector an n-gram goes into.
        out: float32 (texts, dimensions), overwritten.
    """
    dimensions = out.shape[1]
    sums = np.zeros(dimensions, np.int64)
    for row in range(len(ends) - 1):
        begin, end = ends[row], ends[row + 1]
        run = np.sort(ngrams[begin:end])
        sums[:] = 0
        at = 0
        while at < len(run):
            after = at + 1
            while after < len(run) and run[after] == run[at]:
                after += 1
            weight = np.int64(np.floor((1.0 + natural_log(np.float64(after - at))) * ONE + 0.5))
            word = np.uint64(run[at]) ^ key
            for entry in range(entries):
                first = entry * dimensions // entries
                width = (entry + 1) * dimensions // entries - first
                word = mix64(word + _STEP)
                place = first + np.int64((word >> np.uint64(32)) * np.uint64(width) >> np.uint64(32))
                if word & np.uint64(1):
                    sums[place] += weight
                else:
                    sums[place] -= weight
            at = after
        squares = 0.0
        for place in range(dimensions):
            squares += np.float64(sums[place]) * np.float64(sums[place])
        length = np.sqrt(squares)
        for place in range(dimensions):
            out[row, place] = np.float32(np.float64(sums[place]) / length) if length > 0.0 else np.float32(0.0)
