"""Mixtures that no training run finds: given, by size, equal, UniMax; and the controller that trains them.

"Stratified" is equal shares and "proportional" is shares by size; papers mix the words up.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from tamis.schemas.errors import ConfigError
from tamis.scorers.mixture.controller import Controller, ControllerParameters, Request, Seen
from tamis.scorers.mixture.simplex import CappedShares, Vector, normalised

__all__ = ["Fixed", "FixedParameters", "mean_mixture", "proportional", "stratified", "unimax"]


def stratified(groups: int) -> Vector:
    """Return equal shares of `groups` groups.

    Raises:
        ConfigError: if there is no group.
    """
    return normalised([1.0] * groups, "the stratified mixture")


def proportional(sizes: Sequence[float]) -> Vector:
    """Return shares by size (tokens, bytes or documents).

    Raises:
        ConfigError: if sizes are negative or all 0.
    """
    return normalised(sizes, "the proportional mixture")


def unimax(sizes: Sequence[float], budget: float, max_epochs: float) -> CappedShares:
    """Return UniMax's mixture: equal parts of the budget, none above `max_epochs` times the group (arXiv:2304.09151).

    From the smallest group on, each gets an equal part of what is left of the budget, at most its cap.

    Args:
        sizes: what each group has, in the budget's unit, above 0.
        budget: what is trained on in all, above 0.
        max_epochs: most passes over a group, above 0.

    Returns:
        Shares of the budget; they add to less than 1 where all groups together, `max_epochs` times, are smaller.

    Raises:
        ConfigError: if a number isn't above 0 and finite.
    """
    have = np.asarray(sizes, np.float64)
    numbers = [*have.tolist(), budget, max_epochs]
    if not len(have) or not all(np.isfinite(x) and x > 0 for x in numbers):
        msg = f"UniMax needs sizes, budget and max_epochs above 0, got {have.tolist()}, {budget} and {max_epochs}"
        raise ConfigError(msg)
    parts = np.empty(len(have))
    left = float(budget)
    order = np.argsort(have, kind="stable")
    for rank, group in enumerate(order):
        parts[group] = min(left / (len(have) - rank), have[group] * max_epochs)
        left -= parts[group]
    shares = parts / budget
    missing = max(0.0, left / budget)
    capped = tuple(int(i) for i in np.flatnonzero(parts == have * max_epochs))
    return CappedShares(shares, missing if missing > 1e-12 else 0.0, capped)


def mean_mixture(schedule: Sequence[Sequence[float]], steps: Sequence[float]) -> Vector:
    """Return the mean of a schedule's mixtures, weighted by their steps.

    Raises:
        ConfigError: if the numbers don't fit, or there is no step.
    """
    if len(schedule) != len(steps) or not schedule or not sum(steps) > 0:
        msg = f"a schedule needs as many steps as mixtures and at least one step, got {len(schedule)} and {list(steps)}"
        raise ConfigError(msg)
    rows = np.array([normalised(mixture, "a mixture of the schedule") for mixture in schedule])
    return normalised(np.asarray(steps, np.float64) @ rows / sum(steps))


class FixedParameters(ControllerParameters):
    """Options of `Fixed`.

    Attributes:
        schedule: mixtures p^1, p^2, ..., each trained in turn.
        steps: steps of each.
        evaluate_every: most steps between two evaluations; None: only at the ends of the schedule's mixtures.
    """

    schedule: tuple[tuple[float, ...], ...] = Field(min_length=1)
    steps: tuple[int, ...] = Field(min_length=1)
    evaluate_every: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.schedule) != len(self.steps) or min(self.steps) < 1:
            msg = f"schedule has {len(self.schedule)} mixtures: give as many steps, each at least 1"
            raise ValueError(msg)
        if any(len(mixture) != len(self.groups) for mixture in self.schedule):
            msg = f"each mixture of the schedule needs {len(self.groups)} shares"
            raise ValueError(msg)
        return self


class Fixed(Controller):
    """Trains a given schedule: stratified, proportional, UniMax, MixMin's or any other mixture."""

    method = "fixed"
    parameters_type = FixedParameters
    parameters: FixedParameters

    def next(self) -> Request | None:
        """Return the next part of the schedule; see `Controller`."""
        state, options = self.state, self.parameters
        if state["stage"] == len(options.schedule):
            return None
        left = options.steps[state["stage"]] - state["done"]
        steps = left if options.evaluate_every is None else min(left, options.evaluate_every)
        mixture = normalised(options.schedule[state["stage"]])
        first = state["stage"] == 0 and state["done"] == 0
        return Request("main", tuple(mixture.tolist()), steps, "losses", self.groups, restart=first)

    def proportions(self) -> tuple[float, ...]:
        """Return the schedule's mean by steps."""
        return tuple(mean_mixture(self.parameters.schedule, self.parameters.steps).tolist())

    def _check(self) -> None:
        for mixture in self.parameters.schedule:
            normalised(mixture, "a mixture of the schedule")

    def _start(self) -> dict[str, Any]:
        return {"stage": 0, "done": 0, "history": []}

    def _take(self, request: Request, seen: Seen) -> None:
        state = self.state
        state["done"] += request.steps
        state["history"].append(
            {"round": len(state["history"]), "p": list(request.mixture), "loss_end": seen.values[0]}
        )
        if state["done"] == self.parameters.steps[state["stage"]]:
            state["stage"], state["done"] = state["stage"] + 1, 0
