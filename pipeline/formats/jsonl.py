"""JSON Lines to documents."""

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import orjson

from tamis.pipeline.formats.compression import Fault, decompress
from tamis.pipeline.formats.fields import Fields, RecordError, add_record
from tamis.pipeline.formats.options import ReadOptions, Split
from tamis.pipeline.formats.records import BatchBuilder, ReadBatch
from tamis.pipeline.storage import filesystem

__all__ = ["LineFault", "read_jsonl", "read_lines"]

_LONG = 2.0**63
_DIGITS = 4300
_SURROGATE = re.compile("[\ud800-\udfff]")


class LineFault(NamedTuple):
    """A line that can't be given, or damage of the file between lines."""

    error: str
    detail: str


def read_lines(stream: BinaryIO, split: Split, options: ReadOptions) -> Iterator[tuple[int, bytes | LineFault]]:
    """Yield the lines of a split, each with the offset of its first byte in the decompressed file.

    A line belongs to the split that its first byte is in. A line that is longer than a record may be is
    passed over without holding it in memory.

    Args:
        stream: the file, at the byte before the split (at the start for the first).
        split: whole file or byte range.
        options: for the limits.
    """
    limit = options.max_record_bytes
    offset = max(0, split.start - 1)
    end = split.end if split.kind == "bytes" else None
    dropping = split.start > 0  # the line that the byte before the split belongs to is another split's
    parts: list[bytes] = []  # of the line that begins at `offset`
    held = 0

    pieces = decompress(stream, split.codec, max_expansion=options.max_expansion, free_expansion=16 * limit)
    for piece in pieces:
        if isinstance(piece, Fault):
            detail = f"{piece.detail} (byte {piece.offset} of the file)"
            yield offset, LineFault(piece.kind, detail)
            offset += held
            parts, held, dropping = [], 0, False
            continue
        lines = piece.data.split(b"\n")
        rest = lines.pop()
        if lines and (held or dropping):
            first = lines.pop(0)
            size = held + len(first)
            if dropping:
                dropping = False
            elif size > limit:
                yield offset, _too_long(size, limit)
            else:
                yield offset, b"".join((*parts, first))
            offset += size + 1
            parts, held = [], 0
            if end is not None and offset >= end:
                return
        for line in lines:
            size = len(line)
            yield offset, line if size <= limit else _too_long(size, limit)
            offset += size + 1
            if end is not None and offset >= end:
                return
        if rest:
            held += len(rest)
            if dropping or held > limit:
                parts = []
            else:
                parts.append(rest)
            if dropping and end is not None and offset + held >= end:
                return
    if held and not dropping:
        yield offset, b"".join(parts) if held <= limit else _too_long(held, limit)


def _too_long(size: int, limit: int) -> LineFault:
    return LineFault("record_too_large", f"a line of {size} bytes; the limit is {limit}")


def read_jsonl(split: Split, source: str, options: ReadOptions) -> Iterator[ReadBatch]:
    """Yield the documents of a JSONL file or of a byte range of one.

    Errors name their line by the offset of its first byte in the decompressed file, which doesn't depend on
    how the file is split: `truncated_file`, `corrupt_member`, `garbage`, `expansion`, `record_too_large`,
    `invalid_utf8`, `invalid_json`, `lone_surrogate`, `not_an_object`, `missing_text`, `text_not_a_string`,
    `missing_id`, `bad_id`, `extraction_failed`.
    """
    fields = Fields(options, split.path)
    builder = BatchBuilder(split.path, source, options)
    encoding = None if codecs.lookup(options.encoding).name in ("utf-8", "ascii") else options.encoding
    with filesystem.open_binary(split.path, max(0, split.start - 1)) as stream:
        for offset, line in read_lines(stream, split, options):
            if builder.full:
                yield builder.flush()
            if isinstance(line, LineFault):
                builder.error(f"byte {offset}", line.error, line.detail)
                continue
            if not line or line.isspace():
                builder.skip("blank_line")
                continue
            try:
                record, odd = _parse(line, encoding, fields)
            except RecordError as error:
                builder.error(f"byte {offset}", error.error, error.detail)
                continue
            builder.note("odd_value", odd)
            add_record(builder, fields, record, f"byte {offset}", len(line), options)
    if not builder.empty():
        yield builder.flush()


def _parse(line: bytes, encoding: str | None, fields: Fields) -> tuple[dict[str, Any], int]:
    """Return the object of a line, and how many of its values JSON doesn't have (they are mended or become null).

    Raises:
        RecordError: if it is none.
    """
    try:
        # A byte order mark is no part of a line: files that begin with one are joined to others.
        text = line.removeprefix(codecs.BOM_UTF8) if encoding is None else line.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise RecordError("invalid_encoding", f"the line isn't {encoding}: {error}") from error
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        record, odd = _parse_leniently(text, error, fields)
    else:
        odd = 0
    if type(record) is not dict:
        raise RecordError("not_an_object", f"the line holds no JSON object but {line[:40]!r}")
    if any(type(value) is float and abs(value) >= _LONG for value in record.values()):
        # Perhaps an integer beyond 64 bits, which orjson rounds: ids must stay apart, and values as they were.
        record = json.loads(text, parse_int=_integer)
    return record, odd


def _integer(digits: str) -> int | float:
    """Return an integer; infinity for one of more digits than Python takes: it becomes null, as infinities do."""
    return int(digits) if len(digits) <= _DIGITS else math.inf


def _parse_leniently(text: bytes | str, error: orjson.JSONDecodeError, fields: Fields) -> tuple[Any, int]:
    """Parse what Python writes and JSON doesn't know: NaN, Infinity, halves of surrogate pairs.

    Raises:
        RecordError: if it isn't that, or if text or identity hold such a half.
    """
    try:
        record = json.loads(text.decode() if isinstance(text, bytes) else text, parse_int=_integer)
    except (ValueError, RecursionError):
        raise _explained(text, error) from error
    if type(record) is not dict:
        return record, 0
    for value in (fields.look_at_text(record), fields.identity(record)):
        if type(value) is str and _mended(value)[1]:
            raise RecordError("lone_surrogate", str(error)) from error
    return _mended(record)


def _mended(value: Any) -> tuple[Any, int]:
    """Return a value with U+FFFD for halves of surrogate pairs, and the number of strings and numbers that are odd."""
    if isinstance(value, str):
        mended = _SURROGATE.sub("\ufffd", value)
        return mended, int(mended != value)
    if isinstance(value, float):
        return value, int(not math.isfinite(value))
    if isinstance(value, dict):
        pairs = [(_mended(key), _mended(inner)) for key, inner in value.items()]
        return {key[0]: inner[0] for key, inner in pairs}, sum(key[1] + inner[1] for key, inner in pairs)
    if isinstance(value, list):
        items = [_mended(inner) for inner in value]
        return [item[0] for item in items], sum(item[1] for item in items)
    return value, 0


def _explained(line: bytes | str, error: orjson.JSONDecodeError) -> RecordError:
    try:
        if isinstance(line, bytes):
            line.decode()
    except UnicodeDecodeError as invalid:
        told = f"byte {invalid.start} of the line is no UTF-8 (set `encoding:` if the file has another)"
        return RecordError("invalid_utf8", told)
    kind = "lone_surrogate" if "surrogate" in str(error) else "invalid_json"
    return RecordError(kind, str(error))
