"""Arrow IPC files and streams (Feather, what `datasets` keeps) to documents."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from tamis.pipeline.formats.options import ReadOptions, Split
from tamis.pipeline.formats.records import BatchBuilder, ReadBatch
from tamis.pipeline.formats.table_rows import add_rows, check_schema
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import InputError

__all__ = ["plan_arrow", "read_arrow"]

_FILE_MAGIC = b"ARROW1"


@contextmanager
def _opened(path: str) -> Iterator[pa.RecordBatchFileReader | pa.RecordBatchStreamReader]:
    """Open a file in Arrow's file or stream format.

    Raises:
        InputError: if it is missing or neither.
    """
    filesystem.info(path)
    source: Any = (
        pa.memory_map(filesystem.local_path(path))
        if filesystem.is_local(path)
        else pa.PythonFile(filesystem.open_binary(path), "r")
    )
    with source:
        try:
            is_file = source.read(len(_FILE_MAGIC)) == _FILE_MAGIC
            source.seek(0)
            reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        except (pa.ArrowException, OSError) as error:
            msg = f"{path} is no readable Arrow file: {error}"
            raise InputError(msg) from error
        yield reader


def plan_arrow(path: str, options: ReadOptions, size: int | None) -> list[Split]:
    """Return the one split of a file: batches of a stream can't be found but one after another.

    Raises:
        InputError: if the file can't be read or its columns don't fit the options.
    """
    with _opened(path) as reader:
        check_schema(path, reader.schema, options)
    return [Split(path, "arrow", estimated_bytes=size or 0)]


def _batches(reader: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.RecordBatchFileReader):
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)
    else:
        yield from reader


def read_arrow(split: Split, source: str, options: ReadOptions) -> Iterator[ReadBatch]:
    """Yield the documents of an Arrow file.

    Errors name their row by its number in the file, from 0: see `add_rows`; what can't be read for damage of the file
    is one error `corrupt_rows`, and ends it.

    Raises:
        InputError: if the file can't be read at all.
    """
    builder = BatchBuilder(split.path, source, options)
    row = 0
    with _opened(split.path) as reader:
        check_schema(split.path, reader.schema, options)
        try:
            for batch in _batches(reader):
                batch.validate()
                average = max(1, batch.nbytes // max(1, batch.num_rows))
                at_once = max(1, min(options.batch_rows, options.batch_bytes // average))
                for start in range(0, batch.num_rows, at_once):
                    for _ in add_rows(builder, batch.slice(start, at_once), split.path, row + start, options):
                        yield builder.flush()
                row += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            if not isinstance(error, pa.ArrowException) and not filesystem.is_local(split.path):
                raise
            builder.error(f"rows from {row} on", "corrupt_rows", (str(error).splitlines() or [""])[0])
    if not builder.empty():
        yield builder.flush()
