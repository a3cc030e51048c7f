"""Head, middle and tail by perplexity: by the percentiles of the run's own corpus, or by a table made elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.pipeline.corpus.barrier import Barrier, Outcome
from tamis.pipeline.corpus.select import ColumnReader, RankedColumn, find_thresholds, rewrite_states
from tamis.pipeline.passes.decide import kept_column
from tamis.pipeline.passes.stage import SourceShard, shard_file
from tamis.pipeline.steps.annotators import bucket_field
from tamis.pipeline.storage.column_file import writer
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.errors import ConfigError
from tamis.schemas.steps import PerplexityStep, StepConfig
from tamis.scorers.selection.order_statistics import Groups
from tamis.scorers.selection.selection import Decision, PercentileRange, Selection

__all__ = ["NAMES", "bucket_schema", "corpus_buckets", "write_buckets"]

NAMES = ("head", "middle", "tail")
"""Below the first percentile, below the second, the rest; `all` is without a perplexity, as in cc_net."""


def bucket_schema(step: PerplexityStep) -> pa.Schema:
    """Return the column of a step's buckets, as a schema."""
    return pa.schema([bucket_field(step)])


def corpus_buckets(step: StepConfig) -> bool:
    """Return whether a step's buckets follow the percentiles of the run's own corpus."""
    return isinstance(step, PerplexityStep) and step.bucket == "corpus"


@dataclass(frozen=True)
class _Bucket:
    """Writes a shard's buckets."""

    source: RankedColumn
    decision: Decision
    schema: pa.Schema
    folder: str
    state: str

    def __call__(self, shard: SourceShard) -> int:
        """Write the column, and the row states as they are; return how many rows are alive."""
        with writer(shard_file(self.folder, shard.key), self.schema) as out:

            def change(batch: pa.RecordBatch, state: RowState, positions: Any) -> None:
                del positions
                names = pa.array(self._names(batch, state), pa.string())
                out.write_batch(pa.RecordBatch.from_arrays([names], schema=self.schema))

            return rewrite_states(self.source.reader, shard, self.state, change)

    def _names(self, batch: pa.RecordBatch, state: RowState) -> Sequence[str | None]:
        values = self.source.values(batch)
        groups = self.source.groups(batch)
        if groups is None:
            groups = Groups(np.zeros(batch.num_rows, np.int64), [()])
        known = [self.decision.thresholds.get(label) for label in groups.labels]
        low = np.array([np.nan if found is None else found.low for found in known])[groups.codes]
        high = np.array([np.nan if found is None else found.high for found in known])[groups.codes]
        names = np.where(values < low, NAMES[0], np.where(values < high, NAMES[1], NAMES[2])).astype(object)
        names[np.isnan(values) | np.isnan(low)] = "all"
        names[~state.mask] = None
        return names.tolist()  # type: ignore[no-any-return]


def write_buckets(barrier: Barrier, state: str) -> Outcome:
    """Find the percentiles of each language and source, and write each row's bucket; no row falls.

    Args:
        barrier: what there is to work with.
        state: folder for the row states, which stay as they are.

    Raises:
        ConfigError: if the step has no buckets.
    """
    stage = barrier.stage
    config = stage.config
    if not isinstance(config, PerplexityStep):
        msg = f"step {stage.label} has no buckets"
        raise ConfigError(msg)
    by = tuple(name for name in config.bucket_by if name in barrier.columns or name == "source")
    column = kept_column(config)
    source = RankedColumn(ColumnReader.of(barrier, [column, *by]), column, None, by)
    low, high = config.bucket_percentiles
    selection, _ = find_thresholds(barrier, source, Selection(PercentileRange(low, high), grouped=bool(by)))
    decision = selection.decision()
    folder = barrier.folder("buckets")
    work = _Bucket(source, decision, bucket_schema(config), folder, state)
    barrier.engine.map(f"{stage.label}: buckets", barrier.shards, work, small=barrier.small)
    shown = {
        "/".join("null" if part is None else part for part in label) or "all": [found.low, found.high]
        for label, found in sorted(decision.thresholds.items(), key=lambda item: str(item[0]))
    }
    return Outcome(
        columns=dict.fromkeys(bucket_schema(config).names, folder),
        thresholds={f"{config.name}_bucket": shown},
    )
