"""What clusters are about: their most distinctive words against the pool, and the documents nearest to their centres.

Words are counted by documents, so that one that repeats itself counts once. A word's distinction is the z-score of the
log-odds ratio between cluster and rest of the pool, with the pool's counts as an informative Dirichlet prior (Monroe,
Colaresi and Quinn 2008, *Fightin' Words*, equations 16, 20 and 22): rare words don't win by chance, nor do common ones.
Counts and lists of shards are merged in any order. Both are meant for a sample of each cluster.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tamis.schemas.errors import DataError
from tamis.scorers.embeddings.kmeans import Assignment
from tamis.scorers.kernels.portable_log import natural_log
from tamis.scorers.text.noise import DocumentIds, id_words
from tamis.scorers.text.texts import Texts, as_list

__all__ = ["ClusterWords", "Nearest", "NearestDocuments"]

_WORD = re.compile(r"[^\W\d_]{2,}")
_CHARACTERS = 20_000
_LEAST = 1.0
"""A word whose log-odds stand less than that many standard errors above the pool's doesn't distinguish a cluster."""


@dataclass
class ClusterWords:
    """In how many documents of each cluster a word stands.

    Attributes:
        documents: cluster to number of documents.
        words: cluster to word to number of documents.
    """

    documents: Counter[int] = field(default_factory=Counter)
    words: dict[int, Counter[str]] = field(default_factory=dict)

    def add(self, clusters: Sequence[int], texts: Texts) -> None:
        """Count the words of documents: lower-cased runs of two letters or more in the first 20,000 characters.

        Documents in no cluster (-1) are left out.

        Raises:
            DataError: if there isn't a cluster for each text.
        """
        documents = as_list(texts)
        if len(documents) != len(clusters):
            msg = f"there are {len(clusters)} clusters and {len(documents)} texts: give one cluster a text"
            raise DataError(msg)
        for cluster, text in zip(clusters, documents, strict=True):
            number = int(cluster)
            if number < 0:
                continue
            self.documents[number] += 1
            found = set(_WORD.findall(text[:_CHARACTERS].lower()))
            self.words.setdefault(number, Counter()).update(found)

    @staticmethod
    def merge(parts: "Iterable[ClusterWords]") -> "ClusterWords":
        """Add up counts."""
        total = ClusterWords()
        for part in parts:
            total.documents.update(part.documents)
            for cluster, words in part.words.items():
                total.words.setdefault(cluster, Counter()).update(words)
        return total

    def distinctive(self, cluster: int, count: int = 5) -> list[str]:
        """Return the most distinctive words of a cluster, best first, ties in alphabetical order.

        Only words that are clearly commoner in the cluster than elsewhere; the cluster's commonest words where all
        documents are in it.
        """
        own = self.words.get(cluster, Counter())
        pool: Counter[str] = Counter()
        for words in self.words.values():
            pool.update(words)
        total, ours = sum(pool.values()), sum(own.values())
        if total == ours:
            return [word for word, _ in sorted(own.items(), key=lambda item: (-item[1], item[0]))[:count]]
        ranked = []
        for word, seen in own.items():
            prior = float(pool[word])
            here, elsewhere = seen + prior, pool[word] - seen + prior
            odds_here = natural_log(here / (ours + total - here))
            odds_elsewhere = natural_log(elsewhere / (total - ours + total - elsewhere))
            z = (odds_here - odds_elsewhere) / float(np.sqrt(1.0 / here + 1.0 / elsewhere))
            if z > _LEAST:
                ranked.append((-z, word))
        return [word for _, word in sorted(ranked)[:count]]

    def title(self, cluster: int, count: int = 4) -> str:
        """Return a cluster's title: its most distinctive words, or its number if it has none."""
        return ", ".join(self.distinctive(cluster, count)) or f"cluster {cluster}"

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values, equal for equal counts."""
        return {
            str(cluster): {
                "documents": self.documents[cluster],
                "words": dict(sorted(self.words.get(cluster, Counter()).items())),
            }
            for cluster in sorted(self.documents)
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ClusterWords":
        """Return the counts that `to_json` gave."""
        return cls(
            Counter({int(cluster): entry["documents"] for cluster, entry in value.items()}),
            {int(cluster): Counter(entry["words"]) for cluster, entry in value.items()},
        )


class Nearest(NamedTuple):
    """A document and its squared distance to its cluster's centroid."""

    distance: float
    document: str


@dataclass
class NearestDocuments:
    """The documents nearest to the centre of each cluster.

    Attributes:
        count: how many of each cluster are kept.
        nearest: cluster to its documents, nearest first, ties by id.
    """

    count: int = 5
    nearest: dict[int, list[Nearest]] = field(default_factory=dict)

    def add(self, assignment: Assignment, ids: DocumentIds) -> None:
        """Take in documents; those in no cluster (-1) are left out."""
        words = id_words(ids)
        clusters = assignment.clusters
        order = np.lexsort((words[:, 1], words[:, 0], assignment.distances, clusters))
        starts = np.searchsorted(clusters[order], clusters[order])
        kept = order[(np.arange(len(order)) - starts < self.count) & (clusters[order] >= 0)]
        for row in kept.tolist():
            name = f"{int(words[row, 0]):016x}{int(words[row, 1]):016x}"
            near = Nearest(float(assignment.distances[row]), name)
            self.nearest.setdefault(int(clusters[row]), []).append(near)
        self._trim()

    def _trim(self) -> None:
        self.nearest = {cluster: sorted(near)[: self.count] for cluster, near in sorted(self.nearest.items())}

    @staticmethod
    def merge(parts: "Iterable[NearestDocuments]") -> "NearestDocuments":
        """Put lists together.

        Raises:
            DataError: if there are none, or they keep different numbers of documents.
        """
        parts = list(parts)
        if len({part.count for part in parts}) != 1:
            msg = "lists of nearest documents can be merged if there is one and all keep the same number"
            raise DataError(msg)
        total = NearestDocuments(parts[0].count)
        for part in parts:
            for cluster, near in part.nearest.items():
                total.nearest.setdefault(cluster, []).extend(near)
        total._trim()
        return total

    def to_json(self) -> dict[str, Any]:
        """Return the lists as JSON values."""
        nearest = {str(cluster): [list(near) for near in self.nearest[cluster]] for cluster in sorted(self.nearest)}
        return {"count": self.count, "nearest": nearest}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "NearestDocuments":
        """Return the lists that `to_json` gave."""
        nearest = {int(key): [Nearest(*near) for near in entry] for key, entry in value["nearest"].items()}
        return cls(int(value["count"]), nearest)
