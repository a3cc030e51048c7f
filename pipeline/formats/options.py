"""What readers are told (`ReadOptions`) and the piece of a file that one call reads (`Split`)."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from tamis.pipeline.formats.compression import SUFFIXES, Codec, codec_of
from tamis.schemas.errors import ConfigError, InputError
from tamis.scorers.extraction.html import ExtractOptions

__all__ = [
    "ColumnType",
    "Format",
    "InputColumn",
    "ReadOptions",
    "Split",
    "data_suffixes",
    "file_name",
    "format_of",
]

Format = Literal["warc", "wet", "arc", "jsonl", "parquet", "arrow", "csv", "text", "html"]

ColumnType = Literal["string", "int64", "double", "bool", "timestamp"]

FORMAT_SUFFIXES: dict[str, Format] = {
    ".warc": "warc",
    ".wet": "wet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".arc": "arc",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".markdown": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
}
"""Suffix of a file's name, without that of its compression, to its format; text and HTML are a document a file."""


@dataclass(frozen=True)
class InputColumn:
    """A field of the records that becomes a column of the documents.

    Attributes:
        name: of the column.
        field: of the records; a dotted path reaches into objects.
        type: of the column; a value that can't be of it is null there, and stays in `meta`.
    """

    name: str
    field: str
    type: ColumnType


@dataclass(frozen=True)
class ReadOptions:
    """How the files of one input are read.

    Attributes:
        format: inferred from each file's name if None.
        text: field of the text. Names of fields may be dotted paths into objects; a field that is called so
            literally comes first.
        id: field of the record's identity; None takes `id` where a record has it.
        url: field of the address; None takes `url` where a record has it.
        timestamp: field of the time (see `as_timestamp`); None takes `timestamp`, else `date`, where a record has
            a time there.
        columns: fields that become columns beside the documents' own.
        html: the text field holds HTML, to be extracted.
        encoding: of JSONL and CSV files; an extension of ASCII for JSONL. Of files of text, HTML and WARC it is found
            out for each.
        delimiter: of the columns of CSV files; None takes a comma, and a tab where the name says TSV.
        statuses: HTTP statuses whose pages become documents.
        content_types: media types whose pages become documents; `text/plain` isn't parsed as HTML.
        extract: how HTML becomes text.
        max_record_bytes: a record larger than this once decompressed is an error.
        max_expansion: a compressed member that expands beyond this ratio (and 16 records of the largest size)
            is an error.
        batch_rows: most rows of a batch.
        batch_bytes: bytes of input after which a batch is closed.
    """

    format: Format | None = None
    text: str = "text"
    id: str | None = None
    url: str | None = None
    timestamp: str | None = None
    columns: tuple[InputColumn, ...] = ()
    html: bool = False
    encoding: str = "utf-8"
    delimiter: str | None = None
    statuses: tuple[int, ...] = (200,)
    content_types: tuple[str, ...] = ("text/html", "application/xhtml+xml", "text/plain")
    extract: ExtractOptions = field(default_factory=ExtractOptions)
    max_record_bytes: int = 64 << 20
    max_expansion: int = 200
    batch_rows: int = 2000
    batch_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        try:
            "".encode(self.encoding)
        except LookupError:
            msg = f"unknown encoding {self.encoding!r}; try utf-8, cp1252 or gb18030"
            raise ConfigError(msg) from None
        if min(self.max_record_bytes, self.max_expansion, self.batch_rows, self.batch_bytes) < 1:
            msg = "the limits of records and batches must be at least 1"
            raise ConfigError(msg)


@dataclass(frozen=True)
class Split:
    """A part of a file that is read at once; which parts a file has depends on it and the target size alone.

    Attributes:
        path: the file.
        format: of the file.
        codec: how the file is compressed; None if it isn't, or (Parquet) inside.
        kind: the whole file, its bytes from `start` to `end`, or its row groups from `start` to `end`.
        start: first byte or row group.
        end: after the last; 0 for a whole file.
        estimated_bytes: of content once decompressed.
    """

    path: str
    format: Format
    codec: Codec | None = None
    kind: Literal["whole", "bytes", "row_groups"] = "whole"
    start: int = 0
    end: int = 0
    estimated_bytes: int = 0


ARCHIVES = frozenset((".7z", ".lzma", ".rar", ".tar", ".tgz", ".zip"))
"""Endings of names that hold files, or are compressed, in ways that no reader knows."""


def data_suffixes() -> tuple[str, ...]:
    """Return all endings of names that `format_of` knows, for listing folders."""
    return tuple(form + codec for form in FORMAT_SUFFIXES for codec in ("", *SUFFIXES))


def file_name(path: str) -> str:
    """Return the last part of a path or an address, without what an address asks for behind a `?`."""
    return PurePosixPath(path.partition("?")[0] if "://" in path else path).name


def format_of(path: str, options: ReadOptions) -> tuple[Format, Codec | None]:
    """Return format and compression of a file: the format as given, or both by the file's name.

    Raises:
        InputError: if the name tells no format and none is given.
    """
    name = file_name(path).lower()
    codec = codec_of(name)
    if options.format is not None:
        return options.format, codec
    if codec is not None:
        name = name.rpartition(".")[0]
    suffix = PurePosixPath(name).suffix
    if suffix not in FORMAT_SUFFIXES:
        if suffix in ARCHIVES:
            msg = f"{path}: archives of kind {suffix} aren't read: unpack it"
            raise InputError(msg)
        known = ", ".join(FORMAT_SUFFIXES)
        msg = f"{path}: the name doesn't tell the format; set `format:`, or end it in one of {known}"
        raise InputError(msg)
    return FORMAT_SUFFIXES[suffix], codec
