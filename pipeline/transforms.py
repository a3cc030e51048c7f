"""Beam transforms over record batches, for pipelines of one's own: read documents, annotate them with a step.

Runs don't use them, nor do their worker processes import Beam.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from tamis.pipeline.formats.options import ReadOptions
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.graph import coder as _coder  # noqa: F401  (registers the record batch coder)
from tamis.pipeline.passes.annotate import annotate_batch
from tamis.pipeline.passes.inputs import SHARD_BYTES
from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.loaded import annotator_of
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import side_by_side

__all__ = ["Annotate", "ReadDocuments"]


@beam.typehints.with_input_types(str)
@beam.typehints.with_output_types(pa.RecordBatch)
class ReadDocuments(beam.PTransform):
    """Read documents from files: PCollection of paths to PCollection of record batches of `DOCUMENT_SCHEMA`.

    For pipelines of one's own. Records that can't be read are left out here; runs keep them in `errors/`.
    """

    def __init__(self, source: str, options: ReadOptions | None = None):
        super().__init__()
        self._source = source
        self._options = options or ReadOptions()

    def expand(self, paths: beam.PCollection[str]) -> beam.PCollection[pa.RecordBatch]:
        """Cut each file, spread the parts, read each."""
        splits = paths | "Split" >> beam.FlatMap(_splits, self._options)
        return (
            splits
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(_documents, self._source, self._options).with_output_types(pa.RecordBatch)
        )


def _splits(path: str, options: ReadOptions) -> list[Any]:
    return [split for file in filesystem.expand(path) for split in plan_splits(file, options, SHARD_BYTES)]


def _documents(split: Any, source: str, options: ReadOptions) -> Iterator[pa.RecordBatch]:
    for read in read_split(split, source, options):
        if read.documents.num_rows:
            yield read.documents


@beam.typehints.with_input_types(pa.RecordBatch)
@beam.typehints.with_output_types(pa.RecordBatch)
class Annotate(beam.PTransform):
    """Add a step's columns to record batches of documents: PCollection of batches to the same with more columns.

    For pipelines of one's own. A record that can't be scored gets nulls here; `AnnotateShard`, which runs use, makes an
    error record of it.
    """

    def __init__(self, step: Step, models: Mapping[str, str] | None = None):
        super().__init__()
        self._step = step
        self._models = dict(models or {})

    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[pa.RecordBatch]:
        """Map each batch; the model is loaded once a process."""
        return batches | beam.Map(_annotated, self._step, self._models).with_output_types(pa.RecordBatch)


def _annotated(batch: pa.RecordBatch, step: Step, models: Mapping[str, str]) -> pa.RecordBatch:
    stage = annotator_of(step, models)
    if stage is None:
        return batch
    columns, _ = annotate_batch(stage, batch, np.ones(batch.num_rows, bool))
    return side_by_side([batch, columns])
