"""Rows of Arrow tables to documents: which columns the parts of a document are, and what becomes of the others."""

import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tamis.pipeline.formats.arrow_json import (
    DROPPED,
    OddValues,
    json_objects,
    plain_text,
    storage_of,
    valid_utf8,
)
from tamis.pipeline.formats.columns import is_doc_id, is_own_record, typed, unnested
from tamis.pipeline.formats.fields import TIMESTAMP_FIELDS, as_json
from tamis.pipeline.formats.options import InputColumn, ReadOptions
from tamis.pipeline.formats.partitions import partition_values
from tamis.pipeline.formats.records import REJECT_STEP, BatchBuilder, DocId
from tamis.pipeline.formats.timestamps import NEWEST, OLDEST, as_timestamp
from tamis.schemas.base import nearest
from tamis.schemas.errors import InputError
from tamis.scorers.extraction.html import html_to_text
from tamis.scorers.extraction.sandbox import CallFailedError

__all__ = ["add_rows", "check_schema"]

_MICROSECONDS = {"s": 10**6, "ms": 1000, "us": 1}
_DAY = 86400 * 10**6


def _storage_type(type_: pa.DataType) -> pa.DataType:
    """Return the type of values: not of the dictionary or extension that they are packed in."""
    while True:
        if isinstance(type_, pa.UuidType):
            return pa.string()
        if pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_):
            type_ = type_.value_type
        elif isinstance(type_, pa.BaseExtensionType):
            type_ = type_.storage_type
        else:
            return type_


def _is_text(type_: pa.DataType) -> bool:
    type_ = _storage_type(type_)
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(type_) for test in tests) or str(type_) in ("string_view", "binary_view")


def _is_text_or_null(type_: pa.DataType) -> bool:
    return _is_text(type_) or pa.types.is_null(type_)  # a file in which no row has a text


def _is_binary(type_: pa.DataType) -> bool:
    type_ = _storage_type(type_)
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(test(type_) for test in tests) or str(type_) == "binary_view"


def _names_something(type_: pa.DataType) -> bool:
    """Return whether values of a type can be an identity or an address: single values, but no truth values."""
    type_ = _storage_type(type_)
    if pa.types.is_boolean(type_):
        return False
    scalar = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_temporal, pa.types.is_null)
    return _is_text(type_) or _is_binary(type_) or any(test(type_) for test in scalar)


def _is_time(type_: pa.DataType) -> bool:
    """Return whether values of a type can be a time."""
    type_ = _storage_type(type_)
    tests = (
        pa.types.is_timestamp,
        pa.types.is_date,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_null,
    )
    return _is_text(type_) or any(test(type_) for test in tests)


def _is_any(type_: pa.DataType) -> bool:  # noqa: ARG001  (one of several such functions)
    return True


class _Place(NamedTuple):
    """Where a field is: the number of its column, and the numbers of fields within structs."""

    numbers: tuple[int, ...]
    names: tuple[str, ...]
    type: pa.DataType


def _find(fields: list[pa.Field], name: str) -> list[_Place]:
    """Return where the fields of a dotted path are: columns of that name, else children of structs."""
    found = [_Place((i,), (name,), field.type) for i, field in enumerate(fields) if field.name == name]
    head, _, rest = name.partition(".")
    if found or not rest:
        return found
    for i, field in enumerate(fields):
        if field.name == head and pa.types.is_struct(field.type):
            inner = _find(list(field.type), rest)
            found += [_Place((i, *place.numbers), (head, *place.names), place.type) for place in inner]
    return found


def check_schema(path: str, schema: pa.Schema, options: ReadOptions) -> None:
    """Check that a table has the columns named in the options, each once and of a type that can be what it should.

    Raises:
        InputError: naming the file, the column and the option.
    """
    fields = [*schema, *(pa.field(name, pa.string()) for name in partition_values(path) if name not in schema.names)]
    names = [field.name for field in fields]
    suits: dict[str, tuple[str | None, Callable[[pa.DataType], bool], str]] = {
        "text": (options.text, _is_text_or_null, "text: set `text:` to a string column"),
        "id": (options.id, _names_something, "a name: set `id:` to a column of strings or numbers"),
        "url": (options.url, _names_something, "an address: set `url:` to a column of strings"),
        "timestamp": (options.timestamp, _is_time, "a time: set `timestamp:` to a column of times, strings or numbers"),
    }
    checks = [(option, *suit) for option, suit in suits.items()]
    if not is_own_record(names):  # of a run's own documents, a field may be in `meta`
        checks += [("columns", column.field, _is_any, "") for column in options.columns]
    for option, name, suit, wanted in checks:
        if name is None:
            continue
        found = _find(fields, name)
        if not found:
            msg = f"{path} has no column {name!r}{nearest(name, names)}: set `{option}:` to the column to use"
            raise InputError(msg)
        if len(found) > 1:
            msg = f"{path} has {len(found)} columns called {name!r}: rename all but one, or set `{option}:` to another"
            raise InputError(msg)
        if not suit(found[0].type):
            msg = f"{path}: the column {name!r} is {found[0].type}, not {wanted}"
            raise InputError(msg)


class _Rows:
    """One batch of a table, taken apart."""

    def __init__(self, batch: pa.RecordBatch, path: str):
        self.fields = list(batch.schema)
        self.arrays: list[pa.Array] = list(batch.columns)
        self.rows = batch.num_rows
        for name, value in partition_values(path).items():
            if name not in batch.schema.names:
                self.fields.append(pa.field(name, pa.string()))
                self.arrays.append(pa.array([value] * self.rows, pa.string()))
        self.odd = OddValues()
        self.cut: dict[str, Any] = {}
        self.own_metas: list[dict[str, Any]] | None = None
        """The objects in the `meta` of documents that a run selected before."""

    def place(self, name: str) -> _Place | None:
        """Return where a field is; None also if there are several of that name."""
        found = _find(self.fields, name)
        return found[0] if len(found) == 1 else None

    def column(self, place: _Place) -> pa.Array:
        """Return the values of a field, of strings and numbers rather than dictionaries and extensions."""
        array = self.arrays[place.numbers[0]]
        for number in place.numbers[1:]:
            array = array.flatten()[number]  # hands down the nulls of the struct; `field` wouldn't
        return storage_of(array)

    def leave_out(self, place: _Place, stays: pa.Array | None = None) -> None:
        """Leave a field out of `meta`: everywhere, or but where `stays` is true."""
        cut = self.cut
        for name in place.names[:-1]:
            cut = cut.setdefault(name, {})
        cut[place.names[-1]] = DROPPED if stays is None else stays

    def metas(self) -> list[str]:
        """Return the fields that are left, as JSON."""
        names = [field.name for field in self.fields]
        metas: list[str] = json_objects(names, self.arrays, self.rows, self.odd, self.cut).to_pylist()
        if self.own_metas is None:
            return metas
        return [as_json(unnested(orjson.loads(meta), own)) for meta, own in zip(metas, self.own_metas, strict=True)]


def add_rows(
    builder: BatchBuilder, batch: pa.RecordBatch, path: str, first: int, options: ReadOptions
) -> Iterator[None]:
    """Add the rows of a table to a batch of documents; yields where the builder is full.

    Args:
        builder: collects documents and errors `missing_text`, `invalid_utf8`, `missing_id`, `record_too_large` and
            `extraction_failed`, by the row's number.
        batch: rows of the table, whose schema passed `check_schema`.
        path: of the file; its folders may hold values that the table lacks.
        first: number of the first row in the file.
        options: where the parts of a document are.
    """
    rows = _Rows(batch, path)
    texts = _texts(rows, options)
    identities = _own(rows, options) or _identities(builder, rows, options)
    urls = _urls(builder, rows, options)
    times = _times(builder, rows, options)
    columns = _columns(builder, rows, options)
    metas = rows.metas()
    builder.note("odd_value", rows.odd.count)
    parts = zip(texts, identities, urls, times, metas, columns, strict=True)
    for row, (text, identity, url, time, meta, values) in enumerate(parts):
        if builder.full:
            yield
        place = f"row {first + row}"
        if text is None:
            builder.error(place, "missing_text", f"the column {options.text!r} is null")
        elif isinstance(text, bytes):
            builder.error(place, "invalid_utf8", f"the column {options.text!r} holds bytes that are no UTF-8")
        elif len(text) > options.max_record_bytes:
            detail = f"a text of {len(text)} characters; the limit is {options.max_record_bytes} bytes"
            builder.error(place, "record_too_large", detail)
        elif not identity and options.id is not None:
            builder.error(place, "missing_id", f"the column {options.id!r} is empty")
        elif options.html:
            _add_page(builder, place, text, identity, url, time, meta, values, options)
        else:
            builder.document(identity, url, text, time=time, meta=meta, weight=len(text), columns=values)


def _add_page(
    builder: BatchBuilder,
    place: str,
    page: str,
    identity: str | None,
    url: str | None,
    time: int | None,
    meta: str,
    columns: tuple[Any, ...],
    options: ReadOptions,
) -> None:
    try:
        text, refusal = html_to_text(page, options.extract)
    except CallFailedError as error:
        builder.error(place, "extraction_failed", str(error), REJECT_STEP)
        return
    if refusal is not None:
        builder.reject(refusal, identity, url, meta)
    else:
        builder.document(identity, url, text, time=time, meta=meta, weight=len(page), columns=columns)


def _texts(rows: _Rows, options: ReadOptions) -> list[str | bytes | None]:
    """Return the text of each row; bytes where they are no UTF-8, which Arrow doesn't check when it reads."""
    place = rows.place(options.text)
    if place is None:
        return [None] * rows.rows
    rows.leave_out(place)
    column = rows.column(place)
    valid = valid_utf8(column)
    if valid is not None:
        texts: list[str | bytes | None] = valid.to_pylist()
        return texts
    return [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]


def _decoded(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _name(value: bytes | None) -> str | None:
    """Return bytes as the text that they are, else in hex."""
    text = _decoded(value)
    return f"0x{text.hex()}" if isinstance(text, bytes) else text


def _names(column: pa.Array, odd: OddValues) -> list[str | None]:
    """Return values that name something as text; numbers as Python writes them: so ids have always been hashed."""
    type_ = column.type
    if _is_text(type_) or _is_binary(type_):
        valid = None if pa.types.is_fixed_size_binary(type_) else valid_utf8(column)
        texts = [_name(value) for value in column.cast(pa.large_binary()).to_pylist()] if valid is None else valid
        return texts if isinstance(texts, list) else texts.to_pylist()
    if pa.types.is_integer(type_) or pa.types.is_floating(type_):
        values = column.cast(pa.float32() if pa.types.is_float16(type_) else type_).to_pylist()
        return [None if value is None or math.isnan(value) else repr(value) for value in values]
    if pa.types.is_decimal(type_):
        return [None if value is None else format(value, "f") for value in column.to_pylist()]
    text = plain_text(column, odd)
    return [None] * len(column) if text is None else text.to_pylist()


def _passed_over(builder: BatchBuilder, kind: str, column: pa.Array) -> None:
    builder.note(kind, len(column) - column.null_count)


def _own(rows: _Rows, options: ReadOptions) -> list[str | None] | None:
    """Return the `doc_id`s of documents that a run selected before, whose `meta` is unnested; None for others."""
    place, meta = rows.place("doc_id"), rows.place("meta")
    if options.id is not None or place is None or meta is None or not is_own_record(f.name for f in rows.fields):
        return None
    column, metas = rows.column(place), rows.column(meta)
    if not (_is_text(column.type) and _is_text(metas.type)):
        return None
    found = _names(column, OddValues())
    if not all(map(is_doc_id, found)):
        return None
    rows.leave_out(place)
    rows.leave_out(meta)
    rows.own_metas = [unnested({}, value) for value in _names(metas, rows.odd)]
    return [DocId(name) for name in found]


def _columns(builder: BatchBuilder, rows: _Rows, options: ReadOptions) -> list[tuple[Any, ...]]:
    """Return each row's values of the options' columns, which leave `meta`; values of other types stay there."""
    if not options.columns:
        return [()] * rows.rows
    taken = [_column(builder, rows, column) for column in options.columns]
    return list(zip(*taken, strict=True))


def _json_values(array: pa.Array, odd: OddValues) -> list[str | None]:
    """Return lists, objects and the like as JSON."""
    objects = json_objects(["x"], [array], len(array), odd).to_pylist()
    return [None if text == '{"x":null}' else text[len('{"x":') : -1] for text in objects]


def _column(builder: BatchBuilder, rows: _Rows, column: InputColumn) -> list[Any]:
    place = rows.place(column.field)
    if place is None:
        return [typed(meta.pop(column.field, None), column.type) for meta in rows.own_metas or [{}] * rows.rows]
    array = rows.column(place)
    if column.type == "timestamp":
        values: list[Any] = _column_times(array) if _is_time(array.type) else [None] * rows.rows
    elif column.type == "string":
        text = plain_text(array, rows.odd)
        values = _json_values(array, rows.odd) if text is None else text.to_pylist()
    elif _is_text(array.type):
        values = [typed(value, column.type) for value in _names(array, rows.odd)]
    elif (_names_something(array.type) and not pa.types.is_temporal(array.type)) or pa.types.is_boolean(array.type):
        found = [float(v) if isinstance(v, Decimal) else v for v in array.to_pylist()]
        values = [typed(value, column.type) for value in found]
    else:
        values = [None] * rows.rows
    stays = [value is None and valid for value, valid in zip(values, array.is_valid().to_pylist(), strict=True)]
    builder.note("column_passed_over", sum(stays))
    rows.leave_out(place, pa.array(stays) if any(stays) else None)
    return values


def _identities(builder: BatchBuilder, rows: _Rows, options: ReadOptions) -> list[str | None]:
    """Return each row's identity; the column stays in `meta`."""
    nothing: list[str | None] = [None] * rows.rows
    place = rows.place(options.id or "id")
    if place is None:
        return nothing
    column = rows.column(place)
    if not _names_something(column.type):
        _passed_over(builder, "id_passed_over", column)
        return nothing
    return [name or None for name in _names(column, OddValues())]


def _urls(builder: BatchBuilder, rows: _Rows, options: ReadOptions) -> list[str | None]:
    """Return each row's address, which leaves `meta`; numbers and the like are none unless the options say so."""
    nothing: list[str | None] = [None] * rows.rows
    place = rows.place(options.url or "url")
    if place is None:
        return nothing
    column = rows.column(place)
    if not (_is_text(column.type) or (options.url is not None and _names_something(column.type))):
        if not pa.types.is_null(column.type):
            _passed_over(builder, "url_passed_over", column)
        return nothing
    rows.leave_out(place)
    if _is_binary(column.type):  # an address may be of another encoding, and is one all the same
        values = column.cast(pa.large_binary()).to_pylist()
        builder.note("odd_value", sum(isinstance(_decoded(value), bytes) for value in values))
        return [None if value is None else value.decode("utf-8", "replace") for value in values]
    return _names(column, rows.odd)


def _times(builder: BatchBuilder, rows: _Rows, options: ReadOptions) -> list[int | None]:
    """Return each row's time in microseconds since 1970, which leaves `meta`; what is none stays there."""
    names = TIMESTAMP_FIELDS if options.timestamp is None else (options.timestamp,)
    times: list[int | None] = [None] * rows.rows
    found = np.zeros(rows.rows, bool)
    passed_over = np.zeros(rows.rows, bool)
    for name in names:
        place = rows.place(name)
        if place is None:
            continue
        column = rows.column(place)
        present = column.is_valid().to_numpy(zero_copy_only=False)
        taken = np.zeros(rows.rows, bool)
        if _is_time(column.type):
            for row, time in enumerate(_column_times(column)):
                if time is not None and not found[row]:
                    times[row] = time
                    taken[row] = True
        stays = present & ~taken
        # A column that is taken where it holds anything leaves; of others, the values that weren't taken stay.
        rows.leave_out(place, pa.array(stays) if stays.any() else None)
        passed_over |= stays & ~found
        found |= taken
    builder.note("timestamp_passed_over", int((passed_over & ~found).sum()))
    return times


def _column_times(column: pa.Array) -> list[int | None]:
    type_ = column.type
    if pa.types.is_timestamp(type_):
        raw = column.cast(pa.int64())
        if type_.unit == "ns":
            quotient = pc.divide(raw, 1000)  # which rounds towards 1970; the remainder says where
            behind = pc.less(pc.subtract(raw, pc.multiply(quotient, 1000)), 0)
            times: list[int | None] = pc.subtract(quotient, behind.cast(pa.int64())).to_pylist()
            return times
        return [_in_range(value, _MICROSECONDS[type_.unit]) for value in raw.to_pylist()]
    if pa.types.is_date32(type_):
        return [_in_range(value, _DAY) for value in column.cast(pa.int32()).to_pylist()]
    if pa.types.is_date64(type_):
        return [_in_range(value, 1000) for value in column.cast(pa.int64()).to_pylist()]
    if pa.types.is_decimal(type_):
        return [
            None if v is None else as_timestamp(int(v) if v == v.to_integral_value() else float(v))
            for v in column.to_pylist()
        ]
    if pa.types.is_null(type_):
        return [None] * len(column)
    values = _names(column, OddValues()) if _is_text(type_) else column.to_pylist()
    return [as_timestamp(value) for value in values]


def _in_range(value: int | None, scale: int) -> int | None:
    if value is None:
        return None
    time = value * scale
    return time if OLDEST <= time < NEWEST else None
