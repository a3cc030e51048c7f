"""JSON that loses nothing of what a table holds: exact decimals, equal names, characters that drive no terminal."""

import datetime as dt
import functools
import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from tamis.jobs.unprintable import UNPRINTABLE

__all__ = ["json_object", "json_text", "unique_names"]

_PLACES = 60
"""A decimal of more digits than this is written with an exponent."""


def unique_names(names: Sequence[str]) -> list[str]:
    """Return the names, each of several equal ones with a number: `n`, `n_1`, `n_2`; none that is there already."""
    taken = set(names)
    if len(taken) == len(names):
        return list(names)
    seen: set[str] = set()
    told = []
    for name in names:
        shown = name
        number = 0
        while shown in seen or (number and shown in taken):
            number += 1
            shown = f"{name}_{number}"
        seen.add(shown)
        told.append(shown)
    return told


def json_object(names: Sequence[str], values: Sequence[Any]) -> str:
    """Return one JSON object; of equal names none is lost, see `unique_names`."""
    pairs = zip(unique_names(names), values, strict=True)
    return "{" + ", ".join(f"{_key(name)}: {json_text(value)}" for name, value in pairs) + "}"


def json_text(value: Any) -> str:
    """Return a value of Arrow or DuckDB as JSON.

    Bytes become hex, times ISO 8601, numbers that JSON lacks (NaN, infinity) null, decimals a number of all their
    digits, intervals and what else JSON has no form for text. Unprintable characters are escaped.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _string(value)
        case int():
            return int.__repr__(value)
        case float():
            return float.__repr__(value) if math.isfinite(value) else "null"
        case Decimal():
            return _decimal(value)
        case bytes() | bytearray() | memoryview():
            return f'"{value.hex()}"'
        case dt.datetime() | dt.date() | dt.time():
            return _string(value.isoformat())
        case Mapping():
            return json_object([str(key) for key in value], list(value.values()))
        case list() | tuple():
            return "[" + ", ".join(map(json_text, value)) + "]"
        case _:
            return _string(str(value))


def _string(text: str) -> str:
    return UNPRINTABLE.sub(_escaped, json.dumps(text, ensure_ascii=False))


@functools.lru_cache(4096)
def _key(name: str) -> str:
    return _string(name)


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        return "null"
    plain = format(value, "f")
    return plain if len(plain) <= _PLACES else str(value)
