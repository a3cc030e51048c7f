"""How a worker elsewhere tells the driver what went wrong: by a small file, as runners report tracebacks at best."""

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tamis.pipeline.graph.work import shown_task
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import DamagedError, RunError, TamisError

__all__ = ["Failures"]


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


def _subclasses(kind: type[TamisError]) -> list[type[TamisError]]:
    return [kind, *(below for direct in kind.__subclasses__() for below in _subclasses(direct))]
