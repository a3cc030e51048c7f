"""Reads documents: the first work of a run, shard by shard.

What a source shard holds is stored in pieces bounded by bytes and rows: so one large compressed file, which only one
worker can read, is work for all of them in every later pass.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tamis.pipeline.formats.reader import read_split
from tamis.pipeline.formats.records import ReadBatch
from tamis.pipeline.graph.passes import Done, Values
from tamis.pipeline.passes.inputs import SourceShard
from tamis.pipeline.passes.stage import Cut, FileNote, ReadNote
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnWriter, intact_note, side_by_side, writer
from tamis.pipeline.storage.row_state import RowState
from tamis.pipeline.storage.value_file import read_value, write_value
from tamis.schemas.errors import InputError, RunError
from tamis.schemas.extract import EXTRACT_RULES
from tamis.schemas.secrets import redacted
from tamis.schemas.tables import DOCUMENT_SCHEMA, ERROR_SCHEMA, STATE_SCHEMA, described
from tamis.scorers.extraction.html import extraction_seconds

__all__ = ["CUT_BYTES", "FILE_COLUMN", "STORED_SCHEMA", "TEXT_SCHEMA", "WITH_TEXT", "ReadFolders", "ReadShard"]

FILE_COLUMN = "file"
STORED_SCHEMA = pa.schema(
    [
        *(column for column in DOCUMENT_SCHEMA if column.name != "text"),
        described("text_bytes", pa.int64(), "bytes of the text's UTF-8", nullable=False),
        described("text_chars", pa.int64(), "code points of the text", nullable=False),
        described(FILE_COLUMN, pa.int32(), "which of the source shard's files the record is from", nullable=False),
    ]
)
"""What is kept beside the texts of a shard's documents: the size of a text is wanted where the text isn't."""
WITH_TEXT = ("doc_id", "source", FILE_COLUMN)
"""Columns that stand beside the texts too, see `Place.carries`: what reads texts needs them to name a row."""
TEXT_SCHEMA = pa.schema([*(STORED_SCHEMA.field(name) for name in WITH_TEXT), DOCUMENT_SCHEMA.field("text")])
CUT_BYTES, CUT_ROWS = 32 << 20, 200_000
"""Text and rows of a stored shard, at most (but for its last batch)."""
BATCH_ROWS, BATCH_BYTES = 200, 1 << 20
"""Batches are joined while they are smaller: many small files give many small batches."""


@dataclass(frozen=True)
class ReadFolders:
    """Where the documents of a run's shards are kept.

    Attributes:
        folder: named by the digest of all that determines reading, but the inputs.
    """

    folder: str

    def of(self, part: str) -> str:
        """Return the folder of one part: documents, with their first row states, text or errors."""
        return filesystem.join(self.folder, part)

    def file(self, part: str, key: str) -> str:
        """Return the path of a shard's file."""
        return filesystem.join(self.folder, part, f"{key}.arrow")


class _Cutter:
    """Writes rows as stored shards, one after the other."""

    def __init__(self, folders: ReadFolders, shard: SourceShard, schema: pa.Schema):
        self._schema = pa.schema([*schema, *STATE_SCHEMA])
        self._folders = folders
        self._shard = shard
        self._stack = ExitStack()
        self._open: list[ColumnWriter] = []
        self._rows = self._bytes = 0
        self._first = 0
        self.cuts: list[Cut] = []

    def write(self, documents: pa.RecordBatch, text: pa.RecordBatch, state: RowState) -> None:
        """Append a batch."""
        if not self._open:
            key = f"{self._shard.key}-{len(self.cuts):03d}"
            self._open = [
                self._stack.enter_context(writer(self._folders.file(part, key), schema))
                for part, schema in (("documents", self._schema), ("text", TEXT_SCHEMA))
            ]
            self._first = documents.column(FILE_COLUMN)[0].as_py()
        for out, batch in zip(self._open, (side_by_side([documents, state.to_batch()]), text), strict=True):
            out.write_batch(batch)
        self._rows += documents.num_rows
        self._bytes += pc.sum(documents.column("text_bytes")).as_py()
        if self._rows >= CUT_ROWS or self._bytes >= CUT_BYTES:
            self.close()

    def close(self) -> None:
        """End the stored shard at hand."""
        if self._open:
            documents, text = self._open
            cut = Cut(self._rows, self._bytes, documents.batches, redacted(self._shard.splits[self._first].path))
            documents.note = {"paths": [redacted(split.path) for split in self._shard.splits]}
            text.note = {"rows": self._rows}
            self._stack.close()
            self.cuts.append(cut)
        self._open, self._rows, self._bytes = [], 0, 0

    def abandon(self, error: BaseException) -> None:
        """Leave nothing of the stored shard at hand."""
        self._stack.__exit__(type(error), error, error.__traceback__)


@dataclass(frozen=True)
class ReadShard:
    """The work on one source shard: read it, and keep its documents, errors and first row states.

    Records that extraction refused are rows with an empty text that have fallen already.

    Attributes:
        folders: where it is kept.
        columns: those that inputs bring beside the documents' own, of all inputs together.
        inputs: folders in which relative paths of files are looked up, wherever a worker stands.
    """

    folders: ReadFolders
    columns: pa.Schema = field(default_factory=lambda: pa.schema([]))
    inputs: tuple[str, ...] = ()

    def __call__(self, shard: SourceShard, values: Values) -> Done:
        """Do it, unless it was done.

        Returns:
            A line of `ReadNote`.

        Raises:
            RunError: if the reader's own count of records isn't what it yielded.
            InputError: if a file was changed after it was digested.
        """
        del values
        damaged: list[str] = []
        path = filesystem.join(self.folders.folder, "notes", f"{shard.key}.value")
        note = self._known(path, shard, damaged)
        if note is None:
            with filesystem.relative_to(self.inputs):
                note = self._read(shard, damaged)
            write_value(path, note.to_line())
        rows = sum(cut.rows for cut in note.cuts)
        counters = {
            "read: records": sum(file.records for file in note.files),
            "read: documents": rows,
            "read: errors": note.errors,
            "read: bytes of text": sum(cut.text_bytes for cut in note.cuts),
        }
        for file in note.files:
            for rule, number in file.refused.items():
                name = f"extract: rejected by {rule}"
                counters[name] = counters.get(name, 0) + number
        return Done(note.to_line(), counters, note.reused)

    def _known(self, path: str, shard: SourceShard, damaged: list[str]) -> ReadNote | None:
        value = read_value(path, damaged, look=True)
        if value is None:
            return None
        kept = ReadNote.from_line(value)
        keys = [f"{shard.key}-{number:03d}" for number in range(len(kept.cuts))]
        files = [self.folders.file(part, key) for key in keys for part in ("documents", "text")]
        if kept.errors:
            files.append(self.folders.file("errors", shard.key))
        # All are looked at, so that all that is damaged is told.
        whole = [intact_note(file, damaged) is not None for file in files]
        if not all(whole):
            return None
        # The same content may stand elsewhere in the list now.
        files_now = tuple(f._replace(file=now) for now, f in zip(shard.files, kept.files, strict=True))
        return ReadNote(
            shard.index, kept.source, kept.key, kept.cuts, files_now, kept.errors, kept.seconds, reused=True,
            damaged=tuple(damaged),
        )  # fmt: skip

    def _read(self, shard: SourceShard, damaged: list[str]) -> ReadNote:
        began, elsewhere = time.thread_time(), extraction_seconds()
        counted: list[_Counted] = []
        documents = errors = 0
        cutter = _Cutter(self.folders, shard, pa.schema([*STORED_SCHEMA, *self.columns]))
        try:
            with ExitStack() as stack:
                failed = _Failed(stack, self.folders.file("errors", shard.key))
                for batch, state in _joined(self._batches(shard, failed, counted)):
                    documents += batch.num_rows
                    text = batch.select(TEXT_SCHEMA.names)
                    cutter.write(batch.drop_columns(["text"]), text, state)
                cutter.close()
                errors = sum(file.errors for file in counted)
                failed.close(errors)
        except BaseException as error:
            cutter.abandon(error)
            raise
        records = sum(file.note.records for file in counted)
        if records != documents + errors:
            msg = f"{shard}: the reader counted {records} records but gave {documents} documents and {errors} errors"
            raise RunError(msg)
        self._unchanged(shard)
        seconds = round(time.thread_time() - began + extraction_seconds() - elsewhere, 4)
        files = tuple(file.note for file in counted)
        return ReadNote(
            shard.index, shard.source, shard.key, tuple(cutter.cuts), files, errors, seconds, damaged=tuple(damaged)
        )

    def _unchanged(self, shard: SourceShard) -> None:
        for split, fingerprint in dict.fromkeys(zip(shard.splits, shard.fingerprints, strict=True)):
            try:
                now = filesystem.info(split.path).fingerprint
            except InputError:  # what can't be read is an error record by now
                continue
            if now != fingerprint:
                msg = f"{split.path} was changed after the run began to read it: run the same command again"
                raise InputError(msg)

    def _batches(
        self, shard: SourceShard, failed: "_Failed", counted: "list[_Counted]"
    ) -> Iterator[tuple[pa.RecordBatch, RowState]]:
        """Yield the rows of all files; write errors, and count what each file gave."""
        for place, (file, split) in enumerate(zip(shard.files, shard.splits, strict=True)):
            count = _Counted(file)
            counted.append(count)
            for read in read_split(split, shard.source, shard.options):
                count.add(read)
                if read.errors.num_rows:
                    failed.write(read.errors)
                batch, state = _rows(read, place, self.columns)
                if batch.num_rows:
                    yield batch, state


class _Failed:
    """The file of a source shard's errors; most have none, and so no file."""

    def __init__(self, stack: ExitStack, path: str):
        self._stack = stack
        self._path = path
        self._out: ColumnWriter | None = None

    def write(self, errors: pa.RecordBatch) -> None:
        """Append errors."""
        if self._out is None:
            self._out = self._stack.enter_context(writer(self._path, ERROR_SCHEMA))
        self._out.write_batch(errors)

    def close(self, errors: int) -> None:
        """Leave their number."""
        if self._out is not None:
            self._out.note = {"errors": errors}


class _Counted:
    """What the reader counted in one file."""

    def __init__(self, file: int):
        self._file = file
        self._skipped: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self.records = self.errors = 0

    def add(self, read: ReadBatch) -> None:
        """Count a batch."""
        self.records += read.read
        self.errors += read.errors.num_rows
        self._skipped.update(read.skipped)
        self._notes.update(read.notes)
        self._refused.update(read.rejected.column("rule").to_pylist())

    @property
    def note(self) -> FileNote:
        """The counts, for the shard's note."""
        skipped, notes, refused = (dict(sorted(found.items())) for found in (self._skipped, self._notes, self._refused))
        return FileNote(self._file, self.records, skipped, notes, refused)


def _rows(read: ReadBatch, file: int, more: pa.Schema) -> tuple[pa.RecordBatch, RowState]:
    """Return documents, then refused records, as rows of one batch with their state."""
    good, refused = read.documents, read.rejected
    state = RowState.alive(good.num_rows + refused.num_rows)
    columns: list[Any] = list(good.columns)
    if refused.num_rows:
        empty = {
            "timestamp": pa.nulls(refused.num_rows, DOCUMENT_SCHEMA.field("timestamp").type),
            "meta": read.rejected_meta,
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
    sizes = [pc.binary_length(text), pc.utf8_length(text), pa.array(np.full(len(text), file, np.int32))]
    named = dict(zip(DOCUMENT_SCHEMA.names, columns, strict=True))
    named |= dict(zip(("text_bytes", "text_chars", FILE_COLUMN), sizes, strict=True))
    for column in more:
        known = column.name in read.columns.schema.names
        values = read.columns.column(column.name) if known else pa.nulls(good.num_rows, column.type)
        named[column.name] = pa.concat_arrays([values, pa.nulls(refused.num_rows, column.type)])
    schema = pa.schema([*STORED_SCHEMA, *more, DOCUMENT_SCHEMA.field("text")])
    return pa.RecordBatch.from_arrays([named[name] for name in schema.names], schema=schema), state


def _joined(batches: Iterator[tuple[pa.RecordBatch, RowState]]) -> Iterator[tuple[pa.RecordBatch, RowState]]:
    """Join small batches; where the joins lie follows from the batches alone."""
    held: list[tuple[pa.RecordBatch, RowState]] = []
    rows = size = 0
    for batch, state in batches:
        held.append((batch, state))
        rows += batch.num_rows
        size += pc.sum(batch.column("text_bytes")).as_py()
        if rows >= BATCH_ROWS or size >= BATCH_BYTES:
            yield _one(held)
            held, rows, size = [], 0, 0
    if held:
        yield _one(held)


def _one(held: list[tuple[pa.RecordBatch, RowState]]) -> tuple[pa.RecordBatch, RowState]:
    if len(held) == 1:
        return held[0]
    batch = pa.Table.from_batches([batch for batch, _ in held]).combine_chunks().to_batches()[0]
    return batch, RowState.joined([state for _, state in held])
