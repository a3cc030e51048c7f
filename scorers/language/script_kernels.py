"""Counts the letters of each script at the beginning of texts."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import decode, integer
from tamis.scorers.kernels.jit import lean_kernel

__all__ = ["count_letters"]


@lean_kernel
def count_letters(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    scripts: npt.NDArray[np.uint8],
    counts: npt.NDArray[np.int32],
) -> None:
    """Add up how many letters of each script each text has.

    Args:
        data: UTF-8 of all texts.
        starts: where each begins (n,).
        stops: where each ends (n,).
        scripts: the number of each code point's script, 0 for what is no letter (0x110000,).
        counts: (n, scripts), zeros.
    """
    for text in range(len(starts)):
        at, end = starts[text], stops[text]
        while at < end:
            point, width = integer(data[at]), 1
            if point >= 0x80:
                point, width = decode(data, at, end)
            counts[text, scripts[point]] += 1
            at += width
