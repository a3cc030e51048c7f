"""Exact deduplication over the whole corpus: groups of equal hashes, each kept once.

Hashes and ids are exchanged between shards in partitions of the hash space, so memory is bounded by the rows of one
partition, on any engine.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.clusters import MATCHES, ApplyClusters, batch_rows, cluster_schema, cut_rows
from tamis.pipeline.corpus.context import Corpus, Decision, Outcome
from tamis.pipeline.graph.passes import Exchange, Values
from tamis.pipeline.passes.shard_reader import ColumnReader
from tamis.pipeline.passes.stage import READ, StoredShards, stored_shards
from tamis.pipeline.storage.place import Place, Shard
from tamis.scorers.dedup.keep import Keep
from tamis.scorers.dedup.text_hash import HASH_COLUMN

__all__ = [
    "CLUSTER_SCHEMA",
    "ROWS_PER_PARTITION",
    "ExactDedup",
    "cluster_rows",
    "deduplicate_exact",
    "exact_schema",
    "hash_partitions",
    "rank_words",
]

ROWS_PER_PARTITION = 4_000_000


def exact_schema(name: str | None) -> pa.Schema:
    """Return the columns of groups."""
    return cluster_schema(name, "group", "exact duplicates")


CLUSTER_SCHEMA = exact_schema(None)


def rank_words(keep: Keep) -> int:
    """Return how many words a rank has at most; shorter ones are filled with zeros, so that all columns fit."""
    return {"id": 2, "newest": 7, "oldest": 7}.get(keep.by, 4)


@dataclass(frozen=True)
class ExactDedup:
    """What a step that removes exact duplicates was asked for.

    Attributes:
        hash: column of the hashes; rows without one take no part.
        keep: which document of a group stays.
        column: what the keep policy looks at, if anything.
        name: of the step, if it has one of its own.
    """

    hash: str = HASH_COLUMN
    keep: Keep = field(default_factory=Keep)
    column: str | None = None
    name: str | None = None

    @property
    def names(self) -> list[str]:
        """The columns that are read, beside ids."""
        return [self.hash] if self.column is None else [self.hash, self.column]

    @property
    def sent(self) -> pa.Schema:
        """What shards send: hash, rank, row."""
        ranks = [f"rank_{i}" for i in range(rank_words(self.keep))]
        return pa.schema([(name, pa.uint64()) for name in ("hash_hi", "hash_lo", *ranks, "row")])

    def ranks(self, batch: pa.RecordBatch) -> npt.NDArray[np.uint64]:
        """Return the ranks of a batch's rows, the id's words last."""
        column = None if self.column is None else batch.column(self.column)
        found = self.keep.ranks(batch.column("doc_id"), column)
        missing = np.zeros((len(found), rank_words(self.keep) - found.shape[1]), np.uint64)
        return np.concatenate([found[:, :-2], missing, found[:, -2:]], axis=1)


def hash_partitions(values: Values) -> int:
    """Return into how many partitions to cut the hash space; depends on the corpus alone."""
    rows = sum(shard.rows for shard in stored_shards(values[READ]))
    return max(1, -(-rows // ROWS_PER_PARTITION))


@dataclass(frozen=True)
class SendHashes:
    """A shard's (hash, rank, row) of the rows alive that have a hash, by partition of the hash space."""

    reader: ColumnReader
    exact: ExactDedup

    def __call__(self, shard: Shard, partitions: int, values: Values) -> Sequence[pa.RecordBatch]:
        """Return one batch a partition."""
        del values
        schema = self.exact.sent
        keys = [np.zeros((0, len(schema)), np.uint64)]
        first = 0
        for batch, state, _ in self.reader.read(shard):
            alive = np.flatnonzero(state.mask & np.asarray(batch.column(self.exact.hash).is_valid()))
            taken = batch.take(pa.array(alive))
            words = np.frombuffer(b"".join(taken.column(self.exact.hash).to_pylist()), ">u8").reshape(-1, 2)
            rows = (alive + first).astype(np.uint64)
            keys.append(np.column_stack([words.astype(np.uint64), self.exact.ranks(taken), rows]))
            first += batch.num_rows
        table = np.concatenate(keys)
        return cut_rows(table, (table[:, 0] % np.uint64(partitions)).astype(np.int64), partitions, schema)


def cluster_rows(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> list[pa.RecordBatch]:
    """Group one partition's rows of all shards by hash; of each group the one of least rank is kept.

    Rows of equal rank, so of equal doc_id, are ordered by shard and row, which is input path and position.

    Args:
        batches: one a shard in canonical order.
        schema: theirs, see `ExactDedup.sent`.

    Returns:
        Batches of `MATCHES`, one a shard: its rows that are in a group of several, in order.
    """
    sizes = [batch.num_rows for batch in batches]
    owners = np.repeat(np.arange(len(batches), dtype=np.uint64), sizes)
    table = np.column_stack([batch_rows(batches, schema), owners])
    row, owner = len(schema) - 1, len(schema)
    table = table[np.lexsort(table.T[[row, owner, *range(row - 1, -1, -1)]])]
    same = (table[1:, 0] == table[:-1, 0]) & (table[1:, 1] == table[:-1, 1])
    starts = np.flatnonzero(np.concatenate([[True], ~same])) if len(table) else np.zeros(0, np.int64)
    counts = np.diff(np.append(starts, len(table)))
    head = np.repeat(starts, counts)
    size = np.repeat(counts, counts)
    fell = np.arange(len(table)) != head
    grouped = size > 1
    alike = np.full(len(table), 1.0).view(np.uint64)
    found = np.column_stack(
        [
            table[:, row],
            table[head, row - 2],
            table[head, row - 1],
            size.astype(np.uint64),
            fell.astype(np.uint64),
            alike,
        ]
    )[grouped]
    return cut_rows(found, table[grouped, owner].astype(np.int64), len(batches), MATCHES)


@dataclass(frozen=True)
class MatchHashes:
    """The groups of a partition."""

    schema: pa.Schema

    def __call__(self, batches: Sequence[pa.RecordBatch], values: Values) -> Sequence[pa.RecordBatch]:
        """Return a batch of `MATCHES` a shard."""
        del values
        return cluster_rows(batches, self.schema) if batches else []


def deduplicate_exact(corpus: Corpus, exact: ExactDedup | None = None) -> Decision:
    """Group the rows alive by hash, keep one of each group, and write cluster columns and row states.

    Args:
        corpus: what there is to work with.
        exact: what was asked for; by default the smallest doc_id of each text is kept.
    """
    exact = exact or ExactDedup()
    schema = exact_schema(exact.name)
    stage = corpus.stage
    columns = stage.place("clusters")
    name = f"{stage.label}: groups"
    exchange = Exchange(
        name,
        StoredShards(),
        hash_partitions,
        SendHashes(ColumnReader.of(corpus.state, corpus.columns, exact.names), exact),
        MatchHashes(exact.sent),
        ApplyClusters(stage, ColumnReader.of(corpus.state, corpus.columns, []), columns, schema),
        exact.sent,
        MATCHES,
        stage.place("exchange").folder,
        inputs=(READ,),
        after=corpus.after,
        step=stage.label,
        small=True,
    )
    added: Mapping[str, Place] = dict.fromkeys(schema.names, columns)
    return Decision((exchange,), added, _Found(name), (READ, name))


@dataclass(frozen=True)
class _Found:
    name: str

    def __call__(self, values: Values) -> Outcome:
        notes = [json.loads(line) for line in values[self.name].splitlines()]
        documents, fell = (sum(note[key] for note in notes) for key in ("documents", "fell"))
        return Outcome(metrics={"documents": documents, "duplicates": fell, "partitions": hash_partitions(values)})
