"""Remainders without division, against Python's numbers; loading ahead changes nothing."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tamis.scorers.kernels.jit import lean_kernel
from tamis.scorers.kernels.processor import inverse, prefetch, remainder, remainder32


@lean_kernel
def _remainder(number: np.uint64, divisor: np.uint64) -> np.uint64:
    return remainder(number, divisor, inverse(divisor))


@lean_kernel
def _remainder32(number: np.uint32, divisor: np.uint64) -> np.uint64:
    return remainder32(number, divisor, inverse(divisor))


@lean_kernel
def _sum_ahead(values: np.ndarray) -> int:
    total = 0
    for i in range(len(values)):
        prefetch(values, i + 1)  # also beyond the end
        total += values[i]
    return total


WORDS = st.integers(0, 2**64 - 1)


@given(WORDS, st.integers(1, 2**64 - 1), st.integers(0, 2**40))
@example(2**64 - 1, 1, 0)
@example(2**64 - 1, 2**64 - 1, 0)
@example(2**64 - 1, 2**63, 1)
def test_remainder(number: int, divisor: int, multiple: int) -> None:
    near = min(divisor * multiple, 2**64 - 1)
    for value in (number, near, max(near - 1, 0), min(near + 1, 2**64 - 1)):
        assert _remainder(np.uint64(value), np.uint64(divisor)) == value % divisor


@given(st.integers(0, 2**32 - 1), st.integers(1, 2**32 - 1), st.integers(0, 2**20))
@example(2**32 - 1, 1, 0)
@example(2**32 - 1, 2**32 - 1, 1)
def test_remainder_of_32_bits(number: int, divisor: int, multiple: int) -> None:
    near = min(divisor * multiple, 2**32 - 1)
    for value in (number, near, max(near - 1, 0), min(near + 1, 2**32 - 1)):
        assert _remainder32(np.uint32(value), np.uint64(divisor)) == value % divisor


def test_loading_ahead_changes_nothing() -> None:
    for size in (0, 1, 100_000):
        assert _sum_ahead(np.arange(size)) == size * (size - 1) // 2
