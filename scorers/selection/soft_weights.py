"""Soft deduplication: what is common under a language model of its own corpus counts less, and nothing is dropped.

He et al. 2024 (SoftDedup, arXiv:2407.06654): a document's commonness is the geometric mean of the probabilities of its
tokens under an n-gram model of the corpus (theirs: 4-grams, Kneser-Ney), so one by its perplexity. Documents are cut
into segments of equally many by commonness, and a segment's weight is inverse to the commonness of its middle. Weights
here have the mean 1 over segments, so that the corpus keeps its size, and the smallest is at least the largest divided
by a bound.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError

__all__ = ["soft_weights"]


def soft_weights(perplexities: Sequence[float], *, ratio: float) -> npt.NDArray[np.float64]:
    """Return the weights of segments, float64, with the mean 1.

    Args:
        perplexities: of the middle of each segment: one by its commonness.
        ratio: of the largest weight to the smallest, at most.

    Raises:
        ConfigError: if the ratio is below 1.
        DataError: if a perplexity isn't above 0.
    """
    if not ratio >= 1:
        msg = f"the ratio of the largest weight to the smallest is at least 1, not {ratio:g}"
        raise ConfigError(msg)
    middle = np.asarray(perplexities, np.float64)
    wrong = middle[~(middle > 0)]
    if len(wrong):
        msg = f"perplexities are above 0, and {wrong[0]:g} isn't: weights are inverse to a model's probabilities"
        raise DataError(msg)
    if not len(middle):
        return middle
    # Divided by the largest before they are summed: perplexities of broken texts may be too large for a sum.
    middle = np.minimum(middle, np.finfo(np.float64).max)
    weights = middle / middle.max()
    weights = np.maximum(weights, 1 / ratio)
    return np.asarray(weights * (len(weights) / weights.sum()), np.float64)
