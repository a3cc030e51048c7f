"""The jobs on a service that this process follows: what becomes of them when it is told to stop."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tamis.pipeline.graph.remote_job import RemoteJob

__all__ = ["end_followed", "following"]

PATIENCE = 60.0
"""Seconds that the service may take to answer."""
_jobs: list[tuple[RemoteJob, Callable[[RemoteJob], None] | None]] = []


@contextmanager
def following(job: RemoteJob, cancel: Callable[[RemoteJob], None] | None) -> Iterator[None]:
    """Follow a job while the block runs.

    Args:
        job: one that was submitted.
        cancel: asks the service to end it, where that is wanted of who stops this process.
    """
    entry = (job, cancel)
    _jobs.append(entry)
    try:
        yield
    finally:
        _jobs.remove(entry)


def end_followed() -> str | None:
    """Cancel the job that is followed, if that is wanted.

    Returns:
        What became of it, in a sentence; None if none is followed.
    """
    if not _jobs:
        return None
    job, cancel = _jobs[-1]
    if cancel is None:
        return f"stopped; the job {job.name} works on, and finishes the run by itself: `{job.cancel}` ends it"
    told: list[str] = []

    def ask() -> None:
        try:
            cancel(job)
        except Exception as error:  # noqa: BLE001  (the service's client raises what it likes)
            told.append(f"{type(error).__name__}: {error}".splitlines()[0])
        else:
            told.append("")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    why = told[0] if told else "the service doesn't answer"
    if why:
        return f"stopped; the job {job.name} couldn't be cancelled ({why}): `{job.cancel}` ends it"
    return f"stopped; the job {job.name} was cancelled, and what is finished is kept for the same command"
