"""Fields of records as typed columns: one value at a time, and the schema that they make."""

import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import orjson
import pyarrow as pa

from tamis.pipeline.formats.options import ColumnType, InputColumn
from tamis.pipeline.formats.timestamps import as_timestamp
from tamis.schemas.tables import DOCUMENT_SCHEMA, described

__all__ = ["column_schema", "columns_batch", "is_doc_id", "is_own_record", "typed", "unnested"]

_TYPES: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
_TRUTH = {"true": True, "false": False, "1": True, "0": False}
_DOC_ID = re.compile("[0-9a-f]{32}")


def column_schema(columns: Sequence[InputColumn]) -> pa.Schema:
    """Return the Arrow schema of the columns, in the order in which they are given."""
    return pa.schema(
        [described(column.name, _TYPES[column.type], f"the input's field {column.field}") for column in columns]
    )


def columns_batch(columns: Sequence[InputColumn], rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Return the columns of some rows, of values as `typed` gives them; an empty batch if no column is asked for."""
    schema = column_schema(columns)
    values: Iterable[Any] = zip(*rows, strict=True) if rows else ([] for _ in columns)
    arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)] if columns else []
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def typed(value: Any, type_: ColumnType) -> Any:
    """Return a value as one of a column's type, None for null and for what can't be.

    Numbers and truth values may be text, as in CSV; a time is in microseconds since 1970.
    """
    if value is None:
        return None
    if type_ == "timestamp":
        return as_timestamp(value)
    if type_ == "string":
        return value if isinstance(value, str) else _text(value)
    if type_ == "bool":
        if isinstance(value, bool):
            return value
        return _TRUTH.get(value.strip().lower() if isinstance(value, str) else str(value))
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = _number(value)
    if not isinstance(value, int | float):
        return None
    if type_ == "double":
        try:
            return float(value)
        except OverflowError:
            return None
    if isinstance(value, float):
        if not (math.isfinite(value) and value.is_integer()):
            return None
        value = int(value)
    return value if -(2**63) <= value < 2**63 else None


def _text(value: Any) -> str | None:
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:
        return str(value)


def _number(text: str) -> int | float | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def is_own_record(names: Iterable[str]) -> bool:
    """Return whether fields of these names are those of documents that a run selected before."""
    return set(DOCUMENT_SCHEMA.names) <= set(names)


def is_doc_id(value: Any) -> bool:
    """Return whether a value has the form of a `doc_id`."""
    return isinstance(value, str) and _DOC_ID.fullmatch(value) is not None


def unnested(others: dict[str, Any], meta: Any) -> dict[str, Any]:
    """Return a record's other fields with those of its `meta` among them; of equal names those of `meta` get a number.

    Args:
        others: fields of a document that was selected before.
        meta: its `meta`, as JSON or as the object itself; anything else stays a field.
    """
    if isinstance(meta, str):
        with suppress(orjson.JSONDecodeError):
            meta = orjson.loads(meta)
    if not isinstance(meta, dict):
        return others if meta is None else others | {"meta": meta}
    merged = dict(others)
    for name, value in meta.items():
        chosen, number = name, 2
        while chosen in merged:
            if merged[chosen] == value:
                break
            chosen, number = f"{name}_{number}", number + 1
        merged[chosen] = value
    return merged
