"""Documents of local or remote files, batch by batch, for commands that aren't runs: score and train."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from tamis.jobs.cli.console import error_console
from tamis.pipeline.formats.options import ReadOptions, data_suffixes
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import DataError

__all__ = ["documents", "texts"]

SPLIT_BYTES = 128 << 20
SHOWN_ERRORS = 10


def documents(paths: Sequence[str], options: ReadOptions, source: str = "files") -> Iterator[pa.RecordBatch]:
    """Yield the documents of all files that the patterns name, as batches of `DOCUMENT_SCHEMA`.

    The first errors of records are told on stderr, and how many there were.

    Raises:
        InputError: if a pattern names no file, or a file can't be read at all.
    """
    errors = 0
    console = error_console()
    for file in filesystem.expand(paths, suffixes=data_suffixes()):
        for split in plan_splits(file, options, SPLIT_BYTES):
            for read in read_split(split, source, options):
                for error in read.errors.to_pylist()[: max(0, SHOWN_ERRORS - errors)]:
                    console.print(f"{error['uri']}: {error['record']}: {error['error']}: {error['detail']}")
                errors += read.errors.num_rows
                if read.documents.num_rows:
                    yield read.documents
    if errors > SHOWN_ERRORS:
        console.print(f"{errors:,} records couldn't be read, of which the first {SHOWN_ERRORS} are shown")


def texts(paths: Sequence[str], options: ReadOptions, what: str) -> Iterator[pa.Array]:
    """Yield the texts of all documents, a batch at a time.

    Raises:
        DataError: if there is none; the message says of what.
    """
    found = False
    for batch in documents(paths, options):
        found = True
        yield batch.column("text")
    if not found:
        msg = f"{what}: no document in {', '.join(paths)} (the text field is {options.text!r})"
        raise DataError(msg)
