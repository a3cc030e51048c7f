"""Clusters of near-duplicates, and the one document of each that stays.

* `link: component`: a cluster is a connected component of the edges. Chains join texts that don't resemble each other.
* `link: kept`: documents are looked at from the best rank on; one that hasn't gone stays, and those that have an edge
  to it go. So whatever goes resembles what stays, and no two that stay have an edge.

Either way each cluster has exactly one document that stays, and it is one of the cluster's.
"""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import DataError
from tamis.scorers.dedup.clusters_kernels import stay_or_go
from tamis.scorers.dedup.components import connected_components
from tamis.scorers.dedup.pairs import Edges

__all__ = ["EARLIER_GONE", "EARLIER_KEPT", "NEW", "Clusters", "Link", "Members", "resolve_clusters"]

Link: TypeAlias = Literal["component", "kept"]
"""What makes a cluster; see the module."""

EARLIER_KEPT, NEW, EARLIER_GONE = 0, 1, 2
"""What a document is to this run: kept by an earlier one, of this run, or removed by an earlier one."""


class Members(NamedTuple):
    """The documents that have an edge, of some components, each component whole.

    Attributes:
        documents: their numbers, uint64 (n,), each once.
        ranks: see `tamis.scorers.dedup.keep`, uint64 (n, words).
        weights: how many documents each stands for: 1 for one of this run, the size of its cluster for one that an
            earlier run kept, 0 for one that an earlier run removed; int64 (n,).
        states: `EARLIER_KEPT`, `NEW` or `EARLIER_GONE`, uint8 (n,).
        earlier: for one that an earlier run removed the number of the document that it kept, which is a member too; its
            own for others; None: nothing is known of what earlier runs kept.
    """

    documents: npt.NDArray[np.uint64]
    ranks: npt.NDArray[np.uint64]
    weights: npt.NDArray[np.int64]
    states: npt.NDArray[np.uint8]
    earlier: npt.NDArray[np.uint64] | None = None

    @classmethod
    def new(cls, documents: npt.NDArray[np.uint64], ranks: npt.NDArray[np.uint64]) -> "Members":
        """Return documents of this run."""
        n = len(documents)
        return cls(documents, ranks, np.ones(n, np.int64), np.full(n, NEW, np.uint8), documents)

    def take(self, rows: npt.NDArray[np.int64]) -> "Members":
        """Return some of them."""
        earlier = None if self.earlier is None else self.earlier[rows]
        return Members(self.documents[rows], self.ranks[rows], self.weights[rows], self.states[rows], earlier)


class Clusters(NamedTuple):
    """What was decided.

    Attributes:
        documents: numbers of the documents, ascending, uint64 (n,).
        kept: the number of the document that stays for each one's cluster.
        sizes: the weight of each one's cluster, int64 (n,).
        lowest: the lowest similarity of an edge inside the cluster; NaN where none was looked at.
    """

    documents: npt.NDArray[np.uint64]
    kept: npt.NDArray[np.uint64]
    sizes: npt.NDArray[np.int64]
    lowest: npt.NDArray[np.float64]


def resolve_clusters(edges: Edges, members: Members, link: Link) -> Clusters:
    """Return the clusters of some components; the same for any order of edges and members and any numbering.

    A component that holds documents that earlier runs kept keeps the best of them. With `component` others that earlier
    runs kept count to its cluster; with `kept` they stay for their own, and those removed earlier take no part but
    stay with what was kept for them.

    Args:
        edges: all edges of these components.
        members: their documents.
        link: see the module.

    Raises:
        DataError: if an edge names a document that isn't a member, or a cluster has none that could stay.
    """
    by_number = np.argsort(members.documents, kind="stable")
    members = members.take(by_number)
    n = len(members.documents)
    ends = np.stack([edges.a, edges.b], axis=1)
    places = np.searchsorted(members.documents, ends)
    if len(ends) and (not n or (members.documents[np.minimum(places, n - 1)] != ends).any()):
        msg = "an edge between near-duplicates names a document that came without its rank"
        raise DataError(msg)
    order = np.lexsort((*members.ranks.T[::-1], members.states))
    position = np.empty(n, np.int64)
    position[order] = np.arange(n)
    chosen = _by_component(places, position, n) if link == "component" else _by_kept(edges, places, members, order)
    if (members.states[chosen] == EARLIER_GONE).any() and link == "component":
        number = int(members.documents[chosen[np.argmax(members.states[chosen])]])
        msg = f"the cluster of document {number:#x} of an earlier run came without the document that run kept"
        raise DataError(msg)
    sizes = np.bincount(chosen, members.weights, n).astype(np.int64)
    lowest = np.full(n, np.inf)
    inside = chosen[places[:, 0]] == chosen[places[:, 1]]
    np.fmin.at(lowest, chosen[places[inside, 0]], edges.similarity[inside])
    lowest[np.isinf(lowest)] = np.nan
    return Clusters(members.documents, members.documents[chosen], sizes[chosen], lowest[chosen])


def _by_component(places: npt.NDArray[np.int64], position: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """Return for each member the member of best position of its component."""
    found = connected_components(places[:, 0].astype(np.uint64), places[:, 1].astype(np.uint64))
    labels = np.arange(n)
    labels[found.documents.astype(np.int64)] = found.labels.astype(np.int64)
    best = np.full(n, n, np.int64)
    np.minimum.at(best, labels, position)
    by_position = np.empty(n, np.int64)
    by_position[position] = np.arange(n)
    return by_position[best[labels]]


def _by_kept(
    edges: Edges, places: npt.NDArray[np.int64], members: Members, order: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return for each member the one for which it goes."""
    n = len(members.documents)
    gone = members.states == EARLIER_GONE
    live = ~gone[places].any(axis=1)
    # texts that are the same are one vertex, which the best of them stands for
    position = np.empty(n, np.int64)
    position[order] = np.arange(n)
    best = _by_component(places[live & edges.same], position, n)
    pairs = best[places[live & ~edges.same]]
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    begins = np.searchsorted(pairs[:, 0], np.arange(n + 1))
    protected = members.states == EARLIER_KEPT
    stays = np.full(n, -1, np.int64)
    stay_or_go(order[best[order] == order], protected, begins, np.ascontiguousarray(pairs[:, 1]), stays)
    chosen = stays[best]
    alone = gone | protected
    chosen[alone] = np.flatnonzero(alone)
    if members.earlier is not None and gone.any():
        known = np.minimum(np.searchsorted(members.documents, members.earlier[gone]), n - 1)
        if (members.documents[known] != members.earlier[gone]).any():
            msg = "a document that an earlier run removed came without the one that run kept"
            raise DataError(msg)
        chosen[gone] = known
    return chosen
