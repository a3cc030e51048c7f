"""Tells of records that can't be read or scored: the first ones, and how many there were; and how far reading is."""

import time
from types import TracebackType

from rich.status import Status

from tamis.jobs.cli.console import error_console, say, stamped
from tamis.jobs.cli.text import counted, harmless
from tamis.jobs.documents import DocumentsRead, RecordProblem

__all__ = ["Problems"]

SHOWN = 10


class Problems:
    """An observer of documents that tells on the standard error; leaving it tells of what wasn't shown one by one.

    Args:
        progress: tell how many documents were read: on a terminal as they come, elsewhere a line a minute.
    """

    FIRST = 5.0
    EVERY = 60.0

    def __init__(self, *, progress: bool = False) -> None:
        self.count = 0
        self.read = 0
        self._console = error_console()
        self._progress = progress
        self._status: Status | None = None
        self._next = time.monotonic() + self.FIRST

    def __call__(self, event: RecordProblem | DocumentsRead) -> None:
        """Tell of a problem, if it is among the first, or how far reading is, if it is time to."""
        if isinstance(event, DocumentsRead):
            self.read += event.number
            if self._progress:
                self._show()
            return
        self.count += 1
        if self.count <= SHOWN:
            where = [part for part in (event.uri, event.record) if part]
            say(harmless(": ".join([*where, event.error, event.detail])), self._console)

    def _show(self) -> None:
        told = f"{counted(self.read, 'document')} read"
        if self._status is not None:
            self._status.update(told)
        elif self._console.is_terminal:
            self._status = self._console.status(told)
            self._status.start()
        elif time.monotonic() > self._next:
            self._next = time.monotonic() + self.EVERY
            say(stamped(told), self._console)

    def __enter__(self) -> "Problems":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()
        if self.count > SHOWN:
            told = f"{counted(self.count, 'record')} couldn't be read or scored, of which the first {SHOWN} are shown"
            say(told, self._console)
