"""Carries out `tamis run` and `tamis plan`: builds the plan, runs it with progress, and says how it went."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from tamis.jobs.cli.console import RunProgress, error_console, out_console
from tamis.jobs.cli.funnel import funnel_table
from tamis.pipeline.storage import filesystem
from tamis.schemas.config import Config
from tamis.schemas.errors import ConfigError
from tamis.schemas.manifest import Manifest

INPUTS_LOOKED_AT = 2000
"""Input files that a plan looks at, at most: it is made on one machine, and a run looks at all of them."""

__all__ = ["config_schema", "run_config", "show_plan"]


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of the config, with each step under its verb."""
    from tamis.pipeline.steps.registry import step_class, verbs

    schema = Config.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    branches: list[dict[str, Any]] = []
    for verb in verbs():
        step = step_class(verb)
        own = step.model_json_schema(ref_template="#/$defs/{model}")
        definitions |= own.pop("$defs", {})
        definitions[step.__name__] = own
        required = bool(own.get("required"))
        value: dict[str, Any] = {"$ref": f"#/$defs/{step.__name__}"}
        if not required:
            branches.append({"const": verb})
            value = {"anyOf": [value, {"type": "null"}]}
        branches.append(
            {"type": "object", "properties": {verb: value}, "required": [verb], "additionalProperties": False}
        )
    definitions.pop("StepConfig", None)
    schema["properties"]["steps"] = {"type": "array", "items": {"anyOf": branches}, "title": "Steps"}
    # A single path may be written without the list.
    path = definitions["InputConfig"]["properties"]["path"]
    definitions["InputConfig"]["properties"]["path"] = {"anyOf": [{"type": "string"}, path]}
    return schema


def run_config(
    config: Config,
    plain: Mapping[str, Any],
    output: str | None,
    *,
    workers: int,
    runner: str,
    options: Sequence[str] = (),
    fresh: bool = False,
    as_json: bool = False,
) -> Manifest:
    """Plan and run a config, with progress on stderr and a summary on stdout.

    Raises:
        TamisError: whatever stopped it, in a sentence.
    """
    from tamis.jobs.run.execute import execute
    from tamis.jobs.run.plan import make_plan
    from tamis.pipeline.graph.engine import Engine

    folder = output or config.output.path
    if filesystem.is_local(folder) and Path(folder).is_file():
        msg = f"{folder} is a file; a run needs a folder: give --output"
        raise ConfigError(msg)
    scratch = filesystem.join(folder, "work", "passes")
    engine = Engine(scratch, workers=workers, runner=runner, options=options, progress=RunProgress())
    made = make_plan(config, plain)
    try:
        manifest = execute(made, folder, engine, fresh=fresh).manifest
    except KeyboardInterrupt:
        error_console().print("stopped; what is finished is kept, and the same command goes on from there")
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(manifest.model_dump_json())
    else:
        print_summary(manifest, folder)
    return manifest


def print_summary(manifest: Manifest, folder: str) -> None:
    """Print what became of the documents: a line a step, totals, and where to look next."""
    console = out_console()
    table = funnel_table(manifest)
    table.title = f"{manifest.name}: {folder}"
    console.print(table)
    for warning in manifest.warnings:
        console.print(f"warning: {warning}")
    console.print(
        f"{manifest.read:,} records read = {manifest.selected:,} selected + {manifest.rejected:,} rejected + "
        f"{manifest.errors:,} errors; {manifest.text_bytes / 1e6:,.1f} MB of text in {manifest.seconds:.1f} s"
    )
    query = "SELECT step, rule, count(*) FROM rejected GROUP BY ALL"
    console.print(f'Look inside: tamis sql {shlex.quote(folder)} "{query}"')


def show_plan(config: Config, plain: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what a run would do; reads no text."""
    from tamis.jobs.run.check import check_steps
    from tamis.jobs.run.memory import estimate
    from tamis.jobs.run.plan import check_inputs, make_plan

    made = make_plan(config, plain)
    check_inputs(made, INPUTS_LOOKED_AT)
    schema = check_steps(made.steps, {step.label: made.model_paths(step.label) for step in made.steps})
    need = estimate(made)
    steps = [
        {
            "step": step.label,
            "decides": "over the corpus" if step.over_corpus else "row by row",
            "models": {
                option: {"reference": model.reference, "sha256": model.sha256}
                for option, model in made.models.get(step.label, {}).items()
            },
        }
        for step in made.steps
    ]
    if as_json:
        told = {
            "name": config.name,
            "config_sha256": made.digest,
            "config": config.resolved(made.model_digests()),
            "inputs": [{"source": f.source, "path": f.path, "bytes": f.size} for f in made.files],
            "steps": steps,
            "columns": schema.names,
            "memory": need,
        }
        typer.echo(json.dumps(told, indent=1))
        return
    console = out_console()
    console.print(f"{config.name}: config {made.digest[:16]}, {len(made.files):,} files")
    inputs = Table("source", "files", "bytes")
    for source in sorted({file.source for file in made.files}):
        mine = [file for file in made.files if file.source == source]
        inputs.add_row(source, f"{len(mine):,}", f"{sum(file.size or 0 for file in mine):,}")
    console.print(inputs)
    table = Table("step", "decides", "models")
    for step in steps:
        models: Any = step["models"]
        table.add_row(
            str(step["step"]),
            str(step["decides"]),
            "\n".join(f"{option}: {m['reference']} ({m['sha256'][:12]})" for option, m in models.items()),
        )
    console.print(table)
    console.print(f"columns added: {', '.join(schema.names) or 'none'}")
    console.print(
        f"memory: about {need['worker'] / 1e6:,.0f} MB a worker, {need['shared'] / 1e6:,.0f} MB of models mapped once; "
        f"work folder: about {need['disk'] / 1e6:,.0f} MB"
    )
