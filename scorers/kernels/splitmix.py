"""The finaliser of splitmix64: a bijection of 64-bit words that mixes every bit into every other."""

import numpy as np

from tamis.scorers.kernels.jit import lean_kernel

__all__ = ["mix64"]


@lean_kernel
def mix64(x: np.uint64) -> np.uint64:
    """Return the mixed word (Steele, Lea and Flood 2014, with Stafford's constants "Mix13")."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
