"""Copies texts of a UTF-8 buffer to their places in another."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import lean_kernel

__all__ = ["scatter_texts"]


@lean_kernel
def scatter_texts(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint8],
) -> None:
    """Copy text `rows[i]` to `out`, from byte `places[i]` on; places must not overlap."""
    for i in range(len(rows)):
        start = offsets[rows[i]]
        size = offsets[rows[i] + 1] - start
        place = places[i]
        for at in range(size):  # a slice would be copied twice, in case the arrays overlap
            out[place + at] = data[start + at]
