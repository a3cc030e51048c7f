"""Runs a graph of passes as one Beam pipeline, on the runner that the user named."""

import json
import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tamis.pipeline.graph.beam_services import import_beam
from tamis.pipeline.graph.dataflow import DATAFLOW, active, cancel, check_graph, ended_by_itself, submitted_job, waits
from tamis.pipeline.graph.exchange import through_files
from tamis.pipeline.graph.failures import Failures, cause
from tamis.pipeline.graph.followed import following
from tamis.pipeline.graph.local import LocalRun
from tamis.pipeline.graph.options import check_options
from tamis.pipeline.graph.passes import Exchange, Graph, Pass, Spent, Values, unpack_value
from tamis.pipeline.graph.pool import LocalPool
from tamis.pipeline.graph.progress import Progress
from tamis.pipeline.graph.quiet import plain_labels, silence_beam, silence_workers
from tamis.pipeline.graph.remote_job import LetGo, RemoteJob, find_job, forget_job, note_job
from tamis.pipeline.graph.servers import watched_servers
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.temporary import make_temporary
from tamis.schemas.errors import ConfigError, RunError, TamisError

__all__ = ["Engine"]

LOCAL = "FnApiRunner"
# Dask's runner drops outputs without a word, and the others need what a graph doesn't offer.
REFUSED = {
    "DaskRunner": "it silently drops outputs of combines and tagged outputs",
    "DirectRunner": "it picks another engine when the network allows a download; use FnApiRunner",
    "InteractiveRunner": "it is for notebooks",
}
PORTABLE = ("DataflowRunner", "FlinkRunner", "SparkRunner", "PortableRunner", "PrismRunner", "BundleBasedDirectRunner")
RECOGNISED = (LOCAL, *PORTABLE)


@dataclass
class Engine:
    """Where graphs run; a context manager, whose end ends the worker processes.

    Attributes:
        scratch: a folder that driver and workers see, for values, progress and failures.
        workers: local worker processes; 1 works in this process.
        runner: name of a Beam runner; the local one unless said.
        options: further Beam options, as on its command line.
        progress: told how far a run is.
        wait: whether a job on a service is followed to its end; otherwise it is let go once it is submitted.
        cancel_on_stop: whether a job on a service that is followed is cancelled when this process is told to stop.
        counters: what the engine counted in the last graph, by `step: event`, where the runner tells.
    """

    scratch: str
    workers: int = 1
    runner: str = LOCAL
    options: Sequence[str] = ()
    progress: Progress | None = None
    wait: bool = True
    cancel_on_stop: bool = False
    counters: dict[str, int] = field(default_factory=dict, init=False)
    _pool: LocalPool | None = field(default=None, init=False)

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
        if not self.wait and self.runner != DATAFLOW:
            msg = f"--no-wait lets go of a job on a service, and {self.runner} is none: it works for {DATAFLOW}"
            raise ConfigError(msg)
        if self.cancel_on_stop and (not self.wait or self.runner != DATAFLOW):
            why = "--no-wait lets it go" if not self.wait else f"{self.runner} is none: it works for {DATAFLOW}"
            msg = f"--cancel-on-stop ends a job on a service that is followed, and {why}"
            raise ConfigError(msg)
        check_options(self.runner, self.options)
        self.scratch = filesystem.absolute(self.scratch)

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def local(self) -> bool:
        """Whether passes run on this machine by our own pool."""
        return self.runner == LOCAL

    def close(self) -> None:
        """End the worker processes."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def prepare(self) -> None:
        """Get local workers under way, before Beam is brought: they share what this process has ready (`nursery`)."""
        pool = self._workers() if self.local else None
        if pool is not None:
            pool.prepare()

    def worker_pids(self) -> list[int]:
        """Return the process ids of the local worker processes that there are."""
        return [] if self._pool is None else self._pool.pids()

    def execute(
        self, graph: Graph, wanted: Sequence[str], *, name: str = "run", labels: Mapping[str, str] | None = None
    ) -> dict[str, tuple[bytes, Spent]]:
        """Carry out a graph as one pipeline.

        Args:
            graph: the passes.
            wanted: passes whose values are returned.
            name: what the job is about; its name on an engine begins so.
            labels: for engines that label jobs.

        Returns:
            Pass to its value and what it cost.

        Raises:
            TamisError: what a worker raised, as the sentence that it raised.
            RunError: any other failure, with its cause in a sentence.
            LetGo: when a job was submitted that nobody waits for.
        """
        # A process id isn't unique: in containers each driver is process 1. Services refuse a second job of one name.
        job = f"tamis-{_slug(name)}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"
        filesystem.make_dirs(self.scratch)
        return self._locally(graph, wanted, job) if self.local else self._elsewhere(graph, wanted, job, labels or {})

    def map(self, label: str, tasks: Sequence[Any], process: Callable[[Any], Any], *, small: bool = False) -> list[Any]:
        """Apply `process` to each task and return what it returned (JSON values), in no particular order.

        Args:
            label: what the pass is called in logs and progress.
            tasks: picklable.
            process: picklable; must be idempotent, since an engine may call it again.
            small: not worth starting worker processes for.
        """
        if not tasks:
            return []
        graph = Graph((Pass(label, _JsonLine(process), _Given(tuple(tasks)), small=small),))
        value, _ = self.execute(graph, [label], name=label)[label]
        return [json.loads(line) for line in value.splitlines()]

    def _locally(self, graph: Graph, wanted: Sequence[str], job: str) -> dict[str, tuple[bytes, Spent]]:
        import_beam()
        from tamis.pipeline.graph.beam import LocalPasses

        passes = [p for node in graph.nodes for p in (through_files(node) if isinstance(node, Exchange) else (node,))]
        run = LocalRun(self._workers(), self.progress)
        if self.progress is not None:
            self.progress.plan(len(passes))
        run.register(job)
        try:
            result = self._piped(job, lambda begin: begin | "passes" >> LocalPasses(passes, job))
            self.counters = _counters(result)
            return {name: unpack_value(run.values[name]) for name in wanted}
        except Exception as error:
            if run.interrupted:
                raise KeyboardInterrupt from None
            raise run.error or self._told(error) from error
        finally:
            run.forget(job)

    def _elsewhere(
        self, graph: Graph, wanted: Sequence[str], job: str, labels: Mapping[str, str]
    ) -> dict[str, tuple[bytes, Spent]]:
        import apache_beam as beam

        from tamis.pipeline.graph.beam import SpreadPasses, WriteValue

        failures = Failures(filesystem.join(self.scratch, f"{job}.failure.json"))
        paths = {name: filesystem.join(self.scratch, f"{job}.{i}.value") for i, name in enumerate(wanted)}

        def build(begin: Any) -> None:
            values = begin | "passes" >> SpreadPasses(graph, failures)
            for i, name in enumerate(wanted):
                _ = values[name] | f"value {i}" >> beam.Map(WriteValue(paths[name]))

        self._refuse_second()
        over = self.runner != DATAFLOW  # a service's workers go on writing when their driver ends
        try:
            result = self._piped(job, build, labels, failures.path)
            self.counters = _counters(result)
            found = {}
            for name, path in paths.items():
                with filesystem.open_binary(path) as stream:
                    found[name] = unpack_value(stream.read())
        except Exception as error:
            if isinstance(error, LetGo):
                raise
            over = self.runner != DATAFLOW or ended_by_itself(error)
            raise failures.first() or self._told(error) from error
        else:
            over = True
            return found
        finally:
            if over:
                forget_job(self.scratch)
                failures.clear()
                for path in paths.values():
                    filesystem.remove(path)

    def _refuse_second(self) -> None:
        """Refuse to start a job while one that nobody waited for still works in the folder."""
        earlier = find_job(self.scratch) if self.runner == DATAFLOW and waits(self.options) else None
        if earlier is None:
            return
        try:
            works = active(earlier, self.options)
        except Exception as error:
            raise self._told(error) from error
        if works:
            msg = f"the job {earlier.name} still works in this folder ({earlier.console}); `{earlier.cancel}` ends it"
            raise RunError(msg)

    def _piped(
        self, job: str, build: Callable[[Any], Any], labels: Mapping[str, str] | None = None, failure: str = ""
    ) -> Any:
        silence_beam()
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        from tamis.pipeline.graph.beam import LocalOptions

        silence_workers()
        arguments = [f"--runner={self.runner}", f"--job_name={job}", *self.options]
        if self.local:
            arguments += ["--direct_num_workers=1", "--direct_running_mode=in_memory"]
        if self.runner == DATAFLOW:
            arguments += [f"--labels={key}={value}" for key, value in (labels or {}).items()]
        try:
            options = (LocalOptions if self.local else PipelineOptions)(arguments)
            pipeline = beam.Pipeline(options=options)
        except ValueError as error:
            _, *reasons = (line.strip().rstrip(".") for line in str(error).strip().splitlines())
            msg = f"the runner {self.runner} refuses its options: {'; '.join(reasons) or error}"
            raise ConfigError(msg) from error
        # Beam deletes its folder in the end; if this process is killed, a later run knows by the name that it may.
        Path(pipeline.local_tempdir).rmdir()
        pipeline.local_tempdir = str(make_temporary())
        with plain_labels():
            build(pipeline)
        with watched_servers(self.runner):
            if self.runner == DATAFLOW:
                check_graph(pipeline.to_runner_api().ByteSize())
            try:
                result = pipeline.run()
            finally:  # in a notebook Beam leaves it
                shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)
            if self.runner != DATAFLOW:
                result.wait_until_finish()
                return result
            submitted = submitted_job(result, self.options, job, failure)
            self._follow(submitted)
            with following(submitted, partial(cancel, options=self.options) if self.cancel_on_stop else None):
                result.wait_until_finish()
        return result

    def _follow(self, job: RemoteJob) -> None:
        """Leave word of a job that was submitted, and let go of it where nobody waits."""
        if job.id:
            note_job(self.scratch, job)
            if self.progress is not None and self.wait:
                self.progress.note(f"submitted {job.name}: {job.console}")
        if not job.id or not self.wait:
            raise LetGo(job)

    def _workers(self) -> LocalPool | None:
        if self.workers == 1:
            return None
        if self._pool is None:
            local = filesystem.is_local(self.scratch)
            folder = Path(filesystem.local_path(self.scratch)) if local else make_temporary()
            note = self.progress.note if self.progress is not None else None
            self._pool = LocalPool(self.workers, folder, note)
        return self._pool

    def _told(self, error: Exception) -> TamisError:
        if isinstance(error, TamisError):
            return error
        return cause(self.runner, error)


def _counters(result: Any) -> dict[str, int]:
    try:
        found = result.metrics().query()["counters"]
    except (AttributeError, KeyError, NotImplementedError, ValueError):  # runners that keep none
        return {}
    totals: dict[str, int] = {}
    for counter in found:
        if counter.key.metric.namespace == "tamis":
            name = counter.key.metric.name
            totals[name] = totals.get(name, 0) + int(counter.result or 0)
    return totals


@dataclass(frozen=True)
class _Given:
    """Tasks that are at hand; only for small graphs of one's own, as they travel in the graph."""

    tasks: tuple[Any, ...]

    def __call__(self, values: Values) -> tuple[Any, ...]:
        del values
        return self.tasks


@dataclass(frozen=True)
class _JsonLine:
    """Turns the JSON value that `process` returns into one line of bytes."""

    process: Callable[[Any], Any]

    def __call__(self, task: Any, values: Values) -> bytes:
        del values
        return json.dumps(self.process(task)).encode() + b"\n"


def _slug(label: str) -> str:
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "-", plain).strip("-")[:24].strip("-") or "run"
