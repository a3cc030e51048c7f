"""Draws the documents of arms and evaluation sets, in the order of a keyed hash, by SQL over runs and mixtures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.jobs.documents import documents as read_documents
from tamis.jobs.mix.folder import holds_mixture
from tamis.jobs.sql.views import connect
from tamis.pipeline.formats.options import ReadOptions
from tamis.pipeline.storage.column_file import ColumnFile, intact_note, writer
from tamis.schemas.errors import ConfigError, DataError
from tamis.schemas.experiment import ArmConfig, EvaluationConfig
from tamis.scorers.mixture.document_tokenizer import DocumentTokenizer
from tamis.scorers.text.noise import id_words, keyed_hash

__all__ = ["TEXT_SCHEMA", "ArmTask", "DrawArm", "evaluation_texts", "read_texts", "shuffled"]

TEXT_SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("pass", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
    ]
)
_BYTES_A_TOKEN = 8
"""First guess of how much text so many tokens take; doubled until it is enough."""
_FETCH = 2048


@dataclass(frozen=True)
class ArmTask:
    """An arm and the seeds that it is drawn for.

    Attributes:
        name: of the arm.
        source: folder of a run or mixture.
        arm: its options.
        seeds: of the draws.
        paths: a column file of `TEXT_SCHEMA` for each seed.
    """

    name: str
    source: str
    arm: ArmConfig
    seeds: tuple[int, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True)
class DrawArm:
    """Draws arms.

    Attributes:
        tokens: wanted of each draw; None: all.
        tokenizer: counts tokens; None: words.
        held_out: ids that no arm takes.
        held_texts: SHA-256 of texts that no arm takes, wherever they come from.
    """

    tokens: int | None
    tokenizer: DocumentTokenizer | None
    held_out: frozenset[str]
    held_texts: frozenset[bytes]

    def __call__(self, task: ArmTask) -> dict[str, Any]:
        """Write a file of texts for each seed; return tokens and documents of each, and what was left out."""
        notes = [intact_note(path, []) for path in task.paths]
        if all(note is not None for note in notes):
            return {"arm": task.name, "draws": notes}
        index = _index(task)
        allowed = np.array([doc_id not in self.held_out for doc_id in index.doc_ids], np.bool_)
        draws = []
        for seed, path in zip(task.seeds, task.paths, strict=True):
            order = index.order(seed)
            draws.append(self._draw(task, index, order[allowed[order]], seed, path))
        return {"arm": task.name, "draws": draws}

    def _draw(self, task: ArmTask, index: "_Index", order: npt.NDArray[np.int64], seed: int, path: str) -> Any:
        share = float(_BYTES_A_TOKEN)
        ends = np.cumsum(index.sizes[order])
        while True:
            some = order
            if self.tokens is not None:
                some = order[: int(np.searchsorted(ends, share * self.tokens)) + 1]
            texts = _texts(task, {index.doc_ids[i] for i in some})
            kept, dropped = [], 0
            for i in some:
                text = texts[index.doc_ids[i]]
                if sha256(text.encode()).digest() in self.held_texts:
                    dropped += 1
                elif text.strip():
                    kept.append((index.doc_ids[i], int(index.passes[i]), text))
            counts = self._counts([text for *_, text in kept])
            if self.tokens is None or counts.sum() >= self.tokens or len(some) == len(order):
                break
            share *= 2
        if self.tokens is not None:  # documents beyond what is needed
            last = int(np.searchsorted(np.cumsum(counts), self.tokens)) + 1
            kept, counts = kept[:last], counts[:last]
        texts_of = [shuffled(text, task.arm.shuffle, f"{seed}\0{doc_id}") for doc_id, _, text in kept]
        note = {"documents": len(kept), "tokens": int(counts.sum()), "held_out": dropped, "available": len(order)}
        with writer(path, TEXT_SCHEMA) as out:
            out.note = note
            for at in range(0, len(kept), _FETCH):
                rows = kept[at : at + _FETCH]
                columns = [
                    pa.array([doc_id for doc_id, *_ in rows], pa.string()),
                    pa.array([number for _, number, _ in rows], pa.int64()),
                    pa.array(counts[at : at + _FETCH]),
                    pa.array(texts_of[at : at + _FETCH], pa.large_string()),
                ]
                out.write_batch(pa.RecordBatch.from_arrays(columns, schema=TEXT_SCHEMA))
        return note

    def _counts(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        if self.tokenizer is not None:
            parts = [self.tokenizer.counts(texts[at : at + _FETCH]) for at in range(0, len(texts), _FETCH)]
            return np.concatenate([np.empty(0, np.int64), *parts])
        return np.array([len(text.split()) for text in texts], np.int64)


@dataclass(frozen=True)
class _Index:
    """Ids, passes and sizes of an arm's documents, without texts."""

    doc_ids: list[str]
    passes: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    def order(self, seed: int) -> npt.NDArray[np.int64]:
        """Return the documents in the order of a keyed hash; each pass of one has a place of its own."""
        words = id_words(self.doc_ids)
        noise = np.empty(len(words), np.uint64)
        for number in np.unique(self.passes).tolist():
            mine = self.passes == number
            noise[mine] = keyed_hash(seed, f"experiment/pass {number}", words[mine])
        return np.lexsort((self.passes, words[:, 1], words[:, 0], noise)).astype(np.int64)


def _relation(task: ArmTask) -> str:
    view = "documents" if holds_mixture(task.source) else task.arm.of
    return f"{view} WHERE ({task.arm.where})" if task.arm.where is not None else view


def _index(task: ArmTask) -> _Index:
    passes = "mixture_pass" if holds_mixture(task.source) else "0"
    query = f"SELECT doc_id, {passes} AS pass, strlen(text) AS size FROM {_relation(task)}"  # noqa: S608
    with connect(task.source) as connection:
        try:
            table = connection.execute(query).fetchnumpy()
        except duckdb.Error as error:
            reason = str(error).strip().partition("\n")[0]
            msg = f"arm {task.name}: {reason}"
            raise ConfigError(msg) from None
    ids = [str(value) for value in table["doc_id"].tolist()]
    if not ids:
        msg = f"arm {task.name} has no document"
        raise DataError(msg)
    return _Index(ids, np.asarray(table["pass"], np.int64), np.asarray(table["size"], np.int64))


def _texts(task: ArmTask, wanted: set[str]) -> dict[str, str]:
    with connect(task.source) as connection:
        connection.register("wanted", pa.table({"doc_id": pa.array(sorted(wanted), pa.string())}))
        query = f"SELECT doc_id, text FROM (FROM {_relation(task)}) SEMI JOIN wanted USING (doc_id)"  # noqa: S608
        cursor = connection.execute(query)
        found: dict[str, str] = {}
        while rows := cursor.fetchmany(_FETCH):
            found.update(rows)
    return found


def shuffled(text: str, what: str | None, key: str) -> str:
    """Return a text with its words (or lines) in an order that a key says; lines keep their numbers of words."""
    if what is None:
        return text
    draw = Random(sha256(key.encode()).digest())  # noqa: S311  (a control, no secret)
    lines = text.split("\n")
    if what == "lines":
        draw.shuffle(lines)
        return "\n".join(lines)
    counts = [len(line.split()) for line in lines]
    words = text.split()
    draw.shuffle(words)
    taken = iter(words)
    return "\n".join(" ".join(next(taken) for _ in range(n)) for n in counts)


def read_texts(path: str) -> Iterator[tuple[str, str]]:
    """Yield id and text of each document that was drawn."""
    with ColumnFile(path) as file:
        for batch in file:
            yield from zip(batch.column("doc_id").to_pylist(), batch.column("text").to_pylist(), strict=True)


def evaluation_texts(name: str, config: EvaluationConfig) -> Mapping[str, str]:
    """Return id to text of an evaluation set, the first in hash order that have so much text.

    Raises:
        DataError: if there is none.
        ConfigError: for a mistake in its condition.
        InputError: if a file can't be read.
    """
    found: list[tuple[str, str]] = []
    if config.path is not None:
        options = ReadOptions(text=config.text)
        for batch in read_documents(config.path, options, f"evaluation-{name}"):
            found += zip(batch.column("doc_id").to_pylist(), batch.column("text").to_pylist(), strict=True)
    else:
        task = ArmTask(f"{name} (evaluation)", str(config.run), ArmConfig(run=config.run, where=config.where), (), ())
        index = _index(task)
        order = _first(index.doc_ids)
        ends = np.cumsum(index.sizes[order])
        chosen = [index.doc_ids[i] for i in order[: int(np.searchsorted(ends, config.mb * 1e6)) + 1]]
        found = list(_texts(task, set(chosen)).items())
    found = [(doc_id, text) for doc_id, text in dict(found).items() if text.strip()]
    if not found:
        msg = f"evaluation set {name} has no document with a text"
        raise DataError(msg)
    kept: dict[str, str] = {}
    size = 0.0
    for i in _first([doc_id for doc_id, _ in found]):
        doc_id, text = found[i]
        kept[doc_id] = text
        size += len(text.encode())
        if size >= config.mb * 1e6:
            break
    return kept


def _first(doc_ids: Sequence[str]) -> npt.NDArray[np.int64]:
    words = id_words(list(doc_ids))
    return np.lexsort((words[:, 1], words[:, 0], keyed_hash(0, "experiment/held out", words))).astype(np.int64)
