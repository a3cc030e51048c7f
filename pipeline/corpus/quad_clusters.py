"""The clusters that Quad draws from: their numbers, and each document's rank in the fixed order of its cluster.

The order is that of a keyed hash of document ids, so it doesn't depend on shards. Documents are ranked in partitions of
clusters, so memory is bounded by the documents of a partition.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.clusters import batch_rows, cut_rows
from tamis.pipeline.corpus.deduplicate_exact import hash_partitions
from tamis.pipeline.graph.passes import Done, Exchange, Values
from tamis.pipeline.passes.shard_reader import ColumnReader
from tamis.pipeline.passes.stage import READ, StoredShards
from tamis.pipeline.storage.column_file import writer
from tamis.pipeline.storage.place import Place, Shard
from tamis.schemas.errors import DataError
from tamis.scorers.influence.bandit import order_keys
from tamis.scorers.selection.groups import group_rows
from tamis.scorers.text.noise import id_words

__all__ = ["RANKED", "Clusters", "CountClusters", "exchange_ranks", "join_counts", "ranked_costs"]

MOST = 1_000_000
"""Clusters that there may be: the bandit looks at all of them in each round."""
RANKED = pa.schema([pa.field("cluster", pa.int64()), pa.field("rank", pa.int64())])
"""Row-aligned with a shard: number of the cluster, and rank in its order; null for rows that can't be drawn."""
SENT = pa.schema([(name, pa.uint64()) for name in ("cluster", "key", "id_hi", "id_lo", "row")])
RETURNED = pa.schema([(name, pa.uint64()) for name in ("row", "cluster", "rank")])


@dataclass(frozen=True)
class Clusters:
    """The clusters of a corpus, numbered.

    Attributes:
        labels: of each, by number; of one integer column the numbers themselves, of others sorted.
        sizes: documents of each.
    """

    labels: tuple[tuple[str, ...], ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, value: bytes, label: str) -> "Clusters":
        """Return the clusters that a pass of `CountClusters` counted.

        Args:
            value: of the pass.
            label: the step's.

        Raises:
            DataError: if there are too many, or a number is out of range.
        """
        told: dict[str, Any] = json.loads(value) if value else {"numbered": False, "counts": []}
        counts = {tuple(parts): int(number) for parts, number in told["counts"]}
        if told["numbered"] and counts:
            numbers = [int(parts[0]) for parts in counts]
            if min(numbers) < 0 or max(numbers) >= MOST:
                wrong = min(numbers) if min(numbers) < 0 else max(numbers)
                msg = f"step {label}: the cluster {wrong} isn't from 0 to {MOST - 1:,}"
                raise DataError(msg)
            labels = [(str(number),) for number in range(max(numbers) + 1)]
        else:
            labels = sorted(counts)
        if len(labels) > MOST:
            msg = f"step {label}: there are {len(labels):,} clusters; {MOST:,} at most can be drawn from"
            raise DataError(msg)
        return cls(tuple(labels), tuple(counts.get(one, 0) for one in labels))

    def numbers(self, columns: Sequence[pa.Array]) -> npt.NDArray[np.int64]:
        """Return each row's number (rows,); -1 where a column is null."""
        known: dict[tuple[str | None, ...], int] = {label: number for number, label in enumerate(self.labels)}
        groups = group_rows(columns)
        table = np.array([known.get(label, -1) for label in groups.labels], np.int64)
        return table[groups.codes] if len(table) else np.zeros(len(groups.codes), np.int64)


@dataclass(frozen=True)
class CountClusters:
    """Counts the rows alive of each cluster in a shard.

    One column of integers numbers the clusters itself: cluster 7 is number 7, also where there is no cluster 6.
    """

    reader: ColumnReader
    by: tuple[str, ...]

    def __call__(self, shard: Shard, values: Values) -> bytes:
        """Return labels and counts as JSON; rows with a null are left out."""
        del values
        counts: Counter[tuple[str, ...]] = Counter()
        numbered = False
        for batch, state, _ in self.reader.read(shard):
            numbered = len(self.by) == 1 and pa.types.is_integer(batch.schema.field(self.by[0]).type)
            groups = group_rows([batch.column(name) for name in self.by])
            found = np.bincount(groups.codes[state.mask], minlength=len(groups.labels))
            for label, number in zip(groups.labels, found.tolist(), strict=True):
                whole = tuple(part for part in label if part is not None)
                if number and len(whole) == len(label):
                    counts[whole] += number
        return _counts_value(counts, numbered=numbered)


def _counts_value(counts: Mapping[tuple[str, ...], int], *, numbered: bool) -> bytes:
    listed = [[list(label), number] for label, number in sorted(counts.items())]
    return json.dumps({"numbered": numbered, "counts": listed}).encode()


def join_counts(parts: Sequence[bytes]) -> bytes:
    """Add up the counts of shards."""
    total: Counter[tuple[str, ...]] = Counter()
    told = [json.loads(part) for part in parts]
    for one in told:
        total.update({tuple(label): number for label, number in one["counts"]})
    return _counts_value(total, numbered=any(one["numbered"] for one in told))


@dataclass(frozen=True)
class _SendRows:
    """A shard's documents by partition of clusters."""

    reader: ColumnReader
    by: tuple[str, ...]
    counted: str
    label: str
    seed: int

    def __call__(self, shard: Shard, partitions: int, values: Values) -> Sequence[pa.RecordBatch]:
        clusters = Clusters.of(values[self.counted], self.label)
        tables = [np.zeros((0, len(SENT)), np.uint64)]
        first = 0
        for batch, state, _ in self.reader.read(shard):
            numbers = clusters.numbers([batch.column(name) for name in self.by])
            rows = np.flatnonzero(state.mask & (numbers >= 0))
            words = id_words(batch.column("doc_id").take(pa.array(rows)))
            keys = order_keys(self.seed, words)
            where = (rows + first).astype(np.uint64)
            tables.append(np.column_stack([numbers[rows].astype(np.uint64), keys, words, where]))
            first += batch.num_rows
        table = np.concatenate(tables)
        return cut_rows(table, (table[:, 0] % np.uint64(partitions)).astype(np.int64), partitions, SENT)


def _rank_rows(batches: Sequence[pa.RecordBatch], values: Values) -> Sequence[pa.RecordBatch]:
    """Rank one partition's documents by key, id, and place in the corpus."""
    del values
    if not batches:
        return []
    owners = np.repeat(np.arange(len(batches), dtype=np.uint64), [batch.num_rows for batch in batches])
    table = np.column_stack([batch_rows(batches, SENT), owners])
    table = table[np.lexsort(table.T[[4, 5, 3, 2, 1, 0]])]
    starts = np.searchsorted(table[:, 0], table[:, 0])
    ranks = (np.arange(len(table)) - starts).astype(np.uint64)
    found = np.column_stack([table[:, 4], table[:, 0], ranks])
    return cut_rows(found, table[:, 5].astype(np.int64), len(batches), RETURNED)


@dataclass(frozen=True)
class _WriteRanks:
    """Writes a shard's clusters and ranks, and returns what its documents cost, if that is asked for."""

    reader: ColumnReader
    place: Place
    cost: str | None

    def __call__(self, shard: Shard, batches: Sequence[pa.RecordBatch], values: Values) -> Done:
        del values
        found = batch_rows(batches, RETURNED)
        found = found[np.argsort(found[:, 0], kind="stable")].astype(np.int64)
        costs: list[npt.NDArray[np.int64]] = []
        first = 0
        with writer(self.place.file(shard), RANKED) as out:
            for batch, _, _ in self.reader.read(shard):
                low, high = np.searchsorted(found[:, 0], [first, first + batch.num_rows])
                mine = found[low:high]
                ranked = np.full((2, batch.num_rows), -1, np.int64)
                ranked[:, mine[:, 0] - first] = mine[:, 1:].T
                none = ranked[0] < 0
                out.write_batch(pa.RecordBatch.from_arrays([pa.array(one, mask=none) for one in ranked], schema=RANKED))
                if self.cost is not None:
                    column = batch.column(self.cost).to_numpy(zero_copy_only=False)[mine[:, 0] - first]
                    costs.append(np.column_stack([mine[:, 1:], column.astype(np.int64)]))
                first += batch.num_rows
        whole = np.concatenate(costs) if costs else np.zeros((0, 3), np.int64)
        return Done(np.ascontiguousarray(whole, "<i8").tobytes())


def ranked_costs(value: bytes, sizes: Sequence[int]) -> list[npt.NDArray[np.float64]]:
    """Return what each cluster's documents cost, by rank, from the value of the exchange of ranks."""
    table = np.frombuffer(value, "<i8").reshape(-1, 3)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    ends = np.searchsorted(table[:, 0], np.arange(len(sizes)), side="right")
    starts = np.searchsorted(table[:, 0], np.arange(len(sizes)))
    return [table[start:end, 2].astype(np.float64) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def exchange_ranks(
    *, label: str, seed: int, by: tuple[str, ...], cost: str | None, counted: str, place: Place,
    folder: str, reader: Any, after: tuple[str, ...],
) -> Exchange:  # fmt: skip
    """Return the exchange that ranks documents.

    Args:
        label: the step's.
        seed: of the order.
        by: columns that say the cluster.
        cost: column of what documents cost; None if each costs one.
        counted: pass that counted the clusters.
        place: for clusters and ranks, `RANKED`.
        folder: for the files that carry the rows.
        reader: from columns to a reader of them.
        after: passes that must be over before.
    """
    return Exchange(
        f"{label}: order",
        StoredShards(),
        hash_partitions,
        _SendRows(reader(by), by, counted, label, seed),
        _rank_rows,
        _WriteRanks(reader(() if cost is None else (cost,)), place, cost),
        SENT,
        RETURNED,
        folder,
        inputs=(READ, counted),
        after=after,
        step=label,
        small=True,
    )
