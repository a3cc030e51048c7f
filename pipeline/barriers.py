"""Which steps decide over the whole corpus, and the short chain of passes by which each does."""

import pyarrow as pa

from pipeline.barrier import Barrier, Outcome
from pipeline.decide import kept
from pipeline.deduplicate import CLUSTER_SCHEMA, deduplicate
from pipeline.resample import resample, resampled_columns
from pipeline.select import select
from schemas.steps import DsirStep, ExactDedupStep, StepConfig

__all__ = ["barrier_columns", "has_barrier", "run_barrier"]


def has_barrier(step: StepConfig) -> bool:
    """Return whether a step decides over the whole corpus."""
    return isinstance(step, ExactDedupStep) or kept(step).needs_corpus


def barrier_columns(step: StepConfig) -> pa.Schema:
    """Return the columns that a step's decision over the corpus adds."""
    if isinstance(step, ExactDedupStep):
        return CLUSTER_SCHEMA
    return resampled_columns(step) if isinstance(step, DsirStep) else pa.schema([])


def run_barrier(barrier: Barrier) -> Outcome:
    """Decide: writes the row states after the step for every shard, and its columns if it has any."""
    if isinstance(barrier.stage.config, ExactDedupStep):
        return deduplicate(barrier)
    if isinstance(barrier.stage.config, DsirStep):
        return resample(barrier)
    return select(barrier)
