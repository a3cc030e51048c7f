"""A step placed in a run: its position, the models it reads, and where the files of each shard go."""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from tamis.pipeline.graph.passes import Values
from tamis.pipeline.steps.base import Step
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.place import Place, Shard
from tamis.schemas.base import digest

__all__ = [
    "READ",
    "Cut",
    "Fetched",
    "FileNote",
    "ModelPath",
    "ReadNote",
    "Stage",
    "StoredShards",
    "by_place",
    "read_notes",
    "stored_shards",
]

READ = "read"
"""The pass whose value says which shards there are."""


class Cut(NamedTuple):
    """A stored shard as the reader cut it: its rows, bytes of text, batches, and first file."""

    rows: int
    text_bytes: int
    batches: int
    path: str


class FileNote(NamedTuple):
    """What a source shard read of one file.

    Attributes:
        file: its position in the list of files.
        records: documents, refused records and errors.
        skipped: what holds no document, by kind.
        notes: what was done to records that became documents all the same, by kind.
        refused: records that extraction took out, by rule.
    """

    file: int
    records: int
    skipped: dict[str, int]
    notes: dict[str, int]
    refused: dict[str, int]


@dataclass(frozen=True)
class ReadNote:
    """What reading a source shard gave: a line of the value of the pass `read`.

    Attributes:
        index: of the source shard.
        source: its label.
        key: digest of all that determined it, its content included.
        cuts: the stored shards, in order.
        files: what was read of each file.
        errors: records that couldn't be read.
        seconds: CPU-seconds.
        reused: whether an earlier run had read it.
        damaged: sentences about damaged files that were made again.
    """

    index: int
    source: str
    key: str
    cuts: tuple[Cut, ...]
    files: tuple[FileNote, ...]
    errors: int
    seconds: float
    reused: bool = False
    damaged: tuple[str, ...] = ()

    def to_line(self) -> bytes:
        """Return a line of JSON."""
        return json.dumps(list(vars(self).values())).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "ReadNote":
        """Read what `to_line` wrote."""
        index, source, key, cuts, files, errors, seconds, reused, damaged = json.loads(line)
        return cls(
            index,
            source,
            key,
            tuple(Cut(*cut) for cut in cuts),
            tuple(FileNote(*file) for file in files),
            errors,
            seconds,
            reused,
            tuple(damaged),
        )


@functools.lru_cache(maxsize=2)
def read_notes(value: bytes) -> tuple[ReadNote, ...]:
    """Return what the pass `read` found, in canonical order."""
    return tuple(sorted((ReadNote.from_line(line) for line in value.splitlines()), key=lambda note: note.index))


@functools.lru_cache(maxsize=2)
def stored_shards(value: bytes) -> tuple[Shard, ...]:
    """Return the stored shards, in canonical order, from the value of the pass `read`."""
    notes = read_notes(value)
    corpus = digest([note.key for note in notes])[:24]
    shards: list[Shard] = []
    for note in notes:
        first = 0
        for number, cut in enumerate(note.cuts):
            key = f"{note.key}-{number:03d}"
            shards.append(
                Shard(len(shards), note.source, key, corpus, cut.rows, cut.text_bytes, cut.batches, cut.path, first)
            )
            first += cut.rows
    return tuple(shards)


class StoredShards:
    """The task list of a pass over all stored shards."""

    def __call__(self, values: Values) -> Iterable[Shard]:
        """Return the shards."""
        return stored_shards(values[READ])


@dataclass(frozen=True)
class Fetched:
    """A model that was fetched from elsewhere, and that a worker on another machine fetches for itself.

    Attributes:
        reference: what `tamis.scorers.models.hub.resolve` takes.
        path: where this machine has it.
    """

    reference: str
    path: str

    def here(self) -> str:
        """Return its local path on the machine that asks."""
        if Path(self.path).exists():
            return self.path
        from tamis.scorers.models.hub import resolve

        return str(resolve(self.reference))


ModelPath: TypeAlias = "str | Fetched | Place"
"""A model's local path, or how to get there, or where the run keeps one that it fits itself."""


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes:
        index: position among the run's steps; `step` in row states.
        step: its options and what it does.
        models: option to path.
        columns: place of its column files; None if it computes none.
        state: place of the row states after it.
        own: folder, unique to all that determines the step, that its other files lie in.
        scored: folder, unique to what determines its columns, that what it is fitted by lies in.
    """

    index: int
    step: Step
    models: Mapping[str, ModelPath] = field(default_factory=dict)
    columns: Place | None = None
    state: Place = field(default_factory=lambda: Place(""))
    own: str = ""
    scored: str = ""

    @property
    def label(self) -> str:
        """The step's name in tables and the manifest."""
        return self.step.label

    def model_paths(self, corpus: str) -> dict[str, str]:
        """Return option to path for a run over the corpus of that digest."""
        return {option: _path(model, corpus) for option, model in self.models.items()}

    def rejections(self, fell: Mapping[int, int]) -> dict[str, int]:
        """Return the counters of rows that fell, by the index of the rule."""
        names = self.step.rule_names
        return {f"{self.label}: rejected by {names[rule]}": number for rule, number in fell.items()}

    def place(self, name: str) -> Place:
        """Return a place of the step's own, for what its decision keeps."""
        return Place(filesystem.join(self.own, name), corpus=True)

    def fitted_place(self, name: str) -> Place:
        """Return a place for what the step is fitted by, which its decision doesn't change."""
        return Place(filesystem.join(self.scored, name), corpus=True)


def _path(model: ModelPath, corpus: str) -> str:
    if isinstance(model, Place):
        return model.of_corpus(corpus)
    return model.here() if isinstance(model, Fetched) else model


def by_place(
    names: Sequence[str], columns: Mapping[str, Place], opened: Sequence[Place] = ()
) -> dict[Place, list[str]]:
    """Return which columns to read from where, from as few places as each column's own and those that carry it allow.

    Args:
        names: of the columns.
        columns: column to its own place.
        opened: places that are read anyway.
    """
    places: dict[Place, list[str]] = {}
    for name in names:
        places.setdefault(columns[name], []).append(name)
    for place, found in list(places.items()):
        others = [other for other in (*opened, *places) if other != place]
        carriers = [next((other for other in others if name in other.carries), None) for name in found]
        if all(carrier is not None for carrier in carriers):
            del places[place]
            for name, carrier in zip(found, carriers, strict=True):
                if carrier is not None:
                    places.setdefault(carrier, []).append(name)
    return places
