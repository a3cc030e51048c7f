"""Passes over keys that nothing else has, nearly all of them, before anything is sorted."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import kernel

__all__ = ["rows_of_shared_keys"]

_SLOTS = 8
"""Places of the table for each key: one lone key in eight shares its place with another, and is sorted in vain."""


@kernel
def _count(keys: npt.NDArray[np.uint64], shift: np.uint64, table: npt.NDArray[np.uint8]) -> int:
    """Count keys by their place, up to two; return how many lie in places of two."""
    for key in keys:
        place = key * np.uint64(0x9E3779B97F4A7C15) >> shift
        if table[place] < 2:
            table[place] += 1
    shared = 0
    for key in keys:
        shared += table[key * np.uint64(0x9E3779B97F4A7C15) >> shift] > 1
    return shared


@kernel
def _select(
    keys: npt.NDArray[np.uint64], shift: np.uint64, table: npt.NDArray[np.uint8], out: npt.NDArray[np.int64]
) -> None:
    """Write the rows of keys that lie in places of two."""
    found = 0
    for row in range(len(keys)):
        if table[keys[row] * np.uint64(0x9E3779B97F4A7C15) >> shift] > 1:
            out[found] = row
            found += 1


def rows_of_shared_keys(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return the rows whose key occurs more than once, ordered by key (equal ones in any order), int64 (n,)."""
    bits = max(int(_SLOTS * len(keys)).bit_length(), 6)
    table = np.zeros(1 << bits, np.uint8)
    shift = np.uint64(64 - bits)
    rows = np.empty(_count(keys, shift, table), np.int64)
    _select(keys, shift, table, rows)
    rows = rows[np.argsort(keys[rows])]
    ordered = keys[rows]
    shared = np.zeros(len(rows), np.bool_)
    np.equal(ordered[1:], ordered[:-1], out=shared[1:])
    shared[:-1] |= shared[1:].copy()
    return rows[shared]
