"""Scores texts at hand with steps, without a run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.jobs.run.check import check_steps, scored_columns
from tamis.pipeline.passes.annotate import annotate_batch
from tamis.pipeline.steps.loaded import annotator_of
from tamis.pipeline.steps.registry import parse_step
from tamis.pipeline.storage.column_file import side_by_side
from tamis.schemas.errors import RunError
from tamis.schemas.tables import DOCUMENT_SCHEMA
from tamis.scorers.text.texts import Texts, as_arrow

__all__ = ["score_texts"]

BATCH_ROWS = 2000


def score_texts(texts: Texts, steps: Sequence[Any]) -> pa.Table:
    """Return a row a text with the columns of all steps.

    Args:
        texts: see `tamis.score`.
        steps: each as in a config.

    Raises:
        ConfigError: for an unknown step or option.
        ModelError: if a model is missing or broken.
        RunError: naming the text that a step failed on.
    """
    parsed = [parse_step(step, f"steps[{i}]") for i, step in enumerate(steps)]
    models = {step.label: {name: found.path for name, found in step.find_all().items()} for step in parsed}
    check_steps(parsed, models)
    # What a decision over a corpus adds isn't computed here.
    fields = {field.name: field for step in parsed for field in scored_columns(step, step.columns(models[step.label]))}
    schema = pa.schema(list(fields.values()))
    column = as_arrow(texts)
    pieces = []
    for start in range(0, len(column), BATCH_ROWS):
        batch = _documents(column.slice(start, BATCH_ROWS))
        for step in parsed:
            scorer = annotator_of(step, models[step.label])
            if scorer is None:
                continue
            columns, failures = annotate_batch(scorer, batch, np.ones(batch.num_rows, bool))
            if failures:
                row, error, detail = failures[0]
                msg = f"step {step.label}: text {start + row} can't be scored: {error}: {detail}"
                raise RunError(msg)
            batch = side_by_side([batch, columns])
        pieces.append(batch.select(schema.names))
    if not pieces:
        return schema.empty_table()
    return pa.Table.from_batches(pieces)


def _documents(texts: pa.LargeStringArray) -> pa.RecordBatch:
    """Return texts as documents that have nothing else."""
    rows = len(texts)
    known = {"text": texts, "source": pa.array(["texts"] * rows), "doc_id": pa.array([str(i) for i in range(rows)])}
    columns = [known.get(f.name, pa.nulls(rows, f.type)) for f in DOCUMENT_SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=DOCUMENT_SCHEMA)
