"""Carries out `tamis manifest`: calls what shows, verifies, compares and repeats runs, and prints what came of it."""

import dataclasses
import json
import re
from collections.abc import Sequence

from rich.console import Console

from tamis.jobs.cli.console import RunProgress, out_console, print_json, say, say_more
from tamis.jobs.cli.funnel import balance_lines, print_funnel, print_sources
from tamis.jobs.cli.layout import Column, print_rows
from tamis.jobs.cli.text import counted, file_size, harmless
from tamis.jobs.manifest.compare import Comparison, compare
from tamis.jobs.manifest.differences import Difference
from tamis.jobs.manifest.file import FATES, read_manifest, shards_of
from tamis.jobs.manifest.rerun import RerunResult
from tamis.jobs.manifest.rerun import rerun as repeat
from tamis.jobs.manifest.verify import VerifyResult
from tamis.jobs.manifest.verify import verify as check
from tamis.schemas.manifest import Manifest

__all__ = ["diff", "rerun", "show", "verify"]

SHOWN = 20
"""Lines of a list that are shown; JSON has all."""
CELL = 80
"""Characters of a value that differs."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHORT = 16


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
        print_json(manifest.model_dump(mode="json"), indent=1)
        return
    console = out_console()
    made = manifest.provenance
    say(harmless(f"{manifest.name}: {run}"))
    say(harmless(f"config {manifest.config_sha256}"))
    say(harmless(f"begun {manifest.started}, {manifest.seconds:,.1f} s; tamis {made.tamis}, Python {made.python}"))
    if made.git_commit:
        say(harmless(f"commit {made.git_commit}"))
    for line in balance_lines(manifest):
        say(line)
    say()
    print_funnel(console, manifest)
    say()
    print_sources(console, manifest)
    say()
    if manifest.parents:
        _print_parents(console, manifest)
        say()
    _print_shards(console, manifest)
    say()
    if manifest.tables:
        _print_tables(console, manifest)
        say()
    _print_inputs(console, manifest)
    if manifest.models:
        say()
        _print_models(console, manifest)
    say()
    say(harmless(f"mixture: {manifest.mixture.get('method', 'none')}, in {manifest.mixture.get('unit', 'documents')}"))
    for warning in manifest.warnings:
        say(harmless(f"warning: {warning}"))


def _print_parents(console: Console, manifest: Manifest) -> None:
    corpus = all(not parent.path.startswith("..") for parent in manifest.parents)
    rows = []
    for parent in manifest.parents[-SHOWN:]:
        numbers = [f"{getattr(parent, name):,}" for name in ("files", "read", "selected", "rejected", "errors")]
        rows.append([parent.path, parent.started[:16], *numbers])
    columns = [Column("run"), Column("begun")]
    columns += [Column(name, right=True) for name in ("files", "read", "selected", "rejected", "errors")]
    print_rows(console, columns, rows, title="increments, added up" if corpus else "follows")
    say_more(len(manifest.parents), SHOWN, "run")


def _print_shards(console: Console, manifest: Manifest) -> None:
    rows = []
    for fate in FATES:
        records = shards_of(manifest, fate)
        number, size, text = (sum(getattr(r, name) for r in records) for name in ("rows", "bytes", "text_bytes"))
        rows.append([fate, f"{len(records):,}", f"{number:,}", file_size(size), file_size(text)])
    columns = [Column("fate"), *(Column(name, right=True) for name in ("files", "rows", "size", "text"))]
    print_rows(console, columns, rows, title="shards")


def _print_tables(console: Console, manifest: Manifest) -> None:
    rows = [
        [record.step, record.name, f"{record.rows:,}", file_size(record.bytes), record.sha256[:_SHORT]]
        for record in manifest.tables
    ]
    columns = [Column("step"), Column("table"), Column("rows", right=True), Column("size", right=True)]
    print_rows(console, [*columns, Column("digest")], rows, title="tables that decisions left")


def _print_inputs(console: Console, manifest: Manifest) -> None:
    rows = []
    for record in manifest.inputs[:SHOWN]:
        size = "-" if record.bytes is None else file_size(record.bytes)
        digest = record.sha256[:_SHORT] if record.sha256 else record.fingerprint
        rows.append([record.path, record.source, f"{record.records:,}", size, digest])
    columns = [
        Column("input", wrap=True),
        Column("source"),
        Column("records", right=True),
        Column("size", right=True),
        Column("digest"),
    ]
    print_rows(console, columns, rows, title="inputs")
    say_more(len(manifest.inputs), SHOWN, "input")


def _print_models(console: Console, manifest: Manifest) -> None:
    columns = [Column("step"), Column("option"), Column("reference", wrap=True), Column("digest")]
    rows = [[r.step, r.option, r.reference, r.sha256[:_SHORT]] for r in manifest.models]
    print_rows(console, columns, rows, title="models")


# --- verify ---


def verify(run: str, *, inputs: bool = False, as_json: bool = False, quiet: bool = False) -> VerifyResult:
    """Check a run against its manifest, print what was found, and return it; see `tamis.jobs.manifest.verify.verify`.

    Args:
        run: the run's folder.
        inputs: digest inputs and models too.
        as_json: print the result as JSON.
        quiet: show no progress, and nothing if all is right.

    Raises:
        RunError: if the folder holds no finished run.
    """
    progress = RunProgress(quiet=quiet)
    progress.start("verify", len(read_manifest(run).shards))
    try:
        result = check(run, inputs=inputs, progress=lambda done, _: progress.update(done))
    finally:
        progress.finish()
    if as_json:
        print_json({"ok": result.ok} | dataclasses.asdict(result), indent=1)
    elif not (quiet and result.ok):
        _print_verified(run, result)
    return result


def _print_verified(run: str, result: VerifyResult) -> None:
    for word, sentences in (("note", result.notes), ("wrong", result.failures)):
        for sentence in sentences[:SHOWN]:
            say(harmless(f"{word}: {sentence}"))
        say_more(len(sentences), SHOWN, {"note": "note", "wrong": "failure"}[word])
    seen = f"{counted(result.shards, 'shard')} with {counted(result.rows, 'row')} and {file_size(result.bytes)}"
    if result.ok:
        say(f"{harmless(run)} is what its manifest says: {seen}; the config's digest and all counts agree")
    else:
        wrong = counted(len(result.failures), "thing")
        say(f"{harmless(run)} isn't what its manifest says: {wrong} wrong; {seen}")


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
        print_json(dataclasses.asdict(comparison), indent=1)
    else:
        _print_comparison(comparison)
    return comparison


def _print_comparison(comparison: Comparison) -> None:
    console = out_console()
    for sentence in comparison.why:
        say(harmless(sentence))
    sections = dict.fromkeys(difference.section for difference in comparison.differences)
    for section in sections:
        mine = [d for d in comparison.differences if d.section == section]
        columns = [Column(section), Column("first"), Column("second")]
        rows = [[d.key, _value(d, "first"), _value(d, "second")] for d in mine[:SHOWN]]
        say()
        print_rows(console, columns, rows)
        say_more(len(mine), SHOWN, "difference")


def _value(difference: Difference, side: str) -> str:
    if difference.only not in (None, side):
        return "-"
    value = getattr(difference, side)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if _DIGEST.fullmatch(text):
        text = text[:_SHORT]
    text = harmless(text)
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


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
    quiet: bool = False,
) -> RerunResult:
    """Repeat a run, say whether the bytes agree, and return the result; see `tamis.jobs.manifest.rerun.rerun`.

    Args:
        run: the finished run's folder.
        output: the folder of the repetition.
        workers: local worker processes.
        runner: name of a Beam runner.
        options: further Beam options.
        fresh: forget what an earlier repetition left in `output`.
        as_json: print the comparison as JSON.
        quiet: show no progress, and nothing if the bytes agree.

    Raises:
        TamisError: whatever stopped the run, in a sentence.
    """
    progress = RunProgress(quiet=quiet)
    result = repeat(run, output, workers=workers, runner=runner, options=options, fresh=fresh, progress=progress)
    if as_json:
        print_json({"same": result.same} | dataclasses.asdict(result.comparison), indent=1)
    elif not (quiet and result.same):
        _print_repeated(run, output, result)
    return result


def _print_repeated(run: str, output: str, result: RerunResult) -> None:
    first, second = harmless(run), harmless(output)
    if result.same:
        shards = counted(len(result.manifest.shards), "shard")
        say(f"{second} is {first} again: all {shards} have the same bytes")
        for sentence in result.comparison.why[1:]:
            say(harmless(sentence))
    else:
        say(f"{second} isn't {first} again: the first is the recorded run, the second its repetition")
        _print_comparison(result.comparison)
