"""What earlier runs have seen, as packed arrays: a new crawl is deduplicated against it.

Runs keep theirs in files (`tamis.pipeline.corpus.earlier`); this is the same in memory. The index is one more shard:
its documents have signatures and so band rows, but numbers with the highest bit set. A document that an earlier run
kept stays, whatever comes; sizes count all documents of all runs. A run over A and one over B with A's index give the
clusters of a run over A and B together, wherever no document of B joins two clusters of A.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import DataError
from tamis.scorers.dedup.clusters import EARLIER_GONE, EARLIER_KEPT, Clusters, Members
from tamis.scorers.dedup.minhash import Signatures
from tamis.scorers.dedup.pairs import Edges
from tamis.scorers.dedup.shingles import ShingleSets

__all__ = ["INDEX_BIT", "NearDuplicateIndex"]

INDEX_BIT = 1 << 63
"""Set in the numbers of the index's documents: number = INDEX_BIT | row."""


@dataclass(frozen=True)
class NearDuplicateIndex:
    """Documents of earlier runs.

    Attributes:
        ids: their ids, uint64 (n, 2).
        kept: the row of the document that stands for each one's cluster, int64 (n,).
        sizes: for such a row the number of documents of its cluster, of all runs; 0 for others; int64 (n,).
        signatures: their signatures.
        sets: their shingles; all empty where pairs aren't verified by shingles.
    """

    ids: npt.NDArray[np.uint64]
    kept: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    signatures: Signatures
    sets: ShingleSets

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def numbers(self) -> npt.NDArray[np.uint64]:
        """The documents' numbers, uint64 (n,)."""
        return np.uint64(INDEX_BIT) + np.arange(len(self), dtype=np.uint64)

    def _rows(self, documents: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        return (documents[documents >= INDEX_BIT] - np.uint64(INDEX_BIT)).astype(np.int64)

    def ties(self, documents: npt.NDArray[np.uint64]) -> Edges:
        """Return edges from those of some documents that are the index's, but weren't kept, to the ones that were."""
        rows = self._rows(documents)
        rows = rows[self.kept[rows] != rows]
        numbers = np.uint64(INDEX_BIT) + np.stack([self.kept[rows], rows], axis=1).astype(np.uint64)
        return Edges.of(np.sort(numbers, axis=1), np.nan)

    def members(self, documents: npt.NDArray[np.uint64], width: int) -> Members:
        """Return the index's documents among some as members, ranked by id alone, in `width` words."""
        rows = self._rows(documents)
        ranks = np.zeros((len(rows), width), np.uint64)
        ranks[:, width - 2 :] = self.ids[rows]
        states = np.where(self.kept[rows] == rows, EARLIER_KEPT, EARLIER_GONE).astype(np.uint8)
        numbers, kept = (np.uint64(INDEX_BIT) + at.astype(np.uint64) for at in (rows, self.kept[rows]))
        return Members(numbers, ranks, self.sizes[rows], states, kept)

    @classmethod
    def empty(cls, permutations: int, kind: "np.dtype[np.unsignedinteger] | None" = None) -> "NearDuplicateIndex":
        """Return an index of nothing, for signatures of so many entries."""
        signatures = Signatures(
            np.zeros((0, permutations), kind or np.uint32), np.zeros(0, np.int64), np.zeros(0, np.uint64)
        )
        sets = ShingleSets(np.zeros(1, np.int64), np.zeros(0, np.uint64))
        return cls(np.zeros((0, 2), np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64), signatures, sets)

    def extended(
        self,
        clusters: Clusters,
        numbers: npt.NDArray[np.uint64],
        ids: npt.NDArray[np.uint64],
        signatures: Signatures,
        sets: ShingleSets | None = None,
    ) -> "NearDuplicateIndex":
        """Return the index with a run's documents added, in the order of their ids, and its clusters' sizes.

        Args:
            clusters: the run's clusters, the index's documents included.
            numbers: the numbers of the run's documents (n,).
            ids: their ids, uint64 (n, 2).
            signatures: their signatures (n).
            sets: their shingles (n), where pairs are verified by them.

        Raises:
            DataError: if signatures differ in length from those of the index.
        """
        if signatures.minima.shape[1] != self.signatures.minima.shape[1]:
            msg = (
                f"the index holds signatures of {self.signatures.minima.shape[1]} entries, the run made ones of "
                f"{signatures.minima.shape[1]}; use the options that the index was made with"
            )
            raise DataError(msg)
        order = np.lexsort((ids[:, 1], ids[:, 0]))
        order = order[signatures.counts[order] > 0]  # without shingles, nothing can ever match
        old = len(self)
        kept = np.concatenate([self.kept, np.arange(old, old + len(order))])
        sizes = np.concatenate([self.sizes, np.ones(len(order), np.int64)])
        known = np.concatenate([self.numbers, numbers[order]])
        by_number = np.argsort(known)
        places = by_number[np.searchsorted(known[by_number], clusters.documents)]
        stays = by_number[np.searchsorted(known[by_number], clusters.kept)]
        kept[places] = stays
        kept = kept[kept]  # what was tied to a document that now is tied to another
        sizes[places] = np.where(places == stays, clusters.sizes, 0)
        empty = ShingleSets(np.zeros(len(order) + 1, np.int64), np.zeros(0, np.uint64))
        return NearDuplicateIndex(
            np.concatenate([self.ids, ids[order]]),
            kept,
            sizes,
            Signatures(*(np.concatenate([a, b[order]]) for a, b in zip(self.signatures, signatures, strict=True))),
            ShingleSets.concatenate([self.sets, empty if sets is None else sets.take(order)]),
        )
