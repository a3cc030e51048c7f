"""The loops of `tamis.scorers.embeddings.kmeans`: plain IEEE operations in a fixed order, the same on any machine."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import kernel

__all__ = ["HIGH", "LOW", "add_rows", "nearest_centroids", "squared_distances"]

HIGH = 2.0**26
LOW = 2.0**52
"""A number x is held as two whole ones: floor(x * HIGH), and what is left in units of 1 / LOW."""

_TILE = 64
"""Centroids looked at together: the innermost loop runs over them, so it needs no reordering to be fast."""


@kernel
def nearest_centroids(
    matrix: npt.NDArray[Any],
    centroids: npt.NDArray[np.float64],
    skip_zeros: bool,
    labels: npt.NDArray[np.int32],
    distances: npt.NDArray[np.float64],
) -> None:
    """Find each row's nearest centroid by squared Euclidean distance, ties to the lower number.

    Args:
        matrix: float32 or float64 (rows, dimensions).
        centroids: float64 (dimensions, clusters), one a column.
        skip_zeros: a row of zeros gets label -1 and distance 0.
        labels: int32 (rows,), overwritten.
        distances: squared distances, float64 (rows,), overwritten.
    """
    dimensions, clusters = centroids.shape
    sums = np.empty(_TILE)
    for row in range(len(matrix)):
        labels[row] = -1
        distances[row] = 0.0
        if skip_zeros:
            nothing = True
            for place in range(dimensions):
                if matrix[row, place] != 0.0:
                    nothing = False
                    break
            if nothing:
                continue
        best = np.inf
        for first in range(0, clusters, _TILE):
            width = min(_TILE, clusters - first)
            sums[:width] = 0.0
            for place in range(dimensions):
                value = np.float64(matrix[row, place])
                for i in range(width):
                    gap = value - centroids[place, first + i]
                    sums[i] += gap * gap
            for i in range(width):
                if sums[i] < best:
                    best = sums[i]
                    labels[row] = first + i
        distances[row] = best


@kernel
def squared_distances(
    matrix: npt.NDArray[Any], point: npt.NDArray[np.float64], distances: npt.NDArray[np.float64]
) -> None:
    """Lower `distances` (rows,) to the squared distance between each row and `point` where that is smaller."""
    for row in range(len(matrix)):
        total = 0.0
        for place in range(len(point)):
            gap = np.float64(matrix[row, place]) - point[place]
            total += gap * gap
        distances[row] = min(distances[row], total)


@kernel
def add_rows(
    matrix: npt.NDArray[Any],
    labels: npt.NDArray[np.int32],
    counts: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    low: npt.NDArray[np.int64],
) -> None:
    """Add each row to the sums of its cluster, in whole numbers; rows of label -1 are left out.

    Args:
        matrix: numbers of at most 2^10 in size.
        labels: int32 (rows,).
        counts: int64 (clusters,), added to.
        high: int64 (clusters, dimensions), added to: see `HIGH`.
        low: int64 (clusters, dimensions), added to: see `LOW`.
    """
    for row in range(len(matrix)):
        cluster = labels[row]
        if cluster < 0:
            continue
        counts[cluster] += 1
        for place in range(matrix.shape[1]):
            scaled = np.float64(matrix[row, place]) * HIGH
            whole = np.floor(scaled)
            high[cluster, place] += np.int64(whole)
            low[cluster, place] += np.int64(np.rint((scaled - whole) * (LOW / HIGH)))
