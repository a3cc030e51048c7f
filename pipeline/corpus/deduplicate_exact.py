"""Exact deduplication over the whole corpus: groups of equal hashes, each kept once.

Hashes and ids are exchanged between shards in partitions of the hash space, so memory is bounded by the rows of one
partition, on any engine.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.pipeline.corpus.context import Corpus, Decision, Outcome
from tamis.pipeline.graph.passes import Done, Exchange, Values
from tamis.pipeline.passes.shard_reader import ColumnReader
from tamis.pipeline.passes.stage import READ, Stage, StoredShards, stored_shards
from tamis.pipeline.storage.column_file import intact_note, writer
from tamis.pipeline.storage.place import Place, Shard
from tamis.schemas.tables import STATE_SCHEMA, described
from tamis.scorers.dedup.text_hash import HASH_COLUMN
from tamis.scorers.text.noise import id_words

__all__ = ["CLUSTER_SCHEMA", "ROWS_PER_PARTITION", "cluster_rows", "deduplicate_exact", "hash_partitions"]

ROWS_PER_PARTITION = 4_000_000
CLUSTER_SCHEMA = pa.schema(
    [
        described("dup_cluster", pa.string(), "doc_id of the document kept of the group of exact duplicates"),
        described("dup_cluster_size", pa.int64(), "documents in the group, this one included"),
    ]
)
KEYS = pa.schema([(name, pa.uint64()) for name in ("hash_hi", "hash_lo", "id_hi", "id_lo", "row")])
MATCHES = pa.schema([(name, pa.uint64()) for name in ("row", "kept_hi", "kept_lo", "size", "fell")])


def hash_partitions(values: Values) -> int:
    """Return into how many partitions to cut the hash space; depends on the corpus alone."""
    rows = sum(shard.rows for shard in stored_shards(values[READ]))
    return max(1, -(-rows // ROWS_PER_PARTITION))


def _hex(words: npt.NDArray[np.uint64]) -> pa.StringArray:
    """Return 128-bit ids, two words each, as 32 hex digits."""
    digits = words.astype(">u8").tobytes().hex().encode()
    offsets = np.arange(len(words) + 1, dtype=np.int32) * 32
    return pa.StringArray.from_buffers(len(words), pa.py_buffer(offsets), pa.py_buffer(digits))


def _slices(table: npt.NDArray[np.uint64], bounds: npt.NDArray[np.int64], schema: pa.Schema) -> list[pa.RecordBatch]:
    """Return the rows between consecutive bounds as batches."""
    columns = [pa.array(column) for column in np.ascontiguousarray(table.T)]
    whole = pa.RecordBatch.from_arrays(columns, schema=schema)
    return [whole.slice(start, end - start) for start, end in itertools.pairwise(bounds.tolist())]


def _rows(batch: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    return np.column_stack([column.to_numpy() for column in batch.columns]).astype(np.uint64, copy=False)


@dataclass(frozen=True)
class SendHashes:
    """A shard's (hash, doc_id, row) of the rows alive, by partition of the hash space."""

    reader: ColumnReader

    def __call__(self, shard: Shard, partitions: int, values: Values) -> Sequence[pa.RecordBatch]:
        """Return one batch a partition."""
        del values
        keys = [np.zeros((0, len(KEYS)), np.uint64)]
        first = 0
        for batch, state, _ in self.reader.read(shard):
            alive = np.flatnonzero(state.mask)
            taken = batch.take(pa.array(alive))
            words = np.frombuffer(b"".join(taken.column(HASH_COLUMN).to_pylist()), ">u8").reshape(-1, 2)
            rows = (alive + first).astype(np.uint64)
            keys.append(np.column_stack([words.astype(np.uint64), id_words(taken.column("doc_id")), rows]))
            first += batch.num_rows
        table = np.concatenate(keys)
        part = (table[:, 0] % np.uint64(partitions)).astype(np.int64)
        order = np.argsort(part, kind="stable")
        return _slices(table[order], np.searchsorted(part[order], np.arange(partitions + 1)), KEYS)


def cluster_rows(batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Group one partition's rows of all shards by hash; of each group the smallest doc_id is kept.

    Rows of equal doc_id are ordered by shard and row, which is input path and position.

    Args:
        batches: of `KEYS`, one a shard in canonical order.

    Returns:
        Batches of `MATCHES`, one a shard: its rows that are in a group of several, in order.
    """
    sizes = [batch.num_rows for batch in batches]
    owners = np.repeat(np.arange(len(batches), dtype=np.uint64), sizes)
    table = np.column_stack([np.concatenate([_rows(batch) for batch in batches]), owners])
    table = table[np.lexsort(table.T[[4, 5, 3, 2, 1, 0]])]
    same = (table[1:, 0] == table[:-1, 0]) & (table[1:, 1] == table[:-1, 1])
    starts = np.flatnonzero(np.concatenate([[True], ~same])) if len(table) else np.zeros(0, np.int64)
    counts = np.diff(np.append(starts, len(table)))
    head = np.repeat(starts, counts)
    size = np.repeat(counts, counts)
    fell = np.arange(len(table)) != head
    grouped = size > 1
    found = np.column_stack(
        [table[:, 4], table[head, 2], table[head, 3], size.astype(np.uint64), fell.astype(np.uint64)]
    )[grouped]
    owner = table[grouped, 5].astype(np.int64)
    order = np.lexsort((found[:, 0], owner))
    bounds = np.searchsorted(owner[order], np.arange(len(batches) + 1))
    return _slices(found[order], bounds, MATCHES)


class MatchHashes:
    """The groups of a partition."""

    def __call__(self, batches: Sequence[pa.RecordBatch], values: Values) -> Sequence[pa.RecordBatch]:
        """Return a batch of `MATCHES` a shard."""
        del values
        return cluster_rows(batches) if batches else []


@dataclass(frozen=True)
class ApplyClusters:
    """Writes a shard's cluster columns and lets its duplicates fall."""

    stage: Stage
    reader: ColumnReader
    columns: Place

    def __call__(self, shard: Shard, batches: Sequence[pa.RecordBatch], values: Values) -> Done:
        """Take what the partitions found of the shard; return how many rows were alive and how many fell."""
        del values
        note = intact_note(self.stage.state.file(shard), [])
        if note is None or intact_note(self.columns.file(shard), []) is None:
            note = self._write(shard, np.concatenate([_rows(batch) for batch in batches]))
        counters = {f"{self.stage.label}: rejected by {self.stage.step.rule_names[0]}": note["fell"]}
        return Done(json.dumps(note).encode() + b"\n", counters)

    def _write(self, shard: Shard, found: npt.NDArray[np.uint64]) -> dict[str, int]:
        found = found[np.argsort(found[:, 0], kind="stable")]
        first = alive = fallen = 0
        # The states are entered first, so left last: where they are, the columns are too.
        with (
            writer(self.stage.state.file(shard), STATE_SCHEMA) as states,
            writer(self.columns.file(shard), CLUSTER_SCHEMA) as columns,
        ):
            for batch, state, _ in self.reader.read(shard):
                living = state.mask
                low, high = np.searchsorted(found[:, 0], [first, first + batch.num_rows])
                mine = found[low:high]
                rows = (mine[:, 0] - np.uint64(first)).astype(np.int64)
                cluster = id_words(batch.column("doc_id")).copy()
                cluster[rows] = mine[:, 1:3]
                size = np.ones(batch.num_rows, np.int64)
                size[rows] = mine[:, 3].astype(np.int64)
                fell = np.zeros(batch.num_rows, bool)
                fell[rows] = mine[:, 4] == 1
                state.fall(self.stage.index, fell, 0, size.astype(np.float64), 1.0)
                alive += int(living.sum())
                fallen += int(fell.sum())
                dead = pa.array(~living)
                null = pa.scalar(None)
                columns.write_batch(
                    pa.RecordBatch.from_arrays(
                        [
                            pc.if_else(dead, null.cast(pa.string()), _hex(cluster)),
                            pc.if_else(dead, null.cast(pa.int64()), pa.array(size)),
                        ],
                        schema=CLUSTER_SCHEMA,
                    )
                )
                states.write_batch(state.to_batch())
                first += batch.num_rows
            columns.note = states.note = {"documents": alive, "fell": fallen}
        return {"documents": alive, "fell": fallen}


def deduplicate_exact(corpus: Corpus) -> Decision:
    """Group the rows alive by hash, keep one of each group, and write cluster columns and row states."""
    stage = corpus.stage
    columns = stage.place("clusters")
    name = f"{stage.label}: groups"
    exchange = Exchange(
        name,
        StoredShards(),
        hash_partitions,
        SendHashes(ColumnReader.of(corpus.state, corpus.columns, [HASH_COLUMN])),
        MatchHashes(),
        ApplyClusters(stage, ColumnReader.of(corpus.state, corpus.columns, []), columns),
        KEYS,
        MATCHES,
        stage.place("exchange").folder,
        inputs=(READ,),
        after=corpus.after,
        step=stage.label,
        small=True,
    )
    added: Mapping[str, Place] = dict.fromkeys(CLUSTER_SCHEMA.names, columns)
    return Decision((exchange,), added, _Found(name), (READ, name))


@dataclass(frozen=True)
class _Found:
    name: str

    def __call__(self, values: Values) -> Outcome:
        notes = [json.loads(line) for line in values[self.name].splitlines()]
        documents, fell = (sum(note[key] for note in notes) for key in ("documents", "fell"))
        return Outcome(metrics={"documents": documents, "duplicates": fell, "partitions": hash_partitions(values)})
