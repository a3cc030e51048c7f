"""Parquet to documents."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.pipeline.formats.fields import Fields, RecordError, add_record
from tamis.pipeline.formats.options import ReadOptions, Split
from tamis.pipeline.formats.records import BatchBuilder, ReadBatch
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import nearest
from tamis.schemas.errors import InputError

__all__ = ["plan_parquet", "read_parquet"]

_TEXT_TYPES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)


@contextmanager
def _opened(path: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file.

    Raises:
        InputError: if it is missing or no Parquet file.
    """
    filesystem.info(path)
    local = filesystem.is_local(path)
    source: Any = filesystem.local_path(path) if local else filesystem.open_binary(path)
    try:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            yield file
    except pa.ArrowInvalid as error:
        msg = f"{path} is no readable Parquet file: {_first_line(error)}"
        raise InputError(msg) from error
    finally:
        if not local:
            source.close()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _field_at(schema: pa.Schema, name: str) -> pa.Field | None:
    """Return the field of a dotted path: the column of that name, else the child of a struct."""
    if name in schema.names:
        return schema.field(name)
    head, _, rest = name.partition(".")
    if rest and head in schema.names and pa.types.is_struct(schema.field(head).type):
        return _field_at(pa.schema(list(schema.field(head).type)), rest)
    return None


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        return _is_text(type_.value_type)
    return any(test(type_) for test in _TEXT_TYPES) or str(type_) in ("string_view", "binary_view")


def _check_schema(path: str, schema: pa.Schema, options: ReadOptions) -> None:
    required = {"text": options.text, "id": options.id, "url": options.url, "timestamp": options.timestamp}
    for option, name in required.items():
        if name is not None and _field_at(schema, name) is None:
            hint = nearest(name, list(schema.names))
            msg = f"{path} has no column {name!r}{hint}: set `{option}:` to the column to use"
            raise InputError(msg)
    field = _field_at(schema, options.text)
    if field is not None and not _is_text(field.type):
        msg = f"{path}: the column {options.text!r} is {field.type}, not text: set `text:` to a string column"
        raise InputError(msg)


def plan_parquet(path: str, options: ReadOptions, target_bytes: int) -> list[Split]:
    """Return splits of consecutive row groups of about `target_bytes` once decompressed.

    Raises:
        InputError: if the file can't be read or its columns don't fit the options.
    """
    splits: list[Split] = []
    with _opened(path) as file:
        _check_schema(path, file.schema_arrow, options)
        start = size = 0
        groups = file.metadata.num_row_groups
        for group in range(groups):
            size += file.metadata.row_group(group).total_byte_size
            if size >= target_bytes or group == groups - 1:
                splits.append(Split(path, "parquet", None, "row_groups", start, group + 1, size))
                start, size = group + 1, 0
    return splits


def read_parquet(split: Split, source: str, options: ReadOptions) -> Iterator[ReadBatch]:
    """Yield the documents of a Parquet file, or of some of its row groups.

    Errors name their row by its number in the file, from 0: `missing_text`, `invalid_utf8`, `missing_id`,
    `bad_id`, `bad_meta`, `record_too_large`, `extraction_failed`; rows that can't be read for damage of the
    file are one error `corrupt_rows`.

    Raises:
        InputError: if the file can't be read at all.
    """
    builder = BatchBuilder(split.path, source, options)
    with _opened(split.path) as file:
        _check_schema(split.path, file.schema_arrow, options)
        metadata = file.metadata
        end = split.end if split.kind == "row_groups" else metadata.num_row_groups
        row = sum(metadata.row_group(group).num_rows for group in range(split.start))
        for group in range(split.start, end):
            rows = metadata.row_group(group).num_rows
            average = max(1, metadata.row_group(group).total_byte_size // max(1, rows))
            at_once = max(1, min(options.batch_rows, options.batch_bytes // average))
            done = 0
            try:
                for batch in file.iter_batches(at_once, row_groups=[group], use_threads=False):
                    for _ in _add_rows(builder, batch, row + done, options):
                        yield builder.flush()
                    done += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                if not isinstance(error, pa.ArrowException) and not filesystem.is_local(split.path):
                    raise
                place = f"rows {row + done} to {row + rows - 1}"
                builder.error(place, "corrupt_rows", _first_line(error))
            row += rows
    if not builder.empty():
        yield builder.flush()


def _add_rows(builder: BatchBuilder, batch: pa.RecordBatch, first: int, options: ReadOptions) -> Iterator[None]:
    """Add the rows of a batch; yields where the builder is full."""
    fields = Fields(options)
    records = _records(batch, options.text)
    texts = _texts(batch, options.text)
    for number, (record, text) in enumerate(zip(records, texts, strict=True), first):
        if builder.full:
            yield
        if isinstance(record, RecordError):
            builder.error(f"row {number}", record.error, record.detail)
        elif (refused := _refused(text, options)) is not None:
            builder.error(f"row {number}", refused.error, refused.detail)
        else:
            fields.put_text(record, text)
            add_record(builder, fields, record, f"row {number}", len(text or ""), options)


def _refused(text: str | bytes | None, options: ReadOptions) -> RecordError | None:
    """Return what is wrong with a text that only tables can hold."""
    if isinstance(text, bytes):
        return RecordError("invalid_utf8", f"the column {options.text!r} holds bytes that are no UTF-8")
    if text is not None and len(text) > options.max_record_bytes:
        detail = f"a text of {len(text)} characters; the limit is {options.max_record_bytes} bytes"
        return RecordError("record_too_large", detail)
    return None


def _column_at(batch: pa.RecordBatch, name: str) -> Any:
    """Return the column of a dotted path, decoded if it is a dictionary."""
    if name in batch.schema.names:
        column: Any = batch.column(name)
    else:
        head, _, rest = name.partition(".")
        inner = batch.column(head)
        # `flatten` hands down the nulls of the struct; `field` wouldn't.
        column = _column_at(pa.RecordBatch.from_arrays(inner.flatten(), schema=pa.schema(list(inner.type))), rest)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _texts(batch: pa.RecordBatch, name: str) -> list[str | bytes | None]:
    """Return the text of each row; bytes where they are no UTF-8, which Arrow doesn't check when it reads."""
    raw = _column_at(batch, name).cast(pa.large_binary())
    try:
        texts: list[str | bytes | None] = raw.cast(pa.large_string()).to_pylist()
    except pa.ArrowInvalid:
        texts = [_decoded(value) for value in raw.to_pylist()]
    return texts


def _decoded(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _records(batch: pa.RecordBatch, text: str) -> list[dict[str, Any] | RecordError]:
    """Return the other columns of each row; an error where a string of theirs is no UTF-8."""
    if text in batch.schema.names:
        batch = batch.drop_columns(text)
    fields = [field.with_type(_without_nanoseconds(field.type)) for field in batch.schema]
    columns = [
        column if column.type == field.type else column.cast(field.type, safe=False)
        for column, field in zip(batch.columns, fields, strict=True)
    ]
    if not columns:
        return [{} for _ in range(batch.num_rows)]
    batch = pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
    try:
        records: list[dict[str, Any] | RecordError] = batch.to_pylist()
    except UnicodeDecodeError:
        records = [_record(batch.slice(row, 1)) for row in range(batch.num_rows)]
    return records


def _record(row: pa.RecordBatch) -> dict[str, Any] | RecordError:
    try:
        record: dict[str, Any] = row.to_pylist()[0]
    except UnicodeDecodeError as error:
        return RecordError("invalid_utf8", f"a column holds bytes that are no UTF-8: {error}")
    return record


def _without_nanoseconds(type_: pa.DataType) -> pa.DataType:
    """Return the type with times in microseconds, which is what Python's types hold."""
    if pa.types.is_timestamp(type_) and type_.unit == "ns":
        return pa.timestamp("us", type_.tz)
    if pa.types.is_time64(type_):
        return pa.time64("us")
    if pa.types.is_duration(type_) and type_.unit == "ns":
        return pa.duration("us")
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_without_nanoseconds(field.type)) for field in type_])
    if pa.types.is_list(type_):
        return pa.list_(type_.value_field.with_type(_without_nanoseconds(type_.value_type)))
    if pa.types.is_large_list(type_):
        return pa.large_list(type_.value_field.with_type(_without_nanoseconds(type_.value_type)))
    return type_
