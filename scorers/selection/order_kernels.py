"""The loops of `tamis.scorers.selection.order_statistics`."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import lean_kernel

__all__ = ["at_most", "match_intervals", "order_words", "tally"]


@lean_kernel
def order_words(
    values: npt.NDArray[np.float64], bits: npt.NDArray[np.uint64], reverse: bool, out: npt.NDArray[np.uint64]
) -> int:
    """Map values, whose bits are `bits`, to words that sort alike or in reverse; return the first NaN's row or -1."""
    sign = np.uint64(1) << np.uint64(63)
    for i in range(len(values)):
        if np.isnan(values[i]):
            return i
        word = np.uint64(0) if values[i] == 0.0 else bits[i]  # both zeros are one value
        word = ~word if word & sign else word | sign
        out[i] = ~word if reverse else word
    return -1


@lean_kernel
def match_intervals(
    words: npt.NDArray[np.uint64],
    codes: npt.NDArray[np.int64],
    begins: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    stages: npt.NDArray[np.int64],
    prefixes: npt.NDArray[np.uint64],
    lows: npt.NDArray[np.uint64],
    highs: npt.NDArray[np.uint64],
    slots: npt.NDArray[np.int64],
) -> None:
    """Find for each row the interval it lies in, or -1: one of `begins[code]` to `ends[code]`, which are disjoint.

    A row lies in an interval of stage s if its first s words equal the interval's prefix and the next is between low
    and high, both included.
    """
    for row in range(len(words)):
        slots[row] = -1
        for i in range(begins[codes[row]], ends[codes[row]]):
            stage = stages[i]
            inside = lows[i] <= words[row, stage] <= highs[i]
            for s in range(stage):
                inside = inside and words[row, s] == prefixes[i, s]
            if inside:
                slots[row] = i
                break


@lean_kernel
def tally(
    keys: npt.NDArray[np.int64],
    base: int,
    words: npt.NDArray[np.uint64],
    weights: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    sums: npt.NDArray[np.int64],
    lowest: npt.NDArray[np.uint64],
    highest: npt.NDArray[np.uint64],
) -> None:
    """Add to bin `keys[i] - base` a count, the weight, and the word to the extremes, for each row."""
    for i in range(len(keys)):
        at = keys[i] - base
        counts[at] += 1
        sums[at] += weights[i]
        lowest[at] = min(lowest[at], words[i])
        highest[at] = max(highest[at], words[i])


@lean_kernel
def at_most(words: npt.NDArray[np.uint64], limit: npt.NDArray[np.uint64], out: npt.NDArray[np.bool_]) -> None:
    """Say for each row of words whether it is lexicographically at most `limit`."""
    for row in range(len(words)):
        out[row] = True
        for i in range(len(limit)):
            if words[row, i] != limit[i]:
                out[row] = words[row, i] < limit[i]
                break
