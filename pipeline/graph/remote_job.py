"""A job on a service that outlives its driver: where it is noted, so that another terminal finds it again."""

import json
import shlex
from dataclasses import asdict, dataclass

from tamis.pipeline.storage import filesystem

__all__ = ["LetGo", "RemoteJob", "find_job", "forget_job", "note_job"]

JOB_FILE = "job.json"
"""In an engine's scratch folder."""


@dataclass(frozen=True)
class RemoteJob:
    """A job of Dataflow's.

    Attributes:
        name: given by us, unique.
        id: given by the service; empty where nothing was submitted, as by `--dry_run`.
        project: of Google Cloud.
        region: where it runs.
        submitted: when, in UTC.
        failure: path at which its workers leave word of the first error.
        graph_bytes: of the graph as it was sent; the service refuses 20 MB.
    """

    name: str
    id: str
    project: str
    region: str
    submitted: str
    failure: str
    graph_bytes: int = 0

    @property
    def console(self) -> str:
        """The address of its page."""
        return f"https://console.cloud.google.com/dataflow/jobs/{self.region}/{self.id}?project={self.project}"

    @property
    def cancel(self) -> str:
        """The command that ends it."""
        return self._gcloud("cancel")

    @property
    def describe(self) -> str:
        """The command that tells its state."""
        return self._gcloud("describe")

    def _gcloud(self, verb: str) -> str:
        return shlex.join(
            ["gcloud", "dataflow", "jobs", verb, self.id, f"--region={self.region}", f"--project={self.project}"]
        )


class LetGo(Exception):  # noqa: N818  (nothing went wrong)
    """Nobody waits for a job that was submitted, and that ends the run by itself; not an error.

    Attributes:
        job: the job.
    """

    def __init__(self, job: RemoteJob):
        self.job = job
        super().__init__(job.name)


def note_job(scratch: str, job: RemoteJob) -> None:
    """Leave word of a job in an engine's scratch folder."""
    with filesystem.write_atomically(filesystem.join(scratch, JOB_FILE)) as stream:
        stream.write(json.dumps(asdict(job)).encode())


def find_job(scratch: str) -> RemoteJob | None:
    """Return the last job that was noted there; None if there was none."""
    path = filesystem.join(scratch, JOB_FILE)
    if not filesystem.exists(path):
        return None
    with filesystem.open_binary(path) as stream:
        return RemoteJob(**json.loads(stream.read()))


def forget_job(scratch: str) -> None:
    """Delete the note of a job that is over."""
    filesystem.remove(filesystem.join(scratch, JOB_FILE))
