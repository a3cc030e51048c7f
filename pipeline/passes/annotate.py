"""Annotates documents: the work of one shard, files in and files out.

A fused pass takes each batch of a shard's text once through several stages: compute the columns of the rows alive,
let rows fall by the stage's own rules, go on with the rest. Columns and row states are written as row-aligned files;
what is already there isn't computed again.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.graph.passes import Done, Values
from tamis.pipeline.passes.guard import Failure, guarded
from tamis.pipeline.passes.read import FILE_COLUMN, STORED_SCHEMA
from tamis.pipeline.passes.shard_reader import read_columns
from tamis.pipeline.passes.stage import Stage
from tamis.pipeline.steps.loaded import annotator_of
from tamis.pipeline.storage.column_file import ColumnFile, ColumnWriter, intact_note, side_by_side, writer
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.row_state import FAILED, RowState
from tamis.schemas.tables import STATE_SCHEMA
from tamis.scorers.base import Annotator

__all__ = ["AnnotateShard", "StageNote", "annotate_batch", "join_notes"]


def annotate_batch(
    stage: Annotator, batch: pa.RecordBatch, alive: npt.NDArray[np.bool_]
) -> tuple[pa.RecordBatch, list[Failure]]:
    """Compute a stage's columns for the rows alive; the others get nulls.

    Returns:
        The columns, row-aligned with `batch`, and the rows that failed.
    """
    needed = batch.select([name for name in batch.schema.names if name in stage.requires])
    if alive.all():
        return guarded(stage.annotate, needed, stage.schema)
    rows = np.flatnonzero(alive)
    found, failures = guarded(stage.annotate, needed.filter(pa.array(alive)), stage.schema)
    place = np.full(batch.num_rows, -1)
    place[rows] = np.arange(len(rows))
    scattered = found.take(pa.array(place, mask=place < 0))
    return scattered, [(int(rows[row]), error, detail) for row, error, detail in failures]


@dataclass
class StageNote:
    """What a pass did at one step, over some shards.

    Attributes:
        seconds: CPU-seconds of the step's scoring and rules.
        scored: documents scored.
        made: shards whose columns or states were made.
        reused: shards that an earlier run had finished.
    """

    seconds: float = 0.0
    scored: int = 0
    made: int = 0
    reused: int = 0

    def add(self, other: "StageNote") -> None:
        """Add another note of the step."""
        self.seconds += other.seconds
        self.scored += other.scored
        self.made += other.made
        self.reused += other.reused


def join_notes(parts: Sequence[bytes]) -> bytes:
    """Join the notes of shards: a JSON object from step label to `StageNote`, and sentences about damaged files."""
    notes: dict[str, StageNote] = {}
    damaged: list[str] = []
    for part in parts:
        plain = json.loads(part) if part else {"notes": {}, "damaged": []}
        damaged += plain["damaged"]
        for label, note in plain["notes"].items():
            notes.setdefault(label, StageNote()).add(StageNote(**note))
    return json.dumps({"notes": {label: vars(note) for label, note in notes.items()}, "damaged": damaged}).encode()


@dataclass(frozen=True)
class AnnotateShard:
    """The work of one shard in a fused pass: score, let rows fall, write.

    Attributes:
        stages: in order; each sees the rows that those before it left alive.
        state: place of the row states before the first stage.
        columns: every column that there is before, to its place.
        score_all: score rejected rows too.
    """

    stages: Sequence[Stage]
    state: Place
    columns: Mapping[str, Place] = field(default_factory=dict)
    score_all: bool = False

    def __call__(self, shard: Shard, values: Values) -> Done:
        """Do it, unless it was done; return notes for `join_notes`."""
        del values
        damaged: list[str] = []
        known = [self._known(stage, shard, damaged) for stage in self.stages]
        notes: dict[str, StageNote] = {}
        if all(note is not None for note in known):
            falls = [Counter(note["falls"]) for note in known if note is not None]
            notes = {stage.label: StageNote(reused=1) for stage in self.stages}
            found = True
        else:
            with ExitStack() as stack:
                lanes = [_Lane(stage, shard, stack, damaged) for stage in self.stages]
                for batch, state in self._stored(shard, lanes):
                    current = batch
                    for lane in lanes:
                        current = lane.advance(current, state, score_all=self.score_all)
                for lane in lanes:
                    lane.close()
            falls = [lane.falls for lane in lanes]
            notes = {lane.label: lane.note for lane in lanes}
            found = all(lane.found for lane in lanes)
        value = {"notes": {label: vars(note) for label, note in notes.items()}, "damaged": damaged}
        counters = {
            f"{stage.label}: {event}": number
            for stage, fell in zip(self.stages, falls, strict=True)
            for event, number in fell.items()
        }
        return Done(json.dumps(value).encode(), counters, reused=found)

    @staticmethod
    def _known(stage: Stage, shard: Shard, damaged: list[str]) -> dict[str, Any] | None:
        """Return the note of a finished stage; None if it has to be done."""
        note = intact_note(stage.state.file(shard), damaged)
        if note is None or stage.columns is None:
            return note
        return note if intact_note(stage.columns.file(shard), damaged) is not None else None

    def _stored(self, shard: Shard, lanes: "Sequence[_Lane]") -> Iterator[tuple[pa.RecordBatch, RowState]]:
        """Yield what is needed of the shard's batches, with the state before the first stage."""
        with ColumnFile(self.state.file(shard), STATE_SCHEMA.names) as states:
            read = read_columns(shard, self._needed(lanes), self.columns, opened=(self.state,))
            for batch, state in zip(read, states, strict=True):
                yield batch, RowState.from_batch(state)

    def _needed(self, lanes: "Iterable[_Lane]") -> list[str]:
        """Return the columns to read: what the stages need and carry on, and no stage of the pass computes."""
        names = {"doc_id", FILE_COLUMN}
        made: set[str] = set()
        for lane in lanes:
            names |= ((lane.reads | set(lane.carries)) - lane.computes - made) | (lane.requires - made)
            made |= lane.computes
        return sorted(names)


class _Lane:
    """One stage's way through one shard: its open files, and the columns that an earlier run left."""

    def __init__(self, stage: Stage, shard: Shard, stack: ExitStack, damaged: list[str]):
        self._stage = stage
        self._shard = shard
        self._annotator = annotator_of(stage.step, stage.model_paths(shard.corpus))
        self._errors: list[dict[str, Any]] = []
        self._failed: set[str] = set()
        self.label = stage.label
        self.note = StageNote(made=1)
        self.falls: Counter[str] = Counter()
        # Entered first, so left last: a state that is there means that everything else is there too.
        self._state = stack.enter_context(writer(stage.state.file(shard), self._state_schema()))
        self._columns: ColumnWriter | None = None
        self._kept: Iterator[pa.RecordBatch] | None = None
        if self._annotator is not None and stage.columns is not None:
            path = stage.columns.file(shard)
            kept = intact_note(path, damaged)
            if kept is not None:
                self._kept = iter(stack.enter_context(ColumnFile(path)))
                self._errors = kept["errors"]
                self._failed = {error["record"] for error in self._errors}
            else:
                self._columns = stack.enter_context(writer(path, self._annotator.schema))

    def _state_schema(self) -> pa.Schema:
        """Return the schema of the row states with the columns that they carry."""
        known = {field.name: field for field in STORED_SCHEMA}
        if self._annotator is not None:
            known |= {field.name: field for field in self._annotator.schema}
        return pa.schema([*STATE_SCHEMA, *(known[name] for name in self.carries)])

    @property
    def carries(self) -> tuple[str, ...]:
        """The columns that go into the file of the row states beside them."""
        return self._stage.state.carries

    @property
    def found(self) -> bool:
        """Whether all columns that the stage computes were there: it only decides anew, by other thresholds."""
        return self._kept is not None

    @property
    def computes(self) -> set[str]:
        """The columns that the stage computes."""
        return set() if self._annotator is None else set(self._annotator.schema.names)

    @property
    def requires(self) -> set[str]:
        """The columns that its annotator reads: none, where its own are there already."""
        return set() if self._annotator is None or self._kept is not None else set(self._annotator.requires)

    @property
    def reads(self) -> set[str]:
        """The columns that its rules read."""
        return set(self._stage.step.reads)

    def advance(self, batch: pa.RecordBatch, state: RowState, *, score_all: bool) -> pa.RecordBatch:
        """Take one batch through the stage; change `state`, return the batch with the stage's columns."""
        began = time.thread_time()
        index = self._stage.index
        before = state.mask
        if self._annotator is not None:
            alive = np.ones(batch.num_rows, bool) if score_all else before
            failed = np.zeros(batch.num_rows, bool)
            if self._kept is not None:
                columns = next(self._kept)
                if self._failed:
                    failed = np.array([doc_id in self._failed for doc_id in batch.column("doc_id").to_pylist()], bool)
            else:
                self.note.scored += int(alive.sum())
                columns, failures = annotate_batch(self._annotator, batch, alive)
                if self._columns is not None:
                    self._columns.write_batch(columns)
                for row, error, detail in failures:
                    failed[row] = True
                    self._errors.append(self._error(batch, row, error, detail))
            state.fall(index, failed, FAILED)
            batch = side_by_side([batch, columns])
        self._stage.step.apply(index, batch, state)
        self._count(before & ~state.mask, state)
        written = state.to_batch()
        self._state.write_batch(side_by_side([written, batch.select(list(self.carries))]) if self.carries else written)
        self.note.seconds += time.thread_time() - began
        return batch

    def _count(self, fell: npt.NDArray[np.bool_], state: RowState) -> None:
        names = self._stage.step.rule_names
        rules, numbers = np.unique(state.rule[fell], return_counts=True)
        for rule, number in zip(rules.tolist(), numbers.tolist(), strict=True):
            self.falls["errors" if rule == FAILED else f"rejected by {names[rule]}"] += number

    def _error(self, batch: pa.RecordBatch, row: int, error: str, detail: str) -> dict[str, Any]:
        return {
            "file": batch.column(FILE_COLUMN)[row].as_py(),
            "record": batch.column("doc_id")[row].as_py(),
            "step": self._stage.label,
            "error": error,
            "detail": detail,
        }

    def close(self) -> None:
        """Leave notes in the files."""
        if self._columns is not None:
            self._columns.note = {"errors": self._errors}
        self._state.note = {"falls": self.falls}
