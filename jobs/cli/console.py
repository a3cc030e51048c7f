"""What a person sees while a run works: a progress bar on a terminal, plain lines in a log."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

LOG_WIDTH = 140

__all__ = ["RunProgress", "error_console", "out_console"]


def out_console() -> Console:
    """Return the console for results."""
    return Console(width=None if sys.stdout.isatty() else LOG_WIDTH, highlight=False)


def error_console() -> Console:
    """Return the console for progress and errors, so that results can be piped."""
    return Console(stderr=True, soft_wrap=not sys.stderr.isatty(), highlight=False)


class RunProgress:
    """Shows the passes of a run; implements `tamis.pipeline.graph.engine.Progress`.

    On a terminal each pass has a bar; elsewhere it is one line when it begins, one a minute, and one when it ends.
    """

    EVERY = 60.0

    def __init__(self, console: Console | None = None):
        self._console = console or error_console()
        self._live: Progress | None = None
        self._task: Any = None
        self._label = ""
        self._total = 0
        self._done = 0
        self._began = 0.0
        self._told = 0.0
        self._passes = 0

    def start(self, label: str, total: int) -> None:
        """A pass of `total` shards begins."""
        self._label, self._total, self._done = label, total, 0
        self._began = self._told = time.monotonic()
        if not self._console.is_terminal:
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._live = Progress(*columns, TimeElapsedColumn(), console=self._console)
        self._task = self._live.add_task(label, total=total)
        self._live.start()

    def update(self, done: int) -> None:
        """So many shards of the current pass are done."""
        self._done = done
        if self._live is not None:
            self._live.update(self._task, completed=done)
        elif time.monotonic() - self._told > self.EVERY:
            self._told = time.monotonic()
            self._console.print(f"{self._label}: {done} of {self._total}")

    def plan(self, passes: int) -> None:
        """A run of so many passes begins."""
        self._passes = passes

    def note(self, text: str) -> None:
        """Something a person should know now."""
        self._console.print(text)

    def finish(self, reused: int = 0) -> None:
        """The current pass is over."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            return
        seconds = time.monotonic() - self._began
        told = f", {reused} reused" if reused else ""
        self._console.print(f"{self._label}: {self._done} of {self._total}{told} in {seconds:.1f} s")
