"""Clusters of near-duplicates: whole components in partitions, with the ranks that the shards send."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.clusters import MATCHES, cut_rows, rank_words
from tamis.pipeline.corpus.earlier import EarlierPart
from tamis.pipeline.corpus.near_edges import own_edges
from tamis.pipeline.graph.passes import Values
from tamis.pipeline.passes.shard_reader import read_columns
from tamis.pipeline.passes.stage import READ, stored_shards
from tamis.pipeline.storage.column_file import ColumnFile
from tamis.pipeline.storage.place import Place, Shard
from tamis.scorers.dedup.clusters import EARLIER_GONE, EARLIER_KEPT, NEW, Link, Members, resolve_clusters
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
"""An edge, or a document (`a`) with the bytes of its rank, and as `b` the document that an earlier run kept for it, or
itself."""


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
        rows = (documents & np.uint64(0xFFFFFFFF)).astype(np.int64)
        kept = documents
        if isinstance(shard, EarlierPart):
            table = shard.read(["row", "doc_id", "kept"])
            table = table.take(pa.array(np.searchsorted(shard.own(table.column("row")), documents)))
            kept = shard.numbers(table.column("kept"))
            ids = np.frombuffer(b"".join(table.column("doc_id").to_pylist()), ">u8").reshape(-1, 2).astype(np.uint64)
            ranks = self._filled(ids)
        else:
            ranks = self._filled(self._ranks(shard, rows))
        parts = number_partitions(labels, partitions)
        of_edges = parts[np.searchsorted(documents, edges.a)]
        return [
            _batch(documents[parts == part], kept[parts == part], ranks[parts == part], edges.take(of_edges == part))
            for part in range(partitions)
        ]

    def _filled(self, ranks: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Return ranks with zeros before the ids, so that those of all shards are of one length."""
        missing = np.zeros((len(ranks), rank_words(self.keep) - ranks.shape[1]), np.uint64)
        return np.concatenate([ranks[:, :-2], missing, ranks[:, -2:]], axis=1)

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


def _batch(
    documents: npt.NDArray[np.uint64],
    kept: npt.NDArray[np.uint64],
    ranks: npt.NDArray[np.uint64],
    edges: Edges,
) -> pa.RecordBatch:
    n, m = len(documents), len(edges.a)
    raw = np.ascontiguousarray(ranks.astype("<u8"))
    bounds = np.arange(n + 1, dtype=np.int64) * 8 * ranks.shape[1]
    packed = pa.LargeBinaryArray.from_buffers(pa.large_binary(), n, [None, pa.py_buffer(bounds), pa.py_buffer(raw)])
    return pa.RecordBatch.from_arrays(
        [
            pa.array(np.concatenate([documents, edges.a])),
            pa.array(np.concatenate([kept, edges.b])),
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
        shards = len(stored_shards(values[READ]))
        table = pa.Table.from_batches(list(batches), MEMBERS).combine_chunks()
        a, b, similarity, same = (table.column(name).to_numpy() for name in MEMBERS.names[:4])
        is_edge = np.asarray(table.column("rank").is_null())
        edges = Edges(a, b, similarity, same).take(is_edge)
        packed = b"".join(table.column("rank").filter(pa.array(~is_edge)).to_pylist())
        documents = a[~is_edge]
        ranks = np.frombuffer(packed, "<u8").astype(np.uint64).reshape(len(documents), -1 if len(documents) else 2)
        found = resolve_clusters(edges, _members(documents, b[~is_edge], ranks, shards), self.link)
        order = np.argsort(documents)
        ids = ranks[order[np.searchsorted(documents[order], found.kept)]][:, -2:]
        rows = np.column_stack(
            [
                found.documents & np.uint64(0xFFFFFFFF),
                ids,
                found.sizes.astype(np.uint64),
                (found.documents != found.kept).astype(np.uint64),
                np.ascontiguousarray(found.lowest, np.float64).view(np.uint64),
                found.kept,
            ]
        )
        owners = (found.documents >> np.uint64(32)).astype(np.int64)
        return cut_rows(rows, owners, len(batches), MATCHES) if batches else []


def _members(
    documents: npt.NDArray[np.uint64],
    kept: npt.NDArray[np.uint64],
    ranks: npt.NDArray[np.uint64],
    shards: int,
) -> Members:
    """Return the documents of whole components as members.

    Args:
        documents: their numbers.
        kept: for those of an index the document that an earlier run kept for each.
        ranks: theirs.
        shards: how many shards the run has: higher numbers are of an index.
    """
    states = np.full(len(documents), NEW, np.uint8)
    earlier = documents >> np.uint64(32) >= shards
    gone = earlier & (kept != documents)
    states[earlier] = EARLIER_KEPT
    states[gone] = EARLIER_GONE
    # what an earlier run removed is counted with what it kept
    order = np.argsort(documents)
    weights = np.ones(len(documents), np.int64)
    np.add.at(weights, order[np.searchsorted(documents[order], kept[gone])], 1)
    weights[gone] -= 1
    return Members(documents, ranks, weights, states, kept)
