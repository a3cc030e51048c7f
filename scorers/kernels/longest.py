"""How much room the longest text takes."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import integer
from tamis.scorers.kernels.jit import helper

__all__ = ["longest_text"]


@helper
def longest_text(offsets: npt.NDArray[np.int64]) -> int:
    """Return the bytes of the longest text, by the texts' bounds (n + 1,)."""
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, integer(offsets[text + 1] - offsets[text]))
    return longest
