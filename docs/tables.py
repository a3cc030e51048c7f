"""Tables of options and columns in Markdown, made from models and schemas."""

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tamis.pipeline.steps.base import Step
from tamis.schemas.base import canonical_json
from tamis.schemas.step import StepConfig

__all__ = ["bounds", "default", "fields", "first_line", "meaning", "nested", "options", "table", "type_name"]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    lines = [list(head), ["---"] * len(list(head)), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def type_name(kind: Any) -> str:
    """Return a type as a reader of YAML would call it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    plain = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "anything", type(None): "none"}
    if kind in plain:
        return plain[kind]
    if origin is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(a) for a in arguments if a is not type(None))
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin is tuple:
        many = arguments[-1] is Ellipsis
        return f"list of {type_name(arguments[0])}" if many else f"[{', '.join(type_name(a) for a in arguments)}]"
    if origin in (dict, Mapping):
        return f"{type_name(arguments[0])} to {type_name(arguments[1])}"
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    return getattr(kind, "__name__", str(kind))


def default(field: FieldInfo) -> str:
    """Return a field's default as YAML would have it, or that it must be given."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return "none"
    if isinstance(value, pydantic.BaseModel):
        return "its own"
    if isinstance(value, tuple):
        value = [one.verb if isinstance(one, StepConfig) else one for one in value]
    return f"`{canonical_json(value).strip(chr(34))}`"


def bounds(field: FieldInfo) -> str:
    """Return a field's limits in words; empty if it has none."""
    told = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    found = [(told[name], getattr(m, name)) for m in field.metadata for name in told if hasattr(m, name)]
    return ", ".join(f"{words} {_shown(value)}" for words, value in found)


def _shown(value: float) -> str:
    if isinstance(value, int) and value >= 1 << 20 and not value & (value - 1):
        return f"2^{value.bit_length() - 1}"
    return format(value, ",d" if isinstance(value, int) else "g")


def by_itself(field: FieldInfo) -> str:
    """Return the meaning of a field that its type tells: a table of its own, or the name that chooses this form."""
    if any(True for _ in models_in(field.annotation)):
        return "see there"
    alone = typing.get_origin(field.annotation) is typing.Literal and len(typing.get_args(field.annotation)) == 1
    return "chooses this form" if alone else ""


def meaning(field: FieldInfo) -> str:
    """Return what an option means, with its limits."""
    return "; ".join(part for part in (field.description or by_itself(field), bounds(field)) if part)


def options(model: type[pydantic.BaseModel]) -> str:
    """Return the table of a model's keys."""
    rows = []
    for name, field in model.model_fields.items():
        rows.append((f"`{field.alias or name}`", type_name(field.annotation), default(field), meaning(field)))
    return table(("key", "type", "default", "meaning"), rows) if rows else "No options.\n"


def models_in(kind: Any) -> Iterator[type[pydantic.BaseModel]]:
    """Yield the models that a type names."""
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        yield kind
    for argument in typing.get_args(kind):
        yield from models_in(argument)


def nested(roots: Iterable[type[pydantic.BaseModel]]) -> list[type[pydantic.BaseModel]]:
    """Return the models that the roots' keys hold, in the order in which they are met; steps aside."""
    found: list[type[pydantic.BaseModel]] = []
    waiting = list(roots)
    while waiting:
        for field in waiting.pop(0).model_fields.values():
            for model in models_in(field.annotation):
                if model not in found and not issubclass(model, Step):
                    found.append(model)
                    waiting.append(model)
    return found


def first_line(text: str | None) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join((text or "").split("\n\n")[0].split())


def fields(schema: Iterable[pa.Field]) -> str:
    """Return the table of a schema's columns."""
    rows = [(f"`{f.name}`", str(f.type), (f.metadata or {}).get(b"description", b"").decode()) for f in schema]
    return table(("column", "type", "meaning"), rows)
