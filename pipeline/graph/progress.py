"""How far a run is: what a driver tells its user, and the file by which another terminal can see it."""

import json
import time
from pathlib import Path
from typing import Protocol

__all__ = ["Progress", "ProgressFile"]


class Progress(Protocol):
    """Told how far a run is; called by the driver."""

    def plan(self, passes: int) -> None:
        """A run of so many passes begins."""

    def start(self, label: str, total: int) -> None:
        """A pass of `total` tasks begins."""

    def update(self, done: int) -> None:
        """So many tasks of the current pass are done."""

    def finish(self, reused: int = 0) -> None:
        """The current pass is over; so many of its tasks had been done by an earlier run."""

    def note(self, text: str) -> None:
        """Something a person should know now: a lost worker, a damaged file, a pass that stands still."""


class ProgressFile:
    """Passes on to another `Progress` what it is told, and keeps the state in a small file at most twice a second."""

    EVERY = 0.5

    def __init__(self, path: Path, inner: Progress | None = None):
        self._path = path
        self._inner = inner
        self._state: dict[str, object] = {}
        self._number = 0
        self._written = 0.0

    def plan(self, passes: int) -> None:
        """A run of so many passes begins."""
        self._state = {"passes": passes, "began": time.time()}
        self._number = 0
        if self._inner is not None:
            self._inner.plan(passes)

    def start(self, label: str, total: int) -> None:
        """A pass of `total` tasks begins."""
        self._number += 1
        self._state |= {"pass": self._number, "label": label, "tasks": total, "done": 0, "pass_began": time.time()}
        self._write(at_once=True)
        if self._inner is not None:
            self._inner.start(label, total)

    def update(self, done: int) -> None:
        """So many tasks of the current pass are done."""
        self._state["done"] = done
        self._write()
        if self._inner is not None:
            self._inner.update(done)

    def finish(self, reused: int = 0) -> None:
        """The current pass is over."""
        if self._inner is not None:
            self._inner.finish(reused)

    def note(self, text: str) -> None:
        """Something a person should know now."""
        if self._inner is not None:
            self._inner.note(text)

    def _write(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now - self._written < self.EVERY:
            return
        self._written = now
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".part")
        temporary.write_text(json.dumps(self._state | {"updated": time.time()}))
        temporary.replace(self._path)
