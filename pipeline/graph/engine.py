"""Runs one pass over many shards on Beam: create, spread, process each, combine what they return.

All of a run's work goes through `Engine.map` and `Engine.reduce`. A shard's work reads and writes files inside one
`process()`, so that text never crosses a shuffle, a retry overwrites the same bytes, and every runner that keeps Beam's
basic promises gives the same result. What comes back to the driver is small: bytes that an associative function joins.
"""

import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError, RunError, TamisError

__all__ = ["Engine", "Progress", "debugging", "silence_beam"]

Process = Callable[[Any], bytes]
Combine = Callable[[Sequence[bytes]], bytes]

LOCAL = "FnApiRunner"
# Dask's runner drops outputs without a word, and the others need what a pass doesn't offer.
REFUSED = {
    "DaskRunner": "it silently drops outputs of combines and tagged outputs",
    "DirectRunner": "it picks another engine when the network allows a download; use FnApiRunner",
    "InteractiveRunner": "it is for notebooks",
}
TRIES = 3
WORKER_LOG = "workers.log"
PORTABLE = ("DataflowRunner", "FlinkRunner", "SparkRunner", "PortableRunner", "PrismRunner", "BundleBasedDirectRunner")
RECOGNISED = (LOCAL, *PORTABLE)


class Progress(Protocol):
    """Told how far a pass is; called from a thread of the driver."""

    def start(self, label: str, total: int) -> None:
        """A pass of `total` shards begins."""

    def update(self, done: int) -> None:
        """So many shards of the current pass are done."""

    def finish(self) -> None:
        """The current pass is over."""


def silence_beam() -> None:
    """Keep Beam's notes about absent cloud extras out of a user's terminal."""
    logging.getLogger().addFilter(_worth_telling)
    # What went wrong is told in one sentence; TAMIS_DEBUG=1 shows the rest.
    logging.getLogger("apache_beam").setLevel(logging.WARNING if debugging() else logging.CRITICAL)


def _worth_telling(record: logging.LogRecord) -> bool:
    return "apitools not found" not in record.getMessage()


def _lines(parts: Sequence[bytes]) -> bytes:
    return b"".join(parts)


@dataclass
class Engine:
    """Where passes run.

    Attributes:
        workers: local worker processes; 1 runs in this process.
        runner: name of a Beam runner; the local one unless said.
        options: further Beam options, as on its command line.
        scratch: a folder that driver and workers see, for results, progress and failures.
        progress: told how far a pass is.
    """

    scratch: str
    workers: int = 1
    runner: str = LOCAL
    options: Sequence[str] = ()
    progress: Progress | None = None
    _count: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.runner in REFUSED:
            msg = f"runner {self.runner} can't keep this program's promises: {REFUSED[self.runner]}"
            raise ConfigError(msg)
        if self.runner not in RECOGNISED:
            msg = f"unknown runner {self.runner!r}; known: {', '.join(RECOGNISED)}"
            raise ConfigError(msg)
        if self.workers < 1:
            msg = f"--workers must be at least 1, got {self.workers}"
            raise ConfigError(msg)

    def map(self, label: str, tasks: Sequence[Any], process: Callable[[Any], Any], *, small: bool = False) -> list[Any]:
        """Apply `process` to each task and return what it returned (JSON values), in no particular order.

        Args:
            label: what the pass is called in logs and progress.
            tasks: picklable, each the work of one shard.
            process: picklable; must be idempotent, since a runner may call it again.
            small: the pass touches little data: on the local runner it isn't worth starting worker processes.
        """
        joined = self.reduce(label, tasks, _JsonLine(process), _lines, small=small)
        return [json.loads(line) for line in joined.splitlines()] if joined else []

    def reduce(
        self, label: str, tasks: Sequence[Any], process: Process, combine: Combine, *, small: bool = False
    ) -> bytes:
        """Apply `process` to each task and join the bytes that it returns with `combine`.

        Args:
            label: what the pass is called in logs and progress.
            tasks: picklable, each the work of one shard.
            process: picklable and idempotent; returns bytes.
            combine: associative and commutative up to what the caller reads from the result.
            small: see `map`.

        Returns:
            The combined bytes; empty if there are no tasks.

        Raises:
            TamisError: what a worker raised, as the sentence that it raised.
            RunError: any other failure, with the name of the pass and the last line of the cause.
        """
        if not tasks:
            return b""
        self._count += 1
        name = f"{os.getpid()}-{self._count:03d}"
        result = filesystem.join(self.scratch, f"result-{name}")
        failure = filesystem.join(self.scratch, f"failure-{name}.json")
        ticks = filesystem.join(self.scratch, f"ticks-{name}") if filesystem.is_local(self.scratch) else None
        filesystem.make_dirs(self.scratch)
        try:
            with self._progress(label, len(tasks), ticks):
                self._run(label, tasks, _Guarded(process, failure, ticks), combine, result, small=small)
            filesystem.remove(filesystem.join(self.scratch, WORKER_LOG))
            with filesystem.open_binary(result) as stream:
                return stream.read()
        except Exception as error:
            raise self._reported(label, failure, error) from error
        finally:
            for path in (result, failure, ticks):
                if path is not None and filesystem.exists(path):
                    filesystem.remove(path)

    def _run(
        self, label: str, tasks: Sequence[Any], process: Process, combine: Combine, result: str, *, small: bool
    ) -> None:
        silence_beam()
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        from tamis.pipeline.graph.transforms import CombineBytes, ProcessShards

        parallel = min(self.workers, len(tasks)) if self.runner == LOCAL and not small else 1
        arguments = [f"--runner={self.runner}", "--job_name=tamis-" + _slug(label), *self.options]
        if self.runner == LOCAL:
            mode = "multi_processing" if parallel > 1 else "in_memory"
            arguments += [f"--direct_num_workers={parallel}", f"--direct_running_mode={mode}"]
        quiet = _stderr_to(filesystem.join(self.scratch, WORKER_LOG)) if parallel > 1 else nullcontext()
        with quiet, _importable(), beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(list(tasks), reshuffle=False)
                | "Process" >> ProcessShards(process)
                | "Combine" >> CombineBytes(combine)
                | "Result" >> beam.Map(_WriteResult(result))
            )

    @contextmanager
    def _progress(self, label: str, total: int, ticks: str | None) -> Iterator[None]:
        if self.progress is None:
            yield
            return
        self.progress.start(label, total)
        stop = threading.Event()
        follower = None
        if ticks is not None:
            follower = threading.Thread(target=_follow, args=(Path(ticks), self.progress, stop), daemon=True)
            follower.start()
        try:
            yield
            self.progress.update(total)
        finally:
            stop.set()
            if follower is not None:
                follower.join()
            self.progress.finish()

    def _reported(self, label: str, failure: str, error: Exception) -> TamisError:
        if isinstance(error, TamisError) and not filesystem.exists(failure):
            return error
        if filesystem.exists(failure):
            with filesystem.open_binary(failure) as stream:
                cause = json.loads(stream.read())
            kind = next((k for k in _subclasses(TamisError) if k.__name__ == cause["kind"]), None)
            if kind is not None:
                return kind(cause["message"])
            return RunError(f"{label}: {cause['task']}: {cause['kind']}: {cause['message']}")
        last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        log = filesystem.join(self.scratch, WORKER_LOG)
        where = f"; workers wrote to {log}" if filesystem.exists(log) else ""
        return RunError(f"{label}: the runner {self.runner} failed: {last[0]}{where}")


def _subclasses(kind: type[TamisError]) -> list[type[TamisError]]:
    return [kind, *(below for direct in kind.__subclasses__() for below in _subclasses(direct))]


@dataclass(frozen=True)
class _JsonLine:
    """Turns the JSON value that `process` returns into one line of bytes."""

    process: Callable[[Any], Any]

    def __call__(self, task: Any) -> bytes:
        return json.dumps(self.process(task)).encode() + b"\n"


@dataclass(frozen=True)
class _WriteResult:
    """Writes the one combined value where the driver reads it."""

    path: str

    def __call__(self, value: bytes) -> None:
        with filesystem.write_atomically(self.path) as stream:
            stream.write(value)


@dataclass(frozen=True)
class _Guarded:
    """Retries passing faults of file systems, counts finished shards, and leaves word of what went wrong."""

    process: Process
    failure: str
    ticks: str | None

    def __call__(self, task: Any) -> bytes:
        for attempt in range(1, TRIES + 1):
            try:
                value = self.process(task)
            except OSError as error:
                if attempt == TRIES or isinstance(error, FileNotFoundError | PermissionError):
                    self._report(task, error)
                    raise
                time.sleep(0.2 * 4**attempt)
            except Exception as error:
                self._report(task, error)
                raise
            else:
                break
        if self.ticks is not None:
            with Path(self.ticks).open("ab") as stream:
                stream.write(b".")
        return value

    def _report(self, task: Any, error: Exception) -> None:
        cause = {
            "kind": type(error).__name__,
            "message": str(error) or traceback.format_exc().strip().splitlines()[-1],
            "task": str(task)[:300],
        }
        with filesystem.write_atomically(self.failure) as stream:
            stream.write(json.dumps(cause).encode())


def _follow(ticks: Path, progress: Progress, stop: threading.Event) -> None:
    while not stop.wait(0.2):
        if ticks.exists():
            progress.update(ticks.stat().st_size)


def debugging() -> bool:
    """Return whether TAMIS_DEBUG=1 asks for everything that is usually kept from the terminal."""
    return os.environ.get("TAMIS_DEBUG") == "1"


@contextmanager
def _stderr_to(path: str) -> Iterator[None]:
    """Send what worker processes write to stderr to a file: Beam's workers log a page each when they start.

    This process's own `sys.stderr` still reaches the terminal.
    """
    if debugging() or not filesystem.is_local(path):
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    before = sys.stderr
    with Path(filesystem.local_path(path)).open("ab") as log, os.fdopen(os.dup(terminal), "w", buffering=1) as mine:
        try:
            if before is sys.__stderr__:
                sys.stderr = mine
            os.dup2(log.fileno(), 2)
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            sys.stderr = before


@contextmanager
def _importable() -> Iterator[None]:
    """Let worker processes import what this one can: they start afresh, with the environment alone."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in sys.path if path))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _slug(label: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in label.lower()).strip("-") or "pass"
