"""First and later copies among rows of a partition: which of those with one key comes first in canonical order.

Canonical order is by document id, then by place in the document; so it knows no shards.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import DataError
from tamis.scorers.dedup.bands import partition_of
from tamis.scorers.dedup.shared_keys import rows_of_shared_keys

__all__ = ["Copies", "CopyRows", "compare_copies", "copies_by_shard"]


class CopyRows(NamedTuple):
    """Rows of a shard, or of all shards' part of a partition.

    Attributes:
        keys: hash of what may be a copy, uint64 (n,).
        documents: the document's number, uint64 (n,).
        places: where in the document, int64 (n,).
    """

    keys: npt.NDArray[np.uint64]
    documents: npt.NDArray[np.uint64]
    places: npt.NDArray[np.int64]

    def split(self, partitions: int) -> "list[CopyRows]":
        """Return the rows of each partition of the hash space, in their order."""
        parts = partition_of(self.keys, partitions)
        order = np.argsort(parts, kind="stable")
        ends = np.cumsum(np.bincount(parts, minlength=partitions))[:-1]
        columns = (np.split(column[order], ends) for column in self)
        return [CopyRows(*cut) for cut in zip(*columns, strict=True)]

    def take(self, rows: npt.NDArray[np.int64]) -> "CopyRows":
        """Return some of the rows."""
        return CopyRows(self.keys[rows], self.documents[rows], self.places[rows])

    @classmethod
    def concatenate(cls, parts: "list[CopyRows]") -> "CopyRows":
        """Return the rows of all parts."""
        empty = cls(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64))
        return cls(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))


class Copies(NamedTuple):
    """What is repeated among some rows.

    Attributes:
        rows: the rows whose key others have too, ascending, int64 (n,).
        first: whether each is the first in canonical order.
        counts: how many rows have its key.
        documents: how many different documents have it.
    """

    rows: npt.NDArray[np.int64]
    first: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]
    documents: npt.NDArray[np.int64]


def compare_copies(rows: CopyRows, documents: npt.NDArray[np.uint64], ids: npt.NDArray[np.uint64]) -> Copies:
    """Compare the rows of a partition; the result is the same for any order and sharding.

    Args:
        rows: all rows of the partition.
        documents: numbers of the documents that they name, ascending, each once (m,).
        ids: those documents' ids, uint64 (m, 2).

    Raises:
        DataError: if a document of the rows is missing.
    """
    order = rows_of_shared_keys(rows.keys)
    keys = rows.keys[order]
    if not len(order):
        none = np.zeros(0, np.int64)
        return Copies(none, np.zeros(0, np.bool_), none, none)
    at = np.searchsorted(documents, rows.documents[order])
    if (at >= len(documents)).any() or (documents[np.minimum(at, len(documents) - 1)] != rows.documents[order]).any():
        msg = "a row to be compared names a document that came without its id"
        raise DataError(msg)
    by_id = np.empty(len(documents), np.int64)
    by_id[np.lexsort((documents, ids[:, 1], ids[:, 0]))] = np.arange(len(documents))
    ranks, places = by_id[at], rows.places[order]
    begins = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    sizes = np.diff(np.append(begins, len(keys)))
    least = np.repeat(np.minimum.reduceat(ranks, begins), sizes)
    held = np.where(ranks == least, places, np.iinfo(np.int64).max)
    first = held == np.repeat(np.minimum.reduceat(held, begins), sizes)
    group = np.repeat(np.arange(len(begins)), sizes)
    pairs = np.lexsort((ranks, group))
    new = np.ones(len(pairs), np.bool_)
    new[1:] = (group[pairs][1:] != group[pairs][:-1]) | (ranks[pairs][1:] != ranks[pairs][:-1])
    distinct = np.bincount(group[pairs][new], minlength=len(begins))
    back = np.argsort(order)
    return Copies(order[back], first[back], np.repeat(sizes, sizes)[back], np.repeat(distinct, sizes)[back])


def copies_by_shard(
    rows: Sequence[CopyRows], ids: Sequence[npt.NDArray[np.uint64]], partitions: int = 1
) -> list[Copies]:
    """Compare the rows of shards in memory, a partition at a time; return each shard's copies, by its rows.

    Args:
        rows: the shards' rows, with the numbers `shard << 32 | row`.
        ids: the ids of each shard's documents, uint64 (documents, 2).
        partitions: parts of the hash space.
    """
    numbers = [np.uint64(i << 32) + np.arange(len(one), dtype=np.uint64) for i, one in enumerate(ids)]
    documents = np.concatenate([np.zeros(0, np.uint64), *numbers])
    names = np.concatenate([np.zeros((0, 2), np.uint64), *ids])
    owned = [partition_of(one.keys, partitions) for one in rows]
    found: list[list[Copies]] = [[] for _ in rows]
    for part in range(partitions):
        chosen = [np.flatnonzero(owner == part) for owner in owned]
        mine = CopyRows.concatenate([one.take(at) for one, at in zip(rows, chosen, strict=True)])
        copies = compare_copies(mine, documents, names)
        edges = np.cumsum([0, *map(len, chosen)])
        bounds = np.searchsorted(copies.rows, edges)
        for i, at in enumerate(chosen):
            of = slice(bounds[i], bounds[i + 1])
            back = at[copies.rows[of] - edges[i]]
            found[i].append(Copies(back, copies.first[of], copies.counts[of], copies.documents[of]))
    return [_in_order(parts) for parts in found]


def _in_order(parts: list[Copies]) -> Copies:
    whole = Copies(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    order = np.argsort(whole.rows)
    return Copies(whole.rows[order], whole.first[order], whole.counts[order], whole.documents[order])
