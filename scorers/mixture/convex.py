"""Minimises a convex function over mixtures with caps, to a stated gap.

A log barrier keeps the shares inside `0 < p < cap`, Newton's method solves each barrier problem on the plane of sum 1,
and the barrier is lowered until its gap is below the tolerance (Boyd and Vandenberghe 2004, chapter 11). With a convex
function the value found is within the gap of the least one.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.scorers.mixture.simplex import Vector, normalised

__all__ = ["Function", "Minimum", "minimise_on_simplex"]

Mask = npt.NDArray[np.bool_]

Function: TypeAlias = Callable[[Vector], tuple[float, Vector, Vector]]
"""From a mixture with positive shares to value, gradient (groups,) and Hessian (groups, groups)."""

_FACTOR = 0.2
_NEWTON_STEPS = 60
_ARMIJO = 1e-4


class Minimum(NamedTuple):
    """Where a function is least.

    Attributes:
        shares: the mixture.
        value: the function there.
        gap: how far the value can be above the least one, if the function is convex.
    """

    shares: Vector
    value: float
    gap: float


def minimise_on_simplex(
    function: Function, groups: int, *, caps: Vector | None = None, tolerance: float = 1e-10
) -> Minimum:
    """Minimise a convex function over the mixtures of `groups` groups.

    Args:
        function: see `Function`.
        groups: number of groups.
        caps: largest shares, above 0; None: no caps.
        tolerance: largest gap wanted.

    Raises:
        ConfigError: if the caps add to less than 1, or one isn't above 0.
    """
    upper = np.ones(groups) if caps is None else np.minimum(np.asarray(caps, np.float64), 1.0)
    if len(upper) != groups or not (upper > 0).all():
        msg = f"caps must be a number above 0 for each of {groups} groups, got {upper.tolist()}"
        raise ConfigError(msg)
    room = float(upper.sum()) - 1
    if room < -1e-12:
        msg = f"the caps add to {upper.sum():.6g}: no mixture fits below them; allow more epochs or train on less"
        raise ConfigError(msg)
    if room <= 1e-12 or groups == 1:
        shares = normalised(upper)
        return Minimum(shares, function(shares)[0], 0.0)
    bounded = upper < 1
    p = upper / upper.sum()
    barriers = groups + int(bounded.sum())
    strength = max(1.0, abs(function(p)[0])) / barriers
    while True:
        p = _centre(function, p, upper, bounded, strength)
        if strength * barriers <= tolerance:
            break
        strength *= _FACTOR
    return Minimum(p, function(p)[0], strength * barriers)


def _barrier(
    function: Function, p: Vector, upper: Vector, bounded: Mask, strength: float
) -> tuple[float, Vector, Vector]:
    value, gradient, hessian = function(p)
    room = np.where(bounded, upper - p, 1.0)
    value -= strength * (np.log(p).sum() + np.log(room[bounded]).sum())
    slope = strength * (-1 / p + np.where(bounded, 1 / room, 0.0))
    curve = strength * (1 / p**2 + np.where(bounded, 1 / room**2, 0.0))
    return value, gradient + slope, hessian + np.diag(curve)


def _centre(function: Function, p: Vector, upper: Vector, bounded: Mask, strength: float) -> Vector:
    """Return the minimum of function and barrier on the plane of sum 1, from `p` on."""
    for _ in range(_NEWTON_STEPS):
        value, gradient, hessian = _barrier(function, p, upper, bounded, strength)
        # In units of p the barrier's curvature is about 1, which keeps the system well conditioned near the faces.
        scaled = hessian * np.outer(p, p)
        system = np.block([[scaled, p[:, None]], [p[None, :], np.zeros((1, 1))]])
        step = p * np.linalg.solve(system, np.append(-gradient * p, 0.0))[:-1]
        decrease = float(-gradient @ step)
        if decrease <= 1e-9 * strength:
            break
        size = 1.0
        down = step < 0
        if down.any():
            size = min(size, 0.99 * float((p[down] / -step[down]).min()))
        up = (step > 0) & bounded
        if up.any():
            size = min(size, 0.99 * float(((upper - p)[up] / step[up]).min()))
        while size > 1e-12:
            trial = p + size * step
            if _barrier(function, trial, upper, bounded, strength)[0] <= value - _ARMIJO * size * decrease:
                break
            size /= 2
        else:
            break
        p = trial / trial.sum()
    return p
