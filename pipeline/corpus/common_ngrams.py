"""How many of the corpus's documents each n-gram of some evaluation items stands in: what is common is boilerplate."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tamis.pipeline.corpus.context import Corpus, Fit, Outcome
from tamis.pipeline.graph.passes import Pass, Values
from tamis.pipeline.passes.kept import Kept
from tamis.pipeline.passes.shard_reader import ColumnReader
from tamis.pipeline.passes.stage import READ, stored_shards
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.value_file import read_value, write_value
from tamis.schemas.errors import DamagedError
from tamis.scorers.text.texts import TextBuffer, as_buffer

__all__ = ["CountsGrams", "GramCounts", "common_ngrams", "counted_grams"]

_SHOWN = 10


class CountsGrams(Protocol):
    """What counts n-grams in texts."""

    def count(self, texts: TextBuffer) -> npt.NDArray[np.int64]:
        """Return for each n-gram the number of texts with it."""

    def common(self, counts: npt.NDArray[np.int64], documents: int) -> npt.NDArray[np.bool_]:
        """Return which n-grams are boilerplate by such counts."""

    def phrase(self, gram: int) -> str:
        """Return an n-gram as it stands in an item."""


@dataclass(frozen=True)
class GramCounts:
    """Counts of some documents; joining is associative and commutative.

    Attributes:
        documents: how many were looked at.
        grams: which n-grams stand in any, ascending, int64.
        counts: in how many each of them stands, int64.
    """

    documents: int
    grams: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    def to_bytes(self) -> bytes:
        """Return them as bytes, equal for equal counts."""
        return np.concatenate([[self.documents], self.grams, self.counts]).astype("<i8").tobytes()

    @classmethod
    def from_bytes(cls, value: bytes) -> "GramCounts":
        """Read what `to_bytes` wrote; nothing for no bytes."""
        words = np.frombuffer(value, "<i8").astype(np.int64)
        if not len(words):
            return cls(0, words, words)
        grams, counts = words[1:].reshape(2, -1)
        return cls(int(words[0]), grams, counts)

    def dense(self, size: int) -> npt.NDArray[np.int64]:
        """Return the counts of all of so many n-grams."""
        found = np.zeros(size, np.int64)
        found[self.grams] = self.counts
        return found


def _joined(parts: Sequence[bytes]) -> bytes:
    found = [GramCounts.from_bytes(part) for part in parts]
    none = np.zeros(0, np.int64)
    names, which = np.unique(np.concatenate([none, *(one.grams for one in found)]), return_inverse=True)
    counts = np.zeros(len(names), np.int64)
    np.add.at(counts, which.reshape(-1), np.concatenate([none, *(one.counts for one in found)]))
    return GramCounts(sum(one.documents for one in found), names, counts).to_bytes()


@dataclass(frozen=True)
class _Count:
    reader: ColumnReader
    make: Callable[[], CountsGrams]

    def __call__(self, shard: Shard, values: Values) -> bytes:
        del values
        counter = self.make()
        documents, total = 0, np.zeros(0, np.int64)
        for batch, state, _ in self.reader.read(shard):
            texts = batch.column("text").filter(state.mask)
            counts = counter.count(as_buffer(texts))
            total = counts if not len(total) else total + counts
            documents += len(texts)
        grams = np.flatnonzero(total)
        return GramCounts(documents, grams, total[grams]).to_bytes()


@dataclass(frozen=True)
class _Keep:
    """Keeps the counts of all shards where the step's annotator finds them."""

    counted: str
    make: Callable[[], CountsGrams]
    model: Place

    def __call__(self, task: None, values: Values) -> bytes:
        del task
        shards = stored_shards(values[READ])
        value = values[self.counted]
        write_value(_file(self.model.of_corpus(shards[0].corpus if shards else "")), value)
        found = GramCounts.from_bytes(value)
        counter = self.make()
        rows = np.flatnonzero(counter.common(found.counts, found.documents))
        first = rows[np.lexsort((found.grams[rows], -found.counts[rows]))][:_SHOWN]
        shown = [[counter.phrase(int(found.grams[row])), int(found.counts[row])] for row in first]
        told: dict[str, Any] = {"documents": found.documents, "common_ngrams": len(rows), "commonest": shown}
        return json.dumps(told).encode()


def _file(folder: str) -> str:
    return f"{folder}.value"


def counted_grams(folder: str) -> GramCounts:
    """Return the counts that a run kept.

    Raises:
        DamagedError: if they aren't there.
    """
    value = read_value(_file(folder), [])
    if value is None:
        raise DamagedError(_file(folder), "it is missing")
    return GramCounts.from_bytes(value)


@dataclass(frozen=True)
class _Told:
    name: str

    def __call__(self, values: Values) -> Outcome:
        return Outcome(metrics=json.loads(values[self.name]))


def common_ngrams(corpus: Corpus, make: Callable[[], CountsGrams], option: str) -> Fit:
    """Return the passes that count n-grams in the rows alive.

    Args:
        corpus: what there is to work with.
        make: makes what counts them; called in each process, picklable.
        option: of the step's models, by which its annotator finds the counts: see `counted_grams`.
    """
    place = corpus.stage.fitted_place("counts")
    reader = ColumnReader.of(corpus.state, corpus.columns, ["text"])
    count = corpus.each_shard(
        "n-grams of the corpus",
        Kept(_Count(reader, make), corpus.stage.fitted_place("counted")),
        combine=_joined,
        small=False,
    )
    keep = Pass(
        f"{corpus.label}: boilerplate",
        _Keep(count.name, make, place),
        inputs=(READ, count.name),
        step=corpus.label,
        small=True,
    )
    return Fit((count, keep), {option: place}, _Told(keep.name), (keep.name,))
