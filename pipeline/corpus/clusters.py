"""Clusters of duplicates as a shard is told of them: columns for its rows, and which of them fall."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.pipeline.corpus.earlier import EarlierPart
from tamis.pipeline.graph.passes import Done, Values
from tamis.pipeline.passes.shard_reader import ColumnReader
from tamis.pipeline.passes.stage import READ, Stage, stored_shards
from tamis.pipeline.storage.column_file import intact_note, side_by_side, writer
from tamis.pipeline.storage.place import Place, Shard
from tamis.schemas.tables import STATE_SCHEMA, described
from tamis.scorers.dedup.keep import Keep
from tamis.scorers.text.noise import id_words

__all__ = ["LARGEST", "MATCHES", "ApplyClusters", "batch_rows", "cluster_schema", "cut_rows", "hex_ids", "rank_words"]

MATCHES = pa.schema([(name, pa.uint64()) for name in ("row", "kept_hi", "kept_lo", "size", "fell", "lowest", "kept")])
"""A row of a shard that is in a cluster: its number, the id of the document kept, the cluster's size, whether the row
falls, the bits of the lowest similarity inside the cluster (a float64; NaN where none was looked at), and the number of
the document kept."""
LARGEST = 10
"""Clusters that are told of each by itself."""


def rank_words(keep: Keep) -> int:
    """Return how many words a rank has at most; shorter ones are filled with zeros, so that all columns fit."""
    return {"id": 2, "newest": 7, "oldest": 7}.get(keep.by, 4)


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
    """Writes a shard's cluster columns, beside its row states, and lets its duplicates fall, unless that was done.

    Attributes:
        stage: the step, whose only rule rows fall to.
        reader: of the rows and their states before.
        schema: the columns, see `cluster_schema`.
        matches: place where what the partitions found is kept too, for the index of a later run.
    """

    stage: Stage
    reader: ColumnReader
    schema: pa.Schema
    matches: Place | None = None

    def __call__(self, shard: Shard, batches: Sequence[pa.RecordBatch], values: Values) -> Done:
        """Take what the partitions found of the shard, batches of `MATCHES`.

        Returns:
            A line of JSON: the shard's source, how many rows were alive, how many fell, how many clusters of several
            keep a document of the shard, the largest of these (size, doc_id, lowest similarity), and how many rows
            fell to a document of an earlier run. A part of an index has the largest clusters alone.
        """
        if isinstance(shard, EarlierPart):
            return self._earlier(shard, batches)
        shards = len(stored_shards(values[READ]))
        note = intact_note(self.stage.state.file(shard), [])
        kept = self.matches is None or intact_note(self.matches.file(shard), []) is not None
        reused = note is not None and kept
        if note is None or not reused:
            found = batch_rows(batches, MATCHES)
            note = self._write(shard, found, shards)
            self._keep(shard, found, note)
        counters = self.stage.rejections({0: int(note["fell"])})
        told = {"source": shard.source, **note}
        return Done(json.dumps(told).encode() + b"\n", counters, reused)

    def _earlier(self, part: EarlierPart, batches: Sequence[pa.RecordBatch]) -> Done:
        """Keep what was found of documents of earlier runs; none of them falls here."""
        note = None if self.matches is None else intact_note(self.matches.file(part), [])
        if note is None:
            found = batch_rows(batches, MATCHES)
            found = found[np.argsort(found[:, 0], kind="stable")]
            stays = found[(found[:, 4] == 0) & (found[:, 3] > 1)]
            note = {"documents": 0, "fell": 0, "clusters": 0, "largest": _largest(stays), "earlier": 0}
            self._keep(part, found, note)
        return Done(json.dumps({"source": None, **note}).encode() + b"\n")

    def _keep(self, shard: Shard, found: npt.NDArray[np.uint64], note: Mapping[str, Any]) -> None:
        if self.matches is None:
            return
        with writer(self.matches.file(shard), MATCHES) as out:
            (batch,) = cut_rows(found, np.zeros(len(found), np.int64), 1, MATCHES)
            out.write_batch(batch)
            out.note = note

    def _write(self, shard: Shard, found: npt.NDArray[np.uint64], shards: int) -> dict[str, Any]:
        found = found[np.argsort(found[:, 0], kind="stable")]
        first = alive = fallen = 0
        with writer(self.stage.state.file(shard), pa.schema([*STATE_SCHEMA, *self.schema])) as states:
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
                columns = pa.RecordBatch.from_arrays(
                    [
                        pc.if_else(dead, null.cast(pa.string()), hex_ids(cluster)),
                        pc.if_else(dead, null.cast(pa.int64()), pa.array(size)),
                    ],
                    schema=self.schema,
                )
                states.write_batch(side_by_side([state.to_batch(), columns]))
                first += batch.num_rows
            stays = found[(found[:, 4] == 0) & (found[:, 3] > 1)]
            earlier = int(((found[:, 4] == 1) & (found[:, 6] >> np.uint64(32) >= shards)).sum())
            note = {
                "documents": alive,
                "fell": fallen,
                "clusters": len(stays),
                "largest": _largest(stays),
                "earlier": earlier,
            }
            states.note = note
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
