"""Whole numbers in given proportions: by largest remainder, at once or batch by batch."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.scorers.mixture.simplex import Vector, normalised

__all__ = ["QuotaBatches", "largest_remainder"]

_ROUNDING = 1e-9
"""Remainders that differ by less are ties: the difference is the rounding of sums."""


def largest_remainder(shares: Sequence[float] | Vector, total: int) -> npt.NDArray[np.int64]:
    """Divide `total` by shares: each gets the whole part of its due, what is left goes to the largest remainders.

    Ties go to the lower position. Every number is within one of its due.

    Args:
        shares: not below 0, not all 0.
        total: not below 0, any size.

    Raises:
        ConfigError: if shares or total are out of range.
    """
    weights = normalised(shares, "quotas")
    if total < 0:
        msg = f"quotas of {total} can't be given"
        raise ConfigError(msg)
    # Beyond 2^53 a float64 product would be off by whole units, so the due is computed in integers.
    ratios = [float(w).as_integer_ratio() for w in weights]
    whole = [total * a // b for a, b in ratios]
    rest = [(total * a % b) / b for a, b in ratios]
    return np.array(_fill(whole, rest, total), np.int64)


def _fill(whole: list[int], rest: list[float], total: int) -> list[int]:
    """Add what is missing to `total` to the largest remainders, or take what is too much from the smallest."""
    counts = list(whole)
    rounded = [round(x / _ROUNDING) for x in rest]
    order = sorted(range(len(counts)), key=lambda j: (-rounded[j], j))
    missing = total - sum(counts)
    at = 0
    while missing > 0:
        counts[order[at % len(order)]] += 1
        missing -= 1
        at += 1
    while missing < 0:
        j = next(j for j in reversed(order) if counts[j] > 0)
        counts[j] -= 1
        order.remove(j)
        order.insert(0, j)
        missing += 1
    return counts


class QuotaBatches:
    """Rows of each group in each batch, so that what was given stays within one row of what was due.

    A group's debt is what was due in all batches so far less what it gave; a batch gives the whole part of each debt,
    and what is left to the largest remainders, ties to the lower position. Mixtures may change from batch to batch.

    Attributes:
        owed: the debts after the last batch, shape (groups,).
    """

    def __init__(self, groups: int, owed: Sequence[float] | None = None) -> None:
        """Start without debts, or with those of an earlier run.

        Raises:
            ConfigError: if the numbers don't fit.
        """
        self.owed = [0.0] * groups if owed is None else [float(x) for x in owed]
        if len(self.owed) != groups or not groups or not all(math.isfinite(x) for x in self.owed):
            msg = f"debts must be a finite number for each of {groups} groups, got {self.owed}"
            raise ConfigError(msg)

    def next(self, mixture: Sequence[float] | Vector, rows: int) -> list[int]:
        """Return the rows that each group gives to a batch of `rows` rows.

        Args:
            mixture: shares, adding to 1.
            rows: rows of the batch.

        Raises:
            ConfigError: if the mixture doesn't fit.
        """
        shares = normalised(mixture)
        if len(shares) != len(self.owed) or rows < 0:
            msg = f"a mixture of {len(shares)} shares and {rows} rows don't fit {len(self.owed)} groups"
            raise ConfigError(msg)
        due = [debt + rows * float(share) for debt, share in zip(self.owed, shares, strict=True)]
        whole = [max(0, math.floor(x + _ROUNDING)) if share > 0 else 0 for x, share in zip(due, shares, strict=True)]
        rest = [x - n if share > 0 else -math.inf for x, n, share in zip(due, whole, shares, strict=True)]
        counts = _fill_where(whole, rest, rows, shares > 0)
        self.owed = [x - n for x, n in zip(due, counts, strict=True)]
        return counts

    def batches(self, mixture: Sequence[float] | Vector, rows: int, steps: int) -> npt.NDArray[np.int64]:
        """Return the rows of `steps` batches, shape (steps, groups)."""
        table = [self.next(mixture, rows) for _ in range(steps)]
        return np.array(table, np.int64).reshape(steps, len(self.owed))


def _fill_where(whole: list[int], rest: list[float], total: int, possible: npt.NDArray[np.bool_]) -> list[int]:
    """Return `_fill` over the groups that have a share: a debt of an earlier mixture isn't paid by one without it."""
    places = [int(j) for j in np.flatnonzero(possible)]
    counts = [0] * len(whole)
    for j, n in zip(places, _fill([whole[j] for j in places], [rest[j] for j in places], total), strict=True):
        counts[j] = n
    return counts
