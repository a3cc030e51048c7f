"""Exact deduplication over the whole corpus: groups of equal hashes, each kept once.

Hashes and ids are exchanged between shards in partitions of the hash space, so memory is bounded by the rows of one
partition, on any engine.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.clusters import MATCHES, ApplyClusters, batch_rows, cluster_schema, cut_rows, rank_words
from tamis.pipeline.corpus.context import Corpus, Decision, Outcome
from tamis.pipeline.corpus.earlier import EarlierPart, EveryPart, Indexes, IndexOptions, every_part
from tamis.pipeline.corpus.leave_index import IndexPlace, index_passes
from tamis.pipeline.graph.passes import Exchange, Values
from tamis.pipeline.passes.shard_reader import ColumnReader
from tamis.pipeline.passes.stage import READ
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
]

ROWS_PER_PARTITION = 4_000_000


def exact_schema(name: str | None) -> pa.Schema:
    """Return the columns of groups."""
    return cluster_schema(name, "group", "exact duplicates")


CLUSTER_SCHEMA = exact_schema(None)


@dataclass(frozen=True)
class ExactDedup:
    """What a step that removes exact duplicates was asked for.

    Attributes:
        hash: column of the hashes; rows without one take no part.
        keep: which document of a group stays.
        column: what the keep policy looks at, if anything.
        name: of the step, if it has one of its own.
        index: what earlier runs have seen, and where what this one saw goes.
    """

    hash: str = HASH_COLUMN
    keep: Keep = field(default_factory=Keep)
    column: str | None = None
    name: str | None = None
    index: IndexOptions = field(default_factory=IndexOptions)

    @property
    def names(self) -> list[str]:
        """The columns that are read, beside ids."""
        return [self.hash] if self.column is None else [self.hash, self.column]

    @property
    def sent(self) -> pa.Schema:
        """What shards send: hash, rank, row; with an index, whether it is of this run, and documents it stands for."""
        ranks = [f"rank_{i}" for i in range(rank_words(self.keep))]
        names = ["hash_hi", "hash_lo", *ranks, "row"]
        if self.index.read:
            names = ["hash_hi", "hash_lo", "new", *ranks, "row", "documents"]
        return pa.schema([(name, pa.uint64()) for name in names])

    def ranks(self, batch: pa.RecordBatch) -> npt.NDArray[np.uint64]:
        """Return the ranks of a batch's rows, the id's words last."""
        column = None if self.column is None else batch.column(self.column)
        found = self.keep.ranks(batch.column("doc_id"), column)
        missing = np.zeros((len(found), rank_words(self.keep) - found.shape[1]), np.uint64)
        return np.concatenate([found[:, :-2], missing, found[:, -2:]], axis=1)


def hash_partitions(values: Values, indexes: Indexes = ()) -> int:
    """Return into how many partitions to cut the hash space; depends on the corpus and the indexes alone."""
    rows = sum(part.rows for part in every_part(values, indexes))
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
        if isinstance(shard, EarlierPart):
            return self._earlier(shard, partitions)
        keys = [np.zeros((0, len(schema)), np.uint64)]
        first = 0
        for batch, state, _ in self.reader.read(shard):
            alive = np.flatnonzero(state.mask & np.asarray(batch.column(self.exact.hash).is_valid()))
            taken = batch.take(pa.array(alive))
            words = np.frombuffer(b"".join(taken.column(self.exact.hash).to_pylist()), ">u8").reshape(-1, 2)
            rows = (alive + first).astype(np.uint64)
            found = [words.astype(np.uint64), self.exact.ranks(taken), rows]
            if self.exact.index.read:
                ones = np.ones(len(rows), np.uint64)
                found = [found[0], ones, *found[1:], ones]
            keys.append(np.column_stack(found))
            first += batch.num_rows
        table = np.concatenate(keys)
        return cut_rows(table, (table[:, 0] % np.uint64(partitions)).astype(np.int64), partitions, schema)

    def _earlier(self, part: EarlierPart, partitions: int) -> Sequence[pa.RecordBatch]:
        """Return the rows of an index, which come before all others of their hash."""
        part.check()
        table = part.read(["hash", "doc_id", "documents"])
        hashes, ids = (_words(table.column(name)) for name in ("hash", "doc_id"))
        rows = np.zeros((len(hashes), len(self.exact.sent)), np.uint64)
        row = self.exact.sent.get_field_index("row")
        rows[:, :2], rows[:, row - 2 : row] = hashes, ids
        rows[:, row] = np.arange(len(rows))
        rows[:, row + 1] = table.column("documents").to_numpy()
        return cut_rows(rows, (rows[:, 0] % np.uint64(partitions)).astype(np.int64), partitions, self.exact.sent)


def _words(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Return the two words of each of a column's 128-bit values."""
    return np.frombuffer(b"".join(column.to_pylist()), ">u8").reshape(-1, 2).astype(np.uint64)


def cluster_rows(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> list[pa.RecordBatch]:
    """Group one partition's rows of all shards by hash; of each group the one of least rank is kept.

    Rows of equal rank, so of equal doc_id, are ordered by shard and row, which is input path and position. Rows of an
    index come before others, and get no answer.

    Args:
        batches: one a shard in canonical order.
        schema: theirs, see `ExactDedup.sent`.

    Returns:
        Batches of `MATCHES`, one a shard: its rows that are in a group of several, in order.
    """
    sizes = [batch.num_rows for batch in batches]
    owners = np.repeat(np.arange(len(batches), dtype=np.uint64), sizes)
    table = np.column_stack([batch_rows(batches, schema), owners])
    row, owner = schema.get_field_index("row"), len(schema)
    table = table[np.lexsort(table.T[[row, owner, *range(row - 1, -1, -1)]])]
    same = (table[1:, 0] == table[:-1, 0]) & (table[1:, 1] == table[:-1, 1])
    starts = np.flatnonzero(np.concatenate([[True], ~same])) if len(table) else np.zeros(0, np.int64)
    counts = np.diff(np.append(starts, len(table)))
    head = np.repeat(starts, counts)
    documents = table[:, row + 1].astype(np.int64) if row + 1 < owner else np.ones(len(table), np.int64)
    size = np.repeat(np.add.reduceat(documents, starts) if len(starts) else counts, counts)
    fell = np.arange(len(table)) != head
    grouped = np.repeat(counts, counts) > 1
    if row + 1 < owner:
        grouped &= table[:, 2] == 1
    alike = np.full(len(table), 1.0).view(np.uint64)
    found = np.column_stack(
        [
            table[:, row],
            table[head, row - 2],
            table[head, row - 1],
            size.astype(np.uint64),
            fell.astype(np.uint64),
            alike,
            table[head, owner] << np.uint64(32) | table[head, row],
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
    columns = stage.state
    name = f"{stage.label}: groups"
    indexes = exact.index.read
    exchange = Exchange(
        name,
        EveryPart(indexes),
        partial(hash_partitions, indexes=indexes),
        SendHashes(ColumnReader.of(corpus.state, corpus.columns, exact.names), exact),
        MatchHashes(exact.sent),
        ApplyClusters(stage, ColumnReader.of(corpus.state, corpus.columns, []), schema),
        exact.sent,
        MATCHES,
        stage.place("exchange").folder,
        inputs=(READ,),
        after=corpus.after,
        step=stage.label,
        small=True,
    )
    added: Mapping[str, Place] = dict.fromkeys(schema.names, columns)
    if exact.index.folder is None:
        return Decision((exchange,), added, _Found(name, indexes), (READ, name))
    group = schema.names[0]
    reader = ColumnReader.of(corpus.state, {**corpus.columns, group: columns}, [exact.hash, group])
    parts, listing = index_passes(stage, exact.index, _SeenHashes(reader, exact.hash, group), (name,))
    reads = (READ, name, listing.name)
    return Decision((exchange, parts, listing), added, _Found(name, indexes, listing.name), reads)


_SEEN = pa.schema([("hash", pa.binary(16)), ("doc_id", pa.binary(16)), ("documents", pa.int64())])
"""A hash, the document that is kept of those that have it, and how many of a shard have it."""


@dataclass(frozen=True)
class _SeenHashes:
    """Makes the part of a shard, or copies one of an index.

    Attributes:
        reader: of hashes and groups, and of the row states before.
        hash: column of the hashes.
        group: column of the document kept.
    """

    reader: ColumnReader
    hash: str
    group: str

    def __call__(self, shard: Shard, place: IndexPlace) -> tuple[pa.Table, int]:
        """Return the part, and how many documents its rows stand for."""
        del place
        if isinstance(shard, EarlierPart):
            table = shard.read(_SEEN.names)
        else:
            schema = pa.schema([(self.hash, pa.binary(16)), (self.group, pa.string())])
            batches = [pa.RecordBatch.from_pylist([], schema)]
            for batch, state, _ in self.reader.read(shard):
                held = state.mask & np.asarray(batch.column(self.hash).is_valid())
                taken = batch.select([self.hash, self.group]).filter(pa.array(held))
                batches.append(taken.cast(schema))
            counted = (
                pa.Table.from_batches(batches)
                .group_by([self.hash])
                .aggregate([(self.group, "min"), (self.group, "count")])
            )
            counted = counted.sort_by(self.hash)
            ids = [bytes.fromhex(name) for name in counted.column(f"{self.group}_min").to_pylist()]
            columns = [counted.column(self.hash), pa.array(ids, pa.binary(16)), counted.column(f"{self.group}_count")]
            table = pa.table(columns, schema=_SEEN)
        return table, int(table.column("documents").to_numpy().sum())


@dataclass(frozen=True)
class _Found:
    name: str
    indexes: Indexes = ()
    listing: str | None = None

    def __call__(self, values: Values) -> Outcome:
        notes = [json.loads(line) for line in values[self.name].splitlines()]
        documents, fell, earlier = (sum(note[key] for note in notes) for key in ("documents", "fell", "earlier"))
        partitions = hash_partitions(values, self.indexes)
        metrics = {"documents": documents, "duplicates": fell, "partitions": partitions}
        if self.indexes:
            metrics["duplicates_of_earlier_runs"] = earlier
        if self.listing is not None:
            metrics["index"] = json.loads(values[self.listing])
        return Outcome(metrics=metrics)
