"""What a run is made of: passes over tasks, known before it starts, with the values that flow from one to the next.

A pass turns each of its tasks into bytes and joins these with an associative function. Its value can be an input of
later passes: their tasks may follow from it, and their work may need it. All reading and writing of files happens
inside `process`, which must be idempotent: an engine may call it again. Nothing here knows an engine.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

import pyarrow as pa

__all__ = [
    "Combine",
    "Done",
    "Exchange",
    "Graph",
    "Node",
    "Once",
    "Pass",
    "Process",
    "Spent",
    "TaskList",
    "Values",
    "concatenated",
    "fold_value",
    "folded",
    "pack_value",
    "unpack_value",
]

Combine: TypeAlias = Callable[[Sequence[bytes]], bytes]
"""Joins what tasks return; associative, and commutative up to what is read from the result."""

_HEADER = struct.Struct("<Qd")


class Spent(NamedTuple):
    """What a pass cost: its tasks, and their CPU-seconds together."""

    tasks: int = 0
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Values(Mapping[str, bytes]):
    """The values of earlier passes that a pass asked for.

    Attributes:
        content: pass to its value.
        spent: what the passes cost that it asked for or comes after.
    """

    content: Mapping[str, bytes] = field(default_factory=dict)
    spent: Mapping[str, Spent] = field(default_factory=dict)

    def __getitem__(self, name: str) -> bytes:
        return self.content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


class Done(NamedTuple):
    """What a task returns.

    Attributes:
        value: joined with those of the other tasks.
        counters: for the engine's own console: `step: event` to number.
        reused: whether an earlier run had done it, or all of it that costs: scores that are only decided about anew.
        damaged: sentences about damaged files that were made again; engines fill them in.
    """

    value: bytes = b""
    counters: Mapping[str, int] = {}
    reused: bool = False
    damaged: tuple[str, ...] = ()


class Process(Protocol):
    """The work of a pass on one task; picklable and idempotent."""

    def __call__(self, task: Any, values: Values, /) -> bytes | Done:
        """Do it; the bytes are joined with those of the other tasks."""
        ...


TaskList: TypeAlias = Callable[[Values], Iterable[Any]]
"""From the values of earlier passes to the tasks; picklable, deterministic."""


class Once:
    """The task list of a pass that is done once: one task, None."""

    def __call__(self, values: Values) -> Iterable[Any]:
        """Return the task."""
        del values
        return (None,)


def concatenated(parts: Sequence[bytes]) -> bytes:
    """Join values by writing them one after another: lines, say, in any order."""
    return b"".join(parts)


@dataclass(frozen=True)
class Pass:
    """One pass.

    Attributes:
        name: unique in its graph; what progress and an engine's console show.
        process: the work on one task.
        tasks: the tasks, from the values of `inputs`.
        combine: joins the tasks' values; without any task, the value is empty.
        inputs: passes whose values `tasks` and `process` need.
        after: passes that must be over before, whose values aren't needed.
        step: label of the step that it belongs to, if any.
        small: touches little data: not worth another process.
        parts: passes that carry it out together with it; what they cost is told as its own.
    """

    name: str
    process: Process
    tasks: TaskList = field(default_factory=Once)
    combine: Combine = concatenated
    inputs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    step: str = ""
    small: bool = False
    parts: tuple[str, ...] = ()


class Send(Protocol):
    """Cuts a task's rows into partitions."""

    def __call__(self, task: Any, partitions: int, values: Values, /) -> Sequence[pa.RecordBatch]:
        """Return one batch a partition."""
        ...


class Match(Protocol):
    """Looks at one partition's rows of all tasks."""

    def __call__(self, batches: Sequence[pa.RecordBatch], values: Values, /) -> Sequence[pa.RecordBatch]:
        """Take a batch a task, in the tasks' order; return a batch a task."""
        ...


class Receive(Protocol):
    """Takes what all partitions have for a task."""

    def __call__(self, task: Any, batches: Sequence[pa.RecordBatch], values: Values, /) -> bytes | Done:
        """Take a batch a partition, in order."""
        ...


@dataclass(frozen=True)
class Exchange:
    """Rows that move between shards: from each task to partitions, and from there back to each task.

    An engine carries them in files or through a shuffle; both give the same batches in the same order.

    Attributes:
        name: unique in its graph.
        tasks: of sending and receiving; a task's `index` is its position among them.
        partitions: how many, from the values.
        send: a task's batches of schema `sent`, one a partition.
        match: a partition's answer: batches of schema `returned`, one a task.
        receive: what a task makes of the answers.
        sent: schema of what is sent; small fixed-width columns.
        returned: schema of the answers.
        folder: for the files that carry them.
        inputs: passes whose values all of this may need.
        after: passes that must be over before.
        step: label of the step that it belongs to.
        combine: joins what `receive` returns.
    """

    name: str
    tasks: TaskList
    partitions: Callable[[Values], int]
    send: Send
    match: Match
    receive: Receive
    sent: pa.Schema
    returned: pa.Schema
    folder: str
    inputs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    step: str = ""
    combine: Combine = concatenated
    small: bool = False


Node: TypeAlias = Pass | Exchange


@dataclass(frozen=True)
class Graph:
    """Passes in an order in which each comes after those that it names.

    Raises:
        ValueError: if two have one name, or one names a pass that doesn't come before it.
    """

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        known: set[str] = set()
        for node in self.nodes:
            missing = [name for name in (*node.inputs, *node.after) if name not in known]
            if missing or node.name in known:
                told = f"comes before {missing[0]!r}, which it needs" if missing else "is there twice"
                msg = f"the pass {node.name!r} {told}"
                raise ValueError(msg)
            known.add(node.name)


def pack_value(value: bytes, spent: Spent) -> bytes:
    """Return a value with what it cost, as engines pass it on."""
    return _HEADER.pack(*spent) + value


def unpack_value(packed: bytes) -> tuple[bytes, Spent]:
    """Return what `pack_value` packed; an empty value that cost nothing for no bytes at all."""
    if not packed:
        return b"", Spent()
    return packed[_HEADER.size :], Spent(*_HEADER.unpack_from(packed))


FOLD = 256
"""Values held before they are joined."""


def fold_value(combine: Combine, levels: list[list[bytes]], value: bytes) -> None:
    """Add a packed value to those held, in levels: so many of one level are joined to one of the next.

    So each byte is copied once a level: joining all that came so far with the next few would be quadratic.

    Args:
        combine: of the pass.
        levels: changed in place; flattened, what `join_values` takes.
        value: packed.
    """
    for level in levels:
        level.append(value)
        if len(level) < FOLD:
            return
        value = join_values(combine, level)
        level.clear()
    levels.append([value])


def folded(combine: Combine, levels: Sequence[Sequence[bytes]]) -> bytes:
    """Join all that `fold_value` holds, in the order in which it came."""
    return join_values(combine, [value for level in reversed(levels) for value in level])


def join_values(combine: Combine, parts: Sequence[bytes]) -> bytes:
    """Join packed values."""
    unpacked = [unpack_value(part) for part in parts]
    spent = Spent(sum(s.tasks for _, s in unpacked), sum(s.cpu_seconds for _, s in unpacked))
    return pack_value(combine([value for value, _ in unpacked]) if unpacked else b"", spent)
