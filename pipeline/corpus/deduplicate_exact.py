"""Exact deduplication over the whole corpus: groups of equal hashes, each kept once.

Hashes and ids are exchanged between shards in partitions of the hash space, so memory is bounded by the rows of one
partition, on any engine.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tamis.pipeline.corpus.clusters import MATCHES, ApplyClusters, batch_rows, cluster_schema, cut_rows
from tamis.pipeline.corpus.context import Corpus, Decision, Outcome
from tamis.pipeline.graph.passes import Exchange, Values
from tamis.pipeline.passes.shard_reader import ColumnReader
from tamis.pipeline.passes.stage import READ, StoredShards, stored_shards
from tamis.pipeline.storage.place import Place, Shard
from tamis.scorers.dedup.text_hash import HASH_COLUMN
from tamis.scorers.text.noise import id_words

__all__ = ["CLUSTER_SCHEMA", "ROWS_PER_PARTITION", "cluster_rows", "deduplicate_exact", "hash_partitions"]

ROWS_PER_PARTITION = 4_000_000
CLUSTER_SCHEMA = cluster_schema(None, "group", "exact duplicates")
KEYS = pa.schema([(name, pa.uint64()) for name in ("hash_hi", "hash_lo", "id_hi", "id_lo", "row")])


def hash_partitions(values: Values) -> int:
    """Return into how many partitions to cut the hash space; depends on the corpus alone."""
    rows = sum(shard.rows for shard in stored_shards(values[READ]))
    return max(1, -(-rows // ROWS_PER_PARTITION))


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
        return cut_rows(table, (table[:, 0] % np.uint64(partitions)).astype(np.int64), partitions, KEYS)


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
    table = np.column_stack([batch_rows(batches, KEYS), owners])
    table = table[np.lexsort(table.T[[4, 5, 3, 2, 1, 0]])]
    same = (table[1:, 0] == table[:-1, 0]) & (table[1:, 1] == table[:-1, 1])
    starts = np.flatnonzero(np.concatenate([[True], ~same])) if len(table) else np.zeros(0, np.int64)
    counts = np.diff(np.append(starts, len(table)))
    head = np.repeat(starts, counts)
    size = np.repeat(counts, counts)
    fell = np.arange(len(table)) != head
    grouped = size > 1
    alike = np.full(len(table), 1.0).view(np.uint64)
    found = np.column_stack(
        [table[:, 4], table[head, 2], table[head, 3], size.astype(np.uint64), fell.astype(np.uint64), alike]
    )[grouped]
    return cut_rows(found, table[grouped, 5].astype(np.int64), len(batches), MATCHES)


class MatchHashes:
    """The groups of a partition."""

    def __call__(self, batches: Sequence[pa.RecordBatch], values: Values) -> Sequence[pa.RecordBatch]:
        """Return a batch of `MATCHES` a shard."""
        del values
        return cluster_rows(batches) if batches else []


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
        ApplyClusters(stage, ColumnReader.of(corpus.state, corpus.columns, []), columns, CLUSTER_SCHEMA),
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
