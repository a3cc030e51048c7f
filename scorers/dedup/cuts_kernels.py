"""The loops of `tamis.scorers.dedup.cuts`: what stands between spans, and where spans are in characters."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import integer
from tamis.scorers.kernels.jit import lean_kernel

__all__ = ["copy_between", "count_points"]


@lean_kernel
def copy_between(
    data: npt.NDArray[np.uint8],
    begin: int,
    end: int,
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint8],
) -> None:
    """Copy the bytes from `begin` to `end` that lie in none of the spans, which are in order, one after another."""
    at, written = begin, 0
    for i in range(len(starts) + 1):
        stop = integer(starts[i]) if i < len(starts) else end
        for place in range(at, stop):
            out[written + place - at] = data[place]
        written += stop - at
        if i < len(starts):
            at = integer(ends[i])


@lean_kernel
def count_points(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    texts: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    last: npt.NDArray[np.int64],
) -> None:
    """Write the first and last bounds of spans, which stand by text and place, in code points of their texts."""
    text, at, points = -1, 0, 0
    for i in range(len(texts)):
        if texts[i] != text or offsets[text] + starts[i] < at:
            text = integer(texts[i])
            at, points = integer(offsets[text]), 0
        stop = integer(offsets[text] + starts[i])
        while at < stop:
            points += data[at] & 0xC0 != 0x80
            at += 1
        first[i] = points
        stop = integer(offsets[text] + ends[i])
        while at < stop:
            points += data[at] & 0xC0 != 0x80
            at += 1
        last[i] = points
