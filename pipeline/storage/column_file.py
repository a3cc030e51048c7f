"""Row-aligned column files: what a run keeps of each shard between stages.

A shard's documents are one Arrow IPC file of record batches; every stage adds files with the same batches of the same
lengths. So a stage reads only the columns it needs, one batch at a time, and columns of many stages line up without a
join.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa

from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import RunError

__all__ = ["ColumnFile", "aligned", "write_batches", "write_table", "writer"]

# Compressing costs less than the disk it saves: LZ4 packs web text to half at several hundred MB/s.
OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


@contextmanager
def writer(path: str, schema: pa.Schema) -> Iterator[pa.RecordBatchFileWriter]:
    """Open a column file for writing; it appears under its name only when complete."""
    with (
        filesystem.write_atomically(path) as stream,
        pa.PythonFile(stream, "w") as sink,
        pa.ipc.new_file(sink, schema, options=OPTIONS) as out,
    ):
        yield out


def write_batches(path: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write batches of one schema; return the number of rows."""
    rows = 0
    with writer(path, schema) as out:
        for batch in batches:
            out.write_batch(batch)
            rows += batch.num_rows
    return rows


def write_table(path: str, table: pa.Table) -> None:
    """Write a small table as one column file."""
    write_batches(path, table.schema, table.to_batches())


class ColumnFile:
    """A column file opened for reading, all columns or some of them."""

    def __init__(self, path: str, columns: Sequence[str] | None = None):
        self.path = path
        self._stack = ExitStack()
        if not filesystem.exists(path):
            msg = f"{path} is missing: the run's work folder was changed; start again with --fresh"
            raise RunError(msg)
        if filesystem.is_local(path):
            source: Any = self._stack.enter_context(pa.memory_map(filesystem.local_path(path)))
        else:
            source = self._stack.enter_context(filesystem.open_binary(path))
        try:
            reader = pa.ipc.open_file(source)
            if columns is not None:
                indices = [reader.schema.get_field_index(name) for name in columns]
                reader = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=indices))
        except pa.ArrowInvalid as error:
            self._stack.close()
            msg = f"{path} is damaged ({error}): start again with --fresh"
            raise RunError(msg) from error
        self._reader = reader
        self.schema: pa.Schema = reader.schema

    def __enter__(self) -> "ColumnFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        return int(self._reader.num_record_batches)

    def __getitem__(self, index: int) -> pa.RecordBatch:
        return self._reader.get_batch(index)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return (self[i] for i in range(len(self)))

    def read(self) -> pa.Table:
        """Return all batches as one table."""
        return pa.Table.from_batches(list(self), self.schema)


def aligned(files: Sequence[ColumnFile], batches: Iterable[int] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the columns of several row-aligned files side by side, batch by batch.

    Args:
        files: at least one; a later file's column replaces an earlier one's of the same name.
        batches: which batches; all if absent.

    Raises:
        RunError: if the files don't have the same batches.
    """
    first = files[0]
    for index in range(len(first)) if batches is None else batches:
        columns: dict[str, pa.Array] = {}
        fields: dict[str, pa.Field] = {}
        rows = -1
        for file in files:
            if len(file) != len(first):
                msg = f"{file.path} has {len(file)} batches, {first.path} has {len(first)}: start again with --fresh"
                raise RunError(msg)
            batch = file[index]
            if rows not in (-1, batch.num_rows):
                msg = f"{file.path} is not aligned with {first.path}: start again with --fresh"
                raise RunError(msg)
            rows = batch.num_rows
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                columns[name] = column
                fields[name] = batch.schema.field(name)
        yield pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(list(fields.values())))
