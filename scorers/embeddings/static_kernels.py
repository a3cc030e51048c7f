"""The loop of `tamis.scorers.embeddings.static`."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import kernel

__all__ = ["mean_rows"]


@kernel
def mean_rows(
    table: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    tokens: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    out: npt.NDArray[np.float64],
) -> None:
    """Fill `out` (texts, dimensions) with the mean of weighted rows of each text's tokens; zeros where it has none.

    Args:
        table: vectors.
        rows: token to row of `table`.
        weights: token to weight.
        tokens: of all texts.
        ends: text i has `tokens[ends[i]:ends[i + 1]]`.
        out: overwritten.
    """
    for text in range(len(ends) - 1):
        out[text, :] = 0.0
        for at in range(ends[text], ends[text + 1]):
            row, weight = rows[tokens[at]], weights[tokens[at]]
            for place in range(table.shape[1]):
                out[text, place] += weight * np.float64(table[row, place])
        count = ends[text + 1] - ends[text]
        if count:
            for place in range(table.shape[1]):
                out[text, place] /= count
