"""The loop of `tamis.scorers.dedup.components`: union-find over dense numbers."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import kernel

__all__ = ["join"]


@kernel
def join(parents: npt.NDArray[np.int64], a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> None:
    """Join the trees of `a[i]` and `b[i]`; afterwards `parents[v]` is the smallest number of v's component.

    Parents are never greater than their children, so the root is the smallest. Paths are halved on the way.
    """
    for i in range(len(a)):
        x, y = a[i], b[i]
        while parents[x] != x:
            parents[x] = parents[parents[x]]
            x = parents[x]
        while parents[y] != y:
            parents[y] = parents[parents[y]]
            y = parents[y]
        if x < y:
            parents[y] = x
        elif y < x:
            parents[x] = y
    for v in range(len(parents)):
        parents[v] = parents[parents[v]]  # the parent is smaller, so it is done already
