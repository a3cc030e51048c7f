"""What clusters are about: sizes, the documents nearest to their centres, the words of a sample of their documents."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from tamis.pipeline.graph.passes import Values
from tamis.pipeline.passes.shard_reader import ColumnReader, read_columns
from tamis.pipeline.passes.stage import READ, stored_shards
from tamis.pipeline.storage.place import Place, Shard
from tamis.schemas.base import canonical_json
from tamis.schemas.tables import described
from tamis.scorers.embeddings.describe import ClusterWords, NearestDocuments
from tamis.scorers.embeddings.kmeans import Clustering
from tamis.scorers.embeddings.vectors import usable_vectors
from tamis.scorers.text.noise import keyed_hash

__all__ = ["DescribeShard", "Description", "clusters_table", "join_descriptions", "word_sample"]

NEAREST = 5
"""Documents of each cluster that are named."""
MOST_SAMPLED = 20_000
"""Documents whose words are counted, of all clusters together: their words go from worker to worker."""
SAMPLED = 100
"""The same of a cluster, on average."""
CLUSTERS_SCHEMA = pa.schema(
    [
        described("cluster", pa.int64(), "number of the cluster"),
        described("title", pa.string(), "its most distinctive words against the corpus"),
        described("documents", pa.int64(), "documents in it"),
        described("nearest", pa.list_(pa.string()), "doc_id of the documents nearest to its centre"),
    ]
)


def word_sample(clusters: int) -> int:
    """Return how many documents' words are counted."""
    return min(SAMPLED * clusters, MOST_SAMPLED)


@dataclass
class Description:
    """What is known of clusters; merging is associative and commutative.

    Attributes:
        sizes: cluster to documents.
        outside: documents in no cluster.
        words: of the sample.
        nearest: documents.
    """

    sizes: Counter[int] = field(default_factory=Counter)
    outside: int = 0
    words: ClusterWords = field(default_factory=ClusterWords)
    nearest: NearestDocuments = field(default_factory=lambda: NearestDocuments(NEAREST))

    def to_bytes(self) -> bytes:
        """Return it as bytes, equal for equal descriptions."""
        told = {
            "sizes": {str(cluster): size for cluster, size in sorted(self.sizes.items())},
            "outside": self.outside,
            "words": self.words.to_json(),
            "nearest": self.nearest.to_json(),
        }
        return canonical_json(told).encode()

    @classmethod
    def from_bytes(cls, value: bytes) -> "Description":
        """Read what `to_bytes` wrote; an empty one for no bytes."""
        if not value:
            return cls()
        told = json.loads(value)
        return cls(
            Counter({int(cluster): size for cluster, size in told["sizes"].items()}),
            told["outside"],
            ClusterWords.from_json(told["words"]),
            NearestDocuments.from_json(told["nearest"]),
        )


def join_descriptions(parts: Sequence[bytes]) -> bytes:
    """Join the descriptions of shards."""
    found = [Description.from_bytes(part) for part in parts]
    total = Description(
        outside=sum(part.outside for part in found),
        words=ClusterWords.merge(part.words for part in found),
        nearest=NearestDocuments.merge(part.nearest for part in found),
    )
    for part in found:
        total.sizes.update(part.sizes)
    return total.to_bytes()


@dataclass(frozen=True)
class DescribeShard:
    """Describes the clusters by a shard's documents.

    Attributes:
        reader: of the vectors and row states.
        column: of the vectors.
        text: place of the texts, of which only the batches are read that hold documents of the sample.
        fitted: pass whose value has the centroids.
        clusters: how many.
        seed: of the sample.
    """

    reader: ColumnReader
    column: str
    text: Place
    fitted: str
    clusters: int
    seed: int

    def __call__(self, shard: Shard, values: Values) -> bytes:
        """Return the description as bytes."""
        fitted = json.loads(values[self.fitted])
        if "empty" in fitted:  # no document has a vector
            return Description().to_bytes()
        clustering = Clustering.from_json(fitted["clustering"])
        total = sum(one.rows for one in stored_shards(values[READ]))
        share = min(1.0, word_sample(self.clusters) / max(1, total))
        edge = np.uint64(min(2**64 - 1, int(share * 2**64)))
        found = Description()
        sampled: dict[int, tuple[list[int], list[int]]] = {}
        for number, (batch, state, _) in enumerate(self.reader.read(shard)):
            good, matrix = usable_vectors(batch.column(self.column))
            rows = np.flatnonzero(good & state.mask)
            ids = batch.column("doc_id").take(pa.array(rows))
            assigned = clustering.assign(matrix[rows])
            inside = assigned.clusters >= 0
            found.outside += int((~inside).sum())
            numbers, counts = np.unique(assigned.clusters[inside], return_counts=True)
            found.sizes.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
            found.nearest.add(assigned, ids)
            drawn = np.flatnonzero(inside & (keyed_hash(self.seed, "cluster-words", ids) <= edge))
            if len(drawn):
                sampled[number] = (rows[drawn].tolist(), assigned.clusters[drawn].tolist())
        texts = read_columns(shard, ["text"], {"text": self.text}, list(sampled))
        for (rows_drawn, clusters), batch in zip(sampled.values(), texts, strict=True):
            found.words.add(clusters, batch.column("text").take(pa.array(rows_drawn)))
        return found.to_bytes()


def clusters_table(about: Description, clusters: int) -> pa.Table:
    """Return a row a cluster, as `CLUSTERS_SCHEMA` says."""
    nearest = [[near.document for near in about.nearest.nearest.get(cluster, [])] for cluster in range(clusters)]
    columns = [
        pa.array(range(clusters), pa.int64()),
        pa.array([about.words.title(cluster) for cluster in range(clusters)], pa.string()),
        pa.array([about.sizes[cluster] for cluster in range(clusters)], pa.int64()),
        pa.array(nearest, pa.list_(pa.string())),
    ]
    return pa.Table.from_arrays(columns, schema=CLUSTERS_SCHEMA)
