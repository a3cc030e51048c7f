"""Clusters of near-duplicates: whole components in partitions, with the ranks that the shards send."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.clusters import MATCHES, cut_rows
from tamis.pipeline.corpus.near_edges import own_edges
from tamis.pipeline.graph.passes import Values
from tamis.pipeline.passes.shard_reader import read_columns
from tamis.pipeline.storage.column_file import ColumnFile
from tamis.pipeline.storage.place import Place, Shard
from tamis.scorers.dedup.clusters import Link, Members, resolve_clusters
from tamis.scorers.dedup.components import number_partitions
from tamis.scorers.dedup.keep import Keep
from tamis.scorers.dedup.pairs import Edges

__all__ = ["MEMBERS", "MEMBERS_PER_PARTITION", "ClusterPartitions", "MatchMembers", "SendMembers"]

MEMBERS_PER_PARTITION = 2_000_000
"""Documents or edges; a component isn't parted, however large."""
MEMBERS = pa.schema(
    [
        ("a", pa.uint64()),
        ("b", pa.uint64()),
        ("similarity", pa.float64()),
        ("same", pa.bool_()),
        ("rank", pa.large_binary()),
    ]
)
"""An edge, or a document (`a`) with the bytes of its rank."""


@dataclass(frozen=True)
class ClusterPartitions:
    """Into how many partitions to cut the components; none where there are none, or the step is finished."""

    components: str
    unfinished: str

    def __call__(self, values: Values) -> int:
        """Return the number."""
        told = json.loads(values[self.components])
        return -(-max(told["documents"], told["edges"]) // MEMBERS_PER_PARTITION) if values[self.unfinished] else 0


@dataclass(frozen=True)
class SendMembers:
    """A shard's documents that have an edge, with their ranks, and its edges, by a hash of their components.

    Attributes:
        keep: the policy.
        column: what it looks at, if anything.
        columns: column to place.
        edges: place of the edges.
        labels: place of the labels.
    """

    keep: Keep
    column: str | None
    columns: dict[str, Place]
    edges: Place
    labels: Place

    def __call__(self, shard: Shard, partitions: int, values: Values) -> Sequence[pa.RecordBatch]:
        """Return one batch a partition."""
        del values
        if not partitions:
            return []
        with ColumnFile(self.labels.file(shard)) as file:
            documents, labels = (file[0].column(name).to_numpy() for name in ("document", "label"))
        edges = own_edges(self.edges, shard)
        ranks = self._ranks(shard, (documents & np.uint64(0xFFFFFFFF)).astype(np.int64))
        parts = number_partitions(labels, partitions)
        of_edges = parts[np.searchsorted(documents, edges.a)]
        return [
            _batch(documents[parts == part], ranks[parts == part], edges.take(of_edges == part))
            for part in range(partitions)
        ]

    def _ranks(self, shard: Shard, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """Return the ranks of some of the shard's rows, ascending."""
        names = ["doc_id"] if self.column is None else list(dict.fromkeys(["doc_id", self.column]))
        found: list[npt.NDArray[np.uint64]] = []
        first = 0
        for batch in read_columns(shard, names, self.columns):
            low, high = np.searchsorted(rows, [first, first + batch.num_rows])
            taken = batch.take(pa.array(rows[low:high] - first))
            first += batch.num_rows
            if taken.num_rows:
                column = None if self.column is None else taken.column(self.column)
                found.append(self.keep.ranks(taken.column("doc_id"), column))
        return np.concatenate(found) if found else np.zeros((0, 2), np.uint64)


def _batch(documents: npt.NDArray[np.uint64], ranks: npt.NDArray[np.uint64], edges: Edges) -> pa.RecordBatch:
    n, m = len(documents), len(edges.a)
    raw = np.ascontiguousarray(ranks.astype("<u8"))
    bounds = np.arange(n + 1, dtype=np.int64) * 8 * ranks.shape[1]
    packed = pa.LargeBinaryArray.from_buffers(pa.large_binary(), n, [None, pa.py_buffer(bounds), pa.py_buffer(raw)])
    return pa.RecordBatch.from_arrays(
        [
            pa.array(np.concatenate([documents, edges.a])),
            pa.array(np.concatenate([np.zeros(n, np.uint64), edges.b])),
            pa.array(np.concatenate([np.zeros(n), edges.similarity])),
            pa.array(np.concatenate([np.zeros(n, np.bool_), edges.same])),
            pa.concat_arrays([packed, pa.nulls(m, pa.large_binary())]),
        ],
        schema=MEMBERS,
    )


@dataclass(frozen=True)
class MatchMembers:
    """The clusters of a partition."""

    link: Link

    def __call__(self, batches: Sequence[pa.RecordBatch], values: Values) -> Sequence[pa.RecordBatch]:
        """Return a batch of `MATCHES` a shard."""
        del values
        table = pa.Table.from_batches(list(batches), MEMBERS).combine_chunks()
        a, b, similarity, same = (table.column(name).to_numpy() for name in MEMBERS.names[:4])
        is_edge = np.asarray(table.column("rank").is_null())
        edges = Edges(a, b, similarity, same).take(is_edge)
        packed = b"".join(table.column("rank").filter(pa.array(~is_edge)).to_pylist())
        documents = a[~is_edge]
        ranks = np.frombuffer(packed, "<u8").astype(np.uint64).reshape(len(documents), -1 if len(documents) else 2)
        found = resolve_clusters(edges, Members.new(documents, ranks), self.link)
        order = np.argsort(documents)
        ids = ranks[order[np.searchsorted(documents[order], found.kept)]][:, -2:]
        rows = np.column_stack(
            [
                found.documents & np.uint64(0xFFFFFFFF),
                ids,
                found.sizes.astype(np.uint64),
                (found.documents != found.kept).astype(np.uint64),
                np.ascontiguousarray(found.lowest, np.float64).view(np.uint64),
            ]
        )
        owners = (found.documents >> np.uint64(32)).astype(np.int64)
        return cut_rows(rows, owners, len(batches), MATCHES) if batches else []
