"""Carries out `tamis mix`: makes mixtures with progress, and prints quotas, repetition and where to look next."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tamis.jobs.cli.console import RunProgress, error_console, out_console, print_json, resumable, say, say_more
from tamis.jobs.cli.layout import Column, print_rows
from tamis.jobs.cli.text import counted, figure, file_size, harmless
from tamis.jobs.mix.config import load_mixture
from tamis.jobs.mix.materialise import Mixed, materialise, prepare
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.temporary import temporary_folder
from tamis.schemas.mixture import MixtureConfig
from tamis.schemas.mixture_manifest import MixtureManifest

__all__ = [
    "SHOWN",
    "make",
    "print_groups",
    "print_mixture",
    "print_seen",
    "show_planned",
]

SHOWN = 40
"""Groups that are shown; JSON has all."""


def make(
    run: str,
    config: str | None,
    overrides: Sequence[str],
    output: str | None,
    *,
    workers: int = 1,
    runner: str = "FnApiRunner",
    options: Sequence[str] = (),
    fresh: bool = False,
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Make a mixture, and say what it holds.

    Args:
        run: a finished run's folder.
        config: file of the mixture's keys; None: the run's own.
        overrides: "key=value".
        output: the mixture's folder; None: `mixture` in the run's.
        workers: local worker processes.
        runner: name of a Beam runner.
        options: further Beam options.
        fresh: forget what earlier calls left.
        as_json: print the record.
        quiet: show no progress and no summary, only warnings.

    Raises:
        TamisError: whatever stopped it, in a sentence.
    """
    parsed, plain = load_mixture(config, overrides, run=run)
    folder = output or filesystem.join(run, "mixture")
    mixed = make_mixture(
        run, parsed, plain, folder, workers=workers, runner=runner, options=options, fresh=fresh, quiet=quiet
    )
    if as_json:
        print_json(mixed.manifest.model_dump(mode="json"), indent=1)
    elif quiet:
        for warning in mixed.manifest.warnings:
            say(harmless(f"warning: {warning}"), error_console())
    else:
        if mixed.nothing_to_do:
            say("nothing to do: the mixture is finished, and its run, config and program are as they were")
        print_mixture(mixed.manifest, folder)


def make_mixture(
    run: str,
    config: MixtureConfig,
    plain: Mapping[str, Any],
    folder: str,
    *,
    workers: int = 1,
    runner: str = "FnApiRunner",
    options: Sequence[str] = (),
    fresh: bool = False,
    quiet: bool = False,
) -> Mixed:
    """Make a mixture with progress; Ctrl-C keeps what is finished."""
    scratch = filesystem.join(folder, "work", "passes")
    progress = RunProgress(quiet=quiet)
    with Engine(scratch, workers=workers, runner=runner, options=options, progress=progress) as engine, resumable():
        return materialise(run, config, plain, folder, engine, fresh=fresh)


def show_planned(
    run: str, config: str | None, overrides: Sequence[str], *, workers: int, as_json: bool, quiet: bool
) -> None:
    """Say what a mixture would hold; writes nothing that stays.

    Raises:
        TamisError: whatever stands against it, in a sentence.
    """
    parsed, _ = load_mixture(config, overrides, run=run)
    with temporary_folder() as scratch:
        work = str(scratch)
        progress = RunProgress(quiet=quiet)
        with Engine(filesystem.join(work, "passes"), workers=workers, progress=progress) as engine:
            prepared = prepare(run, parsed, engine, work)
    plan = prepared.plan
    if as_json:
        print_json({"mixture": plan.record, "repetition": plan.repetition, "warnings": list(plan.warnings)}, indent=1)
        return
    say(harmless(f"{run}: {counted(len(prepared.index.group), 'document')} in {counted(len(plan.streams), 'group')}"))
    print_sections(plan.record, plan.repetition, plan.warnings)


def print_mixture(manifest: MixtureManifest, folder: str) -> None:
    """Print what a materialised mixture holds."""
    size = sum(shard.bytes for shard in manifest.shards)
    shards = counted(len(manifest.shards), "shard")
    say(harmless(f"{folder}: {counted(manifest.documents, 'document')} in {shards}, {file_size(size)}"))
    say(harmless(f"of {manifest.run.path}, {counted(manifest.run.documents, 'selected document')}"))
    print_sections(manifest.mixture, manifest.repetition, manifest.warnings)
    if manifest.tokenizer is not None:
        told = manifest.tokenizer
        say(harmless(f"tokens: {told['name']} ({told['digest'][:16]}), with the end of each document"))
    say("Look inside:")
    query = "SELECT * FROM mixture"
    out_console().print(f'  tamis sql {harmless(shlex.quote(folder))} "{query}"', soft_wrap=True)


def print_sections(record: Mapping[str, Any], repetition: Mapping[str, Any], warnings: Sequence[str]) -> None:
    """Print quotas, repetition and warnings."""
    unit = record["unit"]
    total, budget = record["total"], record["budget"]
    asked = f" of {budget:,} asked for" if budget != total else ""
    say(harmless(f"shares: {_found(record)}; {total:,} {unit}{asked}"))
    say()
    print_groups(record["groups"])
    if len(record["stages"]) > 1:
        say(f"schedule: {counted(len(record['stages']), 'stage')}, in training order")
    say()
    print_seen(repetition)
    for warning in warnings:
        say(harmless(f"warning: {warning}"))


def print_groups(groups: Sequence[Mapping[str, Any]]) -> None:
    """Print the quotas of groups, and what came of them where they were drawn."""
    drawn = all("realised" in group for group in groups)
    names = ["has", "asked %", "quota", "share %", *(["realised %"] if drawn else []), "epochs"]
    rows = [
        [
            group["name"],
            f"{group['size']:,}",
            f"{100 * group['asked']:.2f}",
            f"{group['quota']:,}",
            f"{100 * group['share']:.2f}",
            *([f"{100 * group['realised']:.2f}"] if drawn else []),
            f"{group['epochs']:.2f}",
        ]
        for group in groups[:SHOWN]
    ]
    print_rows(out_console(), [Column("group"), *(Column(name, right=True) for name in names)], rows)
    say_more(len(groups), SHOWN, "group")


def print_seen(repetition: Mapping[str, Any]) -> None:
    """Print how much is seen how often, and what that is worth."""
    histogram = [row for row in repetition["histogram"] if row["tokens"]]
    rows = [
        [
            _times(row["seen"]),
            figure(int(row["tokens"])),
            figure(int(row["unique_tokens"])),
            f"{100 * row['share']:.1f}",
        ]
        for row in histogram
    ]
    columns = [Column("times seen"), *(Column(name, right=True) for name in (repetition["unit"], "unique", "share %"))]
    print_rows(out_console(), columns, rows)
    say(
        f"{repetition['seen']:,.0f} {repetition['unit']} seen, {repetition['unique']:,.0f} unique, "
        f"worth {repetition['effective']:,.0f} fresh ones"
    )
    if "heavy" in repetition:
        _print_heavy(repetition["heavy"], repetition["unit"])


def _print_heavy(heavy: Mapping[str, Any], unit: str) -> None:
    told = f"{100 * heavy['share']:.1f} % of the {unit}"
    lines = heavy["lines"]
    if lines is not None:
        about = "" if lines["counted"] == 1 else "about "
        told += f", {about}{100 * lines['share']:.1f} % of the lines"
    say(f"seen {heavy['times']} times or more: {told}")


def _found(record: Mapping[str, Any]) -> str:
    method = record["method"]
    told = {"given": "given", "union": "by size", "equal": "equal", "unimax": "UniMax's"}
    return told.get(method, f"found by {method}")


def _times(bounds: Sequence[int | None]) -> str:
    low, high = bounds
    return f"{low}+" if high is None else f"{low}" if low == high else f"{low}-{high}"
