"""K-means whose result is the same for any division of the documents among shards, batches and threads.

A round of Lloyd's algorithm is: each shard assigns its vectors and adds them up (`ClusterSums.of`), the sums are merged
in any order and any grouping (`ClusterSums.merge`), and the centroids move (`Clustering.moved`). Sums are of whole
numbers (vectors in units of 2^-52), so that merging is exact, and distances are summed in a fixed order in float64.
For large pools each round can take a part of the pool, drawn by document id (`minibatch`): centroids then move to the
mean of all that they were given so far (Sculley 2010, *Web-scale k-means clustering*).

Vectors are divided by their lengths, so that Euclidean distance sorts as the angle does; centroids are plain means.
Ties go to the lower cluster. A vector of zeros (a text without a word) has no direction: it is in no cluster (-1). A
cluster without vectors keeps its centroid, or (`empty="farthest"`) takes the vector farthest from its centroid: several
empty ones take different vectors, in the order of their numbers.
"""

import base64
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.embeddings.kmeans_kernels import HIGH, LOW, add_rows, nearest_centroids
from tamis.scorers.embeddings.vectors import Vectors, as_matrix, unit_rows
from tamis.scorers.text.noise import DocumentIds, id_words, keyed_hash

__all__ = ["Assignment", "ClusterSums", "Clustering", "EmptyRule", "fit_clusters", "in_minibatch", "row_ids"]

EmptyRule: TypeAlias = Literal["keep", "farthest"]
"""What becomes of a cluster without vectors: it keeps its centroid, or takes the farthest vector of the pool."""

_FARTHEST = 64
"""Most clusters that can be filled again in one round."""


class Assignment(NamedTuple):
    """Where vectors belong.

    Attributes:
        clusters: int32 (rows,), the nearest cluster; -1 for a vector of zeros.
        distances: float64 (rows,), squared Euclidean distances to its centroid.
    """

    clusters: npt.NDArray[np.int32]
    distances: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClusterSums:
    """What a shard's vectors add to a round of k-means; merging is associative and commutative, to the bit.

    Attributes:
        counts: int64 (clusters,), vectors of each cluster.
        high: int64 (clusters, dimensions), whole parts of the sums in units of 2^-26.
        low: int64 (clusters, dimensions), the rest in units of 2^-52.
        inertia: sum of squared distances, in units of 2^-52.
        far: the farthest distinct vectors, float64 (m, dimensions), by distance (largest first), ties by document id.
        far_distances: float64 (m,).
        far_ids: uint64 (m, 2).
    """

    counts: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    low: npt.NDArray[np.int64]
    inertia: int
    far: npt.NDArray[np.float64]
    far_distances: npt.NDArray[np.float64]
    far_ids: npt.NDArray[np.uint64]

    @classmethod
    def of(
        cls, clustering: "Clustering", vectors: Vectors, ids: DocumentIds | None = None
    ) -> "tuple[ClusterSums, Assignment]":
        """Assign vectors and add them up.

        Args:
            clustering: the centroids.
            vectors: embeddings (rows, dimensions).
            ids: of the documents, for ties between far vectors; None: none are collected.

        Raises:
            DataError: if a number isn't finite, or ids and vectors differ in number.
        """
        matrix = clustering.prepared(vectors)
        found = clustering.nearest(matrix)
        clusters, dimensions = clustering.centroids.shape
        counts = np.zeros(clusters, np.int64)
        high, low = np.zeros((clusters, dimensions), np.int64), np.zeros((clusters, dimensions), np.int64)
        add_rows(matrix, found.clusters, counts, high, low)
        whole = np.floor(found.distances * HIGH)
        rest = np.rint((found.distances * HIGH - whole) * (LOW / HIGH))
        inertia = int(whole.astype(np.int64).sum()) * int(LOW / HIGH) + int(rest.astype(np.int64).sum())
        words = np.zeros((0, 2), np.uint64) if ids is None else id_words(ids)
        if ids is not None and len(words) != len(matrix):
            msg = f"there are {len(words)} document ids and {len(matrix)} vectors: give one id a vector"
            raise DataError(msg)
        near = np.zeros(0, np.int64) if ids is None else np.flatnonzero((found.clusters >= 0) & (found.distances > 0))
        if len(near) > 4 * _FARTHEST:  # all that can be among the farthest distinct ones, unless there are many twins
            edge = np.partition(found.distances[near], -4 * _FARTHEST)[-4 * _FARTHEST]
            wide = near[found.distances[near] >= edge]
            if len(np.unique(matrix[wide], axis=0)) >= _FARTHEST:
                near = wide
        far = _farthest(matrix[near].astype(np.float64), found.distances[near], words[near] if len(near) else words[:0])
        return cls(counts, high, low, inertia, *far), found

    @staticmethod
    def merge(parts: "Iterable[ClusterSums]") -> "ClusterSums":
        """Add up shards' sums; any order and any grouping gives the same bytes.

        Raises:
            DataError: if there are none.
        """
        parts = list(parts)
        if not parts:
            msg = "there are no vectors to cluster"
            raise DataError(msg)
        far = _farthest(
            np.concatenate([part.far for part in parts]),
            np.concatenate([part.far_distances for part in parts]),
            np.concatenate([part.far_ids for part in parts]),
        )
        return ClusterSums(
            np.sum([part.counts for part in parts], axis=0),
            np.sum([part.high for part in parts], axis=0),
            np.sum([part.low for part in parts], axis=0),
            sum(part.inertia for part in parts),
            *far,
        )

    @property
    def sums(self) -> npt.NDArray[np.float64]:
        """The sum of each cluster's vectors, float64 (clusters, dimensions)."""
        carry = self.low // int(LOW / HIGH)
        rest = self.low - carry * int(LOW / HIGH)
        total: npt.NDArray[np.float64] = (self.high + carry) / HIGH + rest / LOW
        return total

    def to_bytes(self) -> bytes:
        """Return the sums as bytes, equal for equal sums."""
        file = io.BytesIO()
        inertia = np.frombuffer(self.inertia.to_bytes(24, "little"), np.uint8)
        parts = (self.counts, self.high, self.low, inertia, self.far, self.far_distances, self.far_ids)
        for part in parts:
            np.save(file, np.ascontiguousarray(part), allow_pickle=False)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "ClusterSums":
        """Return the sums that `to_bytes` wrote."""
        file = io.BytesIO(data)
        counts, high, low, inertia, *far = (np.load(file, allow_pickle=False) for _ in range(7))
        return cls(counts, high, low, int.from_bytes(inertia.tobytes(), "little"), *far)


def _farthest(
    matrix: npt.NDArray[np.float64], distances: npt.NDArray[np.float64], ids: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.uint64]]:
    """Return the farthest distinct vectors; of equal ones the one with the least id."""
    order = np.lexsort((ids[:, 1], ids[:, 0], -distances))
    seen: set[bytes] = set()
    kept: list[int] = []
    for row in order.tolist():
        key = (matrix[row] + 0.0).tobytes()  # + 0.0: minus zero is zero
        if key not in seen:
            seen.add(key)
            kept.append(row)
            if len(kept) == _FARTHEST:
                break
    return matrix[kept], distances[kept], ids[kept]


@dataclass(frozen=True, eq=False)
class Clustering:
    """Centroids, and how they came about.

    Attributes:
        centroids: float64 (clusters, dimensions).
        weights: int64 (clusters,), vectors that a centroid is the mean of (mini-batches).
        rounds: how often they were moved.
        inertia: sum of squared distances of the last round's vectors to the centroids before it; NaN before any.
        normalise: whether vectors are divided by their lengths.
    """

    centroids: npt.NDArray[np.float64]
    weights: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    rounds: int = 0
    inertia: float = float("nan")
    normalise: bool = True

    def __post_init__(self) -> None:
        centroids = np.ascontiguousarray(as_matrix(self.centroids), np.float64)
        if len(centroids) == 0:
            msg = "a clustering needs at least one centroid"
            raise DataError(msg)
        object.__setattr__(self, "centroids", centroids)
        if len(self.weights) == 0:
            object.__setattr__(self, "weights", np.zeros(len(centroids), np.int64))

    @property
    def clusters(self) -> int:
        """The number of clusters."""
        return len(self.centroids)

    def prepared(self, vectors: Vectors) -> npt.NDArray[Any]:
        """Return vectors as they are compared: a matrix of finite numbers, divided by their lengths if so wanted.

        Raises:
            DataError: if a number isn't finite or too large, or the vectors have another number of dimensions.
        """
        matrix = as_matrix(vectors)
        if matrix.shape[1] != self.centroids.shape[1]:
            msg = (
                f"the vectors have {matrix.shape[1]} dimensions and the centroids {self.centroids.shape[1]}: "
                "use the embeddings that the clusters were made with"
            )
            raise DataError(msg)
        if self.normalise:
            return unit_rows(matrix)
        if len(matrix) and np.abs(matrix).max() > 2**10:
            msg = "vectors that aren't normalised must have numbers of at most 1024 in size: scale them down"
            raise DataError(msg)
        return matrix

    def nearest(self, matrix: npt.NDArray[Any]) -> Assignment:
        """Return the nearest cluster of each row of a matrix that is `prepared`."""
        labels, distances = np.empty(len(matrix), np.int32), np.empty(len(matrix))
        nearest_centroids(matrix, np.ascontiguousarray(self.centroids.T), self.normalise, labels, distances)
        return Assignment(labels, distances)

    def assign(self, vectors: Vectors) -> Assignment:
        """Return the nearest cluster of each vector.

        Raises:
            DataError: if a number isn't finite, or the vectors have another number of dimensions.
        """
        return self.nearest(self.prepared(vectors))

    def moved(self, sums: ClusterSums, *, empty: EmptyRule = "keep", minibatch: bool = False) -> "Clustering":
        """Return the clustering after a round.

        Args:
            sums: of all vectors of the round, merged.
            empty: what becomes of clusters without vectors.
            minibatch: the round saw a part of the pool: move to the mean of all vectors seen so far.
        """
        counts = sums.counts
        weights = self.weights + counts if minibatch else counts
        old = self.centroids * self.weights[:, None] if minibatch else np.zeros_like(self.centroids)
        centroids = self.centroids.copy()
        np.divide(sums.sums + old, weights[:, None], out=centroids, where=counts[:, None] > 0)
        if empty == "farthest":
            bare = np.flatnonzero(weights == 0)[: len(sums.far)]
            centroids[bare] = sums.far[: len(bare)]
        return Clustering(centroids, weights, self.rounds + 1, sums.inertia / LOW, self.normalise)

    def cosine_distances(self) -> npt.NDArray[np.float64]:
        """Return one minus the cosine between each two centroids, (clusters, clusters); one for a centroid of zeros."""
        units = unit_rows(self.centroids)
        cosines = np.zeros((len(units), len(units)))
        for column in units.T:  # summed in a fixed order, as products of matrices are not
            cosines += column[:, None] * column[None, :]
        distances: npt.NDArray[np.float64] = 1.0 - cosines
        return distances

    def to_json(self) -> dict[str, Any]:
        """Return the clustering as JSON values; the centroids keep every bit."""
        return {
            "centroids": base64.b64encode(self.centroids.astype("<f8").tobytes()).decode(),
            "clusters": self.clusters,
            "dimensions": self.centroids.shape[1],
            "inertia": None if np.isnan(self.inertia) else self.inertia,
            "normalise": self.normalise,
            "rounds": self.rounds,
            "weights": self.weights.tolist(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Clustering":
        """Return the clustering that `to_json` gave.

        Raises:
            DataError: if the value isn't one.
        """
        try:
            raw = np.frombuffer(base64.b64decode(value["centroids"], validate=True), "<f8").astype(np.float64)
            centroids = raw.reshape(value["clusters"], value["dimensions"])
            inertia = float("nan") if value["inertia"] is None else float(value["inertia"])
            weights = np.array(value["weights"], np.int64)
            return cls(centroids, weights, int(value["rounds"]), inertia, bool(value["normalise"]))
        except (KeyError, TypeError, ValueError) as error:
            msg = f"this isn't a stored clustering ({error}): make the clusters again"
            raise DataError(msg) from error


def in_minibatch(ids: DocumentIds, *, share: float, number: int, seed: int = 0) -> npt.NDArray[np.bool_]:
    """Return which documents belong to mini-batch `number`, bool (rows,): each is drawn with probability `share`.

    Raises:
        ConfigError: if `share` isn't above 0 and at most 1.
    """
    if not 0 < share <= 1:
        msg = f"the share of a mini-batch must be above 0 and at most 1, got {share}"
        raise ConfigError(msg)
    if share == 1:
        return np.ones(len(id_words(ids)), np.bool_)
    return keyed_hash(seed, f"minibatch-{number}", ids) < np.uint64(int(share * 2**64))


def row_ids(rows: int) -> npt.NDArray[np.uint64]:
    """Return ids for vectors that have none: their row numbers, uint64 (rows, 2)."""
    ids = np.zeros((rows, 2), np.uint64)
    ids[:, 1] = np.arange(rows)
    return ids


def fit_clusters(
    vectors: Vectors,
    start: Clustering,
    *,
    ids: DocumentIds | None = None,
    rounds: int = 25,
    empty: EmptyRule = "keep",
    share: float = 1.0,
    seed: int = 0,
    watch: Callable[[Clustering, Assignment], None] | None = None,
) -> Clustering:
    """Run k-means on vectors that are in memory, until no vector changes its cluster.

    Args:
        vectors: embeddings (rows, dimensions).
        start: where to begin: see `tamis.scorers.embeddings.kmeans_start`.
        ids: of the documents; None: their row numbers.
        rounds: most rounds.
        empty: what becomes of clusters without vectors.
        share: below 1, each round takes a mini-batch of that share, drawn by id, and all rounds are run.
        seed: of the mini-batches.
        watch: called in each round with the centroids before it and what was assigned.

    Raises:
        ConfigError: if an option is out of range.
        DataError: if a number isn't finite.
    """
    if rounds < 0 or empty not in ("keep", "farthest"):
        msg = f"rounds must be at least 0 and empty 'keep' or 'farthest', got {rounds} and {empty!r}"
        raise ConfigError(msg)
    matrix = as_matrix(vectors)
    words = row_ids(len(matrix)) if ids is None else id_words(ids)
    clustering, last = start, np.full(len(matrix), -2, np.int32)
    for number in range(rounds):
        chosen = in_minibatch(words, share=share, number=number, seed=seed)
        collect = words[chosen] if empty == "farthest" else None
        sums, found = ClusterSums.of(clustering, matrix[chosen], collect)
        if watch is not None:
            watch(clustering, found)
        settled = share == 1 and np.array_equal(found.clusters, last)
        moved = clustering.moved(sums, empty=empty, minibatch=share < 1)
        if settled and np.array_equal(moved.centroids, clustering.centroids):
            return clustering
        clustering, last = moved, found.clusters if share == 1 else last
    return clustering
