"""What earlier runs have seen: the index that a step of duplicates leaves in its run's folder, and takes from others.

An index is a folder of Parquet files with an `index.json` that names them in order, with rows and SHA-256 each, and
says by which settings they were made. What a part holds is the step's affair; where one document points to another, it
is by the part's position and the document's `row`, `part << 32 | row`. Runs read an index as further tasks of their
exchanges, after their shards.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.pipeline.graph.passes import Values
from tamis.pipeline.passes.stage import READ, Stage, stored_shards
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.place import Shard
from tamis.schemas.errors import ConfigError, InputError, ModelError

__all__ = [
    "INDEX_FORMAT",
    "INDEX_LISTING",
    "EarlierPart",
    "EveryPart",
    "IndexOptions",
    "IndexPart",
    "Indexes",
    "SeenIndex",
    "every_part",
    "find_index",
    "has_index",
    "index_problems",
    "take_over",
    "taken_over",
]

Indexes: TypeAlias = tuple[tuple[str, str], ...]
"""Folders of indexes, with the SHA-256 of their listings."""
INDEX_FOLDER = "index"
"""Folder of a run that its steps' indexes lie in, each in one that is called like its step."""
INDEX_LISTING = "index.json"
"""The file of an index that names its parts."""
_TAKEN_OVER = "taken-over"
"""In a run's folder of indexes: a later run has them in its own, and they were deleted."""
INDEX_FORMAT = 1
"""Of the listing."""


class IndexPart(NamedTuple):
    """A file of an index.

    Attributes:
        name: in the index's folder.
        rows: how many.
        bytes: its size.
        sha256: of its content.
    """

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SeenIndex:
    """What some runs have seen, on disk.

    Attributes:
        folder: where it lies.
        verb: of the step that left it, such as exact_dedup.
        settings: by which it was made; a run with others can't use it.
        documents: how many documents its rows stand for.
        parts: its files, in order.
        sha256: of its listing, and so of all that it holds.
    """

    folder: str
    verb: str
    settings: Mapping[str, Any]
    documents: int
    parts: tuple[IndexPart, ...]
    sha256: str

    @classmethod
    def open(cls, folder: str) -> "SeenIndex":
        """Read the listing of an index.

        Raises:
            ModelError: if there is none, or it isn't one of this program.
        """
        path = filesystem.join(folder, INDEX_LISTING)
        try:
            with filesystem.open_binary(path) as stream:
                content = stream.read()
        except (InputError, OSError):
            msg = f"{folder} holds no index: there is no {INDEX_LISTING} in it"
            raise ModelError(msg) from None
        try:
            told = json.loads(content)
            parts = tuple(IndexPart(**part) for part in told["parts"])
            found = cls(
                folder, told["verb"], told["settings"], told["documents"], parts, hashlib.sha256(content).hexdigest()
            )
            known = told["format"] == INDEX_FORMAT
        except (ValueError, KeyError, TypeError):
            msg = f"{path} isn't the listing of an index"
            raise ModelError(msg) from None
        if not known:
            msg = f"{path} is of format {told['format']!r}, and this program reads format {INDEX_FORMAT}"
            raise ModelError(msg)
        return found

    def path(self, part: IndexPart) -> str:
        """Return where a part lies."""
        return filesystem.join(self.folder, part.name)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows in memory, in order.

        Args:
            columns: which; all if absent.

        Raises:
            ModelError: if a part is missing or broken.
        """
        tables = [_read(self.path(part), columns) for part in self.parts]
        return pa.concat_tables(tables) if tables else pa.table({})


def take_over(output: str) -> None:
    """Delete the indexes of a run that a later one has in its own, and leave word of it."""
    folder = filesystem.join(output, INDEX_FOLDER)
    if not filesystem.exists(folder):
        return
    with filesystem.write_atomically(filesystem.join(folder, _TAKEN_OVER)) as stream:
        stream.write(b"A later run has these indexes in its own.\n")
    filesystem.remove_below(folder, keep=(_TAKEN_OVER,))


def taken_over(output: str) -> bool:
    """Return whether the indexes of a run were deleted, since a later one has them in its own."""
    return filesystem.exists(filesystem.join(output, INDEX_FOLDER, _TAKEN_OVER))


def index_problems(output: str, label: str, sha256: str) -> Iterator[str]:
    """Yield what is wrong with the index that a step of a run left, a sentence each; nothing if it was deleted.

    Args:
        output: the run's folder.
        label: of the step.
        sha256: of the listing, as it was left.
    """
    inside = f"{INDEX_FOLDER}/{label}"
    folder = filesystem.join(output, inside)
    if not has_index(output, label):
        return
    try:
        index = SeenIndex.open(folder)
    except ModelError:
        yield f"{inside}/{INDEX_LISTING} was changed: it isn't the listing of an index"
        return
    if index.sha256 != sha256:
        yield f"{inside}/{INDEX_LISTING} was changed: its SHA-256 is {index.sha256}, recorded is {sha256}"
        return
    for part in index.parts:
        path = index.path(part)
        try:
            if not filesystem.exists(path):
                yield f"{inside}/{part.name} is missing"
            elif (found := filesystem.sha256(path)) != part.sha256:
                yield f"{inside}/{part.name} was changed: its SHA-256 is {found}, recorded is {part.sha256}"
        except (InputError, OSError) as error:
            yield f"{inside}/{part.name} can't be read: {str(error).strip().partition(chr(10))[0]}"


def has_index(output: str, label: str) -> bool:
    """Return whether the index that a step of a run left is there."""
    return filesystem.exists(filesystem.join(output, INDEX_FOLDER, label, INDEX_LISTING))


def find_index(reference: str, label: str) -> SeenIndex:
    """Find the index that a reference means: its own folder, or a run's whose step of that label left one.

    Raises:
        ModelError: if there is none.
    """
    inside = filesystem.join(reference, INDEX_FOLDER, label)
    if filesystem.exists(filesystem.join(inside, INDEX_LISTING)):
        return SeenIndex.open(inside)
    if filesystem.exists(filesystem.join(reference, INDEX_LISTING)):
        return SeenIndex.open(reference)
    if taken_over(reference):
        msg = f"{reference} has its index no longer, for a later run has it in its own: `watch.indexes: all` keeps all"
        raise ModelError(msg)
    msg = f"{reference} is neither an index nor a run with one of {label}: runs leave one with `write_index: true`"
    raise ModelError(msg)


def _read(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a part.

    Raises:
        ModelError: if it is missing or broken.
    """
    try:
        with filesystem.open_binary(path) as stream:
            return pq.read_table(stream, columns=None if columns is None else list(columns))
    except (InputError, OSError, pa.ArrowException) as error:
        msg = f"{path}, a part of an index, can't be read: {str(error).splitlines()[0]}"
        raise ModelError(msg) from None


@dataclass(frozen=True)
class IndexOptions:
    """What a step does with indexes.

    Attributes:
        read: those that it takes.
        settings: by which it makes its own, see `SeenIndex`.
        folder: where it leaves its own; None if it leaves none.
    """

    read: Indexes = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None

    @classmethod
    def of(cls, stage: Stage, output: str, settings: Mapping[str, Any], *, write: bool) -> "IndexOptions":
        """Return what a step of a run does: it reads what its models `index.0`, `index.1` and so on name.

        Args:
            stage: the step in the run.
            output: the run's folder.
            settings: see `SeenIndex`.
            write: whether it leaves an index.

        Raises:
            ConfigError: if it would overwrite one that it reads.
        """
        named = sorted((option for option in stage.models if option.startswith("index.")), key=_number)
        folders = [str(stage.models[option]) for option in named]
        folder = filesystem.join(output, INDEX_FOLDER, stage.label) if write else None
        if folder in folders:
            msg = (
                f"step {stage.label}: index: {folder} is where this run leaves its own: give the run another folder "
                "with --output"
            )
            raise ConfigError(msg)
        return cls(tuple((one, SeenIndex.open(one).sha256) for one in folders), settings, folder)


def _number(option: str) -> int:
    return int(option.partition(".")[2])


@dataclass(frozen=True)
class EarlierPart(Shard):
    """A part of an index, as a task beside the shards; `text_bytes` is its size.

    Attributes:
        sha256: of the file.
        group: number of the index among those that the step takes, from 1 on.
        base: task index of the index's first part.
    """

    sha256: str = ""
    group: int = 0
    base: int = 0

    def __str__(self) -> str:
        return f"index: {self.path}"

    def check(self) -> None:
        """Hold the file to what its listing says.

        Raises:
            ModelError: if it is another.
        """
        try:
            same = filesystem.sha256(self.path) == self.sha256
        except (InputError, OSError):
            same = False
        if not same:
            msg = f"{self.path} isn't what the index's listing says: it was changed, or is lost or cut off"
            raise ModelError(msg)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of all rows.

        Raises:
            ModelError: if it can't be read.
        """
        table = _read(self.path, columns)
        return table.combine_chunks()

    def own(self, column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
        """Return the numbers of the part's documents, ascending, from its column `row`, by this run's tasks."""
        return np.asarray(column.to_numpy(), np.uint64) + np.uint64(self.index << 32)

    def numbers(self, column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
        """Return the numbers that a column of the index holds, by this run's tasks."""
        return np.asarray(column.to_numpy(), np.uint64) + np.uint64(self.base << 32)


@functools.lru_cache(maxsize=8)
def _every(value: bytes, indexes: Indexes) -> tuple[Shard, ...]:
    shards = stored_shards(value)
    found: list[Shard] = list(shards)
    corpus = shards[0].corpus if shards else ""
    for group, (folder, sha256) in enumerate(indexes, start=1):
        index, base = SeenIndex.open(folder), len(found)
        if index.sha256 != sha256:
            msg = f"the index {folder} was changed after the run began: run the same command again"
            raise ModelError(msg)
        for part in index.parts:
            number = len(found)
            key = f"{part.sha256[:24]}-{number:06d}"
            path = index.path(part)
            found.append(
                EarlierPart(number, "", key, corpus, part.rows, part.bytes, 1, path, 0, part.sha256, group, base)
            )
    return tuple(found)


def every_part(values: Values, indexes: Indexes) -> tuple[Shard, ...]:
    """Return the stored shards, then the parts of some indexes."""
    return _every(values[READ], indexes)


@dataclass(frozen=True)
class EveryPart:
    """The task list of a pass over all stored shards and the parts of some indexes.

    Attributes:
        indexes: the indexes.
    """

    indexes: Indexes = ()

    def __call__(self, values: Values) -> Iterable[Shard]:
        """Return the tasks."""
        return every_part(values, self.indexes)
