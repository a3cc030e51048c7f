"""How a run stands, as another terminal can see it; and what of its folder may go."""

import calendar
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tamis.jobs.manifest.file import MANIFEST, read_manifest
from tamis.jobs.run.cache import CACHE_MARKER, USERS, alone
from tamis.jobs.run.folder import MARKER, owned, owner_of
from tamis.pipeline.graph.failures import Failures
from tamis.pipeline.graph.remote_job import RemoteJob, find_job
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import RunError
from tamis.schemas.wording import install_extra

__all__ = ["PROGRESS", "RunStatus", "cancel_job", "clean_run", "run_status"]

PROGRESS = "progress.json"
"""In a work folder: how far the run at work is."""


@dataclass(frozen=True)
class RunStatus:
    """How a run stands.

    Attributes:
        state: `finished`, `running`, `stopped` on its way, or `submitted` to a service, where nobody here follows it.
        owner: who works in the folder, if somebody does.
        label: the pass at hand, or the last one that was.
        number: of the pass, from 1.
        passes: of the run.
        done: tasks of the pass that are done.
        tasks: of the pass.
        seconds: since the run began; of a stopped one, until it last told anything.
        work_bytes: of the work folder; None where that isn't told cheaply.
        job: on a service, the last that was submitted.
        error: the first that a worker of that job left word of.
        rate: tasks of the pass at hand that are done in a second; None before one is.
        left: seconds until that pass is over, at this rate; None where nobody works, or no task is done yet.
    """

    state: Literal["finished", "running", "stopped", "submitted"]
    owner: str | None = None
    label: str = ""
    number: int = 0
    passes: int = 0
    done: int = 0
    tasks: int = 0
    seconds: float = 0.0
    work_bytes: int | None = None
    job: RemoteJob | None = None
    error: str | None = None
    rate: float | None = None
    left: float | None = None


def run_status(output: str) -> RunStatus:
    """Return how the run in a folder stands.

    Raises:
        RunError: if there is none.
    """
    work = filesystem.join(output, "work")
    owner = owner_of(output)
    size = _size(work)
    if owner is None and filesystem.exists(filesystem.join(output, MANIFEST)):
        return RunStatus("finished", seconds=read_manifest(output).seconds, work_bytes=size)
    if not filesystem.exists(filesystem.join(work, MARKER)):
        msg = f"{output} holds no run of tamis"
        raise RunError(msg)
    path = filesystem.join(work, PROGRESS)
    told: dict[str, Any] = {}
    if filesystem.exists(path):
        with filesystem.open_binary(path) as stream:
            told = json.loads(stream.read())
    job = find_job(filesystem.join(work, "passes"))
    ended = time.time() if owner is not None or job is not None else told.get("updated", 0.0)
    began = ended if job is None else calendar.timegm(time.strptime(job.submitted, "%Y-%m-%d %H:%M:%S"))
    error = Failures(job.failure).first() if job is not None else None
    alone: Literal["stopped", "submitted"] = "stopped" if job is None else "submitted"
    rate, left = _pace(told) if owner is not None else (None, None)
    return RunStatus(
        "running" if owner is not None else alone,
        owner,
        told.get("label", ""),
        told.get("pass", 0),
        told.get("passes", 0),
        told.get("done", 0),
        told.get("tasks", 0),
        max(0.0, ended - told.get("began", began)),
        size,
        job=job,
        error=None if error is None else str(error),
        rate=rate,
        left=left,
    )


def _pace(told: dict[str, Any]) -> tuple[float | None, float | None]:
    """Return tasks a second of the pass at hand, and the seconds that it has left, less those since it was told."""
    done = told.get("done", 0)
    took = told.get("updated", 0.0) - told.get("pass_began", 0.0)
    if not done or took <= 0 or "pass_began" not in told:
        return None, None
    rate = done / took
    left = (told["tasks"] - done) / rate - (time.time() - told["updated"])
    return rate, max(0.0, left)


def cancel_job(output: str, options: Sequence[str] = ()) -> RemoteJob:
    """Ask a service to end the job that works in a run's folder.

    Args:
        output: the run's folder.
        options: further Beam options, for who asks the service.

    Returns:
        The job.

    Raises:
        RunError: if there is none, it is over already, or the service can't be asked.
    """
    from tamis.pipeline.graph.dataflow import DATAFLOW, active, cancel
    from tamis.pipeline.graph.failures import cause

    job = find_job(filesystem.join(output, "work", "passes"))
    if job is None:
        msg = f"{output} has no job on a service that could be cancelled: Ctrl-C ends a run on this machine"
        raise RunError(msg)
    try:
        works = active(job, options)
        if works:
            cancel(job, options)
    except ImportError as error:
        msg = f"jobs on Dataflow need a package that isn't installed ({error}): {install_extra('gcp')}"
        raise RunError(msg) from error
    except Exception as error:
        raise cause(DATAFLOW, error) from error
    if not works:
        msg = f"the job {job.name} is over already: `{job.describe}` tells how it ended"
        raise RunError(msg)
    return job


def clean_run(output: str) -> int:
    """Delete the work folder of a run, or a cache: what is kept for resuming and for other thresholds.

    Returns:
        The bytes that it took; 0 where that isn't told cheaply.

    Raises:
        RunError: if the folder holds neither, or a run is at work there or uses it as its cache.
    """
    if filesystem.exists(filesystem.join(output, CACHE_MARKER)):
        size = _size(output) or 0
        with alone(output):
            filesystem.remove_below(output, keep=(CACHE_MARKER, USERS))
        return size
    work = filesystem.join(output, "work")
    if not filesystem.exists(filesystem.join(work, MARKER)):
        msg = f"{output} holds no work folder of a run: there is nothing to clean"
        raise RunError(msg)
    size = _size(work) or 0
    with owned(output), alone(work):
        filesystem.remove_below(work, keep=(MARKER,))
    filesystem.remove_tree(work)
    return size


def _size(work: str) -> int | None:
    if not filesystem.is_local(work):
        return None
    return sum(path.stat().st_size for path in Path(filesystem.local_path(work)).rglob("*") if path.is_file())
