"""DGA: shares follow the alignment of each group's gradient with that of a small target set (arXiv:2410.02498).

    p_i  proportional to  p_i exp(eta a_i);   the model trains on  s = (1 - beta) s + beta p.

`a_i` is the inner product of the gradient on a batch of group i with that on the target's, both at the current weights,
or its cosine. With very many groups p is a mixture of a few fixed distributions q_n over them, `p = sum_n w_n q_n`;
then alignments are those of batches drawn from q_n, and w_n moves as p_i does above.

The paper's interval, eta and beta weren't found; the defaults are ours.
"""

from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from tamis.schemas.errors import ConfigError
from tamis.scorers.mixture.controller import Controller, ControllerParameters, Request, Seen
from tamis.scorers.mixture.fixed import mean_mixture
from tamis.scorers.mixture.simplex import Vector, exponentiate, normalised, raise_to_floor

__all__ = ["Dga", "DgaParameters", "alignments", "dga_update"]


class DgaParameters(ControllerParameters):
    """Options of `Dga`.

    Attributes:
        steps: steps of the run.
        every: steps between two updates; None: a twentieth of the steps.
        eta: step size.
        beta: weight of the newest p in the sampling weights.
        cosine: whether alignments are cosines; inner products change by orders of magnitude while a model learns.
        clip: most change |eta a| of a log weight in an update; None: no limit.
        floor: least share, as a part of equal shares: 0.1 is 0.1/m. Not with distributions.
        repeats: measurements of each update; with more than one, a share is held whose mean is within its standard
            error.
        distributions: rows of shares over the groups; None: one for each group.
        names: names of the distributions, for the observations.
    """

    steps: int = Field(5000, ge=1)
    every: int | None = Field(None, ge=1)
    eta: float = Field(1.0, ge=0)
    beta: float = Field(0.1, gt=0, le=1)
    cosine: bool = True
    clip: float | None = Field(1.0, gt=0)
    floor: float = Field(0.1, ge=0, le=1)
    repeats: int = Field(1, ge=1)
    distributions: tuple[tuple[float, ...], ...] | None = Field(None, min_length=1)
    names: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _rows(self) -> Self:
        if self.distributions is not None:
            if any(len(row) != len(self.groups) for row in self.distributions):
                msg = f"each distribution needs {len(self.groups)} shares"
                raise ValueError(msg)
            if self.names is not None and len(self.names) != len(self.distributions):
                msg = f"{len(self.names)} names for {len(self.distributions)} distributions"
                raise ValueError(msg)
        return self


def alignments(gradients: Vector, target: Vector, *, cosine: bool = False) -> Vector:
    """Return the inner product, or cosine, of each row of `gradients` (groups, parameters) with `target`.

    A gradient of 0 has cosine 0.
    """
    products = gradients @ target
    if not cosine:
        return np.asarray(products)
    lengths = np.linalg.norm(gradients, axis=1) * np.linalg.norm(target)
    return np.asarray(np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0))


def dga_update(
    weights: Vector, alignment: Vector, eta: float, *, clip: float | None = None, held: Vector | None = None
) -> Vector:
    """Return the next weights: `w exp(eta a)`, normalised.

    Args:
        weights: shape (arms,).
        alignment: shape (arms,).
        eta: step size.
        clip: most change |eta a|.
        held: arms whose weight stays, bool; the others share what is left.
    """
    step = eta * alignment if clip is None else np.clip(eta * alignment, -clip, clip)
    if held is None or not held.any():
        return exponentiate(weights, step)
    if held.all():
        return weights
    moved = exponentiate(np.where(held, 0.0, weights), np.where(held, 0.0, step))
    return np.where(held, weights, moved * (1 - weights[held].sum()))


class Dga(Controller):
    """Trains on the sampling weights and moves them by alignments."""

    method = "dga"
    parameters_type = DgaParameters
    parameters: DgaParameters

    @property
    def arms(self) -> tuple[str, ...]:
        """What alignments are measured of: the groups, or the distributions."""
        rows = self.parameters.distributions
        if rows is None:
            return self.groups
        return self.parameters.names or tuple(f"distribution {i}" for i in range(len(rows)))

    @property
    def every(self) -> int:
        """Steps between two updates."""
        return self.parameters.every or max(1, self.parameters.steps // 20)

    def next(self) -> Request | None:
        """Return the next segment; see `Controller`."""
        state = self.state
        if state["done"] >= self.parameters.steps:
            return None
        steps = min(self.every, self.parameters.steps - state["done"])
        return Request(
            "main",
            tuple(state["sampled"]),
            steps,
            "alignments",
            self.arms,
            restart=state["done"] == 0,
            repeats=self.parameters.repeats,
        )

    def proportions(self) -> tuple[float, ...]:
        """Return the mean of the sampling weights over the steps so far."""
        done = self.history()
        if not done:
            return tuple(self.state["sampled"])
        return tuple(
            mean_mixture([record["sampled"] for record in done], [record["steps"] for record in done]).tolist()
        )

    def _check(self) -> None:
        if self._rows is not None and not self._rows.sum(axis=0).all():
            without = self.groups[int(np.flatnonzero(self._rows.sum(axis=0) == 0)[0])]
            msg = f"no distribution has a share of group {without!r}: leave the group out"
            raise ConfigError(msg)

    @property
    def _rows(self) -> Vector | None:
        rows = self.parameters.distributions
        return None if rows is None else np.array([normalised(row, "a distribution") for row in rows])

    def _start(self) -> dict[str, Any]:
        weights = np.full(len(self.arms), 1 / len(self.arms))
        shares = weights if self._rows is None else weights @ self._rows
        return {"done": 0, "weights": weights.tolist(), "sampled": shares.tolist(), "history": []}

    def _take(self, request: Request, seen: Seen) -> None:
        state, options = self.state, self.parameters
        measured = np.array(seen.values, np.float64)
        mean = measured.mean(axis=0)
        error = measured.std(axis=0, ddof=1) / np.sqrt(len(measured)) if len(measured) > 1 else None
        held = None if error is None else np.abs(mean) < error
        weights = dga_update(np.array(state["weights"]), mean, options.eta, clip=options.clip, held=held)
        rows = self._rows
        if rows is None:
            weights = raise_to_floor(weights, options.floor / len(weights))
        shares = weights if rows is None else weights @ rows
        state["history"].append(
            {
                "round": len(state["history"]),
                "steps": request.steps,
                "sampled": list(request.mixture),
                "p": shares.tolist(),
                "alignment": mean.tolist(),
                "alignment_error": None if error is None else error.tolist(),
            }
        )
        state["done"] += request.steps
        state["weights"] = weights.tolist()
        state["sampled"] = normalised((1 - options.beta) * np.array(request.mixture) + options.beta * shares).tolist()
