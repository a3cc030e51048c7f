"""DoReMi and DoGE: shares from one proxy run, updated every few steps and averaged over the run.

DoReMi (arXiv:2305.10429): a reference model is trained on the initial mixture; the proxy's excess over its loss, not
below 0, raises a group's share, and the shares are smoothed:

    p  proportional to  p exp(mu max(excess, 0));   p = (1 - c) p + c / m.

A group without a row in the batches keeps its earlier excess.

DoGE (arXiv:2310.15393): the inner product of a group's gradient with the mean validation gradient, over the mean norm
of the groups' gradients, times the learning rate and clipped to [0, 5 lr], raises its share:

    p  proportional to  p exp(clip(lr score, 0, 5 lr) / mu).
"""

from typing import Any

import numpy as np
from pydantic import Field

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.controller import Controller, ControllerParameters, Request, Seen
from tamis.scorers.mixture.simplex import Vector, exponentiate, normalised

__all__ = ["DoGE", "DoGEParameters", "DoReMi", "DoReMiParameters", "doge_update", "doremi_update"]

_CLIP = 5.0
"""DoGE's largest score, in learning rates."""


def doremi_update(shares: Vector, excess: Vector, mu: float, smoothing: float) -> Vector:
    """Return DoReMi's next mixture.

    Args:
        shares: the mixture, shape (groups,).
        excess: the proxy's loss minus the reference model's, nats a token.
        mu: step size.
        smoothing: share of equal shares that is mixed in.
    """
    moved = exponentiate(shares, mu * np.maximum(excess, 0.0))
    return (1 - smoothing) * moved + smoothing / len(moved)


def doge_update(shares: Vector, scores: Vector, learning_rate: float, mu: float) -> Vector:
    """Return DoGE's next mixture.

    Args:
        shares: the mixture, shape (groups,).
        scores: inner products over the mean gradient norm.
        learning_rate: the optimiser's.
        mu: the strength of the pull to the earlier mixture.
    """
    return exponentiate(shares, np.clip(learning_rate * scores, 0.0, _CLIP * learning_rate) / mu)


class _ProxyParameters(ControllerParameters):
    steps: int = Field(5000, ge=1)
    every: int = Field(1, ge=1)
    initial: tuple[float, ...] | None = None


class DoReMiParameters(_ProxyParameters):
    """Options of `DoReMi`.

    Attributes:
        steps: steps of the proxy run.
        every: steps between two updates.
        initial: the reference model's mixture and the proxy's first; None: equal shares.
        reference_steps: steps of the reference run.
        mu: step size.
        smoothing: share of equal shares in each update.
    """

    reference_steps: int = Field(5000, ge=1)
    mu: float = Field(1.0, gt=0)
    smoothing: float = Field(1e-3, ge=0, le=1)


class DoGEParameters(_ProxyParameters):
    """Options of `DoGE`.

    Attributes:
        steps: steps of the proxy run.
        every: steps between two updates.
        initial: the first mixture; None: equal shares.
        mu: the strength of the pull to the earlier mixture.
    """

    mu: float = Field(0.01, gt=0)


class _Proxy(Controller):
    """A run whose mixture is updated every few steps; the result is the mean of the updated mixtures."""

    parameters: _ProxyParameters

    @property
    def _initial(self) -> Vector:
        return normalised(self.parameters.initial or [1.0] * len(self.groups), "initial")

    def proportions(self) -> tuple[float, ...]:
        """Return the mean of the mixtures after each update, the initial one before any."""
        updates = self.state["updates"]
        if not updates:
            return tuple(self._initial.tolist())
        return tuple(normalised(np.array(self.state["sum"]) / updates).tolist())

    def _check(self) -> None:
        if len(self._initial) != len(self.groups):
            msg = f"initial has {len(self._initial)} shares for {len(self.groups)} groups"
            raise ConfigError(msg)

    def _start(self) -> dict[str, Any]:
        m = len(self.groups)
        return {"done": 0, "updates": 0, "mixture": self._initial.tolist(), "sum": [0.0] * m, "history": []}

    def _moved(self, request: Request, mixture: Vector) -> None:
        state = self.state
        state["done"] += request.steps
        state["updates"] += 1
        state["mixture"] = mixture.tolist()
        state["sum"] = (np.array(state["sum"]) + mixture).tolist()
        if state["updates"] & (state["updates"] - 1) == 0 or state["done"] >= self.parameters.steps:
            state["history"].append({"round": state["updates"], "p": mixture.tolist()})  # powers of two are a picture


class DoReMi(_Proxy):
    """A reference run, then a proxy run under group distributionally robust optimisation."""

    method = "doremi"
    parameters_type = DoReMiParameters
    parameters: DoReMiParameters

    def next(self) -> Request | None:
        """Return the next segment; see `Controller`."""
        state, options = self.state, self.parameters
        if not state["referenced"]:
            mixture = tuple(self._initial.tolist())
            return Request("reference", mixture, options.reference_steps, "nothing", (), restart=True)
        if state["done"] >= options.steps:
            return None
        steps = min(options.every, options.steps - state["done"])
        return Request(
            "proxy", tuple(state["mixture"]), steps, "excess_losses", self.groups, restart=state["done"] == 0
        )

    def _start(self) -> dict[str, Any]:
        return {**super()._start(), "referenced": False, "excess": [0.0] * len(self.groups)}

    def _take(self, request: Request, seen: Seen) -> None:
        state = self.state
        if request.kind == "reference":
            state["referenced"] = True
            return
        state["excess"] = [
            old if new is None else new for new, old in zip(seen.values[0], state["excess"], strict=True)
        ]
        options = self.parameters
        self._moved(
            request, doremi_update(np.array(state["mixture"]), np.array(state["excess"]), options.mu, options.smoothing)
        )


class DoGE(_Proxy):
    """A proxy run whose mixture follows the alignment of gradients with the validation set's."""

    method = "doge"
    parameters_type = DoGEParameters
    parameters: DoGEParameters

    def next(self) -> Request | None:
        """Return the next segment; see `Controller`."""
        state, options = self.state, self.parameters
        if state["done"] >= options.steps:
            return None
        steps = min(options.every, options.steps - state["done"])
        return Request(
            "proxy", tuple(state["mixture"]), steps, "gradient_scores", self.groups, restart=state["done"] == 0
        )

    def _take(self, request: Request, seen: Seen) -> None:
        if seen.learning_rate is None or not seen.learning_rate > 0:
            msg = "DoGE needs the optimiser's learning rate, above 0, with each observation"
            raise DataError(msg)
        mixture = np.array(self.state["mixture"])
        self._moved(request, doge_update(mixture, np.array(seen.values[0]), seen.learning_rate, self.parameters.mu))
