"""What near-deduplication did, in numbers that shards add up: removed by source, the largest clusters, memory."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.scorers.dedup.bands import Bands
from tamis.scorers.dedup.clusters import Clusters

__all__ = ["LargeCluster", "SourceShare", "band_memory", "largest_clusters", "share_notes", "shares_by_source"]

_BAND_ROW_BYTES = 24
_MATCHING_BYTES = 40
"""A row's bytes while a partition is matched: the table of shared keys, and the rows that are sorted."""


class SourceShare(NamedTuple):
    """Documents of a source.

    Attributes:
        documents: how many there are.
        removed: how many of them go.
    """

    documents: int
    removed: int


class LargeCluster(NamedTuple):
    """A cluster.

    Attributes:
        kept: number of the document that stays.
        size: its documents.
        lowest: the lowest similarity of an edge inside; NaN where none was looked at.
    """

    kept: int
    size: int
    lowest: float


def shares_by_source(removed: npt.NDArray[np.bool_], sources: Sequence[str]) -> dict[str, SourceShare]:
    """Return the share of each source in a shard; shares of several shards are added entry by entry."""
    there = Counter(sources)
    gone = Counter(source for source, goes in zip(sources, removed.tolist(), strict=True) if goes)
    return {source: SourceShare(count, gone[source]) for source, count in sorted(there.items())}


def share_notes(shares: Mapping[str, SourceShare], *, over: float = 0.5) -> list[str]:
    """Return a sentence for each source of which more than `over` would go."""
    return [
        f"{removed} of {documents} documents of {source} ({removed / documents:.0%}) are near-duplicates of others: "
        "look at the largest clusters before relying on it, verify edges, or use link: kept"
        for source, (documents, removed) in sorted(shares.items())
        if removed > over * documents
    ]


def largest_clusters(clusters: Clusters, count: int = 10) -> list[LargeCluster]:
    """Return the largest clusters, by size, ties by the number of what stays."""
    stays = np.flatnonzero((clusters.documents == clusters.kept) & (clusters.sizes > 1))
    order = stays[np.lexsort((clusters.kept[stays], -clusters.sizes[stays]))][:count]
    return [
        LargeCluster(int(clusters.kept[row]), int(clusters.sizes[row]), float(clusters.lowest[row])) for row in order
    ]


def band_memory(documents: int, bands: Bands, partitions: int) -> int:
    """Return the bytes that matching a partition takes, for so many documents with shingles, keys being even."""
    return -(-documents * bands.bands * (_BAND_ROW_BYTES + _MATCHING_BYTES) // partitions)
