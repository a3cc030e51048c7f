"""Proposes a mixture from runs on other mixtures: Olmix, DML, RegMix and the best run, by one set of parts.

Laws are fitted to the runs (`tamis.scorers.mixture.laws`), and a proposer looks for the mixture that they say is best:

* `exact`: the minimum of the weighted laws plus `kl` times KL(p || prior), under caps, to a gap of 1e-10. Olmix's
  default (log-linear, kl 0.1, Huber 0.02); DML's minimum is the same without KL, Huber and the sign of the constant.
* `simulation`: many mixtures drawn around the prior, the mean of those predicted best, as RegMix does. RegMix regresses
  by boosted trees or a line; here the law is log-linear unless the line is asked for, which can only lead to a corner.
* `search`: the run that reached the best value, whatever a law says; a grid search is this.

A law is fitted where runs lie. A proposal outside their hull, or beyond the share that any run gave a group, is marked.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.controller import Controller, ControllerParameters, Request, Seen
from tamis.scorers.mixture.convex import minimise_on_simplex
from tamis.scorers.mixture.laws import Law, LawKind, fit_laws
from tamis.scorers.mixture.runs import Runs, draw_mixtures
from tamis.scorers.mixture.simplex import Vector, normalised

__all__ = ["METHODS", "Proposal", "Proposer", "Swarm", "SwarmParameters", "propose"]

Proposer = Literal["exact", "simulation", "search"]

METHODS: Mapping[str, Mapping[str, Any]] = {
    "olmix": {"law": "log_linear", "proposer": "exact", "kl": 0.1, "huber": 0.02, "positive": True},
    "dml": {"law": "log_linear", "proposer": "exact", "kl": 0.0, "huber": None, "positive": False},
    "regmix": {"law": "log_linear", "proposer": "simulation", "kl": 0.0, "huber": 0.02, "positive": True},
    "best_run": {"law": "linear", "proposer": "search", "kl": 0.0, "huber": None, "positive": False},
}
"""The published methods as options of `propose`."""

_HULL_TOLERANCE = 1e-6


class Proposal(NamedTuple):
    """A proposed mixture and how far to trust it.

    Attributes:
        shares: shape (groups,).
        predicted: the weighted mean of the metrics there, by the law, or as measured with `search`.
        at_prior: the same at the prior, for comparison; NaN with `search`.
        law: what was fitted; None with `search`.
        outside: groups whose share is beyond all that was tried, rising positions.
        hull_distance: half the sum of absolute differences to the nearest mixture of the runs' mixtures; above 0 the
            law is extrapolated.
        notes: sentences for a person.
    """

    shares: Vector
    predicted: float
    at_prior: float
    law: Law | None
    outside: tuple[int, ...]
    hull_distance: float
    notes: tuple[str, ...]

    @property
    def extrapolated(self) -> bool:
        """Whether the proposal lies outside of what was tried."""
        return bool(self.outside) or self.hull_distance > _HULL_TOLERANCE


def propose(
    runs: Runs,
    *,
    prior: Vector | None = None,
    law: LawKind = "log_linear",
    proposer: Proposer = "exact",
    kl: float = 0.1,
    huber: float | None = 0.02,
    positive: bool = True,
    caps: Vector | None = None,
    weights: Mapping[str, float] | None = None,
    draws: int = 20000,
    best: int = 100,
    seed: int = 0,
) -> Proposal:
    """Propose the mixture that makes the weighted mean of the metrics least.

    Args:
        runs: what was tried.
        prior: the natural shares, shape (groups,): of KL and of the drawn mixtures; None: equal.
        law: see `tamis.scorers.mixture.laws`.
        proposer: see the module.
        kl: weight of KL(p || prior), with `exact`.
        huber: see `fit_laws`.
        positive: see `fit_laws`; metrics with values not above 0 are shifted, and noted.
        caps: largest shares, such as epochs allowed times tokens there are by tokens trained on.
        weights: of the metrics; None: equal.
        draws: mixtures drawn by `simulation`.
        best: how many of them are averaged.
        seed: of the draw.

    Raises:
        DataError: if there are fewer runs than groups, or no run fits below the caps with `search`.
        ConfigError: if caps or weights are out of range.
    """
    m = len(runs.groups)
    shares = normalised([1.0] * m if prior is None else prior, "prior")
    if len(shares) != m or (caps is not None and len(caps) != m):
        msg = f"prior and caps need {m} numbers, one for each group"
        raise ConfigError(msg)
    if kl < 0:
        msg = f"kl is {kl}: the weight of the divergence from the prior can't be below 0"
        raise ConfigError(msg)
    metric = runs.metric_weights(weights)
    notes = list(runs.notes)
    if proposer == "search":
        return _searched(runs, runs.ratios, runs.values @ metric, caps, notes)
    values = runs.values
    if law == "log_linear" and positive and (values.min(axis=0) <= 0).any():
        low = values.min(axis=0) <= 0
        shift = np.where(low, values.min(axis=0) - 1e-3 * np.maximum(np.ptp(values, axis=0), 1e-9), 0.0)
        values = values - shift
        notes.append(f"{int(low.sum())} metrics with values not above 0 were shifted to be above 0")
    fitted = fit_laws(runs.ratios, values, kind=law, huber=huber, positive=positive)
    if proposer == "exact":
        proposal = _exact(fitted, metric, shares, kl, caps)
    else:
        proposal = _simulated(fitted, metric, shares, caps, draws, best, seed)
    predicted = fitted.predict(np.array([proposal, shares])) @ metric
    return _told(runs, proposal, float(predicted[0]), float(predicted[1]), fitted, notes)


def _exact(law: Law, metric: Vector, prior: Vector, kl: float, caps: Vector | None) -> Vector:
    reference = np.maximum(prior, 1e-12)
    reference = reference / reference.sum()

    def objective(p: Vector) -> tuple[float, Vector, Vector]:
        value, gradient, hessian = law.weighted(p, metric)
        if kl:
            ratio = np.log(p / reference)
            value += kl * float(p @ ratio)
            gradient = gradient + kl * (ratio + 1)
            hessian = hessian + np.diag(kl / p)
        return value, gradient, hessian

    return minimise_on_simplex(objective, len(prior), caps=caps).shares


def _simulated(
    law: Law, metric: Vector, prior: Vector, caps: Vector | None, draws: int, best: int, seed: int
) -> Vector:
    mixtures = draw_mixtures(prior, draws, seed=seed, purpose="simulation")
    if caps is not None:
        mixtures = mixtures[(mixtures <= caps).all(axis=1)]
        if not len(mixtures):
            msg = f"none of {draws} drawn mixtures is below the caps; draw more, or use the exact proposer"
            raise DataError(msg)
    order = np.argsort(law.predict(mixtures) @ metric, kind="stable")
    return normalised(mixtures[order[:best]].mean(axis=0))


def _searched(runs: Runs, ratios: Vector, values: Vector, caps: Vector | None, notes: list[str]) -> Proposal:
    fits = np.ones(len(ratios), np.bool_) if caps is None else (ratios <= caps).all(axis=1)
    if not fits.any():
        msg = "no run's mixture is below the caps: allow more epochs, or use the exact proposer"
        raise DataError(msg)
    at = int(np.flatnonzero(fits)[values[fits].argmin()])
    notes.append(f"run {runs.names[at]!r} reached the best value")
    return Proposal(ratios[at], float(values[at]), float("nan"), None, (), 0.0, tuple(notes))


def _told(runs: Runs, shares: Vector, predicted: float, at_prior: float, law: Law, notes: list[str]) -> Proposal:
    low, high = runs.ratios.min(axis=0), runs.ratios.max(axis=0)
    outside = tuple(int(i) for i in np.flatnonzero((shares < low - 1e-6) | (shares > high + 1e-6)))
    distance = _hull_distance(runs.ratios, shares)
    notes += [
        f"extrapolation: {runs.groups[i]} gets {shares[i]:.4f} where runs gave it {low[i]:.4f} to {high[i]:.4f}"
        for i in outside
    ]
    if distance > _HULL_TOLERANCE and not outside:
        notes.append(f"extrapolation: the mixture lies outside of what the runs span (by {distance:.4f})")
    return Proposal(shares, predicted, at_prior, law, outside, distance, tuple(notes))


def _hull_distance(ratios: Vector, shares: Vector) -> float:
    """Return half the least sum of absolute differences of `shares` to an average of the rows (a linear program)."""
    from scipy.optimize import linprog

    n, m = ratios.shape
    cost = np.concatenate([np.zeros(n), np.full(2 * m, 0.5)])
    equal = np.vstack([
        np.hstack([ratios.T, np.eye(m), -np.eye(m)]),
        np.concatenate([np.ones(n), np.zeros(2 * m)])[None, :],
    ])  # fmt: skip
    result = linprog(cost, A_eq=equal, b_eq=np.append(shares, 1.0), bounds=(0, None), method="highs")
    return max(0.0, float(result.fun))


class SwarmParameters(ControllerParameters):
    """Options of `Swarm`.

    Attributes:
        runs: number of runs.
        steps: steps of each.
        prior: natural shares: runs are drawn around them; None: equal.
        mixtures: the runs' mixtures, instead of drawn ones.
        strength: see `draw_mixtures`.
        solve: `olmix`, `dml`, `regmix` or `best_run`.
        kl: instead of the method's own.
        caps: largest shares.
    """

    runs: int = Field(16, ge=1)
    steps: int = Field(500, ge=1)
    prior: tuple[float, ...] | None = None
    mixtures: tuple[tuple[float, ...], ...] | None = None
    strength: tuple[float, float] = (0.1, 5.0)
    solve: Literal["olmix", "dml", "regmix", "best_run"] = "olmix"
    kl: float | None = Field(None, ge=0)
    caps: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _enough(self) -> Self:
        number = self.runs if self.mixtures is None else len(self.mixtures)
        if self.solve != "best_run" and number < len(self.groups):
            msg = f"{number} runs are fewer than {len(self.groups)} groups: no law can be told from them, add runs"
            raise ValueError(msg)
        return self


class Swarm(Controller):
    """Runs from the start on different mixtures, then a proposal."""

    method = "swarm"
    parameters_type = SwarmParameters
    parameters: SwarmParameters

    def mixtures(self) -> Vector:
        """Return the runs' mixtures, shape (runs, groups)."""
        options = self.parameters
        if options.mixtures is not None:
            return np.array([normalised(mixture, "a run's mixture") for mixture in options.mixtures])
        prior = options.prior or [1.0] * len(self.groups)
        return draw_mixtures(prior, options.runs, seed=options.seed, strength=options.strength)

    def next(self) -> Request | None:
        """Return the next run; see `Controller`."""
        mixtures = self.mixtures()
        done = len(self.state["losses"])
        if done == len(mixtures):
            return None
        mixture = tuple(mixtures[done].tolist())
        return Request("run", mixture, self.parameters.steps, "losses", self.groups, restart=True)

    def proposal(self) -> Proposal:
        """Return what the runs propose.

        Raises:
            DataError: if runs are still to come.
        """
        mixtures = self.mixtures()
        losses = np.array(self.state["losses"], np.float64)
        if len(losses) < len(mixtures):
            msg = f"{len(mixtures) - len(losses)} of {len(mixtures)} runs are still to come"
            raise DataError(msg)
        names = tuple(f"run_{i:04d}" for i in range(len(mixtures)))
        options = dict(METHODS[self.parameters.solve])
        if self.parameters.kl is not None:
            options["kl"] = self.parameters.kl
        caps = None if self.parameters.caps is None else np.array(self.parameters.caps)
        prior = None if self.parameters.prior is None else np.array(self.parameters.prior)
        return propose(
            Runs(names, self.groups, mixtures, self.groups, losses), prior=prior, caps=caps, seed=self.parameters.seed,
            **options,
        )  # fmt: skip

    def proportions(self) -> tuple[float, ...]:
        """Return the proposed mixture; before all runs are done, the prior."""
        if self.next() is not None:
            return tuple(normalised(self.parameters.prior or [1.0] * len(self.groups), "prior").tolist())
        return tuple(self.proposal().shares.tolist())

    def _check(self) -> None:
        mixtures = self.mixtures()
        lengths = [mixtures.shape[1]] + [len(x) for x in (self.parameters.prior, self.parameters.caps) if x is not None]
        if any(length != len(self.groups) for length in lengths):
            msg = f"mixtures, prior and caps need {len(self.groups)} shares, one for each group"
            raise ConfigError(msg)

    def _start(self) -> dict[str, Any]:
        return {"losses": [], "history": []}

    def _take(self, request: Request, seen: Seen) -> None:
        self.state["losses"].append(seen.values[0])
        self.state["history"].append(
            {"round": len(self.state["history"]), "p": list(request.mixture), "loss_end": seen.values[0]}
        )
