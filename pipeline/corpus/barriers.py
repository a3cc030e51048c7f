"""Which steps decide over the whole corpus, and the short chain of passes by which each does."""

from dataclasses import replace

import pyarrow as pa

from tamis.pipeline.corpus.barrier import Barrier, Outcome
from tamis.pipeline.corpus.bucket import bucket_schema, corpus_buckets, write_buckets
from tamis.pipeline.corpus.deduplicate_exact import CLUSTER_SCHEMA, deduplicate
from tamis.pipeline.corpus.resample import resample, resampled_columns
from tamis.pipeline.corpus.select import select
from tamis.pipeline.passes.decide import kept
from tamis.schemas.steps import DsirStep, ExactDedupStep, PerplexityStep, StepConfig

__all__ = ["barrier_columns", "has_barrier", "run_barrier"]


def has_barrier(step: StepConfig) -> bool:
    """Return whether a step decides over the whole corpus."""
    return isinstance(step, ExactDedupStep) or kept(step).needs_corpus or corpus_buckets(step)


def barrier_columns(step: StepConfig) -> pa.Schema:
    """Return the columns that a step's decision over the corpus adds."""
    match step:
        case ExactDedupStep():
            return CLUSTER_SCHEMA
        case DsirStep():
            return resampled_columns(step)
        case PerplexityStep() if corpus_buckets(step):
            return bucket_schema(step)
        case _:
            return pa.schema([])


def run_barrier(barrier: Barrier) -> Outcome:
    """Decide: writes the row states after the step for every shard, and its columns if it has any."""
    config = barrier.stage.config
    if isinstance(config, ExactDedupStep):
        return deduplicate(barrier)
    if isinstance(config, DsirStep):
        return resample(barrier)
    if not corpus_buckets(config):
        return select(barrier)
    if not kept(config).needs_corpus:
        return write_buckets(barrier, barrier.stage.state)
    buckets = write_buckets(barrier, barrier.folder("bucketed"))
    selected = select(replace(barrier, state=barrier.folder("bucketed")))
    return Outcome(
        columns={**buckets.columns, **selected.columns},
        thresholds={**buckets.thresholds, **selected.thresholds},
        metrics=selected.metrics,
        warnings=selected.warnings,
    )
