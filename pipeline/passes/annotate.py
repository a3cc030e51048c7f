"""Annotates documents: as a transform over record batches, and as the work of one shard, files in and files out.

A fused pass takes each batch of a shard's text once through several stages: compute the columns of the rows alive,
let rows fall by the stage's own rules, go on with the rest. Columns and row states are written as row-aligned files;
what is already there isn't computed again.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.graph import coder as _coder  # noqa: F401  (registers the record batch coder)
from tamis.pipeline.passes.decide import apply_rules, step_rules
from tamis.pipeline.passes.guard import Failure, guarded
from tamis.pipeline.passes.read import ReadStage, read_batches
from tamis.pipeline.passes.stage import SourceShard, Stage, shard_file
from tamis.pipeline.steps.annotators import Annotator, annotator
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile, aligned, write_table, writer
from tamis.pipeline.storage.row_state import FAILED, RowState
from tamis.schemas.steps import StepConfig
from tamis.schemas.tables import ERROR_SCHEMA, STATE_SCHEMA

__all__ = ["Annotate", "AnnotateShard", "annotate_batch"]

Note = dict[str, Any]


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


@beam.typehints.with_input_types(pa.RecordBatch)
@beam.typehints.with_output_types(pa.RecordBatch)
class Annotate(beam.PTransform):
    """Add a step's columns to record batches of documents: PCollection of batches to the same with more columns.

    For pipelines of one's own. A record that can't be scored gets nulls here; `AnnotateShard`, which runs use, makes an
    error record of it.
    """

    def __init__(self, config: StepConfig, models: Mapping[str, str] | None = None):
        super().__init__()
        self._config = config
        self._models = dict(models or {})

    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[pa.RecordBatch]:
        """Map each batch; the model is loaded once a process."""
        return batches | beam.Map(_annotated, self._config, self._models).with_output_types(pa.RecordBatch)


def _annotated(batch: pa.RecordBatch, config: StepConfig, models: Mapping[str, str]) -> pa.RecordBatch:
    stage = annotator(config, models)
    if stage is None:
        return batch
    columns, _ = annotate_batch(stage, batch, np.ones(batch.num_rows, bool))
    return _side_by_side(batch, columns)


def _side_by_side(batch: pa.RecordBatch, columns: pa.RecordBatch) -> pa.RecordBatch:
    """Return the columns of both; those of `columns` replace others of the same name."""
    merged = dict(zip(batch.schema, batch.columns, strict=True))
    merged = {f: c for f, c in merged.items() if f.name not in columns.schema.names}
    merged |= dict(zip(columns.schema, columns.columns, strict=True))
    return pa.RecordBatch.from_arrays(list(merged.values()), schema=pa.schema(list(merged)))


@dataclass(frozen=True)
class AnnotateShard:
    """The work of one shard in a fused pass: read it or its files, score, let rows fall, write.

    Attributes:
        stages: in order; each sees the rows that those before it left alive.
        documents: folder of the shards' documents.
        state: folder of the row states before the first stage.
        columns: earlier stages' columns, by name, to the folder that has them.
        read: how to read the shard from its input, if its documents aren't there yet.
        score_all: score rejected rows too.
    """

    stages: Sequence[Stage]
    documents: str
    state: str
    columns: Mapping[str, str] = field(default_factory=dict)
    read: ReadStage | None = None
    score_all: bool = False

    def __call__(self, shard: SourceShard) -> Note:
        """Do it; return notes on seconds and counts, a mapping from step label, with the shard's index."""
        if self.read is not None and not self.read.done(shard):
            return self._run(shard, read_batches(self.read, shard))
        if all(filesystem.exists(shard_file(stage.state, shard.key)) for stage in self.stages):
            return self._notes(shard)
        return self._run(shard, self._stored(shard))

    @staticmethod
    def columns_of(stage: Stage) -> list[str]:
        """Return the names of the columns that a stage computes."""
        scorer = annotator(stage.config, stage.models)
        return [] if scorer is None else list(scorer.schema.names)

    def _notes(self, shard: SourceShard) -> Note:
        folders = [self.documents] if self.read is not None else []
        folders += [stage.state for stage in self.stages]
        notes: Note = {"shard": shard.index}
        for folder in folders:
            with filesystem.open_binary(filesystem.join(folder, f"{shard.key}.json")) as stream:
                notes |= json.loads(stream.read())
        return notes

    def _stored(self, shard: SourceShard) -> Iterator[tuple[pa.RecordBatch, RowState]]:
        """Yield what is needed of the shard's batches from its files, with the state before the first stage."""
        needed = self._needed()
        by_folder: dict[str, list[str]] = {}
        for name in needed:
            by_folder.setdefault(self.columns.get(name, self.documents), []).append(name)
        with ExitStack() as stack:
            files = [
                stack.enter_context(ColumnFile(shard_file(folder, shard.key), names))
                for folder, names in by_folder.items()
            ]
            states = stack.enter_context(ColumnFile(shard_file(self.state, shard.key)))
            for batch, state in zip(aligned(files), states, strict=True):
                yield batch, RowState.from_batch(state)

    def _needed(self) -> list[str]:
        """Return the columns to read: what the stages' annotators and rules need and no stage of the pass computes."""
        names = {"doc_id"}
        made: set[str] = set()
        for stage in self.stages:
            scorer = annotator(stage.config, stage.models)
            own = set(self.columns_of(stage))
            read = set(scorer.requires) if scorer is not None else set()
            names |= (read | ({rule.column for rule in step_rules(stage.config)} - own)) - made
            made |= own
        return sorted(names)

    def _run(self, shard: SourceShard, batches: Iterable[tuple[pa.RecordBatch, RowState]]) -> Note:
        with ExitStack() as stack:
            lanes = [_Lane(stage, shard, stack) for stage in self.stages]
            # The reader's own files are complete when its batches are, before any stage's.
            for batch, state in batches:
                current = batch
                for lane in lanes:
                    current = lane.advance(current, state, score_all=self.score_all)
            for lane in lanes:
                lane.close()
        return self._notes(shard)


class _Lane:
    """One stage's way through one shard: its open files, and the columns that an earlier run left."""

    def __init__(self, stage: Stage, shard: SourceShard, stack: ExitStack):
        self._stage = stage
        self._shard = shard
        self._annotator = annotator(stage.config, stage.models)
        self._seconds = 0.0
        self._scored = 0
        self._errors: list[dict[str, str]] = []
        # Entered first, so left last: a state that is there means that everything else is there too.
        self._state = stack.enter_context(writer(shard_file(stage.state, shard.key), STATE_SCHEMA))
        self._columns: Any = None
        self._kept: Iterator[pa.RecordBatch] | None = None
        if self._annotator is not None and stage.columns is not None:
            path = shard_file(stage.columns, shard.key)
            if filesystem.exists(path) and filesystem.exists(self._error_path):
                self._kept = iter(stack.enter_context(ColumnFile(path)))
                with ColumnFile(self._error_path) as file:
                    self._errors = file.read().to_pylist()
                self._failed = {error["record"] for error in self._errors}
            else:
                self._columns = stack.enter_context(writer(path, self._annotator.schema))

    @property
    def _error_path(self) -> str:
        return shard_file(self._stage.errors, self._shard.key)

    def advance(self, batch: pa.RecordBatch, state: RowState, *, score_all: bool) -> pa.RecordBatch:
        """Take one batch through the stage; change `state`, return the batch with the stage's columns."""
        began = time.thread_time()
        index = self._stage.index
        if self._annotator is not None:
            alive = np.ones(batch.num_rows, bool) if score_all else state.mask
            self._scored += int(alive.sum())
            failed = np.zeros(batch.num_rows, bool)
            if self._kept is not None:
                columns = next(self._kept)
                if self._failed:
                    failed = np.array([doc_id in self._failed for doc_id in batch.column("doc_id").to_pylist()], bool)
            else:
                columns, failures = annotate_batch(self._annotator, batch, alive)
                self._columns.write_batch(columns)
                for row, error, detail in failures:
                    failed[row] = True
                    self._errors.append(self._error(batch.column("doc_id")[row].as_py(), error, detail))
            state.fall(index, failed, FAILED)
            batch = _side_by_side(batch, columns)
        apply_rules(self._stage.config, index, batch, state)
        self._state.write_batch(state.to_batch())
        self._seconds += time.thread_time() - began
        return batch

    def _error(self, doc_id: str, error: str, detail: str) -> dict[str, str]:
        return {
            "uri": self._shard.split.path,
            "record": doc_id,
            "step": self._stage.label,
            "error": error,
            "detail": detail,
        }

    def close(self) -> None:
        """Write what isn't row-aligned: the errors and the notes."""
        if self._columns is not None:
            write_table(self._error_path, pa.Table.from_pylist(self._errors, ERROR_SCHEMA))
        note = {self._stage.label: {"seconds": round(self._seconds, 4), "scored": self._scored}}
        with filesystem.write_atomically(filesystem.join(self._stage.state, f"{self._shard.key}.json")) as stream:
            stream.write(json.dumps(note).encode())
