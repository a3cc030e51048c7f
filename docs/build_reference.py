"""Writes `config.md` and `columns.md` beside this file from the code: `python docs/build_reference.py`."""

import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT / "src") not in sys.path:
    sys.path.insert(0, str(ROOT / "src"))

from tamis.pipeline.steps.base import Step  # noqa: E402
from tamis.pipeline.steps.registry import built_in, step_class  # noqa: E402
from tamis.schemas.base import canonical_json  # noqa: E402
from tamis.schemas.config import Config  # noqa: E402
from tamis.schemas.experiment import ExperimentConfig  # noqa: E402
from tamis.schemas.merge import MergeConfig  # noqa: E402
from tamis.schemas.rule import Rule  # noqa: E402
from tamis.schemas.step import StepConfig  # noqa: E402
from tamis.schemas.tables import DOCUMENT_SCHEMA, ERROR_SCHEMA, REJECTED_SCHEMA  # noqa: E402
from tamis.scorers.statistics.columns import TEXT_COLUMNS  # noqa: E402
from tamis.scorers.statistics.language_rules import ENGLISH_FIGURES  # noqa: E402
from tamis.scorers.statistics.presets import ABOUT, ENGLISH, PRESETS  # noqa: E402

__all__ = ["PAGES", "columns_page", "config_page", "main"]

HEADER = "<!-- Made by docs/build_reference.py from the code: change it there. -->\n"


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
    return ", ".join(f"{words} {'2^63' if value == 2**63 else format(value, 'g')}" for words, value in found)


def by_itself(field: FieldInfo) -> str:
    """Return the meaning of a field that its type tells: a table of its own, or the name that chooses this form."""
    if any(True for _ in models_in(field.annotation)):
        return "see there"
    alone = typing.get_origin(field.annotation) is typing.Literal and len(typing.get_args(field.annotation)) == 1
    return "chooses this form" if alone else ""


def options(model: type[pydantic.BaseModel]) -> str:
    """Return the table of a model's keys."""
    rows = []
    for name, field in model.model_fields.items():
        meaning = "; ".join(part for part in (field.description or by_itself(field), bounds(field)) if part)
        rows.append((f"`{field.alias or name}`", type_name(field.annotation), default(field), meaning))
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


def config_page() -> str:
    """Return the reference of all keys of the config."""
    parts = ["# The config\n", HEADER, first_line(Config.__doc__) + "\n", options(Config)]
    parts.append(
        "`steps` is a list; each entry is one step, `verb: {options}` or the verb alone. Unknown keys are errors.\n"
    )
    steps = {verb: step_class(verb) for verb in built_in()}
    for verb, step in steps.items():
        parts += [f"## {verb}\n", first_line(step.__doc__) + "\n", options(step)]
    for model in nested([Config, *steps.values()]):
        parts += [f"## {model.__name__}\n", first_line(model.__doc__) + "\n", options(model)]
    parts += ["# Mixtures, experiments, merges\n"]
    parts.append(
        "A mixture's keys stand below `mixture:` of a run's config, or in a file of their own for `tamis mix`. "
        "`estimate` is one of the tables that follow, by its `method`.\n"
    )
    for kind in (ExperimentConfig, MergeConfig):
        parts += [f"## {kind.__name__}\n", first_line(kind.__doc__) + "\n", options(kind)]
    told = nested([Config, *steps.values()])
    for model in nested([ExperimentConfig, MergeConfig]):
        if model not in told:
            parts += [f"## {model.__name__}\n", first_line(model.__doc__) + "\n", options(model)]
    parts += ["# Presets\n", "## Presets of heuristics\n"]
    parts += ["A document is rejected for the first rule that it breaks.\n"]
    for name, rules in PRESETS.items():
        meant = f" Meant for English: {ENGLISH[name]}." if name in ENGLISH else ""
        parts += [
            f"### {name}\n",
            f"{ABOUT[name][0].upper()}{ABOUT[name][1:]}.{meant}\n",
            table(("reason", "rule"), ((rule.reason, shown(rule)) for rule in rules)),
        ]
    parts += ["### fineweb2\n", LANGUAGES, table(("reason", "rule", "English"), by_language())]
    return "\n".join(parts)


LANGUAGES = """\
FineWeb-2's rules, with thresholds and stop words of each language's own, for 120 languages: `heuristics:
{presets: [fineweb2]}`, or a table of one's own by `heuristics: {rules: PATH}`, whose reasons begin with `by_language.`.
[languages.md](languages.md) says what is in a table. A threshold of 0 switches a rule of Gopher's off, as it does in
datatrove; the last column has Gopher's and FineWeb's own thresholds, which no language is held to for want of its own.
"""


def by_language() -> list[tuple[str, str, str]]:
    """Return reason, rule and English threshold of the rules by language."""
    told = {"min": ">=", "max": "<="}
    return [(r.reason, f"`{r.column}` {told[r.op]} that of the language", f"{r.threshold:g}") for r in ENGLISH_FIGURES]


def shown(rule: Rule) -> str:
    """Return what a document must fulfil."""
    told = {"min": ">=", "max": "<=", "above": ">", "below": "<"}[rule.op]
    return f"`{rule.column}` {told} {rule.threshold:g}"


def fields(schema: Iterable[pa.Field]) -> str:
    """Return the table of a schema's columns."""
    rows = [(f"`{f.name}`", str(f.type), (f.metadata or {}).get(b"description", b"").decode()) for f in schema]
    return table(("column", "type", "meaning"), rows)


def columns_page() -> str:
    """Return the reference of the tables' columns."""
    texts = [pa.field(name, c.type, metadata={"description": c.description}) for name, c in TEXT_COLUMNS.items()]
    parts = ["# The columns\n", HEADER]
    parts.append(
        "A run's own columns, those of its steps included, are told by\n"
        "`SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = 'documents'`.\n"
    )
    for title, schema in (
        ("Documents", DOCUMENT_SCHEMA),
        ("Rejected documents", REJECTED_SCHEMA),
        ("Errors", ERROR_SCHEMA),
        ("Text statistics", texts),
    ):
        parts += [f"## {title}\n", fields(schema)]
    return "\n".join(parts)


PAGES = {"config.md": config_page, "columns.md": columns_page}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (Path(__file__).parent / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
