"""Aioli: the mixing law is estimated during the one training run (Chen et al., ICLR 2025, arXiv:2411.05735).

A round probes the groups: `sweeps` times in a random order, `interval_steps` steps on a mixture that leans to one group
(`one_hot_factor` on it, the rest equally on the others). `beta[i][j]` is the mean drop of validation loss i over the
probes of group j; row i of the law solves `W A_i = beta_i`, `W[j]` being probe mixture j. The rest of the round is
trained on

    p_j  proportional to  p_j * exp(eta * sum_i w_i Abar_ij)

with Abar the normalised law. Three things differ from the paper where an option says so:

* `update`: `cumulative` as the paper writes it; `memoryless` leaves the earlier p out, as the released code does
  when it averages laws (`ema` is the weight of the past in `E = (1 - ema) Abar + ema E`; without it there is nothing
  to remember the past by, and the released code is cumulative too);
* `objective`: `loss` has w_i = 1, as published; `perplexity` has w_i = m exp(L_i) / sum exp(L), the gradient of the
  average perplexity (which is what the paper reports) in place of the average loss;
* `normalise`: `sum` as the released code (subtract the least entry if it is negative, divide by the sum of all);
  `std` takes each row's mean away and divides by m times the standard deviation of all entries; `none`.

Adding a constant to a row of beta adds it to that row of A and moves no p under `std` and `none`; under `sum` it
changes the scale of the step, never its order.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from tamis.schemas.errors import ConfigError
from tamis.scorers.mixture.controller import Controller, ControllerParameters, Request, Seen
from tamis.scorers.mixture.simplex import (
    Vector,
    cap_shares,
    exponentiate,
    limited_step,
    normalised,
    raise_to_floor,
)

__all__ = ["Aioli", "AioliParameters", "Law", "mixing_law", "normalised_law", "probe_mixtures"]


class AioliParameters(ControllerParameters):
    """Options of `Aioli`.

    Attributes:
        rounds: rounds of the run (T).
        round_steps: optimiser steps of a round, probes included.
        sweeps: probes of each group in a round (k).
        interval_steps: steps of a probe (s).
        one_hot_factor: share of the probed group in its probe (f), above 1/m.
        eta: step size.
        update: see the module.
        ema: weight of the past when laws are averaged; None: they aren't.
        objective: see the module.
        normalise: see the module.
        diagonal: only how a group's probe moves its own loss counts.
        shrink: what noise does to the law, by the standard errors over sweeps, after each row's mean is taken away:
            `none`; `threshold` keeps an entry only where it exceeds its standard error; `ratio` scales it by
            signal / (signal + noise), in squares.
        trust: most change of a log share in a round; None: no limit.
        floor: least share of a group in the main phase.
        prior: mixture of `prior_steps` steps before the first round ("Aioli + X"); the rounds start from equal shares.
        prior_steps: see `prior`.
        validation: names of the validation sets; None: one for each group.
        allowance: most steps' worth of rows that each group may give in the whole run: rows in the group times epochs
            allowed, divided by the rows of a batch. None: no limit.
        probe_orders: the groups' positions in the order to probe them, by round, instead of the drawn order.
    """

    rounds: int = Field(20, ge=1)
    round_steps: int = Field(250, ge=1)
    sweeps: int = Field(4, ge=1)
    interval_steps: int = Field(4, ge=1)
    one_hot_factor: float = Field(0.625, gt=0, le=1)
    eta: float = Field(0.2, ge=0)
    update: Literal["cumulative", "memoryless"] = "cumulative"
    ema: float | None = Field(None, ge=0, lt=1)
    objective: Literal["loss", "perplexity"] = "loss"
    normalise: Literal["sum", "std", "none"] = "sum"
    diagonal: bool = False
    shrink: Literal["none", "threshold", "ratio"] = "none"
    trust: float | None = Field(None, gt=0)
    floor: float = Field(0.0, ge=0)
    prior: tuple[float, ...] | None = None
    prior_steps: int = Field(0, ge=0)
    validation: tuple[str, ...] | None = Field(None, min_length=1)
    allowance: tuple[float, ...] | None = None
    probe_orders: tuple[tuple[int, ...], ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        m = len(self.groups)
        probes = self.sweeps * m * self.interval_steps
        if probes > self.round_steps:
            msg = (
                f"probes take {self.sweeps} sweeps x {m} groups x {self.interval_steps} steps = {probes} steps of a "
                f"round of {self.round_steps}: make round_steps larger, or sweeps or interval_steps smaller"
            )
            raise ValueError(msg)
        if m > 1 and self.one_hot_factor <= 1 / m:
            msg = f"one_hot_factor is {self.one_hot_factor}: with {m} groups it must be above {1 / m:.4g}"
            raise ValueError(msg)
        if self.diagonal and self.validation is not None:
            msg = "diagonal needs a validation set for each group: leave validation out"
            raise ValueError(msg)
        for name in ("prior", "allowance"):
            given = getattr(self, name)
            if given is not None and len(given) != m:
                msg = f"{name} has {len(given)} numbers for {m} groups"
                raise ValueError(msg)
        if self.floor * m > 1:
            msg = f"floor is {self.floor}: with {m} groups it can be at most {1 / m:.4g}"
            raise ValueError(msg)
        wanted = sorted(list(range(m)) * self.sweeps)
        for order in self.probe_orders or ():
            if sorted(order) != wanted:
                msg = f"probe_orders must hold each of {m} groups {self.sweeps} times, got {list(order)}"
                raise ValueError(msg)
        if self.probe_orders is not None and len(self.probe_orders) != self.rounds:
            msg = f"probe_orders has {len(self.probe_orders)} orders for {self.rounds} rounds"
            raise ValueError(msg)
        return self


class Law(NamedTuple):
    """An estimated mixing law.

    Attributes:
        beta: mean loss drops, shape (validation sets, groups).
        beta_error: their standard errors over sweeps, NaN with one sweep.
        A: the law: how training on group j for an interval lowers loss i, shape (validation sets, groups).
        A_error: standard errors of A.
    """

    beta: Vector
    beta_error: Vector
    A: Vector
    A_error: Vector


def probe_mixtures(groups: int, one_hot_factor: float) -> Vector:
    """Return the probe mixtures as rows, shape (groups, groups)."""
    if groups == 1:
        return np.ones((1, 1))
    rest = (1 - one_hot_factor) / (groups - 1)
    return np.full((groups, groups), rest) + np.eye(groups) * (one_hot_factor - rest)


def mixing_law(drops: Vector, one_hot_factor: float, *, diagonal: bool = False) -> Law:
    """Estimate the law from the loss drops of a round's probes.

    Args:
        drops: shape (sweeps, validation sets, groups): drop of loss i over the probe of group j.
        one_hot_factor: share of the probed group.
        diagonal: keep only the effect of a group's probe on its own loss, divided by the factor.
    """
    sweeps, _, m = drops.shape
    beta = drops.sum(axis=0) / sweeps
    error = drops.std(axis=0, ddof=1) / np.sqrt(sweeps) if sweeps > 1 else np.full(beta.shape, np.nan)
    if diagonal:
        own = np.eye(m, dtype=np.bool_)
        return Law(beta, error, np.where(own, beta / one_hot_factor, 0.0), np.where(own, error / one_hot_factor, 0.0))
    inverse = np.linalg.inv(probe_mixtures(m, one_hot_factor))
    # beta_ij of one round are independent by probe, so their variances add with squared weights.
    return Law(beta, error, beta @ inverse.T, np.sqrt(np.square(error) @ np.square(inverse.T)))


def normalised_law(A: Vector, method: Literal["sum", "std", "none"]) -> Vector:
    """Return the law in the scale of the step, by the module's methods; one without differences moves nothing."""
    if method == "none":
        return A
    if method == "std":
        centred = A - A.mean(axis=1, keepdims=True)
        deviation = float(centred.std())
        # Differences that are only rounding would be blown up to full steps.
        if deviation <= 1e-12 * float(np.abs(A).max(initial=0.0)):
            return np.zeros_like(A)
        return np.asarray(centred / (deviation * len(A)))
    shifted = A - A.min() if A.min() < 0 else A
    total = shifted.sum()
    return np.full(A.shape, 1 / A.size) if total <= 0 else np.asarray(shifted / total)


class Aioli(Controller):
    """Aioli's controller: evaluate, then by round `sweeps * m` probes and the main phase, each followed by losses."""

    method = "aioli"
    parameters_type = AioliParameters
    parameters: AioliParameters

    @property
    def validation(self) -> tuple[str, ...]:
        """Names of the validation sets, in the order of losses."""
        return self.parameters.validation or self.groups

    def next(self) -> Request | None:
        """Return the next segment; see `Controller`."""
        options, m = self.parameters, len(self.groups)
        position = self.state["position"]
        if self.state["round"] >= options.rounds:
            return None
        if position == -2:
            prior = normalised(options.prior or (), "prior")
            return self._request("prior", prior, options.prior_steps)
        if position == -1:
            return self._request("evaluate", np.full(m, 1 / m), 0)
        order = self.probe_order(self.state["round"])
        if position < len(order):
            probe = probe_mixtures(m, options.one_hot_factor)[order[position]]
            return self._request("probe", probe, options.interval_steps)
        return self._request(
            "main", np.array(self.state["mixture"]), options.round_steps - len(order) * options.interval_steps
        )

    def probe_order(self, number: int) -> tuple[int, ...]:
        """Return the groups' positions in the order in which round `number` probes them.

        A sweep sorts the groups by a hash of seed, round, sweep and the group's name, so an order is nobody's state.
        """
        if self.parameters.probe_orders is not None:
            return self.parameters.probe_orders[number]
        order: list[int] = []
        for sweep in range(self.parameters.sweeps):
            key = f"tamis-aioli-1\0{self.parameters.seed}\0{number}\0{sweep}\0"
            order += sorted(range(len(self.groups)), key=lambda j: sha256((key + self.groups[j]).encode()).digest())
        return tuple(order)

    def proportions(self) -> tuple[float, ...]:
        """Return the mean mixture over all steps of the rounds so far, probes counted as equal shares."""
        options, m = self.parameters, len(self.groups)
        done = self.history()
        if not done:
            return tuple([1 / m] * m)
        probes = options.sweeps * m * options.interval_steps
        main = np.mean([record["p"] for record in done], axis=0)
        mean = (probes / m + (options.round_steps - probes) * main) / options.round_steps
        return tuple(normalised(mean).tolist())

    def schedule(self) -> list[tuple[float, ...]]:
        """Return p^1, p^2, ... of the rounds so far."""
        return [tuple(record["p"]) for record in self.history()]

    def _start(self) -> dict[str, Any]:
        return {
            "round": 0,
            "position": -2 if self.parameters.prior is not None and self.parameters.prior_steps else -1,
            "loss_start": [],
            "previous": [],
            "drops": [],
            "average": None,
            "mixture": [1 / len(self.groups)] * len(self.groups),
            "used": [0.0] * len(self.groups),
            "history": [],
        }

    def _check(self) -> None:
        options = self.parameters
        if options.allowance is None:
            return
        probes = options.rounds * options.sweeps * options.interval_steps
        prior = normalised(options.prior or [1.0] * len(self.groups), "prior") * options.prior_steps
        for name, steps, before in zip(self.groups, options.allowance, prior, strict=True):
            if steps < probes + before:
                msg = (
                    f"group {name!r} may give rows for {steps:.6g} steps, but the probes and the prior phase alone "
                    f"need {probes + before:.6g}: allow more epochs, or fewer sweeps, interval_steps or rounds"
                )
                raise ConfigError(msg)
        total = options.rounds * options.round_steps + options.prior_steps
        if sum(options.allowance) < total:
            msg = (
                f"all groups together may give rows for {sum(options.allowance):.6g} steps, but the run has {total}: "
                "allow more epochs or train fewer steps"
            )
            raise ConfigError(msg)

    def _request(self, kind: str, mixture: Vector, steps: int) -> Request:
        first = kind in ("prior", "evaluate")  # a run begins with one of the two, and has it once
        return Request(kind, tuple(mixture.tolist()), steps, "losses", self.validation, restart=first)

    def _take(self, request: Request, seen: Seen) -> None:
        state, losses = self.state, seen.values[0]
        state["used"] = (np.array(state["used"]) + request.steps * np.array(request.mixture)).tolist()
        if request.kind == "probe":
            state["drops"].append((np.array(state["previous"]) - np.array(losses, np.float64)).tolist())
        if request.kind == "main":
            state["history"][-1]["loss_end"] = losses
            state["round"] += 1
            state["position"] = 0
        else:
            state["position"] = state["position"] + 1 if request.kind == "probe" else 0
            if request.kind == "probe" and state["position"] == len(self.probe_order(state["round"])):
                self._update(losses)
        if state["position"] == 0:
            state["loss_start"] = losses
        state["previous"] = losses

    def _update(self, losses: Sequence[float | None]) -> None:
        """Set the mixture of the main phase by the round's probes."""
        options, state, m = self.parameters, self.state, len(self.groups)
        order = self.probe_order(state["round"])
        drops = np.empty((options.sweeps, len(self.validation), m))
        seen = [0] * m
        for j, drop in zip(order, state["drops"], strict=True):
            drops[seen[j], :, j] = drop
            seen[j] += 1
        law = mixing_law(drops, options.one_hot_factor, diagonal=options.diagonal)
        normal = normalised_law(self._shrunk(law), options.normalise)
        if options.ema is not None and state["average"] is not None:
            normal = (1 - options.ema) * normal + options.ema * np.array(state["average"])
        weights = np.ones(len(self.validation))
        if options.objective == "perplexity":
            exponents = np.array(losses, np.float64)
            exponents = np.exp(exponents - exponents.max())
            weights = len(weights) * exponents / exponents.sum()
        before = np.array(state["mixture"])
        step = options.eta * (weights @ normal)
        if options.update == "memoryless" and options.ema is not None:
            with np.errstate(divide="ignore"):
                step = step - np.log(before)  # so that the move starts at the earlier mixture, which trust limits
            step = np.where(np.isfinite(step), step, 0.0)
        new = exponentiate(before, step) if options.trust is None else limited_step(before, step, options.trust)
        new = self._allowed(raise_to_floor(new, options.floor))
        state["average"] = normal.tolist() if options.ema is not None else None
        state["mixture"] = new.tolist()
        state["drops"] = []
        state["history"].append(
            {
                "round": state["round"],
                "loss_start": state["loss_start"],
                "beta": law.beta.tolist(),
                "beta_error": [[None if np.isnan(x) else x for x in row] for row in law.beta_error.tolist()],
                "A": law.A.tolist(),
                "A_normalised": normal.tolist(),
                "p": new.tolist(),
            }
        )

    def _shrunk(self, law: Law) -> Vector:
        if self.parameters.shrink == "none" or np.isnan(law.A_error).any():
            return law.A
        mean = law.A.mean(axis=1, keepdims=True)
        signal = law.A - mean
        if self.parameters.shrink == "threshold":
            return np.asarray(mean + np.where(np.abs(signal) > law.A_error, signal, 0.0))
        power = np.square(signal) + np.square(law.A_error)
        return np.asarray(
            mean + signal * np.divide(np.square(signal), power, out=np.zeros_like(power), where=power > 0)
        )

    def _allowed(self, mixture: Vector) -> Vector:
        """Cap shares so that what is left of each group's rows lasts for all main phases to come."""
        options = self.parameters
        if options.allowance is None:
            return mixture
        rounds_left = options.rounds - self.state["round"]
        probes = options.sweeps * options.interval_steps
        steps = rounds_left * (options.round_steps - probes * len(self.groups))
        if steps == 0:
            return mixture
        left = np.array(options.allowance) - np.array(self.state["used"]) - (rounds_left - 1) * probes
        shares = cap_shares(np.maximum(mixture, 1e-300), np.maximum(left, 0) / steps).shares
        return normalised(shares)
