"""The first records of a file as they lie in it, for who has to find out where in them things are."""

import codecs
import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.pipeline.formats.arrow_json import OddValues, json_objects, storage_of, unique_names, valid_utf8
from tamis.pipeline.formats.compression import Piece, decompress
from tamis.pipeline.formats.delimited import delimiter_of, refuse_other_delimiter
from tamis.pipeline.formats.options import Split
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import InputError

__all__ = ["first_records"]

HEAD = 1 << 20
"""Bytes of content that are looked at, of what is read as a stream."""


def first_records(split: Split, number: int = 20) -> list[dict[str, Any]]:
    """Return up to so many records of the beginning of a file; none of one whose records have no fields.

    Args:
        split: a part of the file, for its format and compression.
        number: records.

    Raises:
        InputError: if the file can't be read.
    """
    try:
        match split.format:
            case "jsonl":
                return _json_lines(_head(split), number)
            case "csv":
                return _rows(_head(split), split.path, number)
            case "parquet":
                with filesystem.open_binary(split.path) as stream:
                    batches = pq.ParquetFile(stream).iter_batches(batch_size=number)
                    first = next(iter(batches), None)
                    return [] if first is None else _plain(first)
            case "arrow":
                with filesystem.open_binary(split.path) as stream:
                    first = next(_arrow(stream.read()), None)
                    return [] if first is None else _plain(first.slice(0, number))
            case _:
                return []
    except (OSError, pa.ArrowException) as error:
        msg = f"{split.path} can't be read: {error}"
        raise InputError(msg) from None


def _plain(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return rows as JSON has them: Python has no value for every date or time that a table may hold."""
    columns = [_readable(storage_of(column)) for column in batch.columns]
    names = unique_names(batch.schema.names)
    rows = map(json.loads, json_objects(names, columns, batch.num_rows, OddValues()).to_pylist())
    return [{name: row[name] for name in names} for row in rows]


def _readable(column: pa.Array) -> pa.Array:
    """Return a column of bytes that are text, as readers take them, as text."""
    binary = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
    text = valid_utf8(column) if binary else None
    return column if text is None else text


def _arrow(content: bytes) -> Iterator[pa.RecordBatch]:
    try:
        reader = pa.ipc.open_file(content)
    except pa.ArrowInvalid:
        yield from pa.ipc.open_stream(content)
    else:
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))


def _head(split: Split) -> bytes:
    """Return the beginning of the content, up to the end of a line where there is one."""
    parts: list[bytes] = []
    with filesystem.open_binary(split.path) as stream:
        for piece in decompress(stream, split.codec):
            if isinstance(piece, Piece):
                parts.append(piece.data)
                if sum(map(len, parts)) >= HEAD:
                    whole = b"".join(parts)
                    return whole[: whole.rfind(b"\n") + 1] or whole
    return b"".join(parts)


def _json_lines(content: bytes, number: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in content.split(b"\n"):
        bare = line.removeprefix(codecs.BOM_UTF8)
        try:
            value = orjson.loads(bare)
        except orjson.JSONDecodeError:
            try:
                value = json.loads(bare.decode(), parse_int=len)  # NaN and Infinity, as Python writes them
            except (ValueError, RecursionError):
                continue
        if isinstance(value, dict):
            found.append(value)
        if len(found) == number:
            break
    return found


def _rows(content: bytes, path: str, number: int) -> list[dict[str, Any]]:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content.partition(b"\n")[0]:
        msg = f"{path} isn't utf-8: set `encoding:`, perhaps to utf-16"
        raise InputError(msg)
    text = content.decode("utf-8-sig", "replace")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter_of(path))
    refuse_other_delimiter(reader.fieldnames or (), path)
    found: list[dict[str, Any]] = []
    try:
        for row in reader:
            found.append({name: value for name, value in row.items() if isinstance(name, str)})
            if len(found) == number:
                break
    except csv.Error:  # a field larger than any; what came before is enough
        pass
    return found
