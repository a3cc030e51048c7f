"""Carries out `tamis watch` and `tamis compact`, and shows how a corpus stands."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from tamis.jobs.cli.console import RunProgress, error_console, out_console, resumable, say, stamped, write_json
from tamis.jobs.cli.layout import print_pairs
from tamis.jobs.cli.text import counted, harmless
from tamis.jobs.json_text import json_text
from tamis.jobs.run.paths import places_of
from tamis.jobs.run.status import PROGRESS
from tamis.jobs.watch.compact import Compacted, Thresholds, compact
from tamis.jobs.watch.corpus import is_corpus
from tamis.jobs.watch.increment import Event, Grown, MakeEngine, Refused, Stood, Told, Watched, watched
from tamis.jobs.watch.status import corpus_status
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.graph.progress import Progress, ProgressFile
from tamis.pipeline.storage import filesystem
from tamis.schemas.config import Config
from tamis.schemas.errors import ConfigError, TamisError
from tamis.schemas.manifest import Manifest

__all__ = ["compact_corpus", "parse_interval", "show_corpus_status", "watch_config"]

_INTERVAL = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, None: 1}
_MOVED = 5


def parse_interval(text: str) -> float:
    """Return the seconds that `30s`, `10m`, `1.5h` or `1d` means.

    Raises:
        ConfigError: if it means nothing.
    """
    found = _INTERVAL.fullmatch(text.strip())
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if seconds <= 0:
        msg = f"--every {text}: expected a time such as 30s, 10m, 1h or 1d"
        raise ConfigError(msg)
    return seconds


def _engines(workers: int, runner: str, options: Sequence[str], *, quiet: bool) -> MakeEngine:
    def make(folder: str) -> Engine:
        shown: Progress = RunProgress(quiet=quiet)
        if filesystem.is_local(folder):
            shown = ProgressFile(Path(filesystem.local_path(folder)) / "work" / PROGRESS, shown)
        scratch = filesystem.join(folder, "work", "passes")
        return Engine(scratch, workers=workers, runner=runner, options=options, progress=shown)

    return make


# --- watch ---


def watch_config(
    config: Config,
    plain: Mapping[str, Any],
    output: str | None,
    *,
    config_file: str,
    every: str | None = None,
    new_config: bool = False,
    workers: int = 1,
    runner: str = "FnApiRunner",
    options: Sequence[str] = (),
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Take in what is new under a config's inputs, once or again and again, and say what came of it.

    Args:
        config: the config.
        plain: the config as it was given.
        output: the corpus's folder; the config's own if None.
        config_file: where the config was read, whose folder its relative paths belong to.
        every: time between two passes; one pass alone if None.
        new_config: go on where the config decides otherwise than it did.
        workers: local worker processes.
        runner: name of a Beam runner.
        options: further Beam options.
        as_json: print a line of JSON a pass.
        quiet: say only what a person has to do something about.

    Raises:
        TamisError: whatever stopped it, in a sentence.
        typer.Exit: with 1 where an increment is nothing that a job can trust.
    """
    seconds = None if every is None else parse_interval(every)
    places = places_of(config_file)
    folder = output or places.output(config.output.path)
    if filesystem.is_local(folder) and Path(folder).is_file():
        msg = f"{folder} is a file; a corpus needs a folder: give --output"
        raise ConfigError(msg)
    made = _engines(workers, runner, options, quiet=quiet or as_json)
    shown = _Shown(folder, as_json=as_json, quiet=quiet, log=seconds is not None)
    with resumable(), watched(folder, config, plain, places, made, new_config=new_config) as corpus:
        for note in () if quiet else places.notes:
            say(harmless(f"note: {note}"), error_console())
        _passes(corpus, shown, seconds)


def _passes(corpus: Watched, shown: "_Shown", seconds: float | None) -> None:
    while True:
        refused = False
        try:
            for event in corpus.run_once():
                shown(event)
                refused |= isinstance(event, Refused)
        except ConfigError:
            raise
        except TamisError as error:
            if seconds is None:
                raise
            shown.problem(f"{error}; it is tried again at the next pass")
        if seconds is None:
            if refused:
                raise typer.Exit(1)
            return
        time.sleep(seconds)


class _Shown:
    """Shows what happens in a pass.

    Args:
        folder: of the corpus.
        as_json: a line of JSON a pass, in place of sentences.
        quiet: only what a person has to do something about.
        log: with the time before each line.
    """

    def __init__(self, folder: str, *, as_json: bool, quiet: bool, log: bool):
        self._folder = folder
        self._as_json = as_json
        self._quiet = quiet
        self._log = log
        self._grown: list[Grown] = []
        self._told: list[str] = []
        self._problems: list[str] = []

    def __call__(self, event: Event) -> None:
        match event:
            case Told(text, matters):
                self._told.append(text)
                if matters or not (self._quiet or self._as_json):
                    self._say(text, error=True)
            case Grown(name, manifest):
                self._grown.append(event)
                for warning in manifest.warnings:
                    self._say(f"warning: increment {name}: {warning}", error=True)
                if not (self._quiet or self._as_json):
                    self._say(f"increment {name}: {counted(len(manifest.inputs), 'file')}; {_balance(manifest)}")
            case Refused(name, folder, problems):
                self._problems += problems
                for problem in problems:
                    self.problem(f"increment {name} doesn't join the corpus: {problem}")
                self.problem(f"{folder} has what became of it; mend the input or the config, and run the same command")
            case Stood():
                self._stood(event)

    def problem(self, text: str) -> None:
        """Say what a person has to do something about."""
        self._say(f"tamis: {text}", error=True)

    def _say(self, text: str, *, error: bool = False) -> None:
        shown = harmless(text)
        say(stamped(shown) if self._log else shown, error_console() if error else out_console())

    def _stood(self, event: Stood) -> None:
        found, corpus = event.standing, event.corpus
        grown, told, problems = self._grown, self._told, self._problems
        self._grown, self._told, self._problems = [], [], []
        if self._as_json:
            write_json(
                json_text(
                    {
                        "corpus": self._folder,
                        "increments": [{"name": one.name, **_numbers(one.manifest)} for one in grown],
                        "changed": [file.key for file in found.changed],
                        "gone": list(found.gone),
                        "waiting": [file.key for file in found.waiting],
                        "told": told,
                        "problems": problems,
                        "total": None if corpus is None else _numbers(corpus),
                    }
                )
            )
            return
        if self._quiet:
            return
        if not grown and not problems:
            read = 0 if corpus is None else len(corpus.inputs)
            waiting = f", {counted(len(found.waiting), 'file')} still being written to" if found.waiting else ""
            self._say(f"nothing new: {counted(read, 'file')} read before{waiting}")
        if corpus is not None:
            self._say(f"{self._folder}: {counted(len(corpus.parents), 'increment')}; {_balance(corpus)}")


def _balance(manifest: Manifest) -> str:
    return (
        f"{manifest.read:,} read = {manifest.selected:,} selected + {manifest.rejected:,} rejected + "
        f"{counted(manifest.errors, 'error')}"
    )


def _numbers(manifest: Manifest) -> dict[str, Any]:
    names = ("read", "selected", "rejected", "errors")
    return {"files": len(manifest.inputs)} | {name: getattr(manifest, name) for name in names}


# --- compact ---


def compact_corpus(
    folder: str,
    *,
    thresholds: str | None = None,
    present: bool = False,
    keep: bool = False,
    workers: int = 1,
    runner: str = "FnApiRunner",
    options: Sequence[str] = (),
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Merge the increments of a corpus, and say what is otherwise than it was.

    Args:
        folder: of the corpus.
        thresholds: frozen or estimate, where the config freezes them.
        present: read files as they are now.
        keep: leave the merged increments where they are.
        workers: local worker processes.
        runner: name of a Beam runner.
        options: further Beam options.
        as_json: print JSON.
        quiet: say only what a person has to do something about.

    Raises:
        TamisError: whatever stopped it, or why one run can't give what the increments are, in a sentence.
        typer.Exit: with 1 where the merged increment is nothing that a job can trust.
    """
    known: dict[str | None, Thresholds | None] = {None: None, "frozen": "frozen", "estimate": "estimate"}
    if thresholds not in known:
        msg = f"--thresholds {thresholds}: expected frozen or estimate"
        raise ConfigError(msg)
    engines = _engines(workers, runner, options, quiet=quiet or as_json)
    with resumable():
        done = compact(folder, engines, thresholds=known[thresholds], present=present, keep=keep)
    for problem in done.problems:
        say(harmless(f"tamis: the increments stay as they are: {problem}"), error_console())
    if as_json:
        moved = [asdict(one) for one in done.moved]
        told = {"corpus": folder, "increment": done.name, "merged": list(done.merged), "moved": moved}
        write_json(json_text(told | {"problems": list(done.problems), "total": _numbers(done.manifest)}))
    elif not quiet and not done.problems:
        _tell_compacted(folder, done)
    if done.problems:
        raise typer.Exit(1)


def _tell_compacted(folder: str, done: Compacted) -> None:
    if done.name is None:
        say(harmless(f"nothing to merge: {folder} is one increment"))
        return
    say(harmless(f"{counted(len(done.merged), 'increment')} became {done.name}; {_balance(done.manifest)}"))
    out = [one for one in done.moved if one.only == "first"]
    new = [one for one in done.moved if one.only == "second"]
    if not out and not new:
        say("the same documents are selected as before")
        return
    for moved, what in ((out, "no longer selected"), (new, "selected now")):
        if not moved:
            continue
        say(f"{counted(sum(one.documents for one in moved), 'document')} {what}:")
        for one in moved[:_MOVED]:
            where = "not among the documents" if one.step is None else f"{one.step}: {one.rule}"
            say(harmless(f"  {one.documents:,} {'' if what != 'selected now' else 'before '}{where}"))


# --- status ---


def show_corpus_status(folder: str) -> bool:
    """Print how a corpus stands, if the folder holds one; return whether it does."""
    if not is_corpus(folder):
        return False
    status = corpus_status(folder)
    state = "nobody works on it" if status.owner is None else "at work"
    pairs = [("corpus:", folder), ("state:", state)]
    if status.owner is not None:
        pairs.append(("by:", status.owner))
    pairs.append(("increments:", f"{len(status.increments):,}"))
    if status.corpus is not None:
        pairs.append(("files:", f"{len(status.corpus.inputs):,}"))
        pairs.append(("documents:", _balance(status.corpus)))
    if status.unfinished is not None:
        run = status.run
        where = "" if run is None or not run.label else f", pass {run.number} of {run.passes}, {run.label}"
        told = "being made" if status.owner is not None else "begun, not finished"
        pairs.append(("next:", f"{status.unfinished}, {told}{where}"))
    print_pairs(out_console(), pairs)
    if status.unfinished is not None and status.owner is None:
        say("The command that started it goes on from there.")
    return True
