"""A graph of passes as one Beam pipeline; values are side inputs, which are the barriers between passes.

On Beam's local runner a pass is one transform that works through its tasks in this process or hands them to the pool of
worker processes; on every other runner its tasks are spread over the workers, and exchanges go through a shuffle. Both
give the same bytes.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

import apache_beam as beam
import cloudpickle
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions

from tamis.pipeline.graph import coder as _coder  # noqa: F401  (registers the record batch coder in workers too)
from tamis.pipeline.graph.failures import Failures
from tamis.pipeline.graph.local import local_run, values_of
from tamis.pipeline.graph.passes import (
    Combine,
    Done,
    Exchange,
    Graph,
    Node,
    Pass,
    Spent,
    fold_value,
    folded,
    pack_value,
)
from tamis.pipeline.graph.work import cpu_seconds, do_task
from tamis.pipeline.storage import filesystem

__all__ = ["LocalOptions", "LocalPasses", "SpreadPasses", "WriteValue"]

_View = TypeVar("_View", bound=PipelineOptions)

NAMESPACE = "tamis"
"""Of the counters: `step: event`, such as `heuristics: rejected by gopher_quality.min_word_count`."""


def _count(name: str, number: int) -> None:
    Metrics.counter(NAMESPACE, name).inc(number)


def _label(number: int, name: str) -> str:
    # A slash would nest transforms.
    return f"{number:02d} {name}".replace("/", "|")


def start() -> beam.PTransform:
    """Return what begins a pass: one element. No task list: `Create` embeds what it creates in the graph."""
    return beam.Create([b""], reshuffle=False).with_output_types(bytes)


class _Shown:
    """A transform's display data: what an engine's console shows of a pass."""

    node: Any

    def display_data(self) -> dict[str, Any]:
        """Return pass and step."""
        return {"pass": self.node.name, "step": self.node.step or "run"}


class _LocalPasses(beam.DoFn):
    """Carries out the passes of one step, one after the other."""

    def __init__(self, nodes: Sequence[Pass], key: str):
        self._nodes = tuple(nodes)
        self._key = key

    def display_data(self) -> dict[str, Any]:
        """Return passes and step."""
        return {"passes": ", ".join(node.name for node in self._nodes), "step": self._nodes[0].step or "run"}

    def process(self, element: bytes) -> Iterable[bytes]:
        run = local_run(self._key)
        for node in self._nodes:
            run.run(node, _count)
        yield element


class LocalPasses(beam.PTransform):
    """Passes on the local runner, as a chain with a transform for each step: the runner fuses it into one stage.

    Values stay with the `LocalRun`, so nothing is encoded on its way from pass to pass.

    Args:
        nodes: the graph; exchanges must have been turned into passes (`exchange.through_files`).
        key: of the `LocalRun`.
    """

    def __init__(self, nodes: Sequence[Pass], key: str):
        super().__init__()
        self._nodes = nodes
        self._key = key

    def expand(self, begin: beam.pvalue.PBegin) -> Any:
        """Chain the steps."""
        chain = begin | "start" >> start()
        groups = itertools.groupby(self._nodes, key=lambda node: node.step or "run")
        for number, (step, nodes) in enumerate(groups):
            chain |= _label(number, step) >> beam.ParDo(_LocalPasses(list(nodes), self._key)).with_output_types(bytes)
        return chain


class LocalOptions(PipelineOptions):
    """Beam's options, each view of which is made once: a pipeline asks for 175 views, which is a parser each time.

    Views are of the same values anyway.
    """

    def view_as(self, cls: type[_View]) -> _View:
        """Return these options as those of a class."""
        views: dict[type[_View], _View] = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]


class _Tasks(_Shown, beam.DoFn):
    """Lists the tasks of a pass."""

    def __init__(self, node: Node, names: Sequence[str], failures: Failures):
        self.node = node
        self._names = tuple(names)
        self._failures = failures

    def process(self, _: bytes, *packed: Any) -> Iterable[bytes]:
        with self._failures.told(self.node.name, "its tasks"):
            for task in self.node.tasks(values_of(self.node, dict(zip(self._names, packed, strict=True)))):
                yield cloudpickle.dumps(task)


class _ProcessTask(_Shown, beam.DoFn):
    """Processes one task."""

    def __init__(self, node: Pass, names: Sequence[str], failures: Failures):
        self.node = node
        self._names = tuple(names)
        self._failures = failures

    def process(self, task: bytes, *packed: Any) -> Iterable[bytes]:
        given = cloudpickle.loads(task)
        with self._failures.told(self.node.name, given):
            values = values_of(self.node, dict(zip(self._names, packed, strict=True)))
            done, spent = do_task(self.node.process, given, values)
        yield _packed(done, spent)


def _packed(done: Done, spent: Spent) -> bytes:
    for name, number in done.counters.items():
        _count(name, number)
    return pack_value(done.value, spent)


class _Join(beam.CombineFn):
    """An accumulator holds packed values in levels, see `fold_value`."""

    def __init__(self, combine: Combine):
        self._combine = combine

    def create_accumulator(self) -> list[list[bytes]]:
        return []

    def add_input(self, accumulator: list[list[bytes]], value: bytes) -> list[list[bytes]]:
        fold_value(self._combine, accumulator, value)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[list[bytes]]]) -> list[list[bytes]]:
        merged: list[list[bytes]] = []
        for accumulator in accumulators:
            for level in reversed(accumulator):
                for value in level:
                    fold_value(self._combine, merged, value)
        return merged

    def extract_output(self, accumulator: list[list[bytes]]) -> bytes:
        return folded(self._combine, accumulator)


Row: TypeAlias = tuple[int, bytes, float]
"""What an exchange moves: the sender's position, a batch, and the CPU-seconds spent on it since the last one."""


def _ipc(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _batch(data: bytes) -> pa.RecordBatch:
    with pa.ipc.open_stream(data) as reader:
        return reader.read_next_batch()


class _Send(_Shown, beam.DoFn):
    """Cuts a task's rows: task to (partition, row), a row being of the task's index."""

    def __init__(self, node: Exchange, names: Sequence[str], failures: Failures):
        self.node = node
        self._names = tuple(names)
        self._failures = failures

    def process(self, task: bytes, *packed: Any) -> Iterable[tuple[int, Row]]:
        began = cpu_seconds()
        given = cloudpickle.loads(task)
        with self._failures.told(self.node.name, given):
            values = values_of(self.node, dict(zip(self._names, packed, strict=True)))
            batches = self.node.send(given, self.node.partitions(values), values)
        for partition, batch in enumerate(batches):
            data = _ipc(batch)
            yield partition, (given.index, data, cpu_seconds() - began)
            began = cpu_seconds()


class _Match(_Shown, beam.DoFn):
    """Looks at a partition: (partition, rows of tasks) to (task's index, row), a row being of the partition."""

    def __init__(self, node: Exchange, names: Sequence[str], failures: Failures):
        self.node = node
        self._names = tuple(names)
        self._failures = failures

    def process(self, element: tuple[int, Iterable[Row]], *packed: Any) -> Iterable[tuple[int, Row]]:
        began = cpu_seconds()
        partition, rows = element
        sent = sorted(rows)
        before = sum(seconds for _, _, seconds in sent)
        with self._failures.told(self.node.name, f"partition {partition}"):
            values = values_of(self.node, dict(zip(self._names, packed, strict=True)))
            answers = self.node.match([_batch(data) for _, data, _ in sent], values)
        for index, batch in enumerate(answers):
            data = _ipc(batch)
            yield index, (partition, data, before + cpu_seconds() - began)
            before, began = 0.0, cpu_seconds()


class _Receive(_Shown, beam.DoFn):
    """Gives a task its answers."""

    def __init__(self, node: Exchange, names: Sequence[str], failures: Failures):
        self.node = node
        self._names = tuple(names)
        self._failures = failures

    def process(self, element: tuple[int, dict[str, Iterable[Any]]], *packed: Any) -> Iterable[bytes]:
        _, joined = element
        (task,) = joined["task"]
        given = cloudpickle.loads(task)
        with self._failures.told(self.node.name, given):
            values = values_of(self.node, dict(zip(self._names, packed, strict=True)))
            rows = sorted(joined["rows"])
            batches = [_batch(data) for _, data, _ in rows]
            done, spent = do_task(lambda task, values: self.node.receive(task, batches, values), given, values)
        before = sum(seconds for _, _, seconds in rows)
        yield _packed(done, spent._replace(cpu_seconds=before + spent.cpu_seconds))


class SpreadPasses(beam.PTransform):
    """Passes on a runner with workers of its own: from the pipeline's beginning to pass name -> packed value.

    Args:
        graph: the passes.
        failures: where workers leave word of what went wrong.
    """

    def __init__(self, graph: Graph, failures: Failures):
        super().__init__()
        self._graph = graph
        self._failures = failures

    def expand(self, begin: beam.pvalue.PBegin) -> Any:
        """Chain the passes by side inputs; tasks are spread, and never embedded in the graph."""
        values: dict[str, beam.PCollection[bytes]] = {}
        for number, node in enumerate(self._graph.nodes):
            names = tuple(dict.fromkeys((*node.inputs, *node.after)))
            sides = [beam.pvalue.AsSingleton(values[name]) for name in names]
            label = _label(number, node.name)
            listed = beam.ParDo(_Tasks(node, names, self._failures), *sides).with_output_types(bytes)
            # Each has a start of its own: siblings of one start may be fused, though one waits for the other's value.
            tasks = begin | f"{label}: start" >> start() | f"{label}: tasks" >> listed
            spread = tasks | f"{label}: spread" >> beam.Reshuffle()
            if isinstance(node, Exchange):
                done = self._exchange(label, node, names, sides, tasks, spread)
            else:
                work = beam.ParDo(_ProcessTask(node, names, self._failures), *sides).with_output_types(bytes)
                done = spread | label >> work
            joined = beam.CombineGlobally(_Join(node.combine)).with_output_types(bytes)
            values[node.name] = done | f"{label}: join" >> joined
        return values

    def _exchange(
        self,
        label: str,
        node: Exchange,
        names: Sequence[str],
        sides: Sequence[Any],
        tasks: beam.PCollection[bytes],
        spread: beam.PCollection[bytes],
    ) -> beam.PCollection[bytes]:
        pairs = tuple[int, Row]
        send = beam.ParDo(_Send(node, names, self._failures), *sides).with_output_types(pairs)
        match = beam.ParDo(_Match(node, names, self._failures), *sides).with_output_types(pairs)
        receive = beam.ParDo(_Receive(node, names, self._failures), *sides).with_output_types(bytes)
        answers = (
            spread | f"{label}: send" >> send | f"{label}: partitions" >> beam.GroupByKey() | f"{label}: match" >> match
        )
        named = tasks | f"{label}: index" >> beam.Map(_indexed).with_output_types(tuple[int, bytes])
        together = {"rows": answers, "task": named} | f"{label}: answers" >> beam.CoGroupByKey()
        return together | label >> receive


def _indexed(task: bytes) -> tuple[int, bytes]:
    return cloudpickle.loads(task).index, task


class WriteValue:
    """Writes a pass's packed value where the driver reads it."""

    def __init__(self, path: str):
        self._path = path

    def __call__(self, value: bytes) -> None:
        """Write it."""
        with filesystem.write_atomically(self._path) as stream:
            stream.write(value)
