"""Regressions from a mixture to what a run on it reaches, fitted on few runs.

* `log_linear`: `y(p) = c + exp(t . p)`. Since shares add to 1, a factor before the exponential is a constant added to
  t: this is also the law `c_i + k_i exp(sum_j t_ij p_j)` of data mixing laws (DML, arXiv:2403.16952). Olmix
  (arXiv:2602.12237) has c > 0 and Huber's loss with delta 0.02.
* `linear`: `y(p) = t . p` by ridge regression, as RegMix's linear variant (arXiv:2407.01492).
"""

from typing import Literal, NamedTuple

import numpy as np

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.simplex import Vector

__all__ = ["Law", "LawKind", "fit_laws"]

LawKind = Literal["log_linear", "linear"]

_STARTS = (0.02, 0.3, 0.6, 0.8, 0.95)
"""Where the constant starts, as parts of the least value."""

_FREE_STARTS = (0.05, 0.5, 2.0, 10.0)
"""Where a constant of any sign starts: below the least value, in parts of the range."""

_ITERATIONS, _TRIALS, _STILL = 400, 12, 1e-9
"""Steps at most, dampings tried for each, and the part of the loss below which a step counts as none."""


class Law(NamedTuple):
    """Fitted laws of several metrics.

    Attributes:
        kind: `log_linear` or `linear`.
        constant: c of each metric, shape (metrics,); 0 for linear ones.
        slopes: t of each metric, shape (metrics, groups).
        residual: root mean square error of each on the runs it was fitted on.
    """

    kind: LawKind
    constant: Vector
    slopes: Vector
    residual: Vector

    def predict(self, mixtures: Vector) -> Vector:
        """Return the metrics of mixtures (n, groups), shape (n, metrics)."""
        exponents = np.atleast_2d(mixtures) @ self.slopes.T
        return np.asarray(self.constant + (np.exp(exponents) if self.kind == "log_linear" else exponents))

    def weighted(self, mixture: Vector, weights: Vector) -> tuple[float, Vector, Vector]:
        """Return the weighted sum of the metrics at a mixture, with gradient and Hessian; convex in the mixture."""
        if self.kind == "linear":
            slope = weights @ self.slopes
            return float(slope @ mixture), slope, np.zeros((len(mixture), len(mixture)))
        parts = weights * np.exp(self.slopes @ mixture)
        return (
            float(weights @ self.constant + parts.sum()),
            parts @ self.slopes,
            self.slopes.T @ (parts[:, None] * self.slopes),
        )


def fit_laws(
    ratios: Vector,
    values: Vector,
    *,
    kind: LawKind = "log_linear",
    huber: float | None = 0.02,
    positive: bool = True,
    ridge: float = 1e-3,
) -> Law:
    """Fit a law for each metric.

    Args:
        ratios: mixtures of the runs, shape (runs, groups).
        values: what they reached, shape (runs, metrics).
        kind: see the module.
        huber: where Huber's loss turns from squares to absolute errors; None: squares only.
        positive: whether the constant of a log-linear law is above 0, as Olmix has it.
        ridge: penalty on slopes of a linear law, times the variance of the values.

    Raises:
        DataError: if there are fewer runs than groups, values aren't finite, or a value isn't above 0 where the
            constant must be.
        ConfigError: if a number is out of range.
    """
    ratios, values = np.asarray(ratios, np.float64), np.asarray(values, np.float64)
    if ratios.ndim != 2 or values.ndim != 2 or len(ratios) != len(values) or not np.isfinite(values).all():
        msg = f"ratios of shape {ratios.shape} and finite values of shape {values.shape} must have a row for each run"
        raise DataError(msg)
    if len(ratios) < ratios.shape[1]:
        msg = f"{len(ratios)} runs are fewer than {ratios.shape[1]} groups: no law can be told from them, add runs"
        raise DataError(msg)
    if (huber is not None and not huber > 0) or ridge < 0:
        msg = f"huber must be above 0 and ridge not below, got {huber} and {ridge}"
        raise ConfigError(msg)
    if kind == "linear":
        return _linear(ratios, values, ridge)
    if positive and not (values > 0).all():
        msg = "a log-linear law needs values above 0; shift the metric, or leave the constant free"
        raise DataError(msg)
    fits = [_log_linear(ratios, column, huber, positive) for column in values.T]
    constant = np.array([c for c, _ in fits])
    slopes = np.array([t for _, t in fits])
    law = Law("log_linear", constant, slopes, np.zeros(len(fits)))
    return law._replace(residual=np.sqrt(np.square(law.predict(ratios) - values).mean(axis=0)))


def _linear(ratios: Vector, values: Vector, ridge: float) -> Law:
    mean, centre = values.mean(axis=0), ratios.mean(axis=0)
    X = ratios - centre
    penalty = ridge * len(ratios) * float(X.var(axis=0).sum()) / ratios.shape[1]
    system = X.T @ X + penalty * np.eye(ratios.shape[1])
    slopes = np.linalg.lstsq(system, X.T @ (values - mean), rcond=None)[0].T
    slopes = slopes + (mean - slopes @ centre)[:, None]  # shares add to 1, so a constant may stand in every slope
    law = Law("linear", np.zeros(len(slopes)), slopes, np.zeros(len(slopes)))
    return law._replace(residual=np.sqrt(np.square(law.predict(ratios) - values).mean(axis=0)))


def _log_linear(ratios: Vector, values: Vector, huber: float | None, positive: bool) -> tuple[float, Vector]:
    """Return constant and slopes, the best of a few starts; each start's slopes are those of the logarithms."""
    least, spread = float(values.min()), float(np.ptp(values))
    if positive:
        starts = [part * least for part in _STARTS]
    else:  # without a sign to go by, starts lie below the least value by parts of the range
        starts = [least - part * spread - 1e-9 for part in _FREE_STARTS]
    best: tuple[float, Vector] | None = None
    for start in starts:
        rest = np.log(np.maximum(values - start, 1e-9))
        slopes = np.linalg.lstsq(ratios, rest, rcond=1e-10)[0]
        theta = np.concatenate([[np.log(start) if positive else start], slopes])
        found = _damped_newton(ratios, values, theta, huber, positive)
        if best is None or found[0] < best[0] * (1 - 1e-9):
            best = found
    if best is None:
        msg = "a law needs at least one start"
        raise DataError(msg)
    return _constant(best[1], positive), best[1][1:]


def _constant(theta: Vector, positive: bool) -> float:
    return float(np.exp(min(theta[0], 50.0))) if positive else float(theta[0])


def _damped_newton(
    ratios: Vector, values: Vector, theta: Vector, huber: float | None, positive: bool
) -> tuple[float, Vector]:
    """Minimise the loss by Levenberg's and Marquardt's steps; return loss and parameters.

    Huber's loss is that of squares with weights min(1, delta / |error|), which follow the errors.
    """

    def evaluated(at: Vector) -> tuple[float, Vector, Vector]:
        curve = np.exp(np.minimum(ratios @ at[1:], 50.0))
        error = _constant(at, positive) + curve - values
        if huber is None:
            return float(error @ error) / 2, error, curve
        size = np.abs(error)
        return float(np.where(size <= huber, size * size / 2, huber * (size - huber / 2)).sum()), error, curve

    loss, error, curve = evaluated(theta)
    damping, still = 1e-3, 0
    for _ in range(_ITERATIONS):
        weights = np.ones(len(error)) if huber is None else np.minimum(1.0, huber / np.maximum(np.abs(error), 1e-300))
        slope = np.full(len(error), _constant(theta, positive) if positive else 1.0)
        jacobian = np.column_stack([slope, curve[:, None] * ratios])
        weighted = jacobian * weights[:, None]
        normal, gradient = weighted.T @ jacobian, weighted.T @ error
        scale = np.maximum(np.diag(normal), 1e-12 * max(float(np.diag(normal).max()), 1e-300))
        before = loss
        for _ in range(_TRIALS):
            trial = theta - np.linalg.solve(normal + damping * np.diag(scale), gradient)
            reached, new_error, new_curve = evaluated(trial)
            if reached < loss:
                theta, loss, error, curve = trial, reached, new_error, new_curve
                damping = max(damping / 5, 1e-12)
                break
            damping *= 4
        still = still + 1 if loss > before * (1 - _STILL) else 0
        if still == 3 or loss == 0:
            break
    return loss, theta
