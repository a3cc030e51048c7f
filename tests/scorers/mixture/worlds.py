"""Worlds with a known mixing law, in which controllers are run without training a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.scorers.mixture.controller import Controller

Vector = npt.NDArray[np.float64]


class World:
    """Losses that fall by a law: `linear` L -= A p a step, `log_linear` L_i = c_i + (L_i - c_i) exp(-n (B p)_i)."""

    def __init__(self, law: dict[str, Any]) -> None:
        self.law = law
        self.losses = np.array(law["L0"], np.float64)
        self.start = self.losses.copy()

    def train(self, mixture: Sequence[float], steps: int) -> Vector:
        p = np.array(mixture)
        if self.law["kind"] == "linear":
            self.losses = self.losses - steps * (np.array(self.law["A"]) @ p)
        else:
            c, B = np.array(self.law["c"]), np.array(self.law["B"])
            self.losses = c + (self.losses - c) * np.exp(-steps * (B @ p))
        return self.losses

    def drive(self, controller: Controller, limit: int | None = None) -> list[tuple[Any, ...]]:
        """Run a controller to its end, or for `limit` requests; return (request, losses) pairs."""
        done = []
        while (request := controller.next()) is not None and (limit is None or len(done) < limit):
            if request.restart:
                self.losses = self.start.copy()
            losses = self.train(request.mixture, request.steps)
            controller.observe(losses.tolist() if request.measure == "losses" else [0.1] * len(request.of))
            done.append((request, losses.tolist()))
        return done
