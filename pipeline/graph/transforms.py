"""The two transforms that every pass is made of: process each shard, and combine what the shards return."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apache_beam as beam

from tamis.pipeline.graph import coder as _coder  # noqa: F401  (registers the record batch coder in workers too)

__all__ = ["CombineBytes", "ProcessShards"]


class _ProcessShard(beam.DoFn):
    """Calls the function with one task; all reading and writing happens inside it."""

    def __init__(self, process: Callable[[Any], bytes]):
        self._process = process

    def process(self, task: Any) -> Iterable[bytes]:
        """Yield what the shard returns."""
        yield self._process(task)


class ProcessShards(beam.PTransform):
    """Spread tasks over the workers and process each: PCollection of tasks to PCollection of bytes."""

    def __init__(self, process: Callable[[Any], bytes]):
        super().__init__()
        self._process = process

    def expand(self, tasks: beam.PCollection[Any]) -> beam.PCollection[bytes]:
        """Reshuffle the tasks (small: never text), then one `process()` a shard."""
        spread = tasks | "Spread" >> beam.Reshuffle()
        return spread | "ReadRunWrite" >> beam.ParDo(_ProcessShard(self._process)).with_output_types(bytes)


class _JoinBytes(beam.CombineFn):
    """An accumulator is a list of bytes not yet joined, folded when it has grown: joining one by one is quadratic."""

    FOLD = 256

    def __init__(self, combine: Callable[[Sequence[bytes]], bytes]):
        self._combine = combine

    def create_accumulator(self) -> list[bytes]:
        return []

    def add_input(self, accumulator: list[bytes], value: bytes) -> list[bytes]:
        accumulator.append(value)
        return [self._combine(accumulator)] if len(accumulator) >= self.FOLD else accumulator

    def merge_accumulators(self, accumulators: Iterable[list[bytes]]) -> list[bytes]:
        joined: list[bytes] = []
        for accumulator in accumulators:
            for value in accumulator:
                joined = self.add_input(joined, value)
        return joined

    def extract_output(self, accumulator: list[bytes]) -> bytes:
        return self._combine(accumulator) if accumulator else b""


class CombineBytes(beam.PTransform):
    """Join all bytes with an associative function: PCollection of bytes to a PCollection of one."""

    def __init__(self, combine: Callable[[Sequence[bytes]], bytes]):
        super().__init__()
        self._combine = combine

    def expand(self, values: beam.PCollection[bytes]) -> beam.PCollection[bytes]:
        """Combine globally."""
        joined = beam.CombineGlobally(_JoinBytes(self._combine)).with_output_types(bytes)
        return values | "Join" >> joined
