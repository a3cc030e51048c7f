"""One task of a pass, done with patience: what may pass is tried again, and what it cost is measured."""

import resource
import time
from typing import Any

from tamis.pipeline.graph.give_back import give_back
from tamis.pipeline.graph.passes import Done, Process, Spent, Values
from tamis.pipeline.storage.damage import take_damage
from tamis.schemas.errors import RunError, TamisError

__all__ = ["cpu_seconds", "do_task", "failed", "shown_task"]

TRIES = 3
_SHOWN = 300


def do_task(process: Process, task: Any, values: Values) -> tuple[Done, Spent]:
    """Process a task; passing faults of file systems are tried again.

    Returns:
        What it returned, with the damage that it found, and its CPU-seconds: those of this process and of children
        that ended meanwhile.
    """
    take_damage()  # that of a task that failed is told by its error
    before = cpu_seconds()
    for attempt in range(1, TRIES + 1):
        try:
            result = process(task, values)
        except OSError as error:
            if attempt == TRIES or isinstance(error, FileNotFoundError | PermissionError):
                raise
            time.sleep(0.2 * 4**attempt)
        else:
            break
    give_back()
    done = Done(result) if isinstance(result, bytes) else result
    return done._replace(damaged=take_damage()), Spent(1, cpu_seconds() - before)


def cpu_seconds() -> float:
    """Return what this process has spent, with its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def shown_task(task: Any) -> str:
    """Return what an error says of a task."""
    return str(task)[:_SHOWN]


def failed(label: str, task: Any, error: Exception) -> TamisError:
    """Return what a person is told of an error that nobody raised on purpose."""
    if isinstance(error, TamisError):
        return error
    return RunError(f"{label}: {shown_task(task)}: {type(error).__name__}: {error}")
