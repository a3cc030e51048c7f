"""What a decision over the whole corpus works with, and what it finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.passes.stage import SourceShard, Stage

__all__ = ["Barrier", "Outcome"]

SMALL_ROWS = 2_000_000
"""Below so many rows a pass over small columns is done before worker processes have started."""


@dataclass(frozen=True)
class Barrier:
    """What a decision over the whole corpus has to work with.

    Attributes:
        engine: runs the passes.
        shards: all source shards, in canonical order.
        stage: the step; its `state` folder is where the decision goes.
        documents: folder of the documents.
        state: folder of the row states before the decision.
        columns: column to the folder that has it.
        seed: the run's.
        rows: documents read, for planning memory.
    """

    engine: Engine
    shards: Sequence[SourceShard]
    stage: Stage
    documents: str
    state: str
    columns: Mapping[str, str]
    seed: int
    rows: int

    @property
    def small(self) -> bool:
        """Whether passes over small columns aren't worth starting worker processes for."""
        return self.rows < SMALL_ROWS

    def folder(self, name: str) -> str:
        """Return a folder of the step's own for what it keeps between passes."""
        return f"{self.stage.state}-{name}"


@dataclass(frozen=True)
class Outcome:
    """What a decision found: new columns and their folders, thresholds in numbers, figures, warnings."""

    columns: Mapping[str, str] = field(default_factory=dict)
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
