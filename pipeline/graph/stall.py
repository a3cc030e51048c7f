"""Notices a pass that stands still."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

__all__ = ["nothing_finished", "stall_seconds", "watched"]

STALL_SECONDS = 600.0
"""After so long without a finished task the tasks in hand are told, again and again."""
VARIABLE = "TAMIS_STALL_SECONDS"


def stall_seconds() -> float:
    """Return after how many seconds a pass is said to stand still; the environment variable says otherwise."""
    try:
        return max(0.1, float(os.environ.get(VARIABLE, STALL_SECONDS)))
    except ValueError:
        return STALL_SECONDS


def nothing_finished(label: str, seconds: float, held: Sequence[str]) -> str:
    """Return what is told of a pass in which nothing was finished for so long."""
    told = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
    return f"{label}: nothing finished for {told}; in hand: {', '.join(held) or 'nothing'}"


@contextmanager
def watched(label: str, shown: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Tell of a task of this process that isn't done after so long, again and again until the block ends."""
    over = threading.Event()

    def watch() -> None:
        seconds = stall_seconds()
        passed = seconds
        while not over.wait(seconds):
            warn(nothing_finished(label, passed, [shown]))
            passed += seconds

    # A thread a task: they are few, and each is as long as the reading of many documents.
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
