"""Tells of records that can't be read or scored: the first ones, and how many there were."""

from types import TracebackType

from tamis.jobs.cli.console import error_console, say
from tamis.jobs.cli.text import counted, harmless
from tamis.jobs.documents import RecordProblem

__all__ = ["Problems"]

SHOWN = 10


class Problems:
    """An observer of documents that tells on the standard error; leaving it tells of those that weren't shown."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, problem: RecordProblem) -> None:
        """Tell of a problem, if it is among the first."""
        self.count += 1
        if self.count <= SHOWN:
            where = [part for part in (problem.uri, problem.record) if part]
            say(harmless(": ".join([*where, problem.error, problem.detail])), error_console())

    def __enter__(self) -> "Problems":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.count > SHOWN:
            told = f"{counted(self.count, 'record')} couldn't be read or scored, of which the first {SHOWN} are shown"
            say(told, error_console())
