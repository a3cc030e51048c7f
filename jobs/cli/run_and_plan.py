"""Carries out `tamis run` and `tamis plan`: builds the plan, runs it with progress, and says how it went."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tamis.jobs.cli.console import RunProgress, error_console, out_console, print_json, resumable, say
from tamis.jobs.cli.funnel import balance_lines, print_funnel
from tamis.jobs.cli.layout import Column, in_short, print_pairs, print_rows
from tamis.jobs.cli.text import counted, file_size, harmless
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import nearest
from tamis.schemas.config import Config
from tamis.schemas.errors import ConfigError
from tamis.schemas.manifest import Manifest
from tamis.schemas.secrets import redacted_all

if TYPE_CHECKING:
    from tamis.pipeline.graph.remote_job import RemoteJob

__all__ = ["print_summary", "run_config", "show_graph", "show_plan"]

INPUTS_LOOKED_AT = 2000
"""Input files that a plan looks at, at most: it is made on one machine, and a run looks at all of them."""
CENT = 0.01
"""US dollars below which a plan tells no sum."""
TOLD_MEMORY = 10_000_000
"""Bytes of a worker from which on a plan names the step that takes them."""
QUERY = "SELECT step, rule, count(*) FROM rejected GROUP BY ALL"
ERROR_QUERY = "SELECT step, error, count(*) FROM errors GROUP BY ALL"


def run_config(
    config: Config,
    plain: Mapping[str, Any],
    output: str | None,
    *,
    config_file: str | None = None,
    workers: int,
    runner: str,
    options: Sequence[str] = (),
    fresh: bool = False,
    replace: bool = False,
    cache: str | None = None,
    limit: int | None = None,
    wait: bool = True,
    cancel_on_stop: bool = False,
    as_json: bool = False,
    quiet: bool = False,
) -> Manifest | None:
    """Plan and run a config, with progress on stderr and a summary on stdout.

    Args:
        config: the config.
        plain: the config as it was given.
        output: the run's folder; the config's own if None.
        config_file: where the config was read, whose folder its relative paths belong to.
        workers: local worker processes.
        runner: name of a Beam runner.
        options: further Beam options.
        fresh: forget what earlier runs left.
        replace: a finished run of another config in the folder may be replaced; `fresh` means that too.
        cache: a folder of finished stages that several runs share.
        limit: the run is a trial over so many documents, and has a folder of its own unless `output` names one.
        wait: follow a job on a service to its end; otherwise it is let go once it is submitted.
        cancel_on_stop: cancel a job on a service that is followed, when this process is told to stop.
        as_json: print the manifest instead of a summary.
        quiet: show no progress and no summary, only warnings.

    Returns:
        The manifest; None of a job that was let go.

    Raises:
        TamisError: whatever stopped it, in a sentence.
    """
    from tamis.jobs.run.execute import execute
    from tamis.jobs.run.paths import places_of
    from tamis.jobs.run.plan import plan_from
    from tamis.jobs.run.reach import refuse_out_of_reach
    from tamis.jobs.run.replace import refuse_replacing, replaced_run
    from tamis.jobs.run.status import PROGRESS
    from tamis.pipeline.graph.engine import Engine
    from tamis.pipeline.graph.progress import Progress, ProgressFile
    from tamis.pipeline.graph.remote_job import LetGo

    places = places_of(config_file)
    folder = output or places.output(config.output.path) + (f"-limit-{limit}" if limit is not None else "")
    if filesystem.is_local(folder) and Path(folder).is_file():
        msg = f"{folder} is a file; a run needs a folder: give --output"
        raise ConfigError(msg)
    scratch = filesystem.join(folder, "work", "passes")
    shown: Progress = RunProgress(quiet=quiet)
    if filesystem.is_local(folder):
        shown = ProgressFile(Path(filesystem.local_path(folder)) / "work" / PROGRESS, shown)
    engine = Engine(
        scratch,
        workers=workers,
        runner=runner,
        options=options,
        progress=shown,
        wait=wait,
        cancel_on_stop=cancel_on_stop,
    )
    plan = plan_from(config, plain, places)
    _say_notes(plan.notes, quiet=quiet)
    refuse_out_of_reach(plan, folder, runner, options, cache)  # before anything is asked of a store
    found = replaced_run(plan, folder) if replace or fresh else refuse_replacing(plan, folder, _instead(folder))
    if found is not None and not quiet:
        say(harmless(f"replaces {found} in {folder}: {found.why}"), error_console())
    try:
        with resumable():
            finished = execute(plan, folder, engine, fresh=fresh, cache=cache)
    except LetGo as let_go:
        _tell_job(let_go.job, folder, as_json=as_json)
        return None
    manifest = finished.manifest
    if as_json:
        print_json(manifest.model_dump(mode="json"))
    elif quiet:
        for warning in manifest.warnings:
            say(harmless(f"warning: {warning}"), error_console())
    else:
        if finished.nothing_to_do:
            say("nothing to do: the run is finished, and its config, inputs, models and program are as they were")
        print_summary(manifest, folder)
    if finished.problems:
        for problem in finished.problems:
            say(harmless(f"tamis: {problem}"), error_console())
        raise typer.Exit(1)
    return manifest


def _tell_job(job: "RemoteJob", folder: str, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(job) | {"console": job.console if job.id else None})
    elif not job.id:
        say(harmless(f"translated {job.name}, {job.graph_bytes / 1e6:.1f} MB, and submitted nothing"))
    else:
        say(harmless(f"submitted {job.name}; it finishes {folder} by itself"))
        pairs = [("console:", job.console), ("state:", job.describe), ("cancel:", job.cancel)]
        for name, told in pairs:  # in one piece each, to be copied
            out_console().print(f"  {name:<9}{harmless(told)}", soft_wrap=True)


def _say_notes(notes: Sequence[str], *, quiet: bool = False) -> None:
    for note in () if quiet else notes:
        say(harmless(f"note: {note}"), error_console())


def _instead(folder: str) -> str:
    keeps = f"--output with another folder, and --cache {shlex.quote(folder)}, keeps both and computes nothing twice"
    return f"--replace replaces it; {keeps}"


def print_summary(manifest: Manifest, folder: str) -> None:
    """Print what became of the documents: a line a step, totals, and where to look next."""
    console = out_console()
    say(harmless(f"{manifest.name}: {folder}"))
    say()
    print_funnel(console, manifest)
    say()
    for warning in manifest.warnings:
        say(harmless(f"warning: {warning}"))
    for line in balance_lines(manifest):
        say(line)
    say("Look inside:")
    console.print(f"  tamis report {harmless(shlex.quote(folder))}", soft_wrap=True)
    queries = [QUERY] if manifest.rejected or not manifest.errors else []
    for query in [*queries, *([ERROR_QUERY] if manifest.errors else [])]:
        # In one piece, to be copied.
        console.print(f'  tamis sql {harmless(shlex.quote(folder))} "{query}"', soft_wrap=True)


def show_plan(
    config: Config,
    plain: Mapping[str, Any],
    *,
    config_file: str | None = None,
    output: str | None = None,
    cache: str | None = None,
    sample_mb: float | None = None,
    as_json: bool = False,
) -> None:
    """Print what a run would do; reads no text but that of a sample where one is asked for.

    Args:
        config: the config.
        plain: the config as it was given.
        config_file: where it was read, whose folder its relative paths belong to.
        output: the run's folder; the config's own if None.
        cache: a folder of finished stages that several runs share.
        sample_mb: run a sample of so many 10^6 bytes of input, and estimate from it.
        as_json: print JSON.

    Raises:
        TamisError: if the config doesn't fit its inputs, models or itself.
    """
    from tamis.jobs.cli.plan_mixture import print_planned_mixture
    from tamis.jobs.cli.plan_sample import print_sampled, taken_sample
    from tamis.jobs.run.check import check_steps
    from tamis.jobs.run.execute import graph_of
    from tamis.jobs.run.kept_stages import kept_stages
    from tamis.jobs.run.licences import read_files
    from tamis.jobs.run.memory import estimate, step_costs
    from tamis.jobs.run.paths import places_of
    from tamis.jobs.run.plan import check_inputs, plan_from
    from tamis.jobs.run.planned_mixture import planned_mixture
    from tamis.jobs.run.requests import store_use
    from tamis.jobs.run.unused_steps import idle_steps, tiny_percentiles

    places = places_of(config_file)
    made = plan_from(config, plain, places)
    _say_notes(made.notes)
    check_inputs(made, INPUTS_LOOKED_AT)
    schema = check_steps(
        made.steps, {step.label: made.model_paths(step.label) for step in made.steps}, made.input_columns
    )
    sample = taken_sample(made, sample_mb) if sample_mb is not None else None
    need = estimate(made)
    if sample is not None:
        need = estimate(made, documents=sample.read, text=float(sample.text_bytes))
    files = read_files(made)
    folder = output or places.output(config.output.path)
    kept = kept_stages(made, folder, cache)
    use = store_use(made, graph_of(made, folder, schema, cache=cache), need, cache or folder)
    steps = [
        {
            "step": step.label,
            "decides": "over the corpus" if step.over_corpus else "row by row",
            "models": {
                file.option: {"reference": file.reference, "sha256": file.sha256, "licence": file.licence}
                for file in files
                if file.step == step.label
            },
            "memory": need.steps[step.label].worker,
            "how": need.steps[step.label].how,
        }
        for step in made.steps
    ]
    told = {
        "name": config.name,
        "config_sha256": made.digest,
        "config": config.resolved(made.model_digests()),
        "inputs": [{"source": f.source, "path": f.path, "bytes": f.size} for f in made.files],
        "steps": steps,
        "columns": schema.names,
        "memory": {"worker": need.worker, "shared": need.shared, "disk": need.disk},
        "documents": need.documents,
        "notes": [
            *(note for i, step in enumerate(made.steps) for note in step.notes(made.steps[:i])),
            *idle_steps(made),
            *tiny_percentiles(made),
        ],
        "costs": step_costs(made, need.documents),
        "kept": {"finished": kept.finished, "shards": kept.shards},
        "store": None if use is None else asdict(use),
    }
    groups = None if sample is None else sample.groups
    mixed = planned_mixture(made, output or places.output(config.output.path), finished=kept.finished, sample=groups)
    if mixed is not None:
        told["mixture"] = mixed
    if sample is not None:
        told["sample"] = asdict(sample)
    told = redacted_all(told)
    if as_json:
        print_json(told, indent=1)
        return
    _print_plan(told)
    if sample is not None:
        say()
        print_sampled(sample, need.worker)
    if mixed is not None:
        print_planned_mixture(told["mixture"])


def show_graph(config: Config, plain: Mapping[str, Any], form: str, config_file: str | None = None) -> None:
    """Print the passes of a run and what each waits for; reads no text.

    Args:
        config: the config.
        plain: the config as it was given.
        form: tree, mermaid or dot.
        config_file: where it was read, whose folder its relative paths belong to.

    Raises:
        ConfigError: for another form.
        TamisError: if the config doesn't fit its models or itself.
    """
    from tamis.jobs.run.execute import graph_of
    from tamis.jobs.run.graph_text import GraphFormat, graph_text
    from tamis.jobs.run.plan import make_plan

    known: dict[str, GraphFormat] = {"tree": "tree", "mermaid": "mermaid", "dot": "dot"}
    if form not in known:
        msg = f"--format {form}: unknown{nearest(form, list(known))}"
        raise ConfigError(msg)
    graph = graph_of(make_plan(config, plain, config_file), config.output.path)
    out_console().print(graph_text(graph, known[form]), soft_wrap=True)


def _print_plan(told: Mapping[str, Any]) -> None:
    console = out_console()
    say(harmless(f"{told['name']}: config {told['config_sha256'][:16]}, {counted(len(told['inputs']), 'file')}"))
    say()
    rows = []
    for source in sorted({file["source"] for file in told["inputs"]}):
        sizes = [file["bytes"] or 0 for file in told["inputs"] if file["source"] == source]
        rows.append([source, f"{len(sizes):,}", file_size(sum(sizes))])
    print_rows(console, [Column("source"), Column("files", right=True), Column("size", right=True)], rows)
    say()
    rows = []
    for step in told["steps"]:
        models = [f"{option}: {m['reference']} ({_about_model(m)})" for option, m in step["models"].items()]
        rows.append([step["step"], step["decides"], ", ".join(models)])
    print_rows(console, [Column("step"), Column("decides"), Column("models", wrap=True)], rows)
    say()
    print_pairs(console, [("columns added:", in_short(told["columns"], "--json lists them") or "none")])
    need = told["memory"]
    worker, shared, disk = (need[name] / 1e6 for name in ("worker", "shared", "disk"))
    say(f"memory: about {worker:,.0f} MB a worker, {shared:,.0f} MB of models mapped once")
    for step in told["steps"]:
        if step["memory"] >= TOLD_MEMORY or step["how"]:
            how = f": {step['how']}" if step["how"] else ""
            say(harmless(f"  step {step['step']}: about {step['memory'] / 1e6:,.0f} MB{how}"))
    say(f"work folder: about {disk:,.0f} MB")
    _print_store(told["store"])
    _print_kept(told["kept"])
    for note in told["notes"]:
        say(harmless(f"note: {note}"))
    for label, sentences in told["costs"].items():
        say()
        for sentence in sentences:
            say(harmless(f"{label}: {sentence}"))


def _print_store(use: Mapping[str, Any] | None) -> None:
    """Print what the run asks of object stores."""
    if use is None:
        return
    say(f"object stores: about {use['reads']:,} requests that read, {use['writes']:,} that write or list")
    say(f"  a rerun with nothing to do: {use['rerun']:,}")
    say(f"  bytes: {file_size(use['bytes_read'])} read, {file_size(use['bytes_written'])} written and kept")
    price = f"about ${use['price']:,.2f}" if use["price"] >= CENT else "less than $0.01"
    say(f"  with a month of keeping: {price}, by the config's `prices`")


def _about_model(model: Mapping[str, Any]) -> str:
    return f"{model['sha256'][:12]}, {model['licence'] or 'licence not stated'}"


def _print_kept(kept: Mapping[str, Any]) -> None:
    """Print what earlier runs left that would be taken from there."""
    if kept["finished"]:
        say("the run is finished, and nothing of it changed: there would be nothing to do")
    elif kept["shards"]:
        shards = ", ".join(f"{label} {number:,}" for label, number in kept["shards"].items())
        say(harmless(f"kept of earlier runs, in shards, for inputs that are as they were: {shards}"))
