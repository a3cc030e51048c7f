"""Skill-It: shares by how groups help one another, measured once, and by the losses of late (arXiv:2307.14430).

The graph has in row i what training on group i alone does: entry j is the relative drop of loss j,
`(L_start - L_end) / L_start`. Then

    p  proportional to  exp(eta * G @ (sum of the last `window` loss vectors)),

and at the start, before any loss, `p proportional to exp(eta * G @ 1)`. The update isn't cumulative.
"""

from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from tamis.schemas.errors import DataError
from tamis.scorers.mixture.controller import Controller, ControllerParameters, Request, Seen
from tamis.scorers.mixture.fixed import mean_mixture
from tamis.scorers.mixture.simplex import Vector, exponentiate

__all__ = ["SkillIt", "SkillItParameters", "skill_mixture"]


class SkillItParameters(ControllerParameters):
    """Options of `SkillIt`.

    Attributes:
        steps: steps of the run.
        every: steps between two updates.
        graph_steps: steps of each one-group run that measures the graph.
        graph: the graph, if it is known: then nothing is measured.
        eta: step size.
        window: how many loss vectors count.
    """

    steps: int = Field(5000, ge=1)
    every: int = Field(500, ge=1)
    graph_steps: int = Field(500, ge=1)
    graph: tuple[tuple[float, ...], ...] | None = None
    eta: float = Field(0.2, ge=0)
    window: int = Field(3, ge=1)

    @model_validator(mode="after")
    def _square(self) -> Self:
        m = len(self.groups)
        if self.graph is not None and (len(self.graph) != m or any(len(row) != m for row in self.graph)):
            msg = f"the graph must have {m} rows of {m} numbers"
            raise ValueError(msg)
        return self


def skill_mixture(graph: Vector, losses: Vector, eta: float) -> Vector:
    """Return the mixture by a graph (groups, groups) and the loss vectors of late (updates, groups); none: the start's.

    Args:
        graph: row = trained group.
        losses: at most `window` vectors, shape (updates, groups).
        eta: step size.
    """
    total = losses.sum(axis=0) if len(losses) else np.ones(len(graph))
    return exponentiate(np.full(len(graph), 1 / len(graph)), eta * (graph @ total))


class SkillIt(Controller):
    """One run on each group alone, then the run itself, with an update every so many steps."""

    method = "skill_it"
    parameters_type = SkillItParameters
    parameters: SkillItParameters

    def next(self) -> Request | None:
        """Return the next segment; see `Controller`."""
        state, options, m = self.state, self.parameters, len(self.groups)
        if state["graph"] is None:
            if not state["start"]:
                return Request("evaluate", tuple([1 / m] * m), 0, "losses", self.groups, restart=True)
            alone = np.eye(m)[len(state["rows"])]
            return Request("single", tuple(alone.tolist()), options.graph_steps, "losses", self.groups, restart=True)
        if state["done"] >= options.steps:
            return None
        mixture = skill_mixture(np.array(state["graph"]), np.array(state["losses"]).reshape(-1, m), options.eta)
        steps = min(options.every, options.steps - state["done"])
        return Request("main", tuple(mixture.tolist()), steps, "losses", self.groups, restart=state["done"] == 0)

    def proportions(self) -> tuple[float, ...]:
        """Return the mean mixture over the steps so far."""
        done = self.history()
        if not done:
            return tuple([1 / len(self.groups)] * len(self.groups))
        return tuple(mean_mixture([record["p"] for record in done], [record["steps"] for record in done]).tolist())

    def _start(self) -> dict[str, Any]:
        graph = self.parameters.graph
        known = None if graph is None else [list(row) for row in graph]
        return {"graph": known, "start": [], "rows": [], "losses": [], "done": 0, "history": []}

    def _take(self, request: Request, seen: Seen) -> None:
        state, losses = self.state, seen.values[0]
        if request.kind == "evaluate":
            if any(value is None or value <= 0 for value in losses):
                msg = f"Skill-It divides by the losses at the start, which must be above 0, got {losses}"
                raise DataError(msg)
            state["start"] = losses
        elif request.kind == "single":
            start = np.array(state["start"])
            state["rows"].append(((start - np.array(losses)) / start).tolist())
            if len(state["rows"]) == len(self.groups):
                state["graph"] = state["rows"]
        else:
            state["done"] += request.steps
            state["losses"] = [*state["losses"], losses][-self.parameters.window :]
            state["history"].append(
                {"round": len(state["history"]), "p": list(request.mixture), "steps": request.steps, "loss_end": losses}
            )
