"""What a person sees while a run works: a progress bar on a terminal, plain lines with their time in a log."""

import contextlib
import datetime as dt
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from tamis.jobs.cli.signals import SENTENCE
from tamis.jobs.cli.text import counted, duration, harmless
from tamis.schemas.secrets import redacted

__all__ = [
    "RunProgress",
    "SafeConsole",
    "error_console",
    "out_console",
    "print_json",
    "resumable",
    "say",
    "say_more",
    "stamped",
    "write_json",
]

BAR, LEAST_BAR = 40, 8
"""Columns of a progress bar."""
BESIDE = 34
"""Columns of what stands beside label and bar: a spinner, counts of five digits, two times."""
WIDTH = 80
"""Columns where neither a terminal nor COLUMNS says how many."""


class SafeConsole(Console):
    """A console on which text is data: no markup, no emoji codes, and unprintable characters shown escaped.

    So that what a document, a file's name or an error says can neither end in a traceback nor drive the terminal.
    Line ends stay, for messages of several lines; `harmless` takes them out of what comes from data.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None, **options: Any):
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return `text` as Rich has it, with all that is unprintable escaped."""
        shown = harmless(text, lines=True)
        if not self.encoding.lower().startswith("utf"):
            shown = shown.encode(self.encoding, "backslashreplace").decode(self.encoding)
        return super().render_str(shown, **options | {"markup": False, "emoji": False, "highlight": False})


def out_console() -> SafeConsole:
    """Return the console for results: as wide as the terminal; elsewhere as COLUMNS says, or 80."""
    return SafeConsole(width=None if sys.stdout.isatty() else _width())


def _width() -> int:
    told = os.environ.get("COLUMNS", "")
    return int(told) if told.isdigit() and int(told) else WIDTH


def error_console() -> SafeConsole:
    """Return the console for progress and errors, so that results can be piped."""
    return SafeConsole(stderr=True, soft_wrap=not sys.stderr.isatty())


def say(text: str = "", console: Console | None = None) -> None:
    """Print a sentence for people: on a terminal folded between words, elsewhere on a line of its own."""
    console = console or out_console()
    console.print(text, soft_wrap=not console.is_terminal)


def write_json(text: str) -> None:
    r"""Write a line of JSON to the standard output; where that isn't UTF-8, with its characters as `\uXXXX`."""
    if not (sys.stdout.encoding or "utf-8").lower().startswith("utf"):
        text = re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    sys.stdout.write(text + "\n")


def print_json(told: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON, for scripts, in ASCII."""
    sys.stdout.write(json.dumps(told, indent=indent) + "\n")


def say_more(number: int, shown: int, what: str) -> None:
    """Say how many of so many things were left out, if any were."""
    if number > shown:
        say(f"and {number - shown:,} more of {counted(number, what)}; --json has all")


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Do what Ctrl-C only interrupts: it is told that the same command goes on, and the status is 130."""
    try:
        yield
    except KeyboardInterrupt:
        say(SENTENCE, error_console())
        raise typer.Exit(130) from None


def stamped(line: str) -> str:
    """Return a line of a log: with the time, UTC, before it."""
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ} {line}"


class RunProgress:
    """Shows the passes of a run; implements `tamis.pipeline.graph.progress.Progress`.

    On a terminal each pass has a bar. Elsewhere a pass is a line when it ends, before that one after some seconds and
    then one a minute, each with its time.

    Args:
        console: where to; the standard error if None.
        quiet: show nothing.
    """

    FIRST = 5.0
    EVERY = 60.0

    def __init__(self, console: Console | None = None, *, quiet: bool = False):
        self._console = console or error_console()
        self._quiet = quiet
        self._live: Progress | None = None
        self._task: Any = None
        self._label = ""
        self._total = 0
        self._done = 0
        self._began = 0.0
        self._next = 0.0
        self._passes = 0
        self._number = 0

    def plan(self, passes: int) -> None:
        """A run of so many passes begins."""
        self._passes, self._number = passes, 0

    def note(self, text: str) -> None:
        """Something a person should know now: a lost worker, a damaged file. Told when quiet, too."""
        shown = harmless(redacted(text))
        self._console.print(shown if self._console.is_terminal else stamped(shown), soft_wrap=True)

    def start(self, label: str, total: int) -> None:
        """A pass of `total` shards begins."""
        self._number += 1
        where = f"{self._number}/{self._passes} " if self._passes else ""
        self._label, self._total, self._done = where + harmless(label), total, 0
        self._began = time.monotonic()
        self._next = self._began + self.FIRST
        if self._quiet or not self._console.is_terminal:
            return
        # A long label is folded, never cut; the bar gives way to it.
        name = TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold"))
        free = self._console.width - cell_len(self._label) - BESIDE
        bar = (BarColumn(min(free, BAR)),) if free >= LEAST_BAR else ()
        columns = (SpinnerColumn(), name, *bar, MofNCompleteColumn())
        self._live = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self._console)
        self._task = self._live.add_task(self._label, total=total)
        self._live.start()

    def update(self, done: int) -> None:
        """So many shards of the current pass are done."""
        self._done = done
        now = time.monotonic()
        if self._live is not None:
            self._live.update(self._task, completed=done)
        elif now > self._next:
            self._next = now + self.EVERY
            told = f"{self._label}: {done:,} of {self._total:,}"
            if 0 < done < self._total:
                told += f", about {duration((now - self._began) / done * (self._total - done))} left"
            self._log(told)

    def finish(self, reused: int = 0) -> None:
        """The current pass is over; so many of its shards had been done by an earlier run."""
        told = f", {reused:,} reused" if reused else ""
        if self._live is not None:
            self._live.update(self._task, description=f"{self._label}{told}")
            self._live.stop()
            self._live = None
            return
        seconds = time.monotonic() - self._began
        self._log(f"{self._label}: {self._done:,} of {self._total:,}{told} in {seconds:.1f} s")

    def _log(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line if self._console.is_terminal else stamped(line), soft_wrap=True)
