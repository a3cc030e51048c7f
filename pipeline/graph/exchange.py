"""An exchange through files: each task writes one batch a partition, each partition one batch a task.

So memory is bounded by the rows of one partition, on any engine whose tasks see one file system. The other carrier is a
shuffle, see `tamis.pipeline.graph.beam`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tamis.pipeline.graph.passes import Done, Exchange, Pass, Values
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile, write_batches

__all__ = ["through_files"]


def through_files(exchange: Exchange) -> tuple[Pass, Pass, Pass]:
    """Return the three passes that carry an exchange out in files; the last has the exchange's name."""
    common: dict[str, Any] = {"inputs": exchange.inputs, "step": exchange.step, "small": exchange.small}
    send = f"{exchange.name}: send"
    match = f"{exchange.name}: match"
    return (
        Pass(send, _SendFile(exchange), exchange.tasks, after=exchange.after, **common),
        Pass(match, _MatchFile(exchange), _Partitions(exchange), after=(*exchange.after, send), **common),
        Pass(
            exchange.name,
            _ReceiveFile(exchange),
            exchange.tasks,
            exchange.combine,
            after=(*exchange.after, match),
            parts=(send, match),
            **common,
        ),
    )


def _sent(exchange: Exchange, index: int) -> str:
    return filesystem.join(exchange.folder, f"task-{index:06d}.arrow")


def _answered(exchange: Exchange, partition: int) -> str:
    return filesystem.join(exchange.folder, f"partition-{partition:05d}.arrow")


@dataclass(frozen=True)
class _Partitions:
    exchange: Exchange

    def __call__(self, values: Values) -> Iterable[int]:
        return range(self.exchange.partitions(values))


@dataclass(frozen=True)
class _SendFile:
    exchange: Exchange

    def __call__(self, task: Any, values: Values) -> bytes:
        exchange = self.exchange
        batches = exchange.send(task, exchange.partitions(values), values)
        write_batches(_sent(exchange, task.index), exchange.sent, batches)
        return b""


@dataclass(frozen=True)
class _MatchFile:
    exchange: Exchange

    def __call__(self, partition: int, values: Values) -> bytes:
        exchange = self.exchange
        batches: list[pa.RecordBatch] = []
        for task in exchange.tasks(values):
            with ColumnFile(_sent(exchange, task.index)) as file:
                batches.append(file[partition])
        write_batches(_answered(exchange, partition), exchange.returned, exchange.match(batches, values))
        return b""


@dataclass(frozen=True)
class _ReceiveFile:
    exchange: Exchange

    def __call__(self, task: Any, values: Values) -> bytes | Done:
        exchange = self.exchange
        batches: list[pa.RecordBatch] = []
        for partition in range(exchange.partitions(values)):
            with ColumnFile(_answered(exchange, partition)) as file:
                batches.append(file[task.index])
        return exchange.receive(task, batches, values)
