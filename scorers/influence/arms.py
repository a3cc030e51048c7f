"""Finer arms than clusters: each cluster cut into equal parts by a column, such as perplexity.

Clusters say what documents are about, and little of how well they are written. Where the good and the bad lie in the
same cluster, the bandit can't tell them apart; cut by a column that orders them, it can.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError

__all__ = ["arm_cuts", "split_arms"]


def arm_cuts(
    clusters: npt.NDArray[Any], values: npt.NDArray[Any], *, count: int, parts: int
) -> npt.NDArray[np.float64]:
    """Return the values at which each cluster is cut, float64 (count, parts - 1); NaN for a cluster without documents.

    A cut is the value of the first document of the next part, when the cluster's documents are sorted and divided as
    equally as can be. From a sample they are estimates, and serve as well.

    Args:
        clusters: int (rows,); documents in no cluster (-1) are left out.
        values: (rows,).
        count: number of clusters.
        parts: of each cluster.

    Raises:
        ConfigError: if `parts` is below 1.
        DataError: if there isn't a value for each document, or one is NaN.
    """
    if parts < 1:
        msg = f"a cluster is cut into at least one part, got {parts}"
        raise ConfigError(msg)
    numbers, column = _checked(clusters, values)
    cuts = np.full((count, parts - 1), np.nan)
    for cluster in range(count):
        own = np.sort(column[numbers == cluster])
        if len(own):
            cuts[cluster] = own[[min(len(own) - 1, part * len(own) // parts) for part in range(1, parts)]]
    return cuts


def split_arms(
    clusters: npt.NDArray[Any], values: npt.NDArray[Any], cuts: npt.NDArray[np.float64]
) -> npt.NDArray[np.int32]:
    """Return each document's arm, int32 (rows,): its cluster times the number of parts, and its part; -1 stays -1.

    A document belongs to as many parts further as there are cuts at or below its value.

    Raises:
        DataError: if there isn't a value for each document, or one is NaN.
    """
    numbers, column = _checked(clusters, values)
    parts = cuts.shape[1] + 1
    own = cuts[np.maximum(numbers, 0)]
    part = (column[:, None] >= own).sum(axis=1)
    return np.where(numbers < 0, -1, numbers * parts + part).astype(np.int32)


def _checked(
    clusters: npt.NDArray[Any], values: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    numbers, column = np.asarray(clusters, np.int64), np.asarray(values, np.float64)
    if numbers.shape != column.shape or numbers.ndim != 1:
        msg = f"there are {len(numbers)} clusters and {len(column)} values: give one of each a document"
        raise DataError(msg)
    bad = np.flatnonzero(np.isnan(column) & (numbers >= 0))
    if len(bad):
        msg = f"the value of row {bad[0]} is NaN: it can't be sorted into a part of its cluster"
        raise DataError(msg)
    return numbers, column
