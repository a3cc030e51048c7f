"""The base of all config and manifest models, and how their validation errors become one plain sentence."""

import difflib
import hashlib
import json
from typing import Any, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict

from tamis.schemas.errors import ConfigError
from tamis.schemas.wording import counted

__all__ = ["Model", "canonical_json", "digest", "nearest", "validate"]

M = TypeVar("M", bound=BaseModel)


class Model(BaseModel):
    """Immutable, and strict about unknown keys: a typing mistake must not silently become a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def canonical_json(value: Any) -> str:
    """Return `value` as JSON with sorted keys and no blanks, so that equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of `value`'s canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def nearest(word: str, known: "list[str] | tuple[str, ...]") -> str:
    """Return "; did you mean 'x'?" for the known word nearest to `word`, else the list of known words."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(sorted(known))}" if known else ""


def validate(model: type[M], value: Any, where: str) -> M:
    """Build `model` from plain data.

    Args:
        model: the class to build.
        value: mappings, lists and scalars, as read from YAML or JSON.
        where: what `value` is, for the message, such as "steps[2].language".

    Raises:
        ConfigError: one sentence that names the key and what is expected, with the nearest known key.
    """
    if not isinstance(value, dict):
        msg = f"{where}: expected keys and values, got {_shown(value)}"
        raise ConfigError(msg)
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        raise ConfigError(_sentence(model, error, where)) from None


PLAIN = {
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "string_type": "text",
    "bool_parsing": "true or false",
}
"""Pydantic's words for types, in those of a config file."""
_LEAST = {
    "too_short": ("entry", "min_length"),
    "too_long": ("entry", "max_length"),
    "string_too_short": ("character", "min_length"),
    "string_too_long": ("character", "max_length"),
}
"""Type of a mistake of length, to what is counted and the limit's name."""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _sentence(model: type[BaseModel], error: pydantic.ValidationError, where: str) -> str:
    errors = error.errors()
    # A key that isn't known explains why another is missing.
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    location = [part for part in first["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    path = where + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    if first["type"] == "extra_forbidden":
        key = str(location[-1])
        return f"{path}: unknown key {key!r}{nearest(key, _known_keys(model, location[:-1]))}"
    if first["type"] == "missing":
        return f"{path}: this key is required"
    message = PLAIN.get(first["type"]) or first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if first["type"] in _LEAST:
        noun, limit = _LEAST[first["type"]]
        number = first["ctx"][limit]
        message = f"at {'most' if limit.startswith('max') else 'least'} {counted(number, noun)}"
    if first["type"] == "string_pattern_mismatch":
        message = f"a name of the form {first['ctx']['pattern']}"
    if first["type"].startswith("value_error"):
        return f"{path}: {message}"
    return f"{path}: expected {message}, got {_shown(first.get('input'))}"


def _known_keys(model: type[BaseModel], location: "list[int | str]") -> list[str]:
    """Return the keys of the model that `location` leads to, following fields that are models or lists of them."""
    current: Any = model
    for part in location:
        if isinstance(part, int) or not hasattr(current, "model_fields"):
            continue
        field = {info.alias or name: info for name, info in current.model_fields.items()}.get(str(part))
        if field is None:
            continue
        found = _models_in(field.annotation)
        if not found:
            return []
        current = found[0]
    if not hasattr(current, "model_fields"):
        return []
    return [info.alias or name for name, info in current.model_fields.items()]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]
