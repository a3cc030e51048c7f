"""Times as data sets write them, to microseconds since 1970; what could be another date is none."""

import datetime as dt
import math
import re
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["NEWEST", "OLDEST", "as_timestamp"]

OLDEST = -62135596800 * 10**6
"""The beginning of the year 1, in microseconds since 1970: the first that Python's and SQL's types hold."""

NEWEST = 253402300800 * 10**6
"""The end of the year 9999, the first that they don't."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
# From so many on, a number since 1970 counts milliseconds, microseconds, nanoseconds; as seconds it is the year 5138.
_UNITS = ((1e17, -3), (1e14, 0), (1e11, 3), (0.0, 6))
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{0,30})?([eE][+-]?\d{1,2})?")
_FORMATS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_YEARS = range(1900, 2101)
"""Numbers of digits that begin with one of these years are taken for dates, as archives write them."""
_LONGEST = 64  # characters that a time may have
_ZONE_NAMES = re.compile(r"\s*(?:UTC|GMT|Z|[+-]00:?00(?:\s*UTC)?)$", re.IGNORECASE)
_SLASHES = re.compile(r"^(\d{4})/(\d{1,2})/(\d{1,2})")


def as_timestamp(value: Any) -> int | None:
    """Return a time in microseconds since 1970 (UTC), None if it can't be understood or could be another.

    Args:
        value: an ISO 8601 string (UTC unless it says otherwise), a date of HTTP headers or mails, a `datetime` or
            `date`, or a number, also one in a string: digits that spell a day or a time of the years 1900 to 2100
            (`20240115`, `202401151234`, `20240115123456`, `20240115123456789`), else seconds since 1970, or
            from 1e11, 1e14 and 1e17 on milli-, micro- and nanoseconds. A bare year, a year with its month, and ten
            digits that spell a date and an hour are none: as seconds they are another date.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _of_number(value)
    if isinstance(value, str):
        return _of_text(value.strip())
    if isinstance(value, dt.datetime):
        return _of_datetime(value)
    if isinstance(value, dt.date):
        return _of_datetime(dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC))
    return None


def _of_datetime(value: dt.datetime) -> int | None:
    try:
        if value.tzinfo is None:
            value = value.replace(tzinfo=dt.UTC)
        time = int((value - _EPOCH) // _MICROSECOND)
    except OverflowError:
        return None
    return time if OLDEST <= time < NEWEST else None


def _of_text(text: str) -> int | None:
    if len(text) > _LONGEST:
        return None
    if _NUMBER.fullmatch(text):
        digits = text.lstrip("+-")
        return _of_number(int(text) if digits.isdigit() else float(text))
    try:
        return _of_datetime(dt.datetime.fromisoformat(text))
    except ValueError:
        pass
    plain = _SLASHES.sub(lambda m: f"{m[1]}-{m[2]:0>2}-{m[3]:0>2}", _ZONE_NAMES.sub("", text))
    if plain != text:
        try:
            return _of_datetime(dt.datetime.fromisoformat(plain))
        except ValueError:
            pass
    try:
        return _of_datetime(parsedate_to_datetime(text))
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _of_number(value: int | float) -> int | None:
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        if value.is_integer() and abs(value) < 1e18:
            value = int(value)
    if isinstance(value, int) and value > 0:
        digits = str(value)
        if len(digits) in (4, 6, 8, 10, 12, 14, 17) and int(digits[:4]) in _YEARS:
            found = _of_digits(digits)
            # Ten digits are seconds of the years from 2030 on, unless they spell a date and an hour. As a number since
            # 1970 the others are moments when no text was written: of 1970, 1976, or centuries ahead.
            if len(digits) != 10 or _of_digits(digits + "00") is not None:
                return found
    power = next(power for least, power in _UNITS if abs(value) >= least)
    try:
        time = value * 10**power if power >= 0 else value // 10**-power
        time = math.floor(time) if isinstance(value, int) else round(time)
    except OverflowError:
        return None
    return time if OLDEST <= time < NEWEST else None


def _of_digits(digits: str) -> int | None:
    """Return the time that digits spell, None if they spell none."""
    milliseconds = int(digits[14:] or 0)
    form = _FORMATS.get(len(digits[:14]))
    if form is None:
        return None
    try:
        found = dt.datetime.strptime(digits[:14], form).replace(tzinfo=dt.UTC)
    except ValueError:
        return None
    time = _of_datetime(found)
    return None if time is None else time + milliseconds * 1000
