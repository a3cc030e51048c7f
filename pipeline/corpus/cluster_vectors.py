"""K-means over the whole corpus: a start from a sample, rounds of sums and counts, and the centroids as a fitted model.

The algorithm is `tamis.scorers.embeddings.kmeans`; a round is a pass over the shards and one that moves the centroids.
The number of rounds is bounded by the graph: those after the centroids stay where they are have nothing to do. Each
round's centroids are kept, so that a run that begins again goes on there.
"""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.cluster_words import DescribeShard, Description, clusters_table, join_descriptions
from tamis.pipeline.corpus.context import Corpus, Fit, Outcome
from tamis.pipeline.graph.passes import Pass, Values
from tamis.pipeline.passes.kept import Kept
from tamis.pipeline.passes.shard_reader import ColumnReader
from tamis.pipeline.passes.stage import READ, StoredShards, stored_shards
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.value_file import read_value, write_value
from tamis.schemas.base import canonical_json
from tamis.schemas.errors import DamagedError, DataError
from tamis.scorers.embeddings.kmeans import Clustering, ClusterSums, EmptyRule, in_minibatch
from tamis.scorers.embeddings.kmeans_start import start_spread
from tamis.scorers.embeddings.vectors import usable_vectors
from tamis.scorers.text.noise import id_words, keyed_hash

__all__ = ["ClusterVectors", "cluster_vectors", "fitted_clusters"]

MODEL = "clusters"


@dataclass(frozen=True)
class ClusterVectors:
    """What is clustered, and how.

    Attributes:
        column: of the vectors.
        clusters: how many.
        rounds: at most so many.
        sample: documents that the start is drawn from.
        empty: what becomes of a cluster without documents.
        share: of the corpus in a round; below 1 for mini-batches.
        seed: of sample, start and mini-batches.
    """

    column: str
    clusters: int
    rounds: int
    sample: int
    empty: EmptyRule
    share: float
    seed: int


def fitted_clusters(path: str) -> Clustering | None:
    """Load the centroids that a run fitted; None where no document had a vector.

    Raises:
        DamagedError: if they aren't what was written.
    """
    known = read_value(f"{path}.value", [])
    if known is None:
        raise DamagedError(f"{path}.value", "it is missing")
    found = json.loads(known)
    return None if "empty" in found else Clustering.from_json(found["clustering"])


@dataclass(frozen=True)
class _Sample:
    """Rows of least key: what shards return for the start; merging is associative.

    Attributes:
        keys: uint64 (rows, 4): key, two words of the document's id, its position.
        vectors: (rows, dimensions).
    """

    keys: npt.NDArray[np.uint64]
    vectors: npt.NDArray[Any]

    @staticmethod
    def merge(parts: "Iterable[_Sample]", most: int) -> "_Sample":
        """Return the rows of least key of all parts."""
        held = [part for part in parts if len(part.keys)]
        if not held:
            return _Sample(np.zeros((0, 4), np.uint64), np.zeros((0, 1), np.float32))
        keys = np.concatenate([part.keys for part in held])
        order = np.lexsort(keys.T[::-1])[:most]
        return _Sample(keys[order], np.concatenate([part.vectors for part in held])[order])

    def to_bytes(self) -> bytes:
        """Return the rows as bytes."""
        file = io.BytesIO()
        np.save(file, self.keys, allow_pickle=False)
        np.save(file, np.ascontiguousarray(self.vectors), allow_pickle=False)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "_Sample":
        """Read what `to_bytes` wrote."""
        file = io.BytesIO(data)
        keys, vectors = (np.load(file, allow_pickle=False) for _ in range(2))
        return cls(keys, vectors)


@dataclass(frozen=True)
class _Vectors:
    """Reads the vectors of the rows alive of a shard."""

    reader: ColumnReader
    column: str

    def read(self, shard: Shard) -> Iterator[tuple[npt.NDArray[Any], pa.Array, npt.NDArray[np.uint64]]]:
        """Yield vectors, ids and positions, batch by batch."""
        for batch, state, positions in self.reader.read(shard):
            good, matrix = usable_vectors(batch.column(self.column))
            rows = np.flatnonzero(good & state.mask)
            yield matrix[rows], batch.column("doc_id").take(pa.array(rows)), positions[rows]


@dataclass(frozen=True)
class _SampleShard:
    source: _Vectors
    config: ClusterVectors

    def __call__(self, shard: Shard, values: Values) -> bytes:
        del values
        parts: list[_Sample] = []
        for matrix, ids, positions in self.source.read(shard):
            some = matrix.any(axis=1)
            words = id_words(ids.filter(pa.array(some)))
            keys = keyed_hash(self.config.seed, "cluster-start", words)
            table = np.column_stack([keys, words, positions[some]]).astype(np.uint64)
            parts = [_Sample.merge([*parts, _Sample(table, matrix[some])], self.config.sample)]
        return _Sample.merge(parts, self.config.sample).to_bytes()


@dataclass(frozen=True)
class _MergeSamples:
    most: int

    def __call__(self, parts: Sequence[bytes]) -> bytes:
        return _Sample.merge([_Sample.from_bytes(part) for part in parts], self.most).to_bytes()


def _merge_sums(parts: Sequence[bytes]) -> bytes:
    return ClusterSums.merge([ClusterSums.from_bytes(part) for part in parts]).to_bytes()


@dataclass(frozen=True)
class _Rounds:
    """Where the centroids after each round lie; round 0 is the start."""

    model: Place

    def path(self, number: int, values: Values) -> str:
        shards = stored_shards(values[READ])
        return f"{self.model.of_corpus(shards[0].corpus if shards else '')}-round-{number:03d}.value"

    def fitted(self, values: Values) -> bytes | None:
        """Return the fitted model, if it is there already."""
        shards = stored_shards(values[READ])
        return read_value(f"{self.model.of_corpus(shards[0].corpus if shards else '')}.value", [])


@dataclass(frozen=True)
class _Unless:
    """The shards, unless the model or the round's centroids are there, or nothing moves any more."""

    rounds: _Rounds
    number: int
    before: str | None

    def __call__(self, values: Values) -> Iterable[Any]:
        if self.rounds.fitted(values) is not None or read_value(self.rounds.path(self.number, values), []) is not None:
            return ()
        if self.before is not None and json.loads(values[self.before])["settled"]:
            return ()
        return StoredShards()(values)


@dataclass(frozen=True)
class _SumShard:
    """A round's sums and counts of a shard."""

    source: _Vectors
    config: ClusterVectors
    before: str
    number: int

    def __call__(self, shard: Shard, values: Values) -> bytes:
        config = self.config
        clustering = Clustering.from_json(json.loads(values[self.before])["clustering"])
        nothing = np.zeros((0, clustering.centroids.shape[1]), np.float32)
        parts = [ClusterSums.of(clustering, nothing, np.zeros((0, 2), np.uint64))[0]]
        for matrix, ids, _ in self.source.read(shard):
            words = id_words(ids)
            chosen = in_minibatch(words, share=config.share, number=self.number, seed=config.seed)
            collect = words[chosen] if config.empty == "farthest" else None
            sums, _ = ClusterSums.of(clustering, matrix[chosen], collect)
            parts = [ClusterSums.merge([*parts, sums])]
        return parts[0].to_bytes()


@dataclass(frozen=True)
class _Start:
    """Spreads the first centroids over the sample."""

    label: str
    config: ClusterVectors
    sample: str
    rounds: _Rounds

    def __call__(self, task: None, values: Values) -> bytes:
        del task

        def make() -> dict[str, Any]:
            found = _Sample.from_bytes(values[self.sample]) if values[self.sample] else _Sample.merge([], 0)
            if not len(found.keys):  # nothing is assigned to these either, and the run is complete
                nothing = Clustering(np.zeros((self.config.clusters, 1)))
                return {"settled": True, "clustering": nothing.to_json(), "empty": True}
            # By id and position: the order of shards must not decide between documents of one id.
            order = np.lexsort((found.keys[:, 3], found.keys[:, 2], found.keys[:, 1]))
            try:
                start = start_spread(
                    found.vectors[order], self.config.clusters, ids=found.keys[order, 1:3], seed=self.config.seed
                )
            except DataError as error:
                msg = f"step {self.label}: {error}"
                raise DataError(msg) from None
            return {"settled": False, "clustering": start.to_json()}

        return _kept(self.rounds, 0, values, make)


@dataclass(frozen=True)
class _Move:
    """Moves the centroids, or finds that they stay."""

    config: ClusterVectors
    before: str
    sums: str
    rounds: _Rounds
    number: int

    def __call__(self, task: None, values: Values) -> bytes:
        del task
        if not values[self.before] or json.loads(values[self.before])["settled"]:
            return values[self.before]

        def make() -> dict[str, Any]:
            clustering = Clustering.from_json(json.loads(values[self.before])["clustering"])
            sums = ClusterSums.from_bytes(values[self.sums])
            minibatch = self.config.share < 1
            moved = clustering.moved(sums, empty=self.config.empty, minibatch=minibatch)
            settled = not minibatch and np.array_equal(moved.centroids, clustering.centroids)
            return {"settled": settled, "clustering": moved.to_json()}

        return _kept(self.rounds, self.number, values, make)


def _kept(rounds: _Rounds, number: int, values: Values, make: Callable[[], dict[str, Any]]) -> bytes:
    """Return a round's centroids: kept ones, or made and kept; nothing where the model is there already."""
    if rounds.fitted(values) is not None:
        return b""
    path = rounds.path(number, values)
    known = read_value(path, [])
    if known is None:
        known = canonical_json(make()).encode()
        write_value(path, known)
    return known


@dataclass(frozen=True)
class _Keep:
    """Keeps the last centroids as the model that documents are assigned by."""

    last: str
    rounds: _Rounds
    model: Place

    def __call__(self, task: None, values: Values) -> bytes:
        del task
        known = self.rounds.fitted(values)
        if known is None:
            known = values[self.last]
            shards = stored_shards(values[READ])
            write_value(f"{self.model.of_corpus(shards[0].corpus if shards else '')}.value", known)
        return known


def cluster_vectors(corpus: Corpus, config: ClusterVectors) -> Fit:
    """Return the passes that find the centroids, and what the clusters are about."""
    model = corpus.stage.fitted_place(MODEL)
    rounds = _Rounds(model)
    source = _Vectors(ColumnReader.of(corpus.state, corpus.columns, [config.column]), config.column)
    label = corpus.label

    def once(what: str, process: Any, inputs: tuple[str, ...]) -> Pass:
        return Pass(f"{label}: {what}", process, inputs=(READ, *inputs), step=label, small=True)

    sample = corpus.each_shard(
        "sample",
        _SampleShard(source, config),
        combine=_MergeSamples(config.sample),
        tasks=_Unless(rounds, 0, None),
    )
    nodes = [sample, once("start", _Start(label, config, sample.name, rounds), (sample.name,))]
    for number in range(1, config.rounds + 1):
        before = nodes[-1].name
        sums = corpus.each_shard(
            f"round {number}",
            _SumShard(source, config, before, number - 1),
            combine=_merge_sums,
            inputs=(before,),
            tasks=_Unless(rounds, number, before),
        )
        move = _Move(config, before, sums.name, rounds, number)
        nodes += [sums, once(f"centroids {number}", move, (before, sums.name))]
    fitted = once("centroids", _Keep(nodes[-1].name, rounds, model), (nodes[-1].name,))
    describe = DescribeShard(
        ColumnReader.of(corpus.state, corpus.columns, [config.column]),
        config.column,
        corpus.columns["text"],
        fitted.name,
        config.clusters,
        config.seed,
    )
    described = corpus.each_shard(
        "what they are about",
        Kept(describe, corpus.stage.fitted_place("about")),
        combine=join_descriptions,
        inputs=(fitted.name,),
        small=False,
    )
    nodes += [fitted, described]
    return Fit(
        tuple(nodes), {MODEL: model}, _Fitted(label, config, fitted.name, described.name), (fitted.name, described.name)
    )


@dataclass(frozen=True)
class _Fitted:
    """What the clustering came to: figures for the manifest, and a table of the clusters."""

    label: str
    config: ClusterVectors
    fitted: str
    described: str

    def __call__(self, values: Values) -> Outcome:
        found = json.loads(values[self.fitted])
        clustering = Clustering.from_json(found["clustering"])
        about = Description.from_bytes(values[self.described])
        documents = sum(about.sizes.values())
        filled = sum(1 for size in about.sizes.values() if size)
        metrics = {
            "clusters": clustering.clusters,
            "dimensions": clustering.centroids.shape[1],
            "documents": documents,
            "in_no_cluster": about.outside,
            "empty": clustering.clusters - filled,
            "largest": max(about.sizes.values(), default=0),
            "rounds": clustering.rounds,
            "settled": bool(found["settled"]),
            "inertia": None if np.isnan(clustering.inertia) else clustering.inertia,
        }
        told = f"step {self.label}: no document has a vector in {self.config.column}: there was nothing to cluster"
        tables = {MODEL: clusters_table(about, clustering.clusters)}
        return Outcome(metrics=metrics, tables=tables, warnings=(told,) if "empty" in found else ())
