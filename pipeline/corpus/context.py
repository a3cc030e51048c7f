"""What a decision over the whole corpus works with, and what it is: passes, and what they find."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pyarrow as pa

from tamis.pipeline.graph.passes import Combine, Node, Pass, Process, TaskList, Values, concatenated
from tamis.pipeline.passes.stage import READ, Stage, StoredShards
from tamis.pipeline.storage.place import Place

__all__ = ["Corpus", "Decision", "Fit", "Outcome", "Report"]


@dataclass(frozen=True)
class Outcome:
    """What a decision found.

    Attributes:
        thresholds: in numbers.
        metrics: figures, JSON values.
        warnings: sentences.
        tables: name to a table that the run keeps as a file: a view of that name in SQL.
    """

    thresholds: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    tables: Mapping[str, pa.Table] = field(default_factory=dict)


Report: TypeAlias = Callable[[Values], Outcome]
"""From the values of passes to what is told of them; picklable."""


@dataclass(frozen=True)
class Corpus:
    """What a decision over the whole corpus has to work with.

    Attributes:
        stage: the step; its `state` is where the decision goes.
        state: row states before the decision.
        columns: every column that there is, to its place.
        seed: the run's.
        after: passes that write what is there.
        score_all: whether later steps score rejected rows too, and so read their text.
        output: the run's folder.
    """

    stage: Stage
    state: Place
    columns: Mapping[str, Place]
    seed: int
    after: tuple[str, ...]
    score_all: bool = False
    output: str = ""

    @property
    def label(self) -> str:
        """The step's."""
        return self.stage.label

    def each_shard(
        self,
        what: str,
        process: Process,
        *,
        combine: Combine = concatenated,
        inputs: tuple[str, ...] = (),
        after: tuple[str, ...] = (),
        tasks: TaskList | None = None,
        small: bool = True,
    ) -> Pass:
        """Return a pass over the stored shards.

        Args:
            what: its name after the step's label.
            process: the work on a shard.
            combine: joins what shards return.
            inputs: passes whose values it needs, beside the shards.
            after: passes that must be over before, beside those that wrote the columns.
            tasks: the shards, unless all.
            small: looks at small columns only.
        """
        return Pass(
            f"{self.label}: {what}",
            process,
            tasks or StoredShards(),
            combine,
            (READ, *inputs),
            (*self.after, *after),
            self.label,
            small,
        )


@dataclass(frozen=True)
class Decision:
    """A decision over the whole corpus.

    Attributes:
        nodes: its passes; the last writes row states (and columns) for every shard.
        columns: columns that it adds, to their places.
        report: from the values of `reads` to what it found.
        reads: passes that `report` needs.
    """

    nodes: tuple[Node, ...]
    columns: Mapping[str, Place] = field(default_factory=dict)
    report: Report | None = None
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fit:
    """A step fitted to the corpus.

    Attributes:
        nodes: its passes; the last writes the model.
        models: option to the place of what was fitted, for the step's annotator.
        report: from the values of `reads` to figures about the fit.
        reads: passes that `report` needs.
    """

    nodes: tuple[Node, ...]
    models: Mapping[str, Place]
    report: Report | None = None
    reads: tuple[str, ...] = ()
