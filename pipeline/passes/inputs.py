"""What a run reads: the list of its files, made by the driver without opening one, and what workers find in each.

Workers digest every file, look at its beginning, and say in which parts it can be read; so a plan over many files is
made where the files are read, and a file that changed is known by its content.
"""

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from tamis.pipeline.formats.options import InputColumn, ReadOptions, Split, format_of
from tamis.pipeline.formats.reader import plan_splits
from tamis.pipeline.graph.passes import Done, Values
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.filesystem import FileInfo
from tamis.pipeline.storage.value_file import read_value, write_value
from tamis.schemas.base import digest
from tamis.schemas.errors import InputError
from tamis.schemas.secrets import redacted
from tamis.scorers.extraction.html import ExtractOptions

__all__ = [
    "INPUTS",
    "PACKED_BYTES",
    "SHARD_BYTES",
    "FileGroups",
    "InspectFiles",
    "Inspected",
    "PlannedFile",
    "PlannedInput",
    "SourceShard",
    "SourceShards",
    "inspect_file",
    "inspected_files",
    "raise_problems",
    "read_file_list",
    "source_shards",
    "write_file_list",
]

INPUTS = "inputs"
"""The pass whose value says what the files are."""
SHARD_BYTES = 128 << 20
"""Bytes of input in one source shard, where a file can be cut; a constant, since shards must not follow the machine."""
PACKED_BYTES = 16 << 20
"""Files of fewer bytes (once decompressed) share a source shard, up to so many."""
GROUP_BYTES, GROUP_FILES = 256 << 20, 256
SHOWN_PROBLEMS = 3


class PlannedInput(NamedTuple):
    """An entry of the config's inputs: its label, how it is read, and what becomes of files that can't be."""

    source: str
    options: ReadOptions
    record_unreadable: bool


@dataclass(frozen=True)
class PlannedFile:
    """One input file; `input` is the position of its entry among the planned inputs."""

    input: int
    source: str
    path: str
    size: int | None
    fingerprint: str


@dataclass(frozen=True)
class Inspected:
    """What a worker found of a file.

    Attributes:
        file: its position in the list.
        sha256: of its bytes; None where the store's own fingerprint stands for them.
        splits: the parts that it is read in.
        problem: why it can't be read, as a sentence.
    """

    file: int
    sha256: str | None
    splits: tuple[Split, ...]
    problem: str | None = None

    def to_line(self) -> bytes:
        """Return a line of JSON."""
        parts = [list(asdict(replace(split, path="")).values()) for split in self.splits]
        return json.dumps([self.file, self.sha256, parts, self.problem]).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes, files: Sequence[PlannedFile]) -> "Inspected":
        """Read what `to_line` wrote."""
        file, sha256, parts, problem = json.loads(line)
        splits = tuple(replace(Split(*part), path=files[file].path) for part in parts)
        return cls(file, sha256, splits, problem)


def write_file_list(path: str, inputs: Sequence[PlannedInput], files: Sequence[PlannedFile]) -> None:
    """Write what the tasks of a run's first passes are made of."""
    head = [[entry.source, asdict(entry.options), entry.record_unreadable] for entry in inputs]
    lines = [json.dumps([f.input, f.path, f.size, f.fingerprint]) for f in files]
    write_value(path, "\n".join([json.dumps(head), *lines]).encode())


@functools.lru_cache(maxsize=2)
def read_file_list(path: str) -> tuple[tuple[PlannedInput, ...], tuple[PlannedFile, ...]]:
    """Read what `write_file_list` wrote.

    Raises:
        InputError: if it is gone or damaged.
    """
    value = read_value(path, [])
    if value is None:
        msg = f"{path}: the list of input files is gone: run the same command again"
        raise InputError(msg)
    head, *lines = value.decode().split("\n")
    inputs = tuple(PlannedInput(source, _options(plain), record) for source, plain, record in json.loads(head))
    found = (json.loads(line) for line in lines)
    files = tuple(PlannedFile(number, inputs[number].source, *rest) for number, *rest in found)
    return inputs, files


def _options(plain: dict[str, object]) -> ReadOptions:
    def tuples(value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    extract, columns = plain.pop("extract"), plain.pop("columns")
    known: dict[str, object] = {key: tuples(value) for key, value in plain.items()}
    extracting: dict[str, object] = {key: tuples(value) for key, value in extract.items()}  # type: ignore[attr-defined]
    fields = tuple(InputColumn(**column) for column in columns)  # type: ignore[attr-defined]
    return ReadOptions(**known, columns=fields, extract=ExtractOptions(**extracting))  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Group:
    """Consecutive files that a worker looks at in one task."""

    first: int
    last: int
    size: int


@dataclass(frozen=True)
class FileGroups:
    """The task list over all files: groups of consecutive ones, bounded in bytes and number."""

    path: str

    def __call__(self, values: Values) -> Iterable[_Group]:
        """Return the groups."""
        del values
        _, files = read_file_list(self.path)
        first = size = 0
        for number, file in enumerate(files):
            if number > first and (size + (file.size or 0) > GROUP_BYTES or number - first >= GROUP_FILES):
                yield _Group(first, number, size)
                first, size = number, 0
            size += file.size or 0
        if files:
            yield _Group(first, len(files), size)


def inspect_file(number: int, file: PlannedFile, entry: PlannedInput, *, hashing: bool) -> Inspected:
    """Look at a file's beginning, cut it into parts, and digest it.

    Args:
        number: its position in the list.
        file: the file.
        entry: its input.
        hashing: digest its bytes, if it is a local one, or one of whose changes its server tells nothing.

    Raises:
        InputError: if it changed meanwhile.
    """
    try:
        splits = tuple(plan_splits(FileInfo(file.path, file.size, file.fingerprint), entry.options, SHARD_BYTES))
    except InputError as error:
        if not entry.record_unreadable:
            return Inspected(number, None, (), str(error))
        splits = (Split(file.path, *format_of(file.path, entry.options)),)
    sha256 = None
    if hashing and (filesystem.is_local(file.path) or not filesystem.tells_changes(file.fingerprint)):
        try:
            sha256 = filesystem.sha256(file.path)
        except InputError as error:  # a broken link, say
            return (
                Inspected(number, None, splits) if entry.record_unreadable else Inspected(number, None, (), str(error))
            )
        if filesystem.info(file.path).fingerprint != file.fingerprint:
            msg = f"{file.path} was changed while it was being read: run the same command again"
            raise InputError(msg)
    return Inspected(number, sha256, splits)


@dataclass(frozen=True)
class InspectFiles:
    """The work on a group of files; what is found is kept for as long as size, times and inode stay the same.

    Attributes:
        path: the list of files.
        folder: for what is kept.
        code: digest of the code that reads.
        folders: in which relative paths of files are looked up, wherever a worker stands.
    """

    path: str
    folder: str
    code: str
    folders: tuple[str, ...] = ()

    def __call__(self, group: _Group, values: Values) -> Done:
        """Return a line for each file."""
        del values
        inputs, files = read_file_list(self.path)
        mine = range(group.first, group.last)
        about = [[str(inputs[files[i].input]), files[i].path, files[i].fingerprint] for i in mine]
        kept = filesystem.join(self.folder, f"{digest([self.code, group.first, about])[:24]}.value")
        told = all(filesystem.tells_changes(files[i].fingerprint) for i in mine)
        known = read_value(kept, []) if told else None
        if known is not None:
            return Done(known, reused=True)
        with filesystem.relative_to(self.folders):
            found = []
            for i in mine:
                with filesystem.looking():
                    found.append(inspect_file(i, files[i], inputs[files[i].input], hashing=True))
        value = b"".join(one.to_line() for one in found)
        if not any(one.problem for one in found):
            write_value(kept, value)
        return Done(value)


@functools.lru_cache(maxsize=2)
def inspected_files(path: str, value: bytes) -> tuple[Inspected, ...]:
    """Return what was found of all files, in their order.

    Raises:
        InputError: naming every file that can't be read.
    """
    _, files = read_file_list(path)
    found = sorted((Inspected.from_line(line, files) for line in value.splitlines()), key=lambda one: one.file)
    raise_problems([one.problem for one in found if one.problem is not None])
    return tuple(found)


def raise_problems(problems: Sequence[str]) -> None:
    """Raise all problems of files as one error, if there is any.

    Raises:
        InputError: a sentence that names every file that can't be read, or the first ones of many.
    """
    if not problems:
        return
    shown = "; ".join(problems[:SHOWN_PROBLEMS])
    more = f"; and {len(problems) - SHOWN_PROBLEMS:,} more" if len(problems) > SHOWN_PROBLEMS else ""
    hint = "; `unreadable: record` of their input makes them error records"
    msg = problems[0] if len(problems) == 1 else f"{len(problems):,} input files can't be read: {shown}{more}{hint}"
    raise InputError(msg)


@dataclass(frozen=True)
class SourceShard:
    """Parts of files that are read in one task; cut by the inputs alone, never by the workers.

    Attributes:
        index: position in the canonical order of sources, paths and places in files.
        source: the input's label.
        files: the position of each split's file in the list.
        splits: the parts.
        fingerprints: of the files as they were inspected.
        options: how records are read.
        key: digest of files, content, parts and options.
        size: bytes, once decompressed.
    """

    index: int
    source: str
    files: tuple[int, ...]
    splits: tuple[Split, ...]
    fingerprints: tuple[str, ...]
    options: ReadOptions
    key: str
    size: int

    def __str__(self) -> str:
        more = f" and {len(self.splits) - 1} more files" if len(self.splits) > 1 else ""
        return redacted(f"{self.source}: {self.splits[0].path}{more}")


@dataclass(frozen=True)
class SourceShards:
    """The task list over all source shards."""

    path: str

    def __call__(self, values: Values) -> Iterable[SourceShard]:
        """Return the shards."""
        return source_shards(self.path, values[INPUTS])


@functools.lru_cache(maxsize=2)
def source_shards(path: str, value: bytes) -> tuple[SourceShard, ...]:
    """Return the source shards, in canonical order: parts of large files, and small files together.

    Raises:
        InputError: naming every file that can't be read.
    """
    inputs, files = read_file_list(path)
    shards: list[SourceShard] = []
    held: list[tuple[Inspected, Split]] = []

    def close() -> None:
        if not held:
            return
        first = files[held[0][0].file]
        entry = inputs[first.input]
        identity: list[object] = [first.source, str(entry.options)]
        for one, split in held:
            content = one.sha256 or files[one.file].fingerprint
            identity += [redacted(split.path), content, redacted(str(split))]
        shards.append(
            SourceShard(
                len(shards),
                first.source,
                tuple(one.file for one, _ in held),
                tuple(split for _, split in held),
                tuple(files[one.file].fingerprint for one, _ in held),
                entry.options,
                digest(identity)[:24],
                sum(split.estimated_bytes for _, split in held),
            )
        )
        held.clear()

    for one in inspected_files(path, value):
        for split in one.splits:
            size = split.estimated_bytes
            small = len(one.splits) == 1 and size < PACKED_BYTES
            if held and (
                not small
                or files[held[0][0].file].input != files[one.file].input
                or sum(s.estimated_bytes for _, s in held) + size > PACKED_BYTES
            ):
                close()
            held.append((one, split))
            if not small:
                close()
    close()
    return tuple(shards)
