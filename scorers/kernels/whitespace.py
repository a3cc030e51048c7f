"""Collapses white space in UTF-8 buffers."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import integer
from tamis.scorers.kernels.jit import helper, kernel

__all__ = ["collapse", "whitespace_length"]

_BLANK, _LEAD = 1, 2
_KINDS = np.zeros(256, np.uint8)
"""Of each byte: white space by itself, the first byte of what may be white space, or neither."""
_KINDS[[*range(9, 14), *range(28, 33)]] = _BLANK
_KINDS[[0xC2, 0xE1, 0xE2, 0xE3]] = _LEAD


@helper
def whitespace_length(data: npt.NDArray[np.uint8], at: int, end: int) -> int:
    """Return the bytes of the white-space character (as `str.isspace` has it) at `at`, 0 if there is none."""
    first = data[at]
    if first == 32 or 9 <= first <= 13 or 28 <= first <= 31:
        return 1
    if first == 0xC2:
        return 2 if at + 1 < end and (data[at + 1] == 0x85 or data[at + 1] == 0xA0) else 0
    if first < 0xE1 or first > 0xE3 or at + 2 >= end:
        return 0
    second, third = data[at + 1], data[at + 2]
    if first == 0xE1:
        return 3 if second == 0x9A and third == 0x80 else 0
    if first == 0xE3:
        return 3 if second == 0x80 and third == 0x80 else 0
    if second == 0x80:
        return 3 if third <= 0x8A or 0xA8 <= third <= 0xA9 or third == 0xAF else 0
    return 3 if second == 0x81 and third == 0x9F else 0


@kernel
def collapse(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the texts with each run of white space as one blank and none at the ends."""
    rows = len(offsets) - 1
    out = np.empty(offsets[rows] - offsets[0], np.uint8)
    ends = np.zeros(rows + 1, np.int64)
    _collapse(data, offsets, out, ends)
    return out[: ends[rows]], ends


@helper
def _collapse(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint8],
    ends: npt.NDArray[np.int64],
) -> None:
    """Write the texts of `collapse`: every byte is written, and stays if the place moves on.

    That is without a branch for ASCII, where one at the end of every word would be foretold wrongly.
    """
    size = 0
    for row in range(len(offsets) - 1):
        at = offsets[row]
        end = offsets[row + 1]
        start = size
        pending = integer(_BLANK)  # a blank at the start is dropped as one after a blank is
        while at < end:
            byte = data[at]
            kind = integer(_KINDS[byte])
            step = 1
            if kind == _LEAD:
                step = whitespace_length(data, at, end)
                kind = _BLANK if step else 0
                step = max(step, 1)
            out[size] = np.uint8(32) if kind else byte
            size += 1 - (kind & pending)
            pending = kind
            at += step
        if pending and size > start:
            size -= 1
        ends[row + 1] = size
