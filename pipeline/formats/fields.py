"""Records of named fields (JSON objects, rows of tables) to documents: where the parts are, and what is left."""

import base64
import datetime as dt
import json
from typing import Any

import orjson

from tamis.pipeline.formats.options import ReadOptions
from tamis.pipeline.formats.records import REJECT_STEP, BatchBuilder
from tamis.scorers.extraction.html import html_to_text
from tamis.scorers.extraction.sandbox import CallFailedError

__all__ = ["Fields", "RecordError", "add_record", "as_json", "as_timestamp"]

_ABSENT: Any = object()
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_MILLISECONDS_FROM = 1e11  # as seconds that is the year 5138
_OLDEST, _NEWEST = -62135596800 * 10**6, 253402300800 * 10**6  # the years 1 to 9999, in microseconds


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
    """Takes text, identity, url and timestamp out of a record; what is left is its `meta`."""

    def __init__(self, options: ReadOptions):
        self.text = options.text
        self.id = options.id or "id"
        self.url = options.url or "url"
        self.timestamp = options.timestamp or "timestamp"
        self.id_required = options.id is not None
        # Paths are looked for where there are any: these methods are called for every record.
        self._dotted = any("." in name for name in (self.text, self.id, self.url, self.timestamp))

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

    def put_text(self, record: dict[str, Any], text: Any) -> None:
        """Set the text, which may have been read apart from the record's other fields."""
        self._take(record, self.text)
        record[self.text] = text

    def take_id(self, record: dict[str, Any]) -> str | None:
        """Return the record's identity as a string, None if it has none; the field stays in `meta`.

        Raises:
            RecordError: if the field was named in the options and is absent, or if it is no string or number.
        """
        value = self.identity(record)
        if value is None or value == "":
            if self.id_required:
                msg = f"the field {self.id!r} is missing"
                raise RecordError("missing_id", msg)
            return None
        if type(value) is str:
            return value
        if type(value) in (int, float):
            return repr(value)
        msg = f"the field {self.id!r} is no string or number but {_kind(value)}"
        raise RecordError("bad_id", msg)

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

    def take_url(self, record: dict[str, Any]) -> str | None:
        """Take the address; one that is no string stays in `meta`."""
        value = self._look_at(record, self.url) if self._dotted else record.get(self.url)
        if type(value) is not str:
            return None
        self._take(record, self.url)
        return value

    def take_timestamp(self, record: dict[str, Any]) -> int | None:
        """Take the time, in microseconds since 1970; one that can't be understood stays in `meta`."""
        value = self._look_at(record, self.timestamp) if self._dotted else record.get(self.timestamp)
        if value is None:
            return None
        time = as_timestamp(value)
        if time is not None:
            self._take(record, self.timestamp)
        return time


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
        text = fields.take_text(record)
        identity = fields.take_id(record)
        url = fields.take_url(record)
        time = fields.take_timestamp(record)
        meta = as_json(record)
        if options.html:
            text, refusal = html_to_text(text, options.extract)
            if refusal is not None:
                builder.reject(refusal, identity, url)
                return
    except RecordError as error:
        builder.error(place, error.error, error.detail)
    except CallFailedError as error:
        builder.error(place, "extraction_failed", str(error), REJECT_STEP)
    else:
        builder.document(identity, url, text, time=time, meta=meta, weight=weight)


def _kind(value: Any) -> str:
    kinds = {bool: "a truth value", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def as_timestamp(value: Any) -> int | None:
    """Return a time in microseconds since 1970 (UTC), None if it can't be understood.

    Args:
        value: an ISO 8601 string (UTC unless it says otherwise), a `datetime`, or seconds or, from 1e11 on,
            milliseconds since 1970.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            time = round(value * (1_000 if abs(value) >= _MILLISECONDS_FROM else 1_000_000))
        except (OverflowError, ValueError):
            return None
        return time if _OLDEST <= time < _NEWEST else None
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if not isinstance(value, dt.datetime):
        return None
    if value.tzinfo is None:
        value = value.replace(tzinfo=dt.UTC)
    return int((value - _EPOCH) // _MICROSECOND)


def as_json(record: dict[str, Any]) -> str:
    """Return a record as compact JSON with sorted keys.

    Raises:
        RecordError: if it is nested too deeply.
    """
    try:
        return orjson.dumps(record, default=_plain, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        pass  # an integer beyond 64 bits, or objects in objects more than 254 times
    try:
        return json.dumps(record, default=_plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except (TypeError, RecursionError, ValueError) as error:
        msg = f"its other fields can't be kept as JSON: {error}"
        raise RecordError("bad_meta", msg) from error


def _plain(value: Any) -> Any:
    """Return values that JSON lacks as strings: bytes as Base64, decimals and durations as they print."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)
