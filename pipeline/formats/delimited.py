"""CSV and TSV to documents."""

import codecs
import csv
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import BinaryIO

from tamis.pipeline.formats.arrow_json import unique_names
from tamis.pipeline.formats.compression import Fault, decompress
from tamis.pipeline.formats.fields import Fields, RecordError, add_record
from tamis.pipeline.formats.options import ReadOptions, Split
from tamis.pipeline.formats.partitions import partition_values
from tamis.pipeline.formats.records import BatchBuilder, ReadBatch
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import nearest
from tamis.schemas.errors import InputError

__all__ = ["check_csv", "delimiter_of", "read_csv", "refuse_other_delimiter"]

_OTHERS = (";", "\t", "|")
"""What stands between columns where no comma does."""

_WIDE_MARKS = ("\udcff\udcfe", "\udcfe\udcff")
"""How byte order marks of UTF-16 are decoded where they are none."""

_REREAD = 16  # times what was read so far may be read again, for the sake of rows with unbalanced quotes


def delimiter_of(path: str) -> str:
    """Return what stands between columns by a file's name: a tab in TSV files, else a comma."""
    return "\t" if ".tsv" in PurePosixPath(path.lower()).suffixes else ","


def refuse_other_delimiter(header: Sequence[str], path: str) -> None:
    """Refuse a header of one column that is several, with something else between them.

    Raises:
        InputError: saying what to set.
    """
    if len(header) == 1 and (apart := max(_OTHERS, key=header[0].count)) in header[0]:
        msg = f"{path} has one column alone, {header[0][:80]!r}: set `delimiter: {apart!r}`"
        raise InputError(msg)


class _FaultError(Exception):
    """The file is damaged between the line before and the next."""

    def __init__(self, fault: Fault):
        super().__init__(fault.detail)
        self.fault = fault


def _decoded_lines(stream: BinaryIO, split: Split, options: ReadOptions) -> Iterator[str | Fault]:
    """Yield the lines of a file with their ends; bytes that can't be decoded become lone surrogates.

    A line cut off by damage, or longer than a record may be, is a fault.
    """
    limit = options.max_record_bytes
    wide = codecs.lookup(options.encoding).name.startswith(("utf-16", "utf-32"))
    decoder = codecs.getincrementaldecoder(options.encoding)("replace" if wide else "surrogateescape")
    held: list[str] = []
    size = 0
    start = True
    for piece in decompress(stream, split.codec, max_expansion=options.max_expansion, free_expansion=16 * limit):
        if isinstance(piece, Fault):
            yield piece
            held, size = [], 0
            decoder.reset()
            continue
        text = decoder.decode(piece.data)
        if start and text:
            text = text.removeprefix("\ufeff")
            start = False
        *lines, rest = text.split("\n")
        for line in lines:
            size += len(line)
            if size > limit:
                yield Fault("record_too_large", 0, f"a line of {size} characters; the limit is {limit} bytes")
            else:
                yield "".join((*held, line, "\n"))
            held, size = [], 0
        size += len(rest)
        held = [*held, rest] if size <= limit else []
    rest = "".join((*held, decoder.decode(b"", final=True)))
    if rest:
        yield rest


class _Lines:
    """Feeds `csv.reader`: counts lines, and gives them again when what looked like a row turns out to be none."""

    def __init__(self, lines: Iterator[str | Fault], limit: int):
        self._lines = lines
        self._limit = limit
        self._again: deque[str] = deque()
        self._row: list[str] = []
        self._size = 0
        self._read = 0
        self._reread = 0
        self.number = 0
        """Of the last line given, from 1."""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self._again:
            line = self._again.popleft()
            self._reread += len(line)
        else:
            following = next(self._lines)
            if isinstance(following, Fault):
                raise _FaultError(following)
            line = following
            self._read += len(line)
        self.number += 1
        self._row.append(line)
        self._size += len(line)
        if self._size > self._limit:
            msg = f"a row of more than {self._limit} characters, or a quote that is never closed"
            raise csv.Error(msg)
        return line

    def begin(self) -> None:
        """Say that the next line begins a row."""
        self._row = []
        self._size = 0

    def retry(self) -> None:
        """Give all lines of the row again but its first: a quote in it swallowed them.

        That is given up once the file was read many times over, and then the lines are lost with the row.
        """
        if self._reread <= _REREAD * self._read:
            self._again.extendleft(reversed(self._row[1:]))
            self.number -= len(self._row) - 1
        self.begin()


def _reader(lines: _Lines, path: str, options: ReadOptions) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=options.delimiter or delimiter_of(path), strict=True)


def _check_header(header: list[str], path: str, options: ReadOptions) -> None:
    if header and (header[0].startswith(_WIDE_MARKS) or "\0" in "".join(header)):
        msg = f"{path} isn't {options.encoding}: set `encoding:`, perhaps to utf-16"
        raise InputError(msg)
    known = [*header, *partition_values(path)]
    required = {"text": options.text, "id": options.id, "url": options.url, "timestamp": options.timestamp}
    pairs = [*required.items(), *(("columns", column.field) for column in options.columns)]
    for option, name in pairs:
        if name is not None and header.count(name) > 1:
            msg = f"{path} has {header.count(name)} columns called {name!r}: rename all but one"
            raise InputError(msg)
        if name is not None and name not in known:
            refuse_other_delimiter(header, path)
            msg = f"{path} has no column {name!r}{nearest(name, known)}: set `{option}:` to the column to use"
            raise InputError(msg)


def _header(lines: _Lines, path: str, options: ReadOptions) -> list[str] | None:
    """Return the names of the columns; None if the file is empty."""
    try:
        header = next(_reader(lines, path, options), None)
    except (csv.Error, _FaultError) as error:
        why = "lines end in a carriage return alone; convert them" if "new-line" in str(error) else str(error)
        msg = f"{path}: the line with the names of the columns can't be read: {why}"
        raise InputError(msg) from error
    if header is None:
        return None
    _check_header(header, path, options)
    return unique_names(header)


def check_csv(split: Split, options: ReadOptions) -> None:
    """Check that the file begins with a header that holds the columns named in the options.

    Raises:
        InputError: if it doesn't, or can't be read.
    """
    with filesystem.open_binary(split.path) as stream:
        lines = _Lines(_decoded_lines(stream, split, options), options.max_record_bytes)
        _header(lines, split.path, options)


def read_csv(split: Split, source: str, options: ReadOptions) -> Iterator[ReadBatch]:
    """Yield the documents of a CSV file, or of a TSV file if its name says so.

    Errors name the line (from 1) that the row begins in: `bad_row` (a wrong number of fields, or quotes that
    don't fit), `invalid_encoding`, `missing_text`, `missing_id`, `extraction_failed`,
    `record_too_large`, `truncated_file`, `corrupt_member`, `garbage`, `expansion`.

    Raises:
        InputError: if the file can't be read or its header doesn't fit the options.
    """
    csv.field_size_limit(max(csv.field_size_limit(), options.max_record_bytes + 1))
    builder = BatchBuilder(split.path, source, options)
    fields = Fields(options, split.path)
    with filesystem.open_binary(split.path) as stream:
        lines = _Lines(_decoded_lines(stream, split, options), options.max_record_bytes)
        header = _header(lines, split.path, options)
        rows = _reader(lines, split.path, options)
        while header is not None:
            if builder.full:
                yield builder.flush()
            lines.begin()
            start = f"line {lines.number + 1}"
            try:
                row = next(rows, None)
                if row is None:
                    break
                if not row:
                    builder.skip("blank_line")
                    continue
                record = _record(row, header)
            except _FaultError as error:
                builder.error(start, error.fault.kind, error.fault.detail)
                lines.retry()
                rows = _reader(lines, split.path, options)
            except csv.Error as error:
                builder.error(start, "bad_row", str(error))
                lines.retry()
                rows = _reader(lines, split.path, options)
            except RecordError as error:
                builder.error(start, error.error, error.detail)
            else:
                add_record(builder, fields, record, start, sum(map(len, row)), options)
    if not builder.empty():
        yield builder.flush()


def _record(row: list[str], header: list[str]) -> dict[str, str]:
    if len(row) != len(header):
        raise RecordError("bad_row", f"{len(row)} fields in the row, {len(header)} in the header")
    try:
        "".join(row).encode()
    except UnicodeEncodeError as error:
        raise RecordError("invalid_encoding", "the row holds bytes that can't be decoded") from error
    return dict(zip(header, row, strict=True))
