"""The loop of `tamis.scorers.dedup.clusters`: who stays where a document goes only if it resembles one that stays."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import kernel

__all__ = ["stay_or_go"]


@kernel
def stay_or_go(
    order: npt.NDArray[np.int64],
    protected: npt.NDArray[np.bool_],
    begins: npt.NDArray[np.int64],
    neighbours: npt.NDArray[np.int64],
    stays: npt.NDArray[np.int64],
) -> None:
    """Write to `stays[v]` the vertex for which v goes, v itself where it stays; comes filled with -1.

    Vertices are looked at in `order`: one that hasn't gone stays, and those of its neighbours that are neither gone nor
    protected go for it. The neighbours of v are `neighbours[begins[v]:begins[v + 1]]`. Protected ones always stay.
    """
    for vertex in order:
        if stays[vertex] >= 0:
            continue
        stays[vertex] = vertex
        for at in range(begins[vertex], begins[vertex + 1]):
            other = neighbours[at]
            if stays[other] < 0 and not protected[other]:
                stays[other] = vertex
