"""Records of named fields (JSON objects, rows of CSV) to documents: where the parts are, and what is left."""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import orjson

from tamis.pipeline.formats.columns import is_doc_id, is_own_record, typed, unnested
from tamis.pipeline.formats.options import ReadOptions
from tamis.pipeline.formats.partitions import partition_values
from tamis.pipeline.formats.records import REJECT_STEP, BatchBuilder, DocId
from tamis.pipeline.formats.timestamps import as_timestamp
from tamis.scorers.extraction.html import html_to_text
from tamis.scorers.extraction.sandbox import CallFailedError

__all__ = ["TIMESTAMP_FIELDS", "Fields", "RecordError", "add_record", "as_json"]

TIMESTAMP_FIELDS = ("timestamp", "date")
"""Where a record's time is looked for if the options don't say: the first that holds one."""

_ABSENT: Any = object()


class RecordError(Exception):
    """A record can't become a document.

    Attributes:
        error: the class of the error.
        detail: what is wrong, in words.
    """

    def __init__(self, error: str, detail: str):
        super().__init__(detail)
        self.error = error
        self.detail = detail


class Fields:
    """Takes text, identity, url and timestamp out of a record; what is left is its `meta`.

    Args:
        options: where these are.
        path: of the file, whose folders may hold values that its records lack.
    """

    def __init__(self, options: ReadOptions, path: str = ""):
        self.text = options.text
        self.id = options.id or "id"
        self.url = options.url or "url"
        self.timestamps = TIMESTAMP_FIELDS if options.timestamp is None else (options.timestamp,)
        self.id_required = options.id is not None
        self.url_required = options.url is not None
        # Paths are looked for where there are any: these methods are called for every record.
        self._dotted = any("." in name for name in (self.text, self.id, self.url, *self.timestamps))
        self.columns = options.columns
        self._partitions: Mapping[str, str | None] = partition_values(path)

    def add_partitions(self, record: dict[str, Any]) -> None:
        """Add the values that the folders' names hold, where the record has none of that name."""
        for name, value in self._partitions.items():
            record.setdefault(name, value)

    def _take(self, record: dict[str, Any], name: str) -> Any:
        value = record.pop(name, _ABSENT)
        if value is _ABSENT and "." in name:
            head, _, rest = name.partition(".")
            inner = record.get(head)
            if isinstance(inner, dict):
                return self._take(inner, rest)
        return value

    def take_text(self, record: dict[str, Any]) -> str:
        """Take the text.

        Raises:
            RecordError: if it is absent, null, or no string.
        """
        text = self._take(record, self.text) if self._dotted else record.pop(self.text, _ABSENT)
        if type(text) is str:
            return text
        if text is _ABSENT or text is None:
            state = "is null" if text is None else "is missing"
            msg = f"the field {self.text!r} {state}"
            raise RecordError("missing_text", msg)
        msg = f"the field {self.text!r} is no string but {_kind(text)}"
        raise RecordError("text_not_a_string", msg)

    def look_at_text(self, record: dict[str, Any]) -> Any:
        """Return the value of the text field as it is, None also if it is absent."""
        return self._look_at(record, self.text) if self._dotted else record.get(self.text)

    def take_id(self, record: dict[str, Any]) -> tuple[str | None, bool]:
        """Return the record's identity, None if it has none, and whether a value was passed over for being none.

        A list, an object and a truth value name nothing. The field stays in `meta`.

        Raises:
            RecordError: if the field was named in the options and is absent, or is no string or number.
        """
        value = self.identity(record)
        if value is None or value == "":
            if self.id_required:
                msg = f"the field {self.id!r} is missing"
                raise RecordError("missing_id", msg)
            return None, False
        if type(value) is str:
            return value, False
        if type(value) is int or (type(value) is float and math.isfinite(value)):
            return repr(value), False
        if self.id_required:
            msg = f"the field {self.id!r} is no string or number but {_kind(value)}"
            raise RecordError("bad_id", msg)
        return None, True

    def identity(self, record: dict[str, Any]) -> Any:
        """Return the value of the id field as it is, None also if it is absent."""
        return self._look_at(record, self.id) if self._dotted else record.get(self.id)

    def _look_at(self, record: dict[str, Any], name: str) -> Any:
        value = record.get(name)
        if value is None and "." in name and name not in record:
            head, _, rest = name.partition(".")
            inner = record.get(head)
            if isinstance(inner, dict):
                return self._look_at(inner, rest)
        return value

    def take_url(self, record: dict[str, Any]) -> tuple[str | None, bool]:
        """Take the address; return None and true for a value that is none, which stays in `meta`.

        A number is one where the options name the field.
        """
        value = self._look_at(record, self.url) if self._dotted else record.get(self.url)
        if self.url_required and type(value) in (int, float):
            value = repr(value)
        if type(value) is not str:
            return None, value is not None
        self._take(record, self.url)
        return value, False

    def take_timestamp(self, record: dict[str, Any]) -> tuple[int | None, bool]:
        """Take the time, in microseconds since 1970; None and true for one not understood, which stays in `meta`."""
        passed_over = False
        for name in self.timestamps:
            value = self._look_at(record, name) if self._dotted else record.get(name)
            if value is None or value == "":
                continue
            time = as_timestamp(value)
            if time is not None:
                self._take(record, name)
                return time, False
            passed_over = True
        return None, passed_over

    def look_at_columns(self, record: dict[str, Any]) -> tuple[list[Any], list[str], int]:
        """Return the values of the options' columns, the fields that they are in, and how many values are none.

        A field may be the record's url or time as well; what is in a column is then to be left out with `leave_out`. A
        value that isn't of its column's type stays in `meta`.
        """
        values, taken = [], []
        passed_over = 0
        for column in self.columns:
            found = self._look_at(record, column.field)
            value = typed(found, column.type)
            if value is not None:
                taken.append(column.field)
            passed_over += found is not None and value is None
            values.append(value)
        return values, taken, passed_over

    def leave_out(self, record: dict[str, Any], names: list[str]) -> None:
        """Take fields out of a record."""
        for name in names:
            self._take(record, name)

    def own(self, record: dict[str, Any]) -> tuple[DocId | None, dict[str, Any]]:
        """Return the `doc_id` of a document that a run selected before, and the record with its `meta` unnested.

        Any other record is returned as it is; so is one if the options name another identity.
        """
        if self.id_required or not is_own_record(record) or not is_doc_id(record["doc_id"]):
            return None, record
        return DocId(record.pop("doc_id")), unnested(record, record.pop("meta"))


def add_record(
    builder: BatchBuilder, fields: Fields, record: dict[str, Any], place: str, weight: int, options: ReadOptions
) -> None:
    """Add a record to the batch: as a document, a rejected page of HTML, or an error.

    Args:
        builder: collects the batch.
        fields: where the parts are.
        record: the fields; emptied of those that aren't `meta`.
        place: of the record in the file, for its error.
        weight: bytes of the record in the file.
        options: whether the text is HTML.
    """
    try:
        fields.add_partitions(record)
        own, record = fields.own(record) if "doc_id" in record else (None, record)
        columns, in_columns, no_column = fields.look_at_columns(record) if fields.columns else (None, [], 0)
        text = fields.take_text(record)
        identity, no_id = fields.take_id(record) if own is None else (own, False)
        url, no_url = fields.take_url(record)
        time, no_time = fields.take_timestamp(record)
        fields.leave_out(record, in_columns)
        meta, too_deep = _as_json(record)
        if options.html:
            text, refusal = html_to_text(text, options.extract)
            if refusal is not None:
                builder.reject(refusal, identity, url, meta)
                return
    except RecordError as error:
        builder.error(place, error.error, error.detail)
    except CallFailedError as error:
        builder.error(place, "extraction_failed", str(error), REJECT_STEP)
    else:
        builder.note("odd_value", too_deep)
        builder.note("id_passed_over", no_id)
        builder.note("url_passed_over", no_url)
        builder.note("timestamp_passed_over", no_time)
        builder.note("column_passed_over", no_column)
        builder.document(identity, url, text, time=time, meta=meta, weight=weight, columns=columns)


def _kind(value: Any) -> str:
    kinds = {bool: "a truth value", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def as_json(record: dict[str, Any]) -> str:
    """Return a record as compact JSON with sorted keys; fields that are nested too deeply for JSON are null."""
    return _as_json(record)[0]


def _as_json(record: dict[str, Any]) -> tuple[str, int]:
    """Return a record as JSON, and how many of its fields are null for being nested too deeply."""
    try:
        return orjson.dumps(record, default=_plain, option=orjson.OPT_SORT_KEYS).decode(), 0
    except TypeError:
        pass  # an integer beyond 64 bits, or objects in objects more than 254 times
    fields: dict[str, str] = {}
    too_deep = 0
    for name in sorted(record):
        try:
            fields[name] = json.dumps(
                _finite(record[name]), default=_plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False,
                allow_nan=False,
            )  # fmt: skip
        except (TypeError, RecursionError, ValueError):
            fields[name] = "null"
            too_deep += 1
    told = ",".join(f"{json.dumps(name, ensure_ascii=False)}:{value}" for name, value in fields.items())
    return f"{{{told}}}", too_deep


def _finite(value: Any) -> Any:
    """Return a value with null for infinity and what is no number, as the fast way writes them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Return values that JSON lacks as strings: bytes as Base64, decimals and durations as they print."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)
