"""`cluster`: k-means over embeddings of the whole corpus."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from tamis.pipeline.corpus.context import Corpus, Fit
from tamis.pipeline.steps.base import FoundFile, Memory, Step
from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError, ModelError
from tamis.schemas.guide import FORUM, PROSE, Guide
from tamis.schemas.step import NAME
from tamis.schemas.tables import described
from tamis.scorers.base import Annotator

__all__ = ["ClusterStep"]

_GUIDE = Guide(
    formula="""\
x                     =  embedding / its length
cluster               =  argmin over c of |x - centroid_c|^2;   lower number of equal ones
centroid_c            =  exact mean of its documents, until none moves or `rounds` are over
cluster_distance      =  |x - centroid|^2, of a vector of length 1""",
    follows="""\
Lloyd's k-means with exact sums, so that shards, workers and runners change nothing; with `minibatch` Sculley's
(2010). Titles are the words that a cluster has more of than the corpus.""",
    example="""\
- embed: {dimensions: 64, write: false}
- cluster: {clusters: 6}""",
    query="SELECT cluster, documents, title FROM clusters ORDER BY cluster",
    inputs=(
        FORUM,
        PROSE,
    ),
)


class ClusterStep(Step):
    """K-means over the embeddings of the whole corpus: the cluster of each document, with titles for people."""

    verb: ClassVar[str] = "cluster"
    guide: ClassVar[Guide] = _GUIDE
    clusters: int = Field(ge=1, le=1_000_000, description="how many")
    embedding: str = Field(default="embedding", description="the column of vectors, such as `embed` adds")
    name: str = Field(default="cluster", pattern=NAME, description="the column; its distance's is `<name>_distance`")
    rounds: int = Field(default=10, ge=1, le=100, description="at most; it ends when no centroid moves any more")
    minibatch: float | None = Field(
        default=None, gt=0, lt=1, description="share of the corpus in a round, for large ones; all if absent"
    )
    sample: int | None = Field(
        default=None, ge=1, description="documents to draw the start from; 10 a cluster and at least 4,096 if absent"
    )
    empty: Literal["farthest", "keep"] = Field(
        default="farthest", description="a cluster without documents takes the farthest one, or keeps its centroid"
    )

    def columns(self, models: Mapping[str, str]) -> pa.Schema:
        """Return cluster and distance, known before the fit."""
        del models
        return pa.schema(
            [
                described(self.name, pa.int64(), "number of the cluster; null for a vector of zeros"),
                described(f"{self.name}_distance", pa.float64(), "squared distance to the cluster's centre"),
            ]
        )

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return what assigns documents to the clusters that the run found.

        Raises:
            ModelError: if they aren't found yet.
        """
        if "clusters" not in models:
            msg = f"step {self.label}: the clusters are found over a whole corpus: a run does it"
            raise ModelError(msg)
        return _Assign(self.columns({}), self.embedding, models["clusters"])

    @property
    def fits(self) -> bool:
        """Always."""
        return True

    def fit(self, corpus: Corpus) -> Fit:
        """Find the centroids."""
        from tamis.pipeline.corpus.cluster_vectors import ClusterVectors, cluster_vectors

        config = ClusterVectors(
            column=self.embedding,
            clusters=self.clusters,
            rounds=self.rounds,
            sample=self._sample,
            empty=self.empty,
            share=1.0 if self.minibatch is None else self.minibatch,
            seed=corpus.seed,
        )
        return cluster_vectors(corpus, config)

    @property
    def _sample(self) -> int:
        return max(10 * self.clusters, 4096) if self.sample is None else self.sample

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Refuse a column that isn't there or holds no vectors.

        Raises:
            ConfigError: naming it.
        """
        del models
        found = available.get(self.embedding)
        if found is None:
            vectors = [name for name, column in available.items() if pa.types.is_fixed_size_list(column.type)]
            hint = nearest(self.embedding, vectors) if vectors else ": put the step `embed` before it"
            msg = f"step {self.label}: embedding: no column {self.embedding!r} at this point{hint}"
            raise ConfigError(msg)
        if not pa.types.is_fixed_size_list(found.type) or not pa.types.is_floating(found.type.value_type):
            msg = f"step {self.label}: embedding: column {self.embedding!r} holds {found.type}, not vectors"
            raise ConfigError(msg)

    def values_of(self, column: str) -> int | None:
        """Return the number of clusters, for their column."""
        return self.clusters if column == self.name else None

    def memory(self, documents: int, models: Mapping[str, FoundFile]) -> Memory:
        """The sample, and sums of all clusters from several shards; vectors of 1,024 numbers at most are reckoned."""
        del models
        width = 1024
        sample = min(self._sample, documents) * width * 4 * 3
        return Memory(worker=sample + self.clusters * width * 8 * 8)


class _Assign:
    """Assigns documents to the nearest centroid."""

    def __init__(self, schema: pa.Schema, embedding: str, path: str) -> None:
        from tamis.pipeline.corpus.cluster_vectors import fitted_clusters

        self._clustering = fitted_clusters(path)
        self.requires = (embedding,)
        self.schema = schema

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return cluster and distance of each row."""
        from tamis.scorers.embeddings.vectors import usable_vectors

        column = batch.column(self.requires[0])
        good, matrix = usable_vectors(column)
        bad = np.flatnonzero(~good & np.asarray(column.is_valid()))
        if len(bad):  # of one row it becomes that row's error record
            msg = "the embedding holds a number that isn't finite (NaN or infinite)"
            raise ValueError(msg)
        if self._clustering is None:
            return pa.RecordBatch.from_arrays([pa.nulls(len(column), f.type) for f in self.schema], schema=self.schema)
        found = self._clustering.assign(matrix)
        outside = found.clusters < 0
        return pa.RecordBatch.from_arrays(
            [
                pa.array(found.clusters.astype(np.int64), mask=outside),
                pa.array(found.distances, mask=outside),
            ],
            schema=self.schema,
        )
