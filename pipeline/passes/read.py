"""Reads documents: as a transform that yields record batches, and as the first work of one shard."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tamis.pipeline.formats.options import ReadOptions
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.formats.records import ReadBatch
from tamis.pipeline.graph import coder as _coder  # noqa: F401  (registers the record batch coder)
from tamis.pipeline.passes.decide import EXTRACT_RULES
from tamis.pipeline.passes.stage import SourceShard, shard_file
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import writer
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.errors import RunError
from tamis.schemas.tables import DOCUMENT_SCHEMA, ERROR_SCHEMA, STATE_SCHEMA, described

__all__ = ["STORED_SCHEMA", "ReadDocuments", "ReadStage", "read_batches"]

STORED_SCHEMA = pa.schema(
    [
        *DOCUMENT_SCHEMA,
        described("text_bytes", pa.int64(), "bytes of the text's UTF-8", nullable=False),
        described("text_chars", pa.int64(), "code points of the text", nullable=False),
    ]
)
"""What is kept of a shard's documents: the size of a text is wanted where the text isn't."""

SPLIT_BYTES = 128 << 20


@dataclass(frozen=True)
class ReadStage:
    """Where the documents of a run's shards are kept; complete when the row states are there."""

    documents: str

    @staticmethod
    def state_folder(documents: str) -> str:
        """Return the folder of the row states after reading and extraction."""
        return f"{documents}-state"

    @staticmethod
    def errors_folder(documents: str) -> str:
        """Return the folder of the records that couldn't be read."""
        return f"{documents}-errors"

    def done(self, shard: SourceShard) -> bool:
        """Return whether the shard was read."""
        return filesystem.exists(shard_file(self.state_folder(self.documents), shard.key))


def read_batches(stage: ReadStage, shard: SourceShard) -> Iterator[tuple[pa.RecordBatch, RowState]]:
    """Read a shard, and keep its documents, errors and first row states while yielding them.

    Records that extraction refused are rows with an empty text that have fallen already.

    Raises:
        RunError: if the reader's own count of records isn't what it yielded.
    """
    seconds = 0.0
    counted = {"documents": 0, "records": 0, "errors": 0}
    skipped: Counter[str] = Counter()
    with ExitStack() as stack:
        states = stack.enter_context(
            writer(shard_file(stage.state_folder(stage.documents), shard.key), STATE_SCHEMA)
        )
        documents = stack.enter_context(writer(shard_file(stage.documents, shard.key), STORED_SCHEMA))
        errors = stack.enter_context(
            writer(shard_file(stage.errors_folder(stage.documents), shard.key), ERROR_SCHEMA)
        )
        batches = read_split(shard.split, shard.source, shard.options)
        while True:
            began = time.thread_time()
            read = next(batches, None)
            if read is None:
                break
            batch, state = _rows(read)
            if batch.num_rows:
                documents.write_batch(batch)
                states.write_batch(state.to_batch())
            if read.errors.num_rows:
                errors.write_batch(read.errors)
            counted["documents"] += batch.num_rows
            counted["records"] += read.read
            counted["errors"] += read.errors.num_rows
            skipped.update(read.skipped)
            seconds += time.thread_time() - began
            if batch.num_rows:
                yield batch, state
        if counted["records"] != counted["documents"] + counted["errors"]:
            msg = f"{shard}: the reader counted {counted['records']} records but gave others: {counted}"
            raise RunError(msg)
        note = {"read": counted | {"skipped": dict(sorted(skipped.items())), "seconds": round(seconds, 4)}}
        with filesystem.write_atomically(filesystem.join(stage.documents, f"{shard.key}.json")) as stream:
            stream.write(json.dumps(note).encode())


def _rows(read: ReadBatch) -> tuple[pa.RecordBatch, RowState]:
    """Return documents, then refused records, as rows of one batch with their state."""
    good, refused = read.documents, read.rejected
    state = RowState.alive(good.num_rows + refused.num_rows)
    columns: list[Any] = list(good.columns)
    if refused.num_rows:
        empty = {
            "timestamp": pa.nulls(refused.num_rows, DOCUMENT_SCHEMA.field("timestamp").type),
            "meta": pa.nulls(refused.num_rows, pa.string()),
        }
        columns = [
            pa.concat_arrays([column, empty[name] if name in empty else refused.column(name)])
            for name, column in zip(DOCUMENT_SCHEMA.names, columns, strict=True)
        ]
        fell = np.arange(len(state.step)) >= good.num_rows
        rules = np.full(len(fell), -1, np.int16)
        rules[fell] = [EXTRACT_RULES.index(rule) for rule in refused.column("rule").to_pylist()]
        values = np.full(len(fell), np.nan)
        values[fell] = refused.column("value").to_numpy(zero_copy_only=False)
        thresholds = np.full(len(fell), np.nan)
        thresholds[fell] = refused.column("threshold").to_numpy(zero_copy_only=False)
        state.fall(0, fell, rules, values, thresholds)
    text = columns[DOCUMENT_SCHEMA.get_field_index("text")]
    sizes = [pc.binary_length(text), pc.utf8_length(text)]
    return pa.RecordBatch.from_arrays([*columns, *sizes], schema=STORED_SCHEMA), state


@beam.typehints.with_input_types(str)
@beam.typehints.with_output_types(pa.RecordBatch)
class ReadDocuments(beam.PTransform):
    """Read documents from files: PCollection of paths to PCollection of record batches of `DOCUMENT_SCHEMA`.

    For pipelines of one's own. Records that can't be read are left out here; runs keep them in `errors/`.
    """

    def __init__(self, source: str, options: ReadOptions | None = None):
        super().__init__()
        self._source = source
        self._options = options or ReadOptions()

    def expand(self, paths: beam.PCollection[str]) -> beam.PCollection[pa.RecordBatch]:
        """Cut each file, spread the parts, read each."""
        splits = paths | "Split" >> beam.FlatMap(_splits, self._options)
        return (
            splits
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(_documents, self._source, self._options).with_output_types(pa.RecordBatch)
        )


def _splits(path: str, options: ReadOptions) -> list[Any]:
    return [split for file in filesystem.expand(path) for split in plan_splits(file, options, SPLIT_BYTES)]


def _documents(split: Any, source: str, options: ReadOptions) -> Iterator[pa.RecordBatch]:
    for read in read_split(split, source, options):
        if read.documents.num_rows:
            yield read.documents
