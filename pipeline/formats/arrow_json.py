"""Columns of any Arrow type to JSON, column by column and not through Python's objects.

Arrow's types hold what Python's and JSON's don't: times of the year 10000, nanoseconds, infinity, structs with two
fields of one name, zones that nobody knows. Such a value becomes text or null here, and is counted; it never costs
the row, let alone the file.
"""

import base64
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["DROPPED", "Cut", "OddValues", "json_objects", "plain_text", "storage_of", "unique_names", "valid_utf8"]

DROPPED = "dropped"
"""In a `Cut`: the field is left out of all objects."""

Cut: TypeAlias = Mapping[str, Any]
"""What is left out of objects: name of a field to `DROPPED`, to a mask (true where it stays), or to a `Cut` within."""

_TEXT = pa.large_string()
_QUOTED = r'["\\\x00-\x1f]'
_RARE = r"[\x00-\x07\x0b\x0e-\x1f]"
_ESCAPES = (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"), ("\b", "\\b"), ("\f", "\\f"))
_OUT_OF_RANGE = "<value out of range"


class OddValues:
    """Counts values that JSON, or a date, can't hold, and that were written as text or null."""

    def __init__(self) -> None:
        self.count = 0


def unique_names(names: Sequence[str]) -> list[str]:
    """Return the names, later ones of equal names with a number: a, a_2, a_3."""
    taken = set(names)
    seen: set[str] = set()
    unique = []
    for name in names:
        number = 2
        chosen = name
        while chosen in seen or (chosen != name and chosen in taken):
            chosen = f"{name}_{number}"
            number += 1
        seen.add(chosen)
        unique.append(chosen)
    return unique


def storage_of(array: pa.Array) -> pa.Array:
    """Return an array without dictionaries, run ends and extension types (but UUIDs, which are text)."""
    while True:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        elif pa.types.is_run_end_encoded(array.type):
            array = pc.run_end_decode(array)
        elif isinstance(array.type, pa.UuidType):
            values = [None if value is None else str(uuid.UUID(bytes=value)) for value in array.storage.to_pylist()]
            return pa.array(values, pa.string())
        elif isinstance(array.type, pa.Bool8Type):
            return pc.not_equal(array.storage, pa.scalar(0, pa.int8()))
        elif isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        else:
            return array


def valid_utf8(array: pa.Array) -> pa.Array | None:
    """Return a column of strings or bytes as large strings, None if it holds bytes that are no UTF-8."""
    try:
        return array.cast(pa.large_binary()).cast(_TEXT)
    except pa.ArrowInvalid:
        return None


def _scalar(text: str) -> pa.Scalar:
    return pa.scalar(text, _TEXT)


def _joined(*parts: Any) -> pa.Array:
    return pc.binary_join_element_wise(*parts, _scalar(""))


def _or_null(array: pa.Array, tokens: pa.Array) -> pa.Array:
    """Return the tokens, with `null` where the value is."""
    return pc.if_else(array.is_valid(), tokens, _scalar("null")) if array.null_count else tokens


def _quoted(array: pa.Array) -> pa.Array:
    """Return strings as JSON strings; null stays null."""
    if pc.any(pc.match_substring_regex(array, _QUOTED)).as_py():
        if pc.any(pc.match_substring_regex(array, _RARE)).as_py():
            return pa.array([v if v is None else orjson.dumps(v).decode() for v in array.to_pylist()], _TEXT)
        for raw, escaped in _ESCAPES:
            array = pc.replace_substring(array, raw, escaped)
    return _joined(_scalar('"'), array, _scalar('"'))


def _is_text(type_: pa.DataType) -> bool:
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or str(type_) == "string_view"


def _is_binary(type_: pa.DataType) -> bool:
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(test(type_) for test in kinds) or str(type_) == "binary_view"


def _strings(array: pa.Array, odd: OddValues) -> pa.Array:
    """Return a column of strings, with U+FFFD for bytes that are no UTF-8."""
    valid = valid_utf8(array)
    if valid is not None:
        return valid
    values = []
    for value in array.cast(pa.large_binary()).to_pylist():
        text = None if value is None else value.decode("utf-8", "replace")
        odd.count += text is not None and text.encode() != value
        values.append(text)
    return pa.array(values, _TEXT)


def _time_text(array: pa.Array, odd: OddValues) -> pa.Array:
    """Return days and times as ISO 8601 has them (of a zone: in UTC), numbers where the calendar ends."""
    type_ = array.type
    zoned = pa.types.is_timestamp(type_) and type_.tz is not None
    if zoned:
        array = array.cast(pa.int64()).cast(pa.timestamp(type_.unit))
    text = array.cast(_TEXT)
    beyond = pc.fill_null(pc.starts_with(text, _OUT_OF_RANGE), fill_value=False)
    if pa.types.is_timestamp(type_):
        text = pc.replace_substring(text, " ", "T", max_replacements=1)
    if not pa.types.is_date(type_) and type_.unit != "s":  # then there is a fraction
        text = pc.replace_substring_regex(text, r"\.0+$", "")
    if zoned:
        text = _joined(text, _scalar("+00:00"))
    if pc.any(beyond).as_py():
        odd.count += pc.sum(beyond).as_py()
        width = pa.int32() if pa.types.is_date32(type_) or pa.types.is_time32(type_) else pa.int64()
        text = pc.if_else(beyond, array.cast(width).cast(_TEXT), text)
    return text


def plain_text(array: pa.Array, odd: OddValues) -> pa.Array | None:
    """Return a column of single values as text, null where the value is; None for lists, structs and their like.

    Days and times are as ISO 8601 has them, bytes are Base64, durations whole numbers with their unit.
    """
    array = storage_of(array)
    type_ = array.type
    if pa.types.is_null(type_):
        return pa.nulls(len(array), _TEXT)
    if _is_text(type_):
        return _strings(array, odd)
    if _is_binary(type_):
        values = [None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()]
        return pa.array(values, _TEXT)
    if pa.types.is_date(type_) or pa.types.is_time(type_) or pa.types.is_timestamp(type_):
        return _time_text(array, odd)
    if pa.types.is_duration(type_):
        return _joined(array.cast(pa.int64()).cast(_TEXT), _scalar(f" {type_.unit}"))
    if pa.types.is_float16(type_):
        array = array.cast(pa.float32())
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_) or pa.types.is_floating(type_):
        return array.cast(_TEXT)
    return array.cast(_TEXT) if pa.types.is_decimal(type_) else None


def _number_tokens(array: pa.Array, odd: OddValues) -> pa.Array:
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    text = array.cast(_TEXT)
    if pa.types.is_floating(array.type):
        finite = pc.fill_null(pc.is_finite(array), fill_value=True)
        odd.count += len(array) - pc.sum(finite).as_py() if len(array) else 0
        text = pc.if_else(pc.match_substring_regex(text, r"^-?\d+$"), _joined(text, _scalar(".0")), text)
        text = pc.if_else(finite, text, _scalar("null"))
    return text


def _list_tokens(array: pa.Array, values: pa.Array) -> pa.Array:
    """Return the tokens of lists whose values, all lists' one after another, have the tokens `values`."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), values)
    return _joined(_scalar("["), pc.binary_join(lists, _scalar(",")), _scalar("]"))


def _map_tokens(array: pa.Array, odd: OddValues) -> pa.Array:
    """Return maps as lists of pairs, since their keys may be of any type."""
    type_ = array.type
    entry = pa.struct([pa.field("key", type_.key_type), pa.field("value", type_.item_type)])
    lists = array.cast(pa.large_list(entry))
    keys, values = pc.list_flatten(lists).flatten()
    pairs = _joined(_scalar("["), _tokens(keys, odd), _scalar(","), _tokens(values, odd), _scalar("]"))
    return _list_tokens(lists, pairs)


def _object_by_object(array: pa.Array, odd: OddValues) -> pa.Array:
    """Return the tokens of types that Arrow can't take apart, such as unions and intervals."""
    tokens = []
    for value in array:
        try:
            tokens.append(orjson.dumps(value.as_py(), default=str).decode())
        except Exception:  # noqa: BLE001  (whatever Python's types say to a value that they can't hold)
            odd.count += 1
            try:
                tokens.append(orjson.dumps(str(value)).decode())
            except Exception:  # noqa: BLE001
                tokens.append("null")
    return pa.array(tokens, _TEXT)


def _tokens(array: pa.Array, odd: OddValues, cut: Cut | None = None) -> pa.Array:
    """Return the JSON of each value as large strings, none of them null."""
    array = storage_of(array)
    type_ = array.type
    if pa.types.is_null(type_):
        return pa.array(["null"] * len(array), _TEXT)
    if pa.types.is_boolean(type_):
        tokens = pc.if_else(array, _scalar("true"), _scalar("false"))
    elif pa.types.is_integer(type_) or pa.types.is_floating(type_):
        tokens = _number_tokens(array, odd)
    elif pa.types.is_struct(type_):
        names = [field.name for field in type_]
        tokens = json_objects(names, array.flatten(), len(array), odd, cut)
    elif pa.types.is_map(type_):
        tokens = _map_tokens(array, odd)
    elif pa.types.is_list(type_) or pa.types.is_large_list(type_):
        tokens = _list_tokens(array, _tokens(pc.list_flatten(array), odd))
    elif pa.types.is_fixed_size_list(type_):
        lists = array.cast(pa.large_list(type_.value_field))
        tokens = _list_tokens(lists, _tokens(pc.list_flatten(lists), odd))
    else:
        text = plain_text(array, odd)
        tokens = _object_by_object(array, odd) if text is None else _quoted(text)
    return _or_null(array, tokens)


def json_objects(
    names: Sequence[str], arrays: Sequence[pa.Array], rows: int, odd: OddValues, cut: Cut | None = None
) -> pa.Array:
    """Return a JSON object for each row, compact, keys sorted: large strings.

    Args:
        names: of the fields; of equal names the later ones get a number.
        arrays: the fields' values, each of `rows` values.
        rows: how many objects.
        odd: counts the values that were written as text or null for want of a better way.
        cut: what is left out.
    """
    cut = cut or {}
    columns: list[pa.Array] = []
    for name, array in sorted(zip(unique_names(names), arrays, strict=True), key=lambda pair: pair[0]):
        left_out = cut.get(name)
        if isinstance(left_out, str):
            continue
        tokens = _tokens(array, odd, left_out if isinstance(left_out, Mapping) else None)
        field = _joined(_scalar(orjson.dumps(name).decode() + ":"), tokens, _scalar(","))
        columns.append(pc.if_else(left_out, field, _scalar("")) if isinstance(left_out, pa.Array) else field)
    if not columns:
        return pa.array(["{}"] * rows, _TEXT)
    # The last comma goes; that no comma stands between fields of which some are left out needs no join that skips
    # nulls, which loses rows that are null everywhere (Arrow 25).
    inside = pc.ascii_rtrim(_joined(*columns), ",")
    return _joined(_scalar("{"), inside, _scalar("}"))
