"""Leaves an index of what a run has seen, see `tamis.pipeline.corpus.earlier`: its parts, and the listing of them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.pipeline.corpus.earlier import (
    INDEX_FORMAT,
    INDEX_LISTING,
    EarlierPart,
    EveryPart,
    Indexes,
    IndexOptions,
    IndexPart,
    every_part,
)
from tamis.pipeline.graph.passes import Done, Pass, Values
from tamis.pipeline.passes.stage import READ, Stage, stored_shards
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.digesting import DigestingStream
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.value_file import read_value, write_value

__all__ = ["IndexPlace", "MakePart", "index_passes"]


class IndexPlace(NamedTuple):
    """Where a task's part goes in the index that a run leaves: those of the indexes that it read come first.

    Attributes:
        shards: how many shards the run has.
        earlier: how many parts the indexes have.
        position: of the part.
    """

    shards: int
    earlier: int
    position: int

    @classmethod
    def of(cls, shard: Shard, values: Values, indexes: Indexes) -> "IndexPlace":
        """Return it, of a shard or a part of one of the indexes."""
        shards = len(stored_shards(values[READ]))
        earlier = len(every_part(values, indexes)) - shards
        position = shard.index - shards if isinstance(shard, EarlierPart) else earlier + shard.index
        return cls(shards, earlier, position)


class MakePart(Protocol):
    """Makes the part of a shard, or anew that of an index."""

    def __call__(self, shard: Shard, place: IndexPlace) -> tuple[pa.Table, int]:
        """Return the part's table, and how many documents its rows stand for."""


class _WrittenPart(NamedTuple):
    """A part that was written.

    Attributes:
        position: in the index.
        part: what it is.
        documents: how many documents its rows stand for.
    """

    position: int
    part: IndexPart
    documents: int

    def to_line(self) -> bytes:
        """Return a line of JSON."""
        return json.dumps([self.position, list(self.part), self.documents]).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "_WrittenPart":
        """Read what `to_line` wrote."""
        position, part, documents = json.loads(line)
        return cls(position, IndexPart(*part), documents)


@dataclass(frozen=True)
class _WritePart:
    """Writes a part of an index, unless it is there.

    Attributes:
        folder: of the index.
        notes: place of the notes of what was written.
        indexes: those that were read.
        make: makes the part.
    """

    folder: str
    notes: Place
    indexes: Indexes
    make: MakePart

    def __call__(self, shard: Shard, values: Values) -> Done:
        """Return a line of `_WrittenPart`."""
        place = IndexPlace.of(shard, values, self.indexes)
        name = f"part-{place.position:05d}.parquet"
        path = filesystem.join(self.folder, name)
        note_path = self.notes.file(shard)
        known = read_value(note_path, [])
        if known is not None:
            fingerprint, _, line = known.partition(b"\n")
            found = _WrittenPart.from_line(line)
            if filesystem.exists(path) and found.part.name == name:
                info = filesystem.info(path)
                if info.fingerprint == fingerprint.decode() or filesystem.sha256(path) == found.part.sha256:
                    return Done(line, reused=True)
        table, documents = self.make(shard, place)
        with filesystem.write_atomically(path) as stream:
            hashing = DigestingStream(stream, hashlib.sha256())
            with pa.PythonFile(hashing, "w") as sink:
                pq.write_table(table, sink, compression="zstd", compression_level=1, use_dictionary=False)
        part = IndexPart(name, table.num_rows, hashing.size, hashing.digest.hexdigest())
        line = _WrittenPart(place.position, part, documents).to_line()
        write_value(note_path, str(filesystem.info(path).fingerprint).encode() + b"\n" + line)
        return Done(line)


@dataclass(frozen=True)
class _WriteListing:
    """Writes the listing of an index whose parts are there, and deletes what an earlier run left beside them.

    Attributes:
        folder: of the index.
        verb: of the step.
        settings: see `SeenIndex`.
        parts: pass that wrote the parts; lines of `_WrittenPart`.
    """

    folder: str
    verb: str
    settings: Mapping[str, Any]
    parts: str

    def __call__(self, task: None, values: Values) -> bytes:
        """Return what the manifest says of it, as JSON."""
        del task
        found = sorted(_WrittenPart.from_line(line) for line in values[self.parts].splitlines())
        told = {
            "format": INDEX_FORMAT,
            "verb": self.verb,
            "settings": dict(self.settings),
            "documents": sum(one.documents for one in found),
            "parts": [one.part._asdict() for one in found],
        }
        content = json.dumps(told, indent=1, sort_keys=True).encode() + b"\n"
        names = {one.part.name for one in found}
        with filesystem.write_atomically(filesystem.join(self.folder, INDEX_LISTING)) as stream:
            stream.write(content)
        for file in filesystem.expand(filesystem.join(self.folder, "part-*.parquet")) if names else ():
            if PurePosixPath(file.path).name not in names:
                filesystem.remove(file.path)
        summary = {
            "documents": told["documents"],
            "parts": len(found),
            "bytes": sum(one.part.bytes for one in found),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        return json.dumps(summary).encode()


def index_passes(stage: Stage, index: IndexOptions, make: MakePart, after: tuple[str, ...]) -> tuple[Pass, Pass]:
    """Return the passes that write the parts of an index, and its listing.

    Args:
        stage: the step.
        index: what it does with indexes; leaves one.
        make: makes a part.
        after: passes that must be over before.
    """
    folder = index.folder or ""
    work = _WritePart(folder, stage.place("index"), index.read, make)
    parts = Pass(f"{stage.label}: index", work, EveryPart(index.read), inputs=(READ,), after=after, step=stage.label)
    write = _WriteListing(folder, stage.step.verb, index.settings, parts.name)
    return parts, Pass(f"{stage.label}: index listing", write, inputs=(parts.name,), step=stage.label, small=True)
