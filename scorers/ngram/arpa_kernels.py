"""Kernels that read and write the n-gram lines of ARPA files."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper, lean_kernel
from tamis.scorers.kernels.word_hash import word_hash
from tamis.scorers.ngram.decimal_kernels import parse_float, write_float

__all__ = ["BAD_BACKOFF", "BAD_LINE", "BAD_PROBABILITY", "UNKNOWN_WORD", "read_ngrams", "read_unigrams", "write_ngrams"]

BAD_PROBABILITY = 1
"""A line doesn't begin with a log10 probability of at most 0."""
BAD_LINE = 2
"""A line hasn't the number of words that its section says, or something follows its back-off."""
UNKNOWN_WORD = 3
"""A word isn't among the 1-grams."""
BAD_BACKOFF = 4
"""A back-off is no finite number."""

_LARGEST = 3.0e38


@helper
def _is_space(byte: int) -> bool:
    return byte in (32, 9, 13)


@helper
def _field(data: npt.NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Return where the next field of the line begins and ends."""
    while at < end and _is_space(data[at]):
        at += 1
    start = at
    while at < end and not _is_space(data[at]) and data[at] != 10:
        at += 1
    return start, at


@helper
def _tail(data: npt.NDArray[np.uint8], at: int, end: int) -> tuple[float, int, int]:
    """Read an optional back-off and the end of the line; return it, where the next line starts, and what is wrong."""
    start, stop = _field(data, at, end)
    backoff = 0.0
    if stop > start:
        backoff, read = parse_float(data, start, stop)
        if read != stop or not abs(backoff) < _LARGEST:
            return 0.0, at, BAD_BACKOFF
        start, stop = _field(data, stop, end)
        if stop > start:
            return 0.0, at, BAD_LINE
    return backoff, min(stop + 1, end), 0


@helper
def _probability(data: npt.NDArray[np.uint8], at: int, end: int) -> tuple[float, int]:
    """Read the probability at the head of a line; return it and where it ends, -1 if it is none."""
    start, stop = _field(data, at, end)
    prob, read = parse_float(data, start, stop)
    if read == start or read != stop or not -_LARGEST < prob <= 0.0:
        return 0.0, -1
    return prob, stop


@lean_kernel
def read_unigrams(
    data: npt.NDArray[np.uint8],
    at: int,
    end: int,
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    probs: npt.NDArray[np.float32],
    backoffs: npt.NDArray[np.float32],
) -> tuple[int, int, int]:
    """Read `len(probs)` lines from `at`; return where the next begins, 0 or what is wrong, and the line's index."""
    for row in range(len(probs)):
        prob, place = _probability(data, at, end)
        if place < 0:
            return at, BAD_PROBABILITY, row
        starts[row], ends[row] = _field(data, place, end)
        if starts[row] == ends[row]:
            return at, BAD_LINE, row
        backoff, at_next, wrong = _tail(data, ends[row], end)
        if wrong:
            return at, wrong, row
        probs[row], backoffs[row] = prob, backoff
        at = at_next
    return at, 0, 0


@lean_kernel
def read_ngrams(
    data: npt.NDArray[np.uint8],
    at: int,
    end: int,
    keys: npt.NDArray[np.uint64],
    values: npt.NDArray[np.int64],
    ids: npt.NDArray[np.uint32],
    probs: npt.NDArray[np.float32],
    backoffs: npt.NDArray[np.float32],
) -> tuple[int, int, int]:
    """Read `len(ids)` n-grams from `at`, words looked up in `keys` and `values`; returns as `read_unigrams`."""
    mask = np.uint64(len(keys) - 1)
    for row in range(len(ids)):
        prob, place = _probability(data, at, end)
        if place < 0:
            return at, BAD_PROBABILITY, row
        for k in range(ids.shape[1]):
            start, place = _field(data, place, end)
            if start == place:
                return at, BAD_LINE, row
            key = word_hash(data, start, place)
            slot = key & mask
            while values[slot] >= 0 and keys[slot] != key:
                slot = (slot + np.uint64(1)) & mask
            if values[slot] < 0:
                return at, UNKNOWN_WORD, row
            ids[row, k] = np.uint32(values[slot])
        backoff, at_next, wrong = _tail(data, place, end)
        if wrong:
            return at, wrong, row
        probs[row], backoffs[row] = prob, backoff
        at = at_next
    return at, 0, 0


@lean_kernel
def write_ngrams(
    ids: npt.NDArray[np.uint32],
    probs: npt.NDArray[np.float32],
    backoffs: npt.NDArray[np.float32],
    with_backoff: bool,
    words: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    first: int,
    out: npt.NDArray[np.uint8],
) -> tuple[int, int]:
    """Write lines from row `first` until `out` is nearly full; return the next row and the bytes written."""
    at = 0
    order = ids.shape[1]
    row = first
    while row < len(ids):
        need = 40
        for k in range(order):
            need += offsets[ids[row, k] + 1] - offsets[ids[row, k]] + 1
        if at + need > len(out):
            break
        at = write_float(probs[row], out, at)
        for k in range(order):
            out[at] = 9 if k == 0 else 32
            at += 1
            for place in range(offsets[ids[row, k]], offsets[ids[row, k] + 1]):
                out[at] = words[place]
                at += 1
        if with_backoff:
            out[at] = 9
            at = write_float(backoffs[row], out, at + 1)
        out[at] = 10
        at += 1
        row += 1
    return row, at
