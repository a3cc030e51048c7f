"""How a worker elsewhere tells the driver what went wrong: by a small file, as runners report tracebacks at best."""

import json
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tamis.pipeline.graph.work import shown_task
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import DamagedError, RunError, TamisError

__all__ = ["Failures", "cause"]

GO_ON = "run again to go on"
# Prism panics when it has more work for a worker whose channel it closed.
LOST_WORKER = re.compile(
    r"SDK (?:worker|harness) (?:\S+ )?disconnected|Channel closed prematurely|panic[^\n]*send on closed channel"
)
LATE_WORKER = re.compile(r"didn't get control connection|timed out waiting for .*control", re.IGNORECASE)
GONE = re.compile(r"FutureTimeoutError|StatusCode\.(?:UNAVAILABLE|CANCELLED)|Connection refused|Socket closed")
PANIC = re.compile(r"\b(?:panic|fatal error)(?: in [^:\n]*)?: ([^\n]*?)(?:, stage: [^\n]*)?$", re.MULTILINE)
SERVICE = re.compile(r"Dataflow pipeline failed\. State: (\w+), Error:\n(.*)", re.DOTALL)
RAISED = re.compile(r"^((?:\w+\.)*\w*(?:Error|Exception|Interrupt|Warning|Exit)(?:: .*)?)$", re.MULTILINE)


@dataclass(frozen=True)
class Failures:
    """The file for the first error of a run's workers.

    Attributes:
        path: where driver and workers see it.
    """

    path: str

    @contextmanager
    def told(self, label: str, task: Any) -> Iterator[None]:
        """Leave word of an error in the block, and let it pass."""
        try:
            yield
        except Exception as error:
            cause = {
                "kind": type(error).__name__,
                "message": str(error) or traceback.format_exc().strip().splitlines()[-1],
                "where": f"{label}: {shown_task(task)}",
                "damaged": [error.path, error.why] if isinstance(error, DamagedError) else None,
            }
            with filesystem.write_atomically(self.path) as stream:
                stream.write(json.dumps(cause).encode())
            raise

    def first(self) -> TamisError | None:
        """Return the error as the worker raised it; None if there was none."""
        if not filesystem.exists(self.path):
            return None
        with filesystem.open_binary(self.path) as stream:
            cause = json.loads(stream.read())
        if cause["damaged"]:
            return DamagedError(*cause["damaged"])
        for kind in _subclasses(TamisError):
            if kind.__name__ == cause["kind"]:
                return kind(cause["message"])
        return RunError(f"{cause['where']}: {cause['kind']}: {cause['message']}")

    def clear(self) -> None:
        """Forget it."""
        filesystem.remove(self.path)


def cause(runner: str, error: Exception) -> RunError:
    """Return in one sentence what a runner's error is about.

    Args:
        runner: its name.
        error: what it raised: a message, a Python traceback, a Go panic, or a broken connection.
    """
    text = str(error).strip() or type(error).__name__
    panic, raised = PANIC.search(text), RAISED.findall(text)
    if LOST_WORKER.search(text):
        told = f"lost a worker process, which was killed or ran out of memory; {GO_ON}"
    elif (ended := SERVICE.search(text)) is not None:
        why = [line.strip() for line in ended[2].splitlines() if line.strip() not in ("", "None")]
        last = (RAISED.findall(ended[2]) or why or ["look at the job's page"])[-1]
        told = f"ended the job as {ended[1].lower()}: {last}"
    elif LATE_WORKER.search(text):
        told = "waited in vain for a worker to connect: look at the worker pool, and whether it can start `python`"
    elif panic is not None:
        told = f"failed by an error of its own: {panic[1].strip()}; {GO_ON}"
    elif GONE.search(text):
        told = f"can't be reached: it has ended, or its address is wrong; {GO_ON} when it is there"
    elif raised and "\n" in text:
        told = f"failed: {raised[-1].partition(' [while running ')[0]}"
    else:
        told = f"failed: {next((line.strip() for line in text.splitlines() if line.strip(' >')), type(error).__name__)}"
    return RunError(f"the runner {runner} {told}")


def _subclasses(kind: type[TamisError]) -> list[type[TamisError]]:
    return [kind, *(below for direct in kind.__subclasses__() for below in _subclasses(direct))]
