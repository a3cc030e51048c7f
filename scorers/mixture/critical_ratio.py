"""The critical mixture ratio of continued training: how much domain data costs no skill (arXiv:2407.17467).

Runs continue a model on a mix with domain share R; their losses are taken at several token counts T. For each R the
change of loss against the start follows

    domain(T) = a1 T^s1 + b1,        general(T) = a2 T^s2 + a3 T^s3 + b2.

R is feasible if general(T_max) <= epsilon, and the critical ratio is the largest feasible R, interpolated between
measured ones. With critical ratios at four or more horizons, CMR(T) = b + a T^s says how it grows.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.simplex import Vector

__all__ = ["CriticalRatio", "Curve", "PowerLaw", "RatioLaw", "critical_ratio", "fit_power_law", "ratio_law"]

_EXPONENTS = (-3.0, 1.0)
_GRID = 34
"""Exponents of first guesses and of refits, alone and in pairs; 0 is not among them."""

_FIVE = 8
"""Points that a law of five parameters needs."""


class Curve(NamedTuple):
    """Losses of the runs at one ratio.

    Attributes:
        ratio: domain share R.
        tokens: token counts above 0, rising, shape (points,), in any unit that all curves share.
        general: change of the general loss against the start, nats, shape (points,) or (seeds, points).
        domain: change of the domain loss, likewise.
    """

    ratio: float
    tokens: Vector
    general: Vector
    domain: Vector


class PowerLaw(NamedTuple):
    """`sum_i a_i T^s_i + b`, fitted.

    Attributes:
        factors: a.
        exponents: s.
        constant: b.
        rms: root mean square error on the points.
        note: what was given up for lack of points; empty if nothing.
    """

    factors: tuple[float, ...]
    exponents: tuple[float, ...]
    constant: float
    rms: float
    note: str = ""

    def predict(self, tokens: float | Vector) -> Vector:
        """Return the law's value at token counts."""
        t = np.asarray(tokens, np.float64)
        terms = [a * t**s for a, s in zip(self.factors, self.exponents, strict=True)]
        return np.asarray(sum(terms, np.zeros(t.shape)) + self.constant)


class RatioLaw(NamedTuple):
    """`CMR(T) = b + a (T / unit)^s`, and its largest error on the ratios it was fitted to."""

    factor: float
    exponent: float
    constant: float
    unit: float
    max_error: float

    def predict(self, tokens: float) -> float:
        """Return the critical ratio at a horizon."""
        return float(self.constant + self.factor * (tokens / self.unit) ** self.exponent)


class CriticalRatio(NamedTuple):
    """The answer, and what it rests on.

    Attributes:
        ratio: the critical ratio; None where no or every measured ratio is feasible.
        interval: 80 % of the bootstrap; an end is None where a part of the draws has no ratio there.
        verdict: the answer in words.
        ratios: measured ratios, rising.
        general_change: predicted at T_max, by ratio.
        domain_change: likewise.
        feasible: by ratio.
        laws: of the general change, by ratio.
    """

    ratio: float | None
    interval: tuple[float | None, float | None]
    verdict: str
    ratios: tuple[float, ...]
    general_change: tuple[float, ...]
    domain_change: tuple[float, ...]
    feasible: tuple[bool, ...]
    laws: tuple[PowerLaw, ...]


def fit_power_law(tokens: Vector, change: Vector, *, terms: int = 1) -> PowerLaw:
    """Fit `sum of a T^s + b` by variable projection from the best point of a grid; s in [-3, 1], soft L1 loss.

    With fewer than eight points a law of two terms is fitted with one, and says so.

    Args:
        tokens: above 0, shape (points,).
        change: shape (points,).
        terms: 1 or 2.

    Raises:
        DataError: if there are fewer than three points, or tokens aren't above 0.
    """
    t, y = np.asarray(tokens, np.float64), np.asarray(change, np.float64)
    if len(t) < 3 or len(t) != len(y) or not (t > 0).all() or not np.isfinite(y).all():
        msg = f"a power law needs at least three points with tokens above 0 and finite losses, got {len(t)}"
        raise DataError(msg)
    note = ""
    if terms == 2 and len(t) < _FIVE:
        terms, note = 1, f"{len(t)} points are too few for two powers: one was fitted"
    powers, orthogonal, _ = _grid(tuple(t.tolist()), terms)
    start = powers[np.square(y @ orthogonal).sum(axis=1).argmax()]
    return _fit(t, y, start)._replace(note=note)


def _fit(t: Vector, y: Vector, start: Vector) -> PowerLaw:
    from scipy.optimize import least_squares

    logs = np.log(t) - np.log(t).mean()  # powers of centred tokens are less alike
    scale = max(float(np.ptp(y)), 1e-12)

    def basis(s: Vector) -> Vector:
        return np.column_stack([*(np.exp(value * logs) for value in s), np.ones(len(logs))])

    def errors(s: Vector) -> Vector:
        B = basis(s)
        return np.asarray((B @ np.linalg.lstsq(B, y, rcond=None)[0] - y) / scale)

    result = least_squares(errors, start, bounds=_EXPONENTS, loss="soft_l1", f_scale=0.1, xtol=1e-15, ftol=1e-15,
                           gtol=1e-15, max_nfev=200)  # fmt: skip
    s = np.asarray(result.x)
    weights = np.linalg.lstsq(basis(s), y, rcond=None)[0]
    factors = weights[:-1] * np.exp(-s * np.log(t).mean())
    law = PowerLaw(tuple(factors.tolist()), tuple(s.tolist()), float(weights[-1]), 0.0)
    return law._replace(rms=float(np.sqrt(np.square(law.predict(t) - y).mean())))


def critical_ratio(
    curves: Sequence[Curve],
    *,
    tokens: float,
    epsilon: float = 0.05,
    skip: float = 0.0,
    interpolation: Literal["monotone", "linear"] = "monotone",
    draws: int = 200,
    seed: int = 0,
) -> CriticalRatio:
    """Return the largest domain share whose general loss rises by at most `epsilon` after `tokens` tokens.

    Args:
        curves: one for each measured ratio, at least two ratios.
        tokens: the horizon T_max, in the curves' unit.
        epsilon: allowed rise of the general loss, nats.
        skip: points at fewer tokens are left out of the fits.
        interpolation: between measured ratios: monotone cubic (PCHIP), or linear.
        draws: of the bootstrap over seeds (where there are several) and residuals.
        seed: of the bootstrap.

    Raises:
        DataError: if there are fewer than two ratios, one is there twice, or a curve is too short.
        ConfigError: if a number is out of range.
    """
    ordered = sorted(curves, key=lambda curve: curve.ratio)
    ratios = [curve.ratio for curve in ordered]
    if len(ratios) < 2 or len(set(ratios)) != len(ratios) or not all(0 <= ratio <= 1 for ratio in ratios):
        msg = f"a critical ratio needs two or more different ratios from 0 to 1, got {ratios}"
        raise DataError(msg)
    if not tokens > 0 or draws < 0:
        msg = f"tokens must be above 0 and draws not below, got {tokens} and {draws}"
        raise ConfigError(msg)
    kept = [_after(curve, skip) for curve in ordered]
    laws = tuple(fit_power_law(curve.tokens, curve.general.mean(axis=0), terms=2) for curve in kept)
    general = np.array([float(law.predict(tokens)) for law in laws])
    domain = [float(fit_power_law(curve.tokens, curve.domain.mean(axis=0)).predict(tokens)) for curve in kept]
    ratio, verdict = _crossing(np.array(ratios), general, epsilon, interpolation)
    low, high = _interval(kept, laws, np.array(ratios), tokens, epsilon, interpolation, draws, seed)
    if ratio is not None and draws:  # refits lie on a grid, which without noise can miss the fit itself
        low, high = (None if low is None else min(low, ratio)), (None if high is None else max(high, ratio))
    return CriticalRatio(
        ratio,
        (low, high),
        verdict,
        tuple(ratios),
        tuple(general.tolist()),
        tuple(domain),
        tuple(bool(change <= epsilon) for change in general),
        laws,
    )


def ratio_law(tokens: Sequence[float], ratios: Sequence[float]) -> RatioLaw:
    """Fit CMR(T) = b + a (T / unit)^s to critical ratios at four or more horizons; the unit is the first horizon.

    Raises:
        DataError: if there are fewer than four.
    """
    if len(tokens) < 4:
        msg = f"the law of critical ratios needs at least four horizons, got {len(tokens)}"
        raise DataError(msg)
    t, r = np.asarray(tokens, np.float64), np.asarray(ratios, np.float64)
    law = fit_power_law(t / t[0], r)
    fitted = RatioLaw(law.factors[0], law.exponents[0], law.constant, float(t[0]), 0.0)
    return fitted._replace(max_error=max(abs(fitted.predict(x) - y) for x, y in zip(t, r, strict=True)))


def _after(curve: Curve, skip: float) -> Curve:
    t = np.asarray(curve.tokens, np.float64)
    general, domain = (np.atleast_2d(np.asarray(x, np.float64)) for x in (curve.general, curve.domain))
    if general.shape[1] != len(t) or domain.shape != general.shape:
        msg = f"the curve of ratio {curve.ratio} has {len(t)} token counts, but losses of shape {general.shape}"
        raise DataError(msg)
    keep = t >= skip
    return Curve(curve.ratio, t[keep], general[:, keep], domain[:, keep])


def _crossing(ratios: Vector, change: Vector, epsilon: float, interpolation: str) -> tuple[float | None, str]:
    """Return the largest ratio up to which the change is at most epsilon, and the answer in words."""
    feasible = change <= epsilon
    if feasible.all():
        return None, (
            f"every measured ratio is feasible: the critical ratio is above {ratios[-1]:g}, the largest tried"
        )
    if not feasible[0]:
        return None, f"no measured ratio is feasible: the critical ratio is below {ratios[0]:g}, the smallest tried"
    last = int(np.flatnonzero(~feasible)[0]) - 1  # beyond the first infeasible ratio nothing is promised
    low, high = float(ratios[last]), float(ratios[last + 1])
    if interpolation == "linear" or len(ratios) < 3:
        part = (epsilon - change[last]) / (change[last + 1] - change[last])
        found = low + float(part) * (high - low)
    else:
        from scipy.interpolate import PchipInterpolator

        curve = PchipInterpolator(ratios, change)
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if curve(middle) <= epsilon else (low, middle)
        found = low
    return found, f"up to {found:.1%} of domain data the general loss rises by at most {epsilon:g}"


def _interval(
    curves: Sequence[Curve],
    laws: Sequence[PowerLaw],
    ratios: Vector,
    tokens: float,
    epsilon: float,
    interpolation: str,
    draws: int,
    seed: int,
) -> tuple[float | None, float | None]:
    """Return the 10 % and 90 % quantiles of the critical ratio when seeds and residuals are drawn again."""
    if not draws:
        return None, None
    generator = np.random.Generator(np.random.PCG64(seed))
    change = np.column_stack([
        _redrawn(curve, law, tokens, draws, generator) for curve, law in zip(curves, laws, strict=True)
    ])  # fmt: skip
    found = []
    for row in change:
        ratio, _ = _crossing(ratios, row, epsilon, interpolation)
        found.append(ratio if ratio is not None else (math.inf if row[0] <= epsilon else -math.inf))
    low, high = np.sort(found)[[int(0.1 * draws), min(draws - 1, math.ceil(0.9 * draws) - 1)]]
    return (float(low) if math.isfinite(low) else None, float(high) if math.isfinite(high) else None)


def _redrawn(curve: Curve, law: PowerLaw, tokens: float, draws: int, generator: np.random.Generator) -> Vector:
    """Return the predicted general change of refits to redrawn seeds and residuals, shape (draws,).

    A refit is the least-squares one over a grid of exponents: for each pair the fit is a projection, the same for all
    draws, so that thousands of fits are a few matrix products.
    """
    t, mean = curve.tokens, curve.general.mean(axis=0)
    fitted = law.predict(t)
    residuals = mean - fitted
    # Residuals of a fit are smaller than the noise: it has taken parameters from them.
    free = max(1, len(t) - 2 * len(law.factors) - 1)
    residuals = residuals * (math.sqrt(len(t) / free) * _student(free))
    seeds = len(curve.general)
    rows = generator.choice(residuals, (draws, len(t)))
    if seeds > 1:
        picks = generator.integers(0, seeds, (draws, seeds))
        rows = curve.general[picks].mean(axis=1) - mean
    rows = rows + fitted
    powers, orthogonal, triangles = _grid(tuple(t.tolist()), len(law.factors))
    unit = np.exp(np.log(t).mean())
    at = np.column_stack([(tokens / unit) ** powers, np.ones(len(powers))])
    weights = np.linalg.solve(np.transpose(triangles, (0, 2, 1)), at[:, :, None])[:, :, 0]
    parts = np.einsum("dn,pnk->dpk", rows, orthogonal)
    best = np.square(parts).sum(axis=2).argmax(axis=1)
    return np.asarray((parts[np.arange(draws), best] * weights[best]).sum(axis=1))


def _student(free: int) -> float:
    """Return how much wider an 80 % interval is with the noise's size known from few points only: t over normal."""
    from scipy.stats import norm, t

    return float(t.ppf(0.9, free) / norm.ppf(0.9))


@functools.lru_cache(maxsize=8)
def _grid(tokens: tuple[float, ...], terms: int) -> tuple[Vector, Vector, Vector]:
    """Return exponents (p, terms), and QR factors (p, points, terms + 1), (p, terms + 1, terms + 1) of their bases."""
    t = np.array(tokens)
    grid = np.linspace(*_EXPONENTS, _GRID)
    powers = np.array(list(itertools.combinations(grid, terms)))
    scaled = np.log(t) - np.log(t).mean()
    basis = np.concatenate([np.exp(scaled[None, :, None] * powers[:, None, :]), np.ones((len(powers), len(t), 1))], 2)
    orthogonal, triangles = np.linalg.qr(basis)
    return powers, orthogonal, triangles
