"""Clusters of duplicates as a shard is told of them: columns for its rows, and which of them fall."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.pipeline.graph.passes import Done, Values
from tamis.pipeline.passes.shard_reader import ColumnReader
from tamis.pipeline.passes.stage import Stage
from tamis.pipeline.storage.column_file import intact_note, writer
from tamis.pipeline.storage.place import Place, Shard
from tamis.schemas.tables import STATE_SCHEMA, described
from tamis.scorers.text.noise import id_words

__all__ = ["LARGEST", "MATCHES", "ApplyClusters", "batch_rows", "cluster_schema", "cut_rows", "hex_ids"]

MATCHES = pa.schema([(name, pa.uint64()) for name in ("row", "kept_hi", "kept_lo", "size", "fell", "lowest")])
"""A row of a shard that is in a cluster: its number, the id of the document kept, the cluster's size, whether the row
falls, and the bits of the lowest similarity inside the cluster (a float64; NaN where none was looked at)."""
LARGEST = 10
"""Clusters that are told of each by itself."""


def cluster_schema(name: str | None, group: str, of: str) -> pa.Schema:
    """Return the columns of a step that keeps one document of each cluster.

    Args:
        name: of the step, if it has one of its own.
        group: what a cluster is called, such as "group".
        of: of what it is one, such as "exact duplicates".
    """
    prefix = "dup" if name is None else name
    return pa.schema(
        [
            described(f"{prefix}_cluster", pa.string(), f"doc_id of the document kept of the {group} of {of}"),
            described(f"{prefix}_cluster_size", pa.int64(), f"documents in the {group}, this one included"),
        ]
    )


def hex_ids(words: npt.NDArray[np.uint64]) -> pa.StringArray:
    """Return 128-bit ids, two words each (n, 2), as 32 hex digits."""
    digits = words.astype(">u8").tobytes().hex().encode()
    offsets = np.arange(len(words) + 1, dtype=np.int32) * 32
    return pa.StringArray.from_buffers(len(words), pa.py_buffer(offsets), pa.py_buffer(digits))


def cut_rows(
    table: npt.NDArray[np.uint64], owners: npt.NDArray[np.int64], parts: int, schema: pa.Schema
) -> list[pa.RecordBatch]:
    """Return the rows of each part as a batch, in the order that they have.

    Args:
        table: words (n, columns of the schema).
        owners: the part of each row (n,).
        parts: how many there are.
        schema: columns of uint64.
    """
    order = np.argsort(owners, kind="stable")
    bounds = np.searchsorted(owners[order], np.arange(parts + 1))
    columns = [pa.array(column) for column in np.ascontiguousarray(table[order].T)]
    whole = pa.RecordBatch.from_arrays(columns, schema=schema)
    return [whole.slice(start, end - start) for start, end in itertools.pairwise(bounds.tolist())]


def batch_rows(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> npt.NDArray[np.uint64]:
    """Return the rows of batches of uint64 columns as one table (n, columns)."""
    whole = pa.Table.from_batches(list(batches), schema)
    return np.column_stack([column.to_numpy() for column in whole.columns]).astype(np.uint64, copy=False)


@dataclass(frozen=True)
class ApplyClusters:
    """Writes a shard's cluster columns and lets its duplicates fall, unless that was done.

    Attributes:
        stage: the step, whose only rule rows fall to.
        reader: of the rows and their states before.
        columns: place of the columns.
        schema: the columns, see `cluster_schema`.
    """

    stage: Stage
    reader: ColumnReader
    columns: Place
    schema: pa.Schema

    def __call__(self, shard: Shard, batches: Sequence[pa.RecordBatch], values: Values) -> Done:
        """Take what the partitions found of the shard, batches of `MATCHES`.

        Returns:
            A line of JSON: the shard's source, how many rows were alive, how many fell, how many clusters of several
            keep a document of the shard, and the largest of these (size, doc_id, lowest similarity).
        """
        del values
        note = intact_note(self.stage.state.file(shard), [])
        reused = note is not None and intact_note(self.columns.file(shard), []) is not None
        if note is None or not reused:
            note = self._write(shard, batch_rows(batches, MATCHES))
        counters = self.stage.rejections({0: int(note["fell"])})
        told = {"source": shard.source, **note}
        return Done(json.dumps(told).encode() + b"\n", counters, reused)

    def _write(self, shard: Shard, found: npt.NDArray[np.uint64]) -> dict[str, Any]:
        found = found[np.argsort(found[:, 0], kind="stable")]
        first = alive = fallen = 0
        # The states are entered first, so left last: where they are, the columns are too.
        with (
            writer(self.stage.state.file(shard), STATE_SCHEMA) as states,
            writer(self.columns.file(shard), self.schema) as columns,
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
                            pc.if_else(dead, null.cast(pa.string()), hex_ids(cluster)),
                            pc.if_else(dead, null.cast(pa.int64()), pa.array(size)),
                        ],
                        schema=self.schema,
                    )
                )
                states.write_batch(state.to_batch())
                first += batch.num_rows
            stays = found[(found[:, 4] == 0) & (found[:, 3] > 1)]
            note = {"documents": alive, "fell": fallen, "clusters": len(stays), "largest": _largest(stays)}
            columns.note = states.note = note
        return note


def _largest(stays: npt.NDArray[np.uint64]) -> list[tuple[int, str, float | None]]:
    """Return size, id and lowest similarity of the largest clusters, ties by id."""
    top = stays[np.lexsort((stays[:, 2], stays[:, 1], ~stays[:, 3]))][:LARGEST]
    lowest = np.ascontiguousarray(top[:, 5]).view(np.float64)
    ids = hex_ids(top[:, 1:3]).to_pylist()
    return [
        (int(size), doc_id, None if np.isnan(low) else float(low))
        for size, doc_id, low in zip(top[:, 3].tolist(), ids, lowest, strict=True)
    ]
