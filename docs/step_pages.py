"""A page a step: what it does, by which formula, after whom, its columns, options, cost, and an example that runs."""

import functools
import inspect
import json
from pathlib import Path
from typing import Any

import yaml

from docs.tables import default, fields, first_line, meaning, table, type_name
from docs.units import unit
from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.registry import built_in, parse_config, step_class
from tamis.schemas.guide import Guide
from tamis.schemas.tables import is_internal

__all__ = ["HEADER", "example_config", "example_name", "guide_of", "step_index", "step_page"]

HEADER = "<!-- Made by docs/build_reference.py from the code: change it there. -->\n"
ROOT = Path(__file__).resolve().parent.parent
COSTS = ROOT / "benchmarks" / "step_costs.json"


def guide_of(verb: str) -> Guide:
    """Return a step's guide.

    Raises:
        LookupError: if it has none.
    """
    guide = step_class(verb).guide
    if guide is None:
        msg = f"the step {verb} has no guide: its page says how its values come about, and has an example"
        raise LookupError(msg)
    return guide


def example_name(verb: str) -> str:
    """Return what the example of a step is called: its config's file, and its run's folder."""
    return verb.replace("_", "-")


def example_text(verb: str) -> str:
    """Return a step's example as a config file has it."""
    guide = guide_of(verb)
    inputs = "\n".join(f"  - {one}" for one in guide.inputs)
    steps = "\n".join(f"  {line}" for line in guide.example.splitlines())
    name = example_name(verb)
    return f"name: {name}\nseed: 1\ninputs:\n{inputs}\nsteps:\n{steps}\noutput: {{path: runs/{name}}}\n"


def example_config(verb: str) -> dict[str, Any]:
    """Return a step's example as a config."""
    config: dict[str, Any] = yaml.safe_load(example_text(verb))
    return config


@functools.cache
def _costs() -> dict[str, Any]:
    measured: dict[str, Any] = json.loads(COSTS.read_text("utf-8"))
    return measured


def step_index() -> str:
    """Return the page that lists the steps."""
    rows = [
        (f"[`{verb}`]({verb}.md)", first_line(step_class(verb).__doc__), speed(_costs()["steps"][verb]))
        for verb in built_in()
    ]
    return "\n".join(
        (
            "# The steps\n",
            HEADER,
            "A page a step: what it does, by which formula and after whom, its columns and options, its cost, and\n"
            f"a config that runs. The last column is MB of text a CPU-second, of {_costs()['what']}.\n",
            table(("step", "what it does", "MB/s"), rows),
        )
    )


def step_page(verb: str) -> str:
    """Return the page of a step."""
    step, guide = step_class(verb), guide_of(verb)
    example = next(one for one in reversed(parse_config(example_config(verb)).steps) if one.verb == verb)
    parts = [
        f"# {verb}\n",
        HEADER,
        inspect.cleandoc(step.__doc__ or "") + "\n",
        "## How\n",
        f"```text\n{guide.formula}\n```\n",
        "## After whom\n",
        guide.follows + "\n",
        papers(step),
        "## Columns\n",
        columns(example),
        "## Options\n",
        step_options(step),
        "## What falls\n",
        falls(example),
        "## Cost\n",
        cost(verb),
        "## Example\n",
        f"<!-- saved as {example_name(verb)}.yaml -->\n```yaml\n{example_text(verb)}```\n",
        f"```bash\n{commands(verb)}```\n",
    ]
    return "\n".join(parts)


def commands(verb: str) -> str:
    """Return the commands of a step's example."""
    name, guide = example_name(verb), guide_of(verb)
    before = f"{guide.before}\n" if guide.before else ""
    return f'{before}tamis run {name}.yaml\ntamis sql runs/{name} "{guide.query}"\n'


def papers(step: type[Step]) -> str:
    """Return the papers that a step follows."""
    if not step.papers:
        return "No paper is cited for it.\n"
    told = (f"- {', '.join(p.authors)} ({p.year}): *{p.title}*, <{p.url}>" for p in step.papers)
    return "\n".join(told) + "\n"


def columns(step: Step) -> str:
    """Return the columns that a step adds with the options of its example."""
    models = {} if step.fits else {name: found.path for name, found in _found(step).items()}
    made = step.columns(models)
    shown = [field for field in [*made, *step.corpus_columns] if not is_internal(field) and field.name != "text"]
    rewrites = "It rewrites `text`. " if step.rewrites else ""
    if not shown:
        return f"{rewrites}It adds no column.\n"
    return f"{rewrites}With the options of the example below:\n\n{fields(shown)}"


def _found(step: Step) -> dict[str, Any]:
    """Return the models of an example, whose paths lead from the checkout."""
    return step.placed(lambda path: str(ROOT / path)).find_all()


def step_options(step: type[Step]) -> str:
    """Return the options of a step, with units and defaults."""
    rows = []
    for name, field in step.model_fields.items():
        option, kind = field.alias or name, type_name(field.annotation)
        linked = kind.replace("(#", "(../config.md#")
        rows.append((f"`{option}`", linked, unit(step.verb, option, kind), default(field), meaning(field)))
    head = ("option", "type", "unit", "default", "meaning")
    return table(head, rows) if rows else "No options.\n"


def falls(step: Step) -> str:
    """Return what documents can fall to at a step, with the options of its example."""
    if not step.can_reject and step.verb != "extract":
        return "Nothing: with the options of the example it only computes.\n"
    names = ", ".join(f"`{name}`" for name in step.rule_names)
    return f"With the options of the example, by the rules that `rejected` names: {names}.\n"


def speed(row: dict[str, Any]) -> str:
    """Return a step's MB of text a CPU-second."""
    return f"{'over ' if row['at_least'] else ''}{row['mb_a_cpu_second']:,g}"


def cost(verb: str) -> str:
    """Return what a step costs, as it was measured."""
    measured = _costs()
    row = measured["steps"][verb]
    head = ("MB of text a CPU-second", "text, MB", "documents", "options")
    shown = (speed(row), f"{row['text_mb']:g}", f"{row['documents']:,}", f"`{row['options']}`")
    return f"{table(head, [shown])}\n{measured['how']}\n"
