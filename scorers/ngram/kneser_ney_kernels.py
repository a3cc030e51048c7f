"""Kernels of interpolated modified Kneser-Ney smoothing, one order at a time."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import lean_kernel

__all__ = ["context_sums", "interpolate"]


@lean_kernel
def context_sums(
    counts: npt.NDArray[np.int64],
    contexts: npt.NDArray[np.int32],
    discounts: npt.NDArray[np.float64],
    totals: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
) -> None:
    """Add to `totals` each context's counts and set `weights` to what discounting frees: gamma(h) of Chen & Goodman.

    `discounts[c]` is what is taken off a count of `c`, the last for all larger ones. A context without counts keeps 0.
    """
    for row in range(len(counts)):
        count = counts[row]
        totals[contexts[row]] += count
        weights[contexts[row]] += discounts[min(count, 3)]
    for context in range(len(totals)):
        if totals[context]:
            weights[context] /= totals[context]


@lean_kernel
def interpolate(
    counts: npt.NDArray[np.int64],
    contexts: npt.NDArray[np.int32],
    suffixes: npt.NDArray[np.int32],
    discounts: npt.NDArray[np.float64],
    totals: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    lower: npt.NDArray[np.float64],
    probs: npt.NDArray[np.float64],
) -> None:
    """Write p(w | h) = (c(hw) - D) / c(h) + gamma(h) p(w | h'), with `lower` the p(w | h') of each suffix."""
    for row in range(len(counts)):
        context = contexts[row]
        count = counts[row]
        taken = (count - discounts[min(count, 3)]) / totals[context]
        probs[row] = taken + weights[context] * lower[suffixes[row]]
