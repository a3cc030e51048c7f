"""Documents of local or remote files, batch by batch, for commands that aren't runs: score and train."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa

from tamis.pipeline.formats.options import ReadOptions, data_suffixes
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import DataError

__all__ = ["DocumentsRead", "Observer", "RecordProblem", "documents", "ignore", "texts"]

SPLIT_BYTES = 128 << 20


@dataclass(frozen=True, slots=True)
class RecordProblem:
    """A record that couldn't be read or scored.

    Attributes:
        uri: the input file; None where only the document is known.
        record: its place in the file, or its doc_id.
        error: the class of the error, such as `invalid_json`.
        detail: what was wrong, in words.
    """

    uri: str | None
    record: str
    error: str
    detail: str


@dataclass(frozen=True, slots=True)
class DocumentsRead:
    """Some documents more.

    Attributes:
        number: how many.
    """

    number: int


Observer: TypeAlias = Callable[[RecordProblem | DocumentsRead], None]
"""Told of every record that couldn't be read or scored, and of documents as they are read."""


def ignore(event: RecordProblem | DocumentsRead) -> None:
    """Take notice of nothing: the observer where none is given."""


def documents(
    paths: Sequence[str], options: ReadOptions, source: str = "files", *, observe: Observer = ignore
) -> Iterator[pa.RecordBatch]:
    """Yield the documents of all files that the patterns name, as batches of `DOCUMENT_SCHEMA`.

    Args:
        paths: files, folders, globs.
        options: how they are read.
        source: the label of the documents.
        observe: told of the records that can't be read, and how many documents were.

    Raises:
        InputError: if a pattern names no file, or a file can't be read at all.
    """
    for file in filesystem.expand(paths, suffixes=data_suffixes()):
        for split in plan_splits(file, options, SPLIT_BYTES):
            for read in read_split(split, source, options):
                for error in read.errors.to_pylist():
                    observe(RecordProblem(error["uri"], error["record"] or "", error["error"], error["detail"] or ""))
                if read.documents.num_rows:
                    observe(DocumentsRead(read.documents.num_rows))
                    yield read.documents


def texts(paths: Sequence[str], options: ReadOptions, what: str, *, observe: Observer = ignore) -> Iterator[pa.Array]:
    """Yield the texts of all documents, a batch at a time.

    Args:
        paths: files, folders, globs.
        options: how they are read.
        what: what the texts are, for the message.
        observe: told of the records that can't be read, and how many documents were.

    Raises:
        DataError: if there is none; the message says of what.
    """
    found = False
    for batch in documents(paths, options, observe=observe):
        found = True
        yield batch.column("text")
    if not found:
        msg = f"{what}: no document in {', '.join(paths)} (the text field is {options.text!r})"
        raise DataError(msg)
