"""What near-deduplication did by source, and the memory it takes."""

from collections.abc import Mapping
from typing import NamedTuple

from tamis.scorers.dedup.bands import Bands

__all__ = ["SourceShare", "band_memory", "share_notes"]

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


def share_notes(shares: Mapping[str, SourceShare], *, over: float = 0.5) -> list[str]:
    """Return a sentence for each source of which more than `over` would go."""
    return [
        f"{removed} of {documents} documents of {source} ({removed / documents:.0%}) are near-duplicates of others: "
        "look at the largest clusters before relying on it, verify edges, or use link: kept"
        for source, (documents, removed) in sorted(shares.items())
        if removed > over * documents
    ]


def band_memory(documents: int, bands: Bands, partitions: int) -> int:
    """Return the bytes that matching a partition takes, for so many documents with shingles, keys being even."""
    return -(-documents * bands.bands * (_BAND_ROW_BYTES + _MATCHING_BYTES) // partitions)
