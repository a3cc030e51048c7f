"""Writes config.md, columns.md and a page a step beside this file from the code: `python docs/build_reference.py`."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa

ROOT = Path(__file__).resolve().parent.parent
for folder in (ROOT, ROOT / "src"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from docs.step_pages import HEADER, step_index, step_page
from docs.tables import fields, first_line, nested, options, table
from tamis.pipeline.steps.registry import built_in, step_class
from tamis.schemas.config import Config
from tamis.schemas.experiment import ExperimentConfig
from tamis.schemas.merge import MergeConfig
from tamis.schemas.rule import Rule
from tamis.schemas.tables import DOCUMENT_SCHEMA, ERROR_SCHEMA, REJECTED_SCHEMA
from tamis.scorers.statistics.columns import TEXT_COLUMNS
from tamis.scorers.statistics.language_rules import ENGLISH_FIGURES
from tamis.scorers.statistics.presets import ABOUT, ENGLISH, PRESETS

__all__ = ["PAGES", "columns_page", "config_page", "main", "nested", "python_page"]


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


PYTHON = """\
What `import tamis` has, made from the docstrings. `tamis.scorers` has the algorithms as classes with a `schema` and
`score(texts)`, `tamis.pipeline.steps` the steps; [a notebook](notebook.ipynb) shows them at work. Whatever stops a
call is a `TamisError`, whose text is one sentence.
"""


def python_page() -> str:
    """Return the page of the public names, which mkdocstrings fills."""
    import tamis

    parts = ["# Python\n", HEADER, PYTHON]
    names = sorted(tamis.__all__, key=lambda name: (name[0].isupper(), name.endswith("Error"), name))
    for name in names:
        found = getattr(tamis, name)
        renamed = ", show_signature: false" if found.__name__ != name else ""
        options = f"    options: {{heading: tamis.{name}, toc_label: {name}{renamed}}}\n"
        parts.append(f"::: {found.__module__}.{found.__qualname__}\n{options}")
    return "\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "config.md": config_page,
    "columns.md": columns_page,
    "python.md": python_page,
    "steps/index.md": step_index,
    **{f"steps/{verb}.md": partial(step_page, verb) for verb in built_in()},
}
"""Path below this folder to what makes the page."""


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        path = Path(__file__).parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
