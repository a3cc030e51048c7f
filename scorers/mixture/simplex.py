"""Mixtures as points of the simplex: normalised, moved by exponentiated steps, floored, capped."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError

__all__ = ["CappedShares", "Vector", "cap_shares", "exponentiate", "limited_step", "normalised", "raise_to_floor"]

Vector = npt.NDArray[np.float64]

_HALVINGS = 80
"""Bisections of a step: beyond the 53 bits of its factor."""


class CappedShares(NamedTuple):
    """Shares no larger than their caps.

    Attributes:
        shares: shape (groups,); they add to less than 1 where all are capped.
        missing: what is missing to 1: the part of the budget that no group may give.
        capped: positions of the groups that got their cap, rising.
    """

    shares: Vector
    missing: float
    capped: tuple[int, ...]


def normalised(shares: Sequence[float] | Vector, what: str = "a mixture") -> Vector:
    """Return shares divided by their sum, float64.

    Args:
        shares: numbers not below 0, not all 0.
        what: what they are, for the message.

    Raises:
        ConfigError: if there are none, one is negative or not finite, or all are 0.
    """
    values = np.asarray(shares, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all() or (values < 0).any() or not values.any():
        msg = f"{what} needs finite shares not below 0 and not all 0, got {values.tolist()}"
        raise ConfigError(msg)
    total = math.fsum(values)
    return values if total == 1.0 else values / total


def exponentiate(shares: Vector, step: Vector) -> Vector:
    """Return the mixture proportional to `shares * exp(step)`; a share of 0 stays 0."""
    with np.errstate(divide="ignore"):
        logits = np.log(shares) + step
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


def limited_step(shares: Vector, step: Vector, limit: float) -> Vector:
    """Return `exponentiate(shares, c * step)` for the largest c <= 1 that moves no log share by more than `limit`.

    A log share moves by `c step_j - log sum_i p_i exp(c step_i)`, which grows with c at the ends, so c is found by
    bisection.

    Args:
        shares: the mixture, shape (groups,).
        step: what is added to log shares before normalising.
        limit: most change of a log share, above 0.
    """
    positive = shares > 0

    def moved(factor: float) -> float:
        new = exponentiate(shares, factor * step)[positive]
        with np.errstate(divide="ignore"):
            return float(np.abs(np.log(new) - np.log(shares[positive])).max())

    if moved(1.0) <= limit:
        return exponentiate(shares, step)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if moved(middle) <= limit else (low, middle)
    return exponentiate(shares, low * step)


def raise_to_floor(shares: Vector, floor: float) -> Vector:
    """Return the mixture with every share at least `floor`: what is below is raised, the rest gives in proportion.

    That can push others below, so it is repeated until all are above.

    Raises:
        ConfigError: if the floor is negative or its sum over the groups is above 1.
    """
    if not 0 <= floor * len(shares) <= 1:
        msg = f"a floor of {floor} for each of {len(shares)} groups must be from 0 to {1 / len(shares):.6g}"
        raise ConfigError(msg)
    raised = np.zeros(len(shares), np.bool_)
    result = shares
    while (low := (result < floor) & ~raised).any():
        raised |= low
        rest = np.where(raised, 0.0, shares)
        total = rest.sum()
        if total <= 0:
            return np.full(len(shares), 1 / len(shares))
        result = np.where(raised, floor, rest / total * (1 - floor * raised.sum()))
    return result


def cap_shares(shares: Vector, caps: Vector) -> CappedShares:
    """Return the mixture with no share above its cap: what is cut goes to the others in proportion, repeated.

    Groups with a share of 0 take nothing. Where all others are capped, the shares add to less than 1: the budget
    shrinks.

    Args:
        shares: the mixture, shape (groups,).
        caps: the largest share of each, not below 0; infinity for none.

    Raises:
        ConfigError: if a cap is negative or not a number.
    """
    if len(caps) != len(shares) or not (np.asarray(caps) >= 0).all():
        msg = f"caps must be one number not below 0 for each of {len(shares)} groups, got {np.asarray(caps).tolist()}"
        raise ConfigError(msg)
    capped = np.zeros(len(shares), np.bool_)
    result = shares
    while (high := (result > caps) & ~capped).any():
        capped |= high
        rest = np.where(capped, 0.0, shares)
        left = 1 - caps[capped].sum()
        total = rest.sum()
        result = np.where(capped, caps, rest / total * left if total > 0 else 0.0)
    missing = max(0.0, 1 - float(result.sum())) if capped.any() else 0.0
    return CappedShares(result, missing if missing > 1e-12 else 0.0, tuple(int(i) for i in np.flatnonzero(capped)))
