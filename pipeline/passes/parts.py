"""Which output shards a run leaves: planned from how many rows and bytes of each batch were selected and rejected."""

import functools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.pipeline.graph.passes import Values
from tamis.pipeline.passes.stage import READ, read_notes, stored_shards
from tamis.pipeline.storage.column_file import ColumnFile, aligned
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.row_state import ALIVE, FAILED
from tamis.schemas.base import digest

__all__ = [
    "COUNT",
    "ErrorPart",
    "ErrorParts",
    "Fate",
    "OutputParts",
    "Part",
    "SummariseShard",
    "Summary",
    "folder_of_source",
    "summaries",
]

COUNT = "count"
"""The pass whose value is the summaries of all shards."""
PART_ROWS = 250_000
"""Rows of an output shard, at most (but for its last batch): short documents are bounded by their number."""
ERROR_ROWS_PER_PART = 1_000_000
MOST_LANGUAGES = 20_000
"""Languages times rules: a column with more values than that, though it is called so, isn't one of languages."""

Fate = Literal["selected", "rejected"]
_SPLITS = re.compile(
    r"(?<![A-Za-z])(train|training|validation|valid|dev|val|test|testing|eval|evaluation)(?![A-Za-z])", re.IGNORECASE
)


@dataclass(frozen=True)
class Summary:
    """How a shard's rows ended.

    Attributes:
        shard: its index.
        selected: rows and text bytes of each batch.
        rejected: the same.
        fates: (step, rule) to rows; -1 for those alive.
        text_bytes: of all rows.
        languages: (language, step, rule) to rows, as far as rows have a language.
    """

    shard: int
    selected: tuple[tuple[int, int], ...]
    rejected: tuple[tuple[int, int], ...]
    fates: Mapping[tuple[int, int], int]
    text_bytes: int
    languages: Mapping[tuple[str, int, int], int] = field(default_factory=dict)

    def to_line(self) -> bytes:
        """Return a line of JSON."""
        fates, languages = (
            [[*key, number] for key, number in sorted(counts.items())] for counts in (self.fates, self.languages)
        )
        told = [self.shard, self.selected, self.rejected, fates, self.text_bytes, languages]
        return json.dumps(told).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Summary":
        """Read what `to_line` wrote."""
        shard, selected, rejected, fates, text_bytes, languages = json.loads(line)
        return cls(
            shard,
            tuple((rows, size) for rows, size in selected),
            tuple((rows, size) for rows, size in rejected),
            {(step, rule): number for step, rule, number in fates},
            text_bytes,
            {(language, step, rule): number for language, step, rule, number in languages},
        )

    @property
    def failed(self) -> int:
        """Rows that became errors."""
        return sum(number for (_, rule), number in self.fates.items() if rule == FAILED)


@functools.lru_cache(maxsize=2)
def summaries(value: bytes) -> tuple[Summary, ...]:
    """Return the summaries of all shards, in canonical order, from the value of the pass `count`."""
    return tuple(sorted((Summary.from_line(line) for line in value.splitlines()), key=lambda s: s.shard))


@dataclass(frozen=True)
class SummariseShard:
    """Counts a shard's rows by fate, and their text bytes batch by batch.

    Attributes:
        documents: place of the documents.
        state: place of the last row states.
        language: name and place of the column of languages, if there is one.
    """

    documents: Place
    state: Place
    language: tuple[str, Place] | None = None

    def __call__(self, shard: Shard, values: Values) -> bytes:
        """Return a line of `Summary`."""
        del values
        return self.summary(shard).to_line()

    def summary(self, shard: Shard) -> Summary:
        """Count."""
        selected: list[tuple[int, int]] = []
        rejected: list[tuple[int, int]] = []
        fates: dict[tuple[int, int], int] = {}
        languages: Counter[tuple[str, int, int]] = Counter()
        text_bytes = 0
        with ExitStack() as stack:
            files = [
                ColumnFile(self.documents.file(shard), ["text_bytes"]),
                ColumnFile(self.state.file(shard), ["step", "rule"]),
            ]
            if self.language is not None:
                name, place = self.language
                files.append(ColumnFile(place.file(shard), [name]))
            for batch in aligned([stack.enter_context(file) for file in files]):
                size = batch.column("text_bytes").to_numpy()
                step = batch.column("step").to_numpy()
                rule = batch.column("rule").to_numpy()
                alive = step == ALIVE
                fell = ~alive & (rule != FAILED)
                selected.append((int(alive.sum()), int(size[alive].sum())))
                rejected.append((int(fell.sum()), int(size[fell].sum())))
                text_bytes += int(size.sum())
                pairs, counts = np.unique(np.column_stack([step, rule]), axis=0, return_counts=True)
                for (at, by), count in zip(pairs.tolist(), counts.tolist(), strict=True):
                    fates[at, by] = fates.get((at, by), 0) + count
                if self.language is not None and len(languages) <= MOST_LANGUAGES:
                    languages.update(_by_language(batch.column(self.language[0]), step, rule))
        told = languages if len(languages) <= MOST_LANGUAGES else {}
        return Summary(shard.index, tuple(selected), tuple(rejected), fates, text_bytes, told)


def _by_language(
    languages: pa.Array, step: npt.NDArray[Any], rule: npt.NDArray[Any]
) -> dict[tuple[str, int, int], int]:
    """Return the rows of each language and fate; those without a language are left out."""
    table = pa.table({"language": languages, "step": step, "rule": rule})
    counted = table.group_by(["language", "step", "rule"]).aggregate([([], "count_all")])
    rows = counted.filter(pc.is_valid(counted["language"])).to_pylist()
    return {(row["language"], row["step"], row["rule"]): row["count_all"] for row in rows}


@dataclass(frozen=True)
class Part:
    """One output shard: where it goes, and the batches of stored shards that it takes.

    Attributes:
        path: relative to the run.
        fate: of its rows.
        pieces: (shard, first batch, one past the last batch), in canonical order.
        rows: their number.
        text_bytes: of the texts as they were read.
    """

    path: str
    fate: Fate
    pieces: tuple[tuple[Shard, int, int], ...]
    rows: int
    text_bytes: int

    def __str__(self) -> str:
        return self.path

    @property
    def size(self) -> int:
        """How much work it is."""
        return self.text_bytes

    @property
    def digest(self) -> str:
        """Of what it takes: batches by their shards' keys."""
        return digest([self.path, [[shard.key, shard.corpus, *bounds] for shard, *bounds in self.pieces]])


def folder_of_source(source: str) -> str:
    """Return the folder of a source's selected documents, such as `selected/web`.

    Any reader of Parquet takes `selected` as it is: with `source=web` readers of Hive's layout would find the column
    twice, with two types. Words that `datasets` takes for the names of splits (it would read nothing but the folders
    that have one) are closed by a `~`: `my-test~`.
    """
    return f"selected/{_SPLITS.sub(lambda found: found[0] + '~', source)}"


def plan_parts(shards: Sequence[Shard], found: Sequence[Summary], fate: Fate, max_bytes: float) -> list[Part]:
    """Cut the rows of one fate into parts of at most `max_bytes` of text (one batch at least).

    Selected documents are kept apart by source. The plan depends on the summaries alone. Where there are no rows at
    all, there is one empty part, so that the folder can be read all the same.
    """
    parts: list[Part] = []
    pieces: list[tuple[Shard, int, int]] = []
    rows = size = number = 0
    group = ""

    def close() -> None:
        nonlocal pieces, rows, size, number
        if rows:
            parts.append(Part(f"{group}/part-{number:05d}.parquet", fate, tuple(pieces), rows, size))
            number += 1
        pieces, rows, size = [], 0, 0

    for shard, summary in zip(shards, found, strict=True):
        mine = folder_of_source(shard.source) if fate == "selected" else "rejected"
        if mine != group:
            close()
            group, number = mine, 0
        for batch, (count, count_bytes) in enumerate(summary.selected if fate == "selected" else summary.rejected):
            if not count:
                continue
            if rows and (size + count_bytes > max_bytes or rows + count > PART_ROWS):
                close()
            if pieces and pieces[-1][0] is shard and pieces[-1][2] == batch:
                pieces[-1] = (shard, pieces[-1][1], batch + 1)
            else:
                pieces.append((shard, batch, batch + 1))
            rows += count
            size += count_bytes
    close()
    return parts or [Part(f"{fate}/part-00000.parquet", fate, (), 0, 0)]


@dataclass(frozen=True)
class OutputParts:
    """The task list of writing: the output shards of selected and rejected documents."""

    max_bytes: float

    def __call__(self, values: Values) -> Iterable[Part]:
        """Return the parts."""
        shards, found = stored_shards(values[READ]), summaries(values[COUNT])
        fates: tuple[Fate, ...] = ("selected", "rejected")
        return [part for fate in fates for part in plan_parts(shards, found, fate, self.max_bytes)]


@dataclass(frozen=True)
class ErrorPart:
    """One part of `errors/`.

    Attributes:
        path: relative to the run.
        keys: of the source shards whose readers' errors it takes; those that have some.
        shards: the stored shards whose errors of steps it takes; those that have some.
        sources: of all shards that it covers.
    """

    path: str
    keys: tuple[str, ...]
    shards: tuple[Shard, ...]
    sources: tuple[str, ...]

    def __str__(self) -> str:
        return self.path


class ErrorParts:
    """The task list of writing `errors/`: at least one part, though it be empty."""

    def __call__(self, values: Values) -> Iterable[ErrorPart]:
        """Return the parts."""
        shards = {shard.key: shard for shard in stored_shards(values[READ])}
        failed = {summary.shard: summary.failed for summary in summaries(values[COUNT])}
        parts: list[ErrorPart] = []
        keys: list[str] = []
        mine: list[Shard] = []
        sources: set[str] = set()
        rows = 0
        for note in read_notes(values[READ]):
            own = [shards[f"{note.key}-{number:03d}"] for number in range(len(note.cuts))]
            count = note.errors + sum(failed[shard.index] for shard in own)
            if rows and rows + count > ERROR_ROWS_PER_PART:
                parts.append(self._part(parts, keys, mine, sources))
                keys, mine, sources, rows = [], [], set(), 0
            keys += [note.key] if note.errors else []
            mine += [shard for shard in own if failed[shard.index]]
            sources.add(note.source)
            rows += count
        return [*parts, self._part(parts, keys, mine, sources)]

    @staticmethod
    def _part(parts: Sequence[ErrorPart], keys: list[str], shards: list[Shard], sources: set[str]) -> ErrorPart:
        path = f"errors/part-{len(parts):05d}.parquet"
        return ErrorPart(path, tuple(keys), tuple(shards), tuple(sorted(sources)))
