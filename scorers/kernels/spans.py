"""Kernels that find the lines of texts."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper, lean_kernel

__all__ = ["count_lines", "mark_lines"]

_NEWLINE = 10


@helper
def _line_end(data: npt.NDArray[np.uint8], at: int, end: int) -> tuple[int, bool]:
    """Return where the line that starts at `at` ends, and whether it is blank."""
    blank = True
    while at < end and data[at] != _NEWLINE:
        byte = data[at]
        if not (byte == 32 or 9 <= byte <= 13):
            blank = False
        at += 1
    return at, blank


@lean_kernel
def count_lines(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    blank: bool,
    trailing: bool,
    counts: npt.NDArray[np.int64],
) -> int:
    """Write the number of lines of each text to `counts`; return their sum."""
    total = 0
    for text in range(len(offsets) - 1):
        at = offsets[text]
        end = offsets[text + 1]
        lines = 0
        while True:
            stop, empty = _line_end(data, at, end)
            if (blank or not empty) and (trailing or at < end):
                lines += 1
            if stop >= end:
                break
            at = stop + 1
        counts[text] = lines
        total += lines
    return total


@lean_kernel
def mark_lines(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    blank: bool,
    trailing: bool,
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
) -> None:
    """Write where each line starts and ends, in the order in which `count_lines` counted them."""
    line = 0
    for text in range(len(offsets) - 1):
        at = offsets[text]
        end = offsets[text + 1]
        while True:
            stop, empty = _line_end(data, at, end)
            if (blank or not empty) and (trailing or at < end):
                starts[line] = at
                ends[line] = stop
                line += 1
            if stop >= end:
                break
            at = stop + 1
