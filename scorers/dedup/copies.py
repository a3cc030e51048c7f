"""First and later copies: which of the rows with one key comes first in canonical order.

Canonical order is by document id, then by place in the document; so it knows no shards.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import DataError
from tamis.scorers.dedup.shared_keys import rows_of_shared_keys

__all__ = ["CopyRows", "KeyTally", "first_copies", "taken"]


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


def taken(columns: Iterable[Any], rows: Any) -> Iterator[Any]:
    """Return some rows of columns."""
    return (column[rows] for column in columns)


def _by_id(
    rows: npt.NDArray[np.uint64], documents: npt.NDArray[np.uint64], ids: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """Return each row's document by its position in canonical order.

    Args:
        rows: numbers of documents (n,).
        documents: all numbers, ascending, each once (m,).
        ids: those documents' ids, uint64 (m, 2).

    Raises:
        DataError: if a document of the rows is missing.
    """
    at = np.searchsorted(documents, rows)
    if (at >= len(documents)).any() or (documents[np.minimum(at, len(documents) - 1)] != rows).any():
        msg = "a row to be compared names a document that came without its id"
        raise DataError(msg)
    by_id = np.empty(len(documents), np.int64)
    by_id[np.lexsort((documents, ids[:, 1], ids[:, 0]))] = np.arange(len(documents))
    return by_id[at]


def first_copies(
    rows: CopyRows, documents: npt.NDArray[np.uint64], ids: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the rows whose key others have too, ascending, and whether each is the first in canonical order.

    Args:
        rows: all rows of a partition.
        documents: numbers of the documents that they name, ascending, each once (m,).
        ids: those documents' ids, uint64 (m, 2).

    Raises:
        DataError: if a document of the rows is missing.
    """
    order = rows_of_shared_keys(rows.keys)
    if not len(order):
        return np.zeros(0, np.int64), np.zeros(0, np.bool_)
    keys = rows.keys[order]
    ranks, places = _by_id(rows.documents[order], documents, ids), rows.places[order]
    begins = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    sizes = np.diff(np.append(begins, len(keys)))
    least = np.repeat(np.minimum.reduceat(ranks, begins), sizes)
    held = np.where(ranks == least, places, np.iinfo(np.int64).max)
    first = held == np.repeat(np.minimum.reduceat(held, begins), sizes)
    marks = np.zeros(len(rows.keys), np.uint8)
    marks[order] = 1 + first
    found = np.flatnonzero(marks)
    return found, marks[found] == 2


class KeyTally(NamedTuple):
    """What some rows have of each key: the first copy, and how many there are.

    Attributes:
        keys: uint64 (n,), each once.
        ids: id of the first copy's document, uint64 (n, 2).
        documents: its number.
        places: the first copy's place in it, int64.
        counts: how many copies there are.
        holders: how many documents have one.
    """

    keys: npt.NDArray[np.uint64]
    ids: npt.NDArray[np.uint64]
    documents: npt.NDArray[np.uint64]
    places: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    holders: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: CopyRows, documents: npt.NDArray[np.uint64], ids: npt.NDArray[np.uint64]) -> "KeyTally":
        """Tally rows of whole documents, which stand by document and place.

        Args:
            rows: a shard's.
            documents: numbers of the documents that they name, ascending, each once (m,).
            ids: those documents' ids, uint64 (m, 2).

        Raises:
            DataError: if a document of the rows is missing.
        """
        shared = rows_of_shared_keys(rows.keys)
        alone = np.ones(len(rows.keys), np.bool_)
        alone[shared] = False
        lone = np.flatnonzero(alone)
        ones = np.ones(len(lone), np.int64)
        at = np.searchsorted(documents, rows.documents[lone])
        single = cls(rows.keys[lone], ids[at], rows.documents[lone], rows.places[lone], ones, ones)
        if not len(shared):
            return single
        # Within a key, rows stand by document and place.
        shared = shared[np.lexsort((shared, rows.keys[shared]))]
        keys, numbers, places = taken(rows, shared)
        fresh = np.append(True, keys[1:] != keys[:-1])
        begins = np.flatnonzero(fresh)
        sizes = np.diff(np.append(begins, len(keys)))
        ranks = _by_id(numbers, documents, ids)
        best = np.flatnonzero(ranks == np.repeat(np.minimum.reduceat(ranks, begins), sizes))
        group = np.cumsum(fresh) - 1
        best = best[np.unique(group[best], return_index=True)[1]]
        other = fresh | np.append(True, numbers[1:] != numbers[:-1])
        at = np.searchsorted(documents, numbers[best])
        holders = np.add.reduceat(other.astype(np.int64), begins)
        several = cls(keys[begins], ids[at], numbers[best], places[best], sizes, holders)
        return cls(*(np.concatenate(columns) for columns in zip(single, several, strict=True)))

    @classmethod
    def joined(cls, parts: "Sequence[KeyTally]") -> "KeyTally":
        """Return one tally of several, of different documents each."""
        whole = cls(*(np.concatenate(columns) for columns in zip(cls.empty(), *parts, strict=True)))
        shared = rows_of_shared_keys(whole.keys)
        if not len(shared):
            return whole
        alone = np.ones(len(whole.keys), np.bool_)
        alone[shared] = False
        several = whole.take(shared)
        several = several.take(np.lexsort((several.documents, several.ids[:, 1], several.ids[:, 0], several.keys)))
        begins = np.flatnonzero(np.append(True, several.keys[1:] != several.keys[:-1]))
        counts, holders = (np.add.reduceat(column, begins) for column in (several.counts, several.holders))
        summed = several.take(begins)._replace(counts=counts, holders=holders)
        return cls(*(np.concatenate(columns) for columns in zip(whole.take(alone), summed, strict=True)))

    @classmethod
    def empty(cls) -> "KeyTally":
        """Return a tally of nothing."""
        none, words = np.zeros(0, np.int64), np.zeros(0, np.uint64)
        return cls(words, np.zeros((0, 2), np.uint64), words, none, none, none)

    def in_order(self) -> "KeyTally":
        """Return it by key."""
        return self.take(np.argsort(self.keys))

    def take(self, rows: "npt.NDArray[np.int64] | npt.NDArray[np.bool_]") -> "KeyTally":
        """Return some of it."""
        return KeyTally(*taken(self, rows))
