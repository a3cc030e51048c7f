"""`tamis manifest`: show a finished run, verify it, compare it with another, run it again."""

import copy
import dataclasses
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tamis.jobs.cli.console import RunProgress, out_console
from tamis.jobs.cli.funnel import funnel_table, sources_table
from tamis.jobs.manifest.compare import Comparison, compare
from tamis.jobs.manifest.file import FATES, read_manifest, shards_of
from tamis.jobs.manifest.verify import VerifyResult
from tamis.jobs.manifest.verify import verify as check
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError
from tamis.schemas.manifest import Manifest

__all__ = ["RerunResult", "diff", "rerun", "show", "verify"]

SHOWN = 20
"""Lines of a list that are shown; JSON has all."""
CELL = 80
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RerunResult:
    """A run that was repeated.

    Attributes:
        manifest: of the repetition.
        comparison: of the first run with it.
    """

    manifest: Manifest
    comparison: Comparison

    @property
    def same(self) -> bool:
        """Whether all shards have the same bytes."""
        return self.comparison.same_bytes


# --- show ---


def show(run: str, *, as_json: bool = False) -> None:
    """Print what a run's manifest records.

    Args:
        run: the run's folder.
        as_json: the manifest as it is, instead of a summary.

    Raises:
        RunError: if the folder holds no finished run.
    """
    manifest = read_manifest(run)
    if as_json:
        typer.echo(manifest.model_dump_json(indent=1))
        return
    console = _console()
    console.print(Text(f"{manifest.name}: {run}"))
    console.print(f"config {manifest.config_sha256}")
    made = manifest.provenance
    commit = f", commit {made.git_commit}" if made.git_commit else ""
    console.print(
        f"begun {manifest.started}, {manifest.seconds:,.1f} s; tamis {made.tamis}{commit}, Python {made.python}"
    )
    console.print(
        f"{manifest.read:,} records read = {manifest.selected:,} selected + {manifest.rejected:,} rejected + "
        f"{manifest.errors:,} errors; {manifest.text_bytes / 1e6:,.1f} MB of text read"
    )
    console.print(funnel_table(manifest))
    console.print(sources_table(manifest))
    console.print(_shards_table(manifest))
    _list(console, _inputs_table(manifest), len(manifest.inputs), "inputs")
    if manifest.models:
        console.print(_models_table(manifest))
    console.print(
        Text(f"mixture: {manifest.mixture.get('method', 'none')}, in {manifest.mixture.get('unit', 'documents')}")
    )
    for warning in manifest.warnings:
        console.print(Text(f"warning: {warning}"))


def _console() -> Console:
    console = out_console()
    if not console.is_terminal:  # a pipe has no width to keep to
        console.width = 1 << 20
    return console


def _list(console: Console, table: Table, rows: int, what: str) -> None:
    console.print(table)
    if rows > SHOWN:
        console.print(f"and {rows - SHOWN:,} more {what}; --json has all")


def _shards_table(manifest: Manifest) -> Table:
    table = Table("fate", title="shards", title_justify="left")
    for column in ("files", "rows", "MB", "MB of text"):
        table.add_column(column, justify="right")
    for fate in FATES:
        records = shards_of(manifest, fate)
        rows, size, text = (sum(getattr(r, name) for r in records) for name in ("rows", "bytes", "text_bytes"))
        table.add_row(fate, f"{len(records):,}", f"{rows:,}", f"{size / 1e6:,.2f}", f"{text / 1e6:,.2f}")
    return table


def _inputs_table(manifest: Manifest) -> Table:
    table = Table("input", "source", title="inputs", title_justify="left")
    for column in ("records", "bytes"):
        table.add_column(column, justify="right")
    table.add_column("digest")
    for record in manifest.inputs[:SHOWN]:
        size = "-" if record.bytes is None else f"{record.bytes:,}"
        digest = record.sha256[:16] if record.sha256 else record.fingerprint
        table.add_row(Text(record.path), Text(record.source), f"{record.records:,}", size, Text(digest))
    return table


def _models_table(manifest: Manifest) -> Table:
    table = Table("step", "option", "reference", "digest", title="models", title_justify="left")
    for record in manifest.models:
        table.add_row(Text(record.step), Text(record.option), Text(record.reference), record.sha256[:16])
    return table


# --- verify ---


def verify(run: str, *, inputs: bool = False, as_json: bool = False) -> VerifyResult:
    """Check a run against its manifest, print what was found, and return it; see `tamis.jobs.manifest.verify.verify`.

    Args:
        run: the run's folder.
        inputs: digest inputs and models too.
        as_json: print the result as JSON.

    Raises:
        RunError: if the folder holds no finished run.
    """
    progress = RunProgress()
    progress.start("verify", len(read_manifest(run).shards))
    try:
        result = check(run, inputs=inputs, progress=lambda done, _: progress.update(done))
    finally:
        progress.finish()
    if as_json:
        typer.echo(json.dumps({"ok": result.ok} | dataclasses.asdict(result), indent=1))
        return result
    for note in result.notes:
        typer.echo(f"note: {note}")
    for failure in result.failures:
        typer.echo(f"wrong: {failure}")
    seen = f"{result.shards:,} shards with {result.rows:,} rows and {result.bytes / 1e6:,.1f} MB"
    if result.ok:
        typer.echo(f"{run} is what its manifest says: {seen}; the config's digest and all counts agree")
    else:
        wrong = len(result.failures)
        typer.echo(f"{run} isn't what its manifest says: {wrong:,} thing{'' if wrong == 1 else 's'} wrong; {seen}")
    return result


# --- diff ---


def diff(first: str, second: str, *, documents: bool = True, as_json: bool = False) -> Comparison:
    """Compare two runs, print what differs and why, and return it.

    Args:
        first: a run's folder.
        second: another's.
        documents: look up which documents only one of them selected.
        as_json: print the comparison as JSON.

    Raises:
        RunError: if one of the folders holds no finished run.
    """
    comparison = compare(first, second, documents=documents)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(comparison), indent=1))
    else:
        _print_comparison(comparison)
    return comparison


def _print_comparison(comparison: Comparison) -> None:
    console = _console()
    for sentence in comparison.why:
        console.print(Text(sentence))
    sections = dict.fromkeys(difference.section for difference in comparison.differences)
    for section in sections:
        mine = [d for d in comparison.differences if d.section == section]
        table = Table(section, "first", "second", title_justify="left")
        for difference in mine[:SHOWN]:
            table.add_row(Text(difference.key), _value(difference.first), _value(difference.second))
        _list(console, table, len(mine), f"differences of {section}")


def _value(value: Any) -> Text:
    if value is None:
        return Text("-")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if _DIGEST.fullmatch(text):
        text = text[:16]
    return Text(text if len(text) <= CELL else text[: CELL - 1] + "…")


# --- rerun ---


def rerun(
    run: str,
    output: str,
    *,
    workers: int = 1,
    runner: str = "FnApiRunner",
    options: Sequence[str] = (),
    fresh: bool = False,
    as_json: bool = False,
) -> RerunResult:
    """Run a finished run's config again into another folder, and say whether the bytes agree.

    Paths in the config are taken from where the command is given, as `tamis run` does.

    Args:
        run: the finished run's folder.
        output: the folder of the repetition.
        workers: local worker processes.
        runner: name of a Beam runner.
        options: further Beam options.
        fresh: forget what an earlier repetition left in `output`.
        as_json: print the comparison as JSON.

    Raises:
        ConfigError: if `output` is the run's own folder, or the recorded config isn't one of this version.
        TamisError: whatever stopped the run.
    """
    from tamis.jobs.run.execute import execute
    from tamis.jobs.run.plan import make_plan
    from tamis.pipeline.graph.engine import Engine
    from tamis.pipeline.graph.quiet import silence_beam
    from tamis.pipeline.steps.registry import parse_config

    before = read_manifest(run)
    if _same_place(run, output):
        msg = f"--output {output} is the run itself, which a repetition would overwrite: give another folder"
        raise ConfigError(msg)
    plain = copy.deepcopy(before.source_config)
    try:
        config = parse_config(plain)
    except ConfigError as error:
        told = before.provenance.tamis
        msg = f"{run}: its config was written for tamis {told} and this version refuses it: {error}"
        raise ConfigError(msg) from None
    silence_beam()
    scratch = filesystem.join(output, "work", "passes")
    engine = Engine(scratch, workers=workers, runner=runner, options=options, progress=RunProgress())
    manifest = execute(make_plan(config, plain), output, engine, fresh=fresh).manifest
    comparison = compare(run, output)
    if as_json:
        typer.echo(json.dumps({"same": comparison.same_bytes} | dataclasses.asdict(comparison), indent=1))
    elif comparison.same_bytes:
        typer.echo(f"{output} is {run} again: all {len(manifest.shards):,} shards have the same bytes")
        for sentence in comparison.why[1:]:
            typer.echo(sentence)
    else:
        typer.echo(f"{output} isn't {run} again: the first is the recorded run, the second its repetition")
        _print_comparison(comparison)
    return RerunResult(manifest, comparison)


def _same_place(first: str, second: str) -> bool:
    local = filesystem.is_local(first) and filesystem.is_local(second)
    a, b = (os.path.realpath(filesystem.local_path(p)) if local else p.rstrip("/") for p in (first, second))
    return a == b
