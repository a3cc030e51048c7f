"""The tables that the step `quad` left in a finished run, as the bandit takes them."""

import hashlib
import io
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.jobs.manifest.file import read_manifest, shard_path
from tamis.jobs.watch.corpus import is_corpus
from tamis.pipeline.corpus.quad_tables import pool_of, scores_of
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError, RunError
from tamis.schemas.manifest import TableRecord
from tamis.scorers.influence.bandit import BanditOptions, Scale, ScoreTable

__all__ = ["StoredQuad", "stored_quad"]

SCORES = "quad_scores"


@dataclass(frozen=True, eq=False)
class StoredQuad:
    """A step `quad` of a finished run.

    Attributes:
        label: of the step.
        options: that it played with.
        table: of influence, in standard deviations.
        clusters: the table `quad_clusters`, sorted by number.
        rounds: the table `quad_rounds`.
    """

    label: str
    options: BanditOptions
    table: ScoreTable
    clusters: pa.Table
    rounds: pa.Table


def stored_quad(run: str, step: str | None = None) -> StoredQuad:
    """Read what a step left.

    Args:
        run: the run's folder.
        step: label of the step; the only one if None.

    Raises:
        ConfigError: if there are several and none is named, or there is none of that name.
        RunError: if the folder holds no finished run, the run has no such step, or a table is missing or changed.
    """
    manifest = read_manifest(run)
    if is_corpus(run):
        msg = f"{run} is a corpus of several runs, of which each drew for itself: give one of its increments"
        raise RunError(msg)
    labels = [record.step for record in manifest.tables if record.name == SCORES]
    if not labels:
        msg = f"{run}: the run has no step `quad`"
        raise RunError(msg)
    if step is None and len(labels) > 1:
        msg = f"{run} has the steps {', '.join(labels)}: say which with --step"
        raise ConfigError(msg)
    label = labels[0] if step is None else step
    if label not in labels:
        msg = f"--step {label}: the run has no such step{nearest(label, labels)}"
        raise ConfigError(msg)
    found = {record.name: _read(run, record) for record in manifest.tables if record.step == label}
    metrics = next(one.metrics for one in manifest.steps if one.label == label)
    clusters = found["quad_clusters"].sort_by("cluster")
    pool = pool_of(clusters, found.get("quad_costs"), found.get("quad_neighbours"))
    table = pool.table(scores_of(found[SCORES]))
    if metrics["scale_mean"] is not None:
        table = table.scaled(Scale(metrics["scale_mean"], metrics["scale_deviation"]))
    return StoredQuad(label, BanditOptions(**metrics["options"]), table, clusters, found["quad_rounds"])


def _read(run: str, record: TableRecord) -> pa.Table:
    path = shard_path(run, record)
    if not filesystem.exists(path):
        msg = f"{path} is missing, though the manifest names it: tamis manifest verify checks the run"
        raise RunError(msg)
    with filesystem.open_binary(path) as stream:
        data = stream.read()
    if hashlib.sha256(data).hexdigest() != record.sha256:
        msg = f"{path} was changed: its SHA-256 isn't the manifest's"
        raise RunError(msg)
    return pq.read_table(io.BytesIO(data), use_threads=False, pre_buffer=False)  # no threads to outlive a small command
