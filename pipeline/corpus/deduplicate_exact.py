"""Exact deduplication over the whole corpus: groups of equal hashes, each kept once.

Hashes and ids move between shards through files cut into partitions of the hash space, not through a shuffle: each
shard writes one batch a partition, each partition reads its batch of every shard and writes one batch a shard, each
shard reads its batch of every partition. So memory is bounded by the rows of one partition, on any runner.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.pipeline.corpus.barrier import Barrier, Outcome
from tamis.pipeline.passes.stage import SourceShard, Stage, shard_file
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile, aligned, writer
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.tables import STATE_SCHEMA, described
from tamis.scorers.dedup.text_hash import HASH_COLUMN
from tamis.scorers.text.noise import id_words

__all__ = ["CLUSTER_SCHEMA", "ApplyClusters", "MatchPartition", "PartitionShard", "deduplicate"]

ROWS_PER_PARTITION = 4_000_000
CLUSTER_SCHEMA = pa.schema(
    [
        described("dup_cluster", pa.string(), "doc_id of the document kept of the group of exact duplicates"),
        described("dup_cluster_size", pa.int64(), "documents in the group, this one included"),
    ]
)
KEYS = pa.schema([(name, pa.uint64()) for name in ("hash_hi", "hash_lo", "id_hi", "id_lo", "row")])
MATCHES = pa.schema([(name, pa.uint64()) for name in ("row", "kept_hi", "kept_lo", "size", "fell")])


def partitions(rows: int) -> int:
    """Return into how many partitions to cut the hash space; depends on the corpus alone."""
    return max(1, -(-rows // ROWS_PER_PARTITION))


def _hex(words: npt.NDArray[np.uint64]) -> pa.StringArray:
    """Return 128-bit ids, two words each, as 32 hex digits."""
    digits = words.astype(">u8").tobytes().hex().encode()
    offsets = np.arange(len(words) + 1, dtype=np.int32) * 32
    return pa.StringArray.from_buffers(len(words), pa.py_buffer(offsets), pa.py_buffer(digits))


def _write_slices(path: str, schema: pa.Schema, columns: Any, bounds: npt.NDArray[np.int64]) -> None:
    with writer(path, schema) as out:
        for start, end in itertools.pairwise(bounds.tolist()):
            out.write_batch(pa.RecordBatch.from_arrays([pa.array(c[start:end]) for c in columns], schema=schema))


@dataclass(frozen=True)
class PartitionShard:
    """A shard's (hash, doc_id, row) of the rows alive, one batch a partition."""

    documents: str
    hashes: str
    state: str
    folder: str
    partitions: int

    def __call__(self, shard: SourceShard) -> int:
        """Write the shard's file; return the number of rows alive."""
        keys = []
        first = 0
        with (
            ColumnFile(shard_file(self.documents, shard.key), ["doc_id"]) as ids,
            ColumnFile(shard_file(self.hashes, shard.key), [HASH_COLUMN]) as hashes,
            ColumnFile(shard_file(self.state, shard.key), ["step"]) as states,
        ):
            for batch in aligned([ids, hashes, states]):
                alive = np.flatnonzero(batch.column("step").to_numpy() == -1)
                taken = batch.take(pa.array(alive))
                words = np.frombuffer(b"".join(taken.column(HASH_COLUMN).to_pylist()), ">u8").reshape(-1, 2)
                rows = (alive + first).astype(np.uint64)
                keys.append(np.column_stack([words.astype(np.uint64), id_words(taken.column("doc_id")), rows]))
                first += batch.num_rows
        table = np.concatenate(keys) if keys else np.zeros((0, 5), np.uint64)
        part = (table[:, 0] % np.uint64(self.partitions)).astype(np.int64)
        order = np.argsort(part, kind="stable")
        bounds = np.searchsorted(part[order], np.arange(self.partitions + 1))
        _write_slices(shard_file(self.folder, shard.key), KEYS, table[order].T.copy(), bounds)
        return len(table)


@dataclass(frozen=True)
class MatchPartition:
    """Groups one partition's rows of all shards by hash; of each group the smallest doc_id is kept.

    Rows of equal doc_id are ordered by shard and row, which is input path and position.
    """

    shards: Sequence[SourceShard]
    keys: str
    folder: str

    def __call__(self, partition: int) -> int:
        """Write the partition's file, one batch a shard; return the number of rows that fell."""
        tables = []
        for shard in self.shards:
            with ColumnFile(shard_file(self.keys, shard.key)) as file:
                batch = file[partition]
                columns = [column.to_numpy() for column in batch.columns]
                tables.append(np.column_stack([*columns, np.full(batch.num_rows, shard.index, np.uint64)]))
        table = np.concatenate(tables)
        order = np.lexsort(table.T[[4, 5, 3, 2, 1, 0]])
        table = table[order]
        same = (table[1:, 0] == table[:-1, 0]) & (table[1:, 1] == table[:-1, 1])
        starts = np.flatnonzero(np.concatenate([[True], ~same])) if len(table) else np.zeros(0, np.int64)
        sizes = np.diff(np.append(starts, len(table)))
        head = np.repeat(starts, sizes)
        size = np.repeat(sizes, sizes)
        fell = np.arange(len(table)) != head
        grouped = size > 1
        found = np.column_stack(
            [table[:, 4], table[head, 2], table[head, 3], size.astype(np.uint64), fell.astype(np.uint64)]
        )[grouped]
        owner = table[grouped, 5].astype(np.int64)
        order = np.lexsort((found[:, 0], owner))
        indices = np.array([shard.index for shard in self.shards])
        bounds = np.append(np.searchsorted(owner[order], indices), len(order))
        _write_slices(self.path(self.folder, partition), MATCHES, found[order].T.copy(), bounds)
        return int(fell.sum())

    @staticmethod
    def path(folder: str, partition: int) -> str:
        """Return the path of a partition's file."""
        return shard_file(folder, f"partition-{partition:05d}")


@dataclass(frozen=True)
class ApplyClusters:
    """Writes a shard's cluster columns and lets its duplicates fall."""

    stage: Stage
    documents: str
    state: str
    matches: str
    partitions: int
    columns: str

    def __call__(self, task: tuple[int, SourceShard]) -> int:
        """Take the shard's position among the shards and the shard; return the number of rows that fell."""
        position, shard = task
        parts = []
        for partition in range(self.partitions):
            with ColumnFile(MatchPartition.path(self.matches, partition)) as file:
                parts.append(np.column_stack([column.to_numpy() for column in file[position].columns]))
        found = np.concatenate(parts)
        found = found[np.argsort(found[:, 0], kind="stable")]
        first = 0
        fallen = 0
        with (
            writer(shard_file(self.stage.state, shard.key), STATE_SCHEMA) as states,
            writer(shard_file(self.columns, shard.key), CLUSTER_SCHEMA) as columns,
            ColumnFile(shard_file(self.documents, shard.key), ["doc_id"]) as ids,
            ColumnFile(shard_file(self.state, shard.key)) as before,
        ):
            for batch in aligned([ids, before]):
                state = RowState.from_batch(batch)
                alive = state.mask
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
                fallen += int(fell.sum())
                names = _hex(cluster)
                dead = pa.array(~alive)
                null = pa.scalar(None)
                columns.write_batch(
                    pa.RecordBatch.from_arrays(
                        [
                            pc.if_else(dead, null.cast(pa.string()), names),
                            pc.if_else(dead, null.cast(pa.int64()), pa.array(size)),
                        ],
                        schema=CLUSTER_SCHEMA,
                    )
                )
                states.write_batch(state.to_batch())
                first += batch.num_rows
        return fallen


def deduplicate(barrier: Barrier) -> Outcome:
    """Group the rows alive by hash, keep one of each group, and write cluster columns and row states."""
    stage = barrier.stage
    keys, matches, columns = barrier.folder("keys"), barrier.folder("matches"), barrier.folder("clusters")
    count = partitions(barrier.rows)
    hashes = barrier.columns.get(HASH_COLUMN, "")
    engine = barrier.engine
    partition = PartitionShard(barrier.documents, hashes, barrier.state, keys, count)
    alive = sum(engine.map(f"{stage.label}: hashes", barrier.shards, partition, small=barrier.small))
    match = MatchPartition(tuple(barrier.shards), keys, matches)
    fell = sum(engine.map(f"{stage.label}: groups", list(range(count)), match, small=barrier.small))
    apply = ApplyClusters(stage, barrier.documents, barrier.state, matches, count, columns)
    engine.map(f"{stage.label}: decide", list(enumerate(barrier.shards)), apply, small=barrier.small)
    filesystem.remove_tree(keys)
    filesystem.remove_tree(matches)
    return Outcome(
        columns=dict.fromkeys(CLUSTER_SCHEMA.names, columns),
        metrics={"documents": alive, "duplicates": fell, "partitions": count},
    )
