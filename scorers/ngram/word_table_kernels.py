"""Kernels of a hash table from words to numbers, with KenLM's hash of a word as the key."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import lean_kernel
from tamis.scorers.kernels.word_hash import word_hash

__all__ = ["enter_keys", "enter_words"]


@lean_kernel
def enter_words(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.int64],
    keys: npt.NDArray[np.uint64],
    values: npt.NDArray[np.int64],
) -> int:
    """Enter word `i` with `numbers[i]`; return the first one that is there already, or -1.

    The table's size is a power of two; `values` is -1 where it is empty.
    """
    mask = np.uint64(len(keys) - 1)
    for word in range(len(starts)):
        key = word_hash(data, starts[word], ends[word])
        slot = key & mask
        while values[slot] >= 0 and keys[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        if values[slot] >= 0:
            return word
        keys[slot] = key
        values[slot] = numbers[word]
    return -1


@lean_kernel
def enter_keys(
    some_keys: npt.NDArray[np.uint64],
    some_values: npt.NDArray[np.int64],
    keys: npt.NDArray[np.uint64],
    values: npt.NDArray[np.int64],
) -> None:
    """Enter the entries of another table, none of which is there yet."""
    mask = np.uint64(len(keys) - 1)
    for i in range(len(some_keys)):
        slot = some_keys[i] & mask
        while values[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        keys[slot] = some_keys[i]
        values[slot] = some_values[i]
