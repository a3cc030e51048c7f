"""Connected components of a graph of documents: by union-find in memory, or out of core by passes over its edges.

In memory it takes about 40 bytes a document that has an edge and 16 an edge. Beyond that, edges are cut into partitions
by a hash of their end points and contracted by alternating large-star and small-star passes (Kiveris, Lattanzi,
Mirrokni, Rastogi and Vassilvitskii, Connected Components in MapReduce and Beyond, SoCC 2014), each with the memory of
a partition, until nothing changes: O(log^2 n) passes at most, 5 to 10 in practice. Both give each document the
smallest number of its component, so the same labels.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.scorers.dedup.bands import partition_of
from tamis.scorers.dedup.components_kernels import join
from tamis.scorers.text.noise_kernels import hashes

__all__ = [
    "Arcs",
    "Components",
    "connected_components",
    "contract",
    "large_star",
    "large_star_arcs",
    "number_partitions",
    "partition_arcs",
    "small_star",
    "small_star_arcs",
]


class Components(NamedTuple):
    """The components of all documents that have an edge.

    Attributes:
        documents: their numbers, ascending, uint64 (n,).
        labels: the smallest number of each one's component.
    """

    documents: npt.NDArray[np.uint64]
    labels: npt.NDArray[np.uint64]


class Arcs(NamedTuple):
    """Edges as seen from one end: `neighbours[i]` is a neighbour of `centres[i]`."""

    centres: npt.NDArray[np.uint64]
    neighbours: npt.NDArray[np.uint64]


Exchange: TypeAlias = Callable[[Iterable[Arcs]], Sequence[Arcs]]


def connected_components(a: npt.NDArray[np.uint64], b: npt.NDArray[np.uint64]) -> Components:
    """Return the components of the graph with the edges (a[i], b[i])."""
    documents, places = np.unique(np.concatenate([a, b]), return_inverse=True)
    parents = np.arange(len(documents))
    places = places.astype(np.int64)
    join(parents, places[: len(a)], places[len(a) :])
    return Components(documents, documents[parents])


def large_star_arcs(edges: Arcs) -> Arcs:
    """Return edges as a large-star pass takes them: each from both of its ends."""
    return Arcs(np.concatenate([edges.centres, edges.neighbours]), np.concatenate([edges.neighbours, edges.centres]))


def small_star_arcs(edges: Arcs) -> Arcs:
    """Return edges as a small-star pass takes them: each from its greater end."""
    return Arcs(np.maximum(edges.centres, edges.neighbours), np.minimum(edges.centres, edges.neighbours))


def _grouped(arcs: Arcs) -> tuple[Arcs, npt.NDArray[np.uint64]]:
    """Return arcs sorted and each once, and for each its centre's smallest neighbour."""
    order = np.lexsort((arcs.neighbours, arcs.centres))
    centres, neighbours = arcs.centres[order], arcs.neighbours[order]
    fresh = np.ones(len(centres), np.bool_)
    fresh[1:] = (centres[1:] != centres[:-1]) | (neighbours[1:] != neighbours[:-1])
    centres, neighbours = centres[fresh], neighbours[fresh]
    begins = np.ones(len(centres), np.bool_)
    begins[1:] = centres[1:] != centres[:-1]
    least = neighbours[begins][np.cumsum(begins) - 1] if len(centres) else neighbours
    return Arcs(centres, neighbours), least


def large_star(arcs: Arcs) -> Arcs:
    """Tie each centre's greater neighbours to the smallest of the centre and its neighbours.

    Args:
        arcs: all arcs of some centres, see `large_star_arcs`.
    """
    (centres, neighbours), least = _grouped(arcs)
    greater = neighbours > centres
    return Arcs(neighbours[greater], np.minimum(least, centres)[greater])


def small_star(arcs: Arcs) -> Arcs:
    """Tie each centre and its neighbours, none of which is greater, to the smallest neighbour.

    Args:
        arcs: all arcs of some centres, see `small_star_arcs`.
    """
    (centres, neighbours), least = _grouped(arcs)
    others = neighbours != least
    first = ~others
    return Arcs(np.concatenate([neighbours[others], centres[first]]), np.concatenate([least[others], least[first]]))


def number_partitions(numbers: npt.NDArray[np.uint64], partitions: int) -> npt.NDArray[np.int64]:
    """Return the partition of each document's number (n,), by a hash of it."""
    words = np.zeros((len(numbers), 2), np.uint64)
    words[:, 0] = numbers
    return partition_of(hashes(words, np.arange(4, dtype=np.uint64)), partitions)


def partition_arcs(arcs: Arcs, partitions: int) -> list[Arcs]:
    """Return the arcs of each partition, by a hash of their centres."""
    parts = number_partitions(arcs.centres, partitions)
    order = np.argsort(parts, kind="stable")
    ends = np.cumsum(np.bincount(parts, minlength=partitions))[:-1]
    columns = (np.split(column[order], ends) for column in arcs)
    return [Arcs(*cut) for cut in zip(*columns, strict=True)]


def _fingerprint(parts: Sequence[Arcs]) -> tuple[int, int]:
    """Return the number of edges and a sum of their hashes, which doesn't depend on their order."""
    count, total = 0, 0
    for part in parts:
        (centres, neighbours), _ = _grouped(part)
        mixed = hashes(np.stack([centres, neighbours], axis=1), np.arange(1, 5, dtype=np.uint64))
        count += len(centres)
        total = (total + int(mixed.sum(dtype=np.uint64))) % 2**64
    return count, total


class _Made(Sequence[Arcs]):
    """Parts that are made anew whenever they are asked for: one at a time is in memory."""

    def __init__(self, parts: Sequence[Arcs], make: Callable[[Arcs], Arcs]):
        self._parts = parts
        self._make = make

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: Any) -> Any:
        return self._make(self._parts[index])


def _each_once(arcs: Arcs) -> Arcs:
    return _grouped(arcs)[0]


def contract(parts: Sequence[Arcs], exchange: Exchange) -> Sequence[Arcs]:
    """Contract a graph to stars: in the end each document has one arc, to the smallest of its component.

    This is the order of passes; a run makes each of them over its own carrier.

    Args:
        parts: the edges in any division, without loops; asked for one at a time, and twice.
        exchange: regroups arcs by centre: all arcs of a centre come out in one part. Its parts are asked for one at
            a time, and may lie in files; those of an earlier exchange aren't asked for after it.

    Returns:
        Arcs from each document but the smallest of its component to that smallest, each once, in parts.
    """
    before = _fingerprint(parts)
    while True:
        parts = _Made(exchange(map(large_star_arcs, parts)), large_star)
        parts = _Made(exchange(map(small_star_arcs, parts)), small_star)
        parts = _Made(exchange(parts), _each_once)
        after = _fingerprint(parts)
        if after == before:
            return parts
        before = after
