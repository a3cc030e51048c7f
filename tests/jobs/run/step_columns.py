"""What a step's annotator makes of a few documents, held to what every annotator must fulfil."""

import pickle

import pyarrow as pa

from tamis.pipeline.steps.registry import parse_step
from tamis.schemas.tables import DOCUMENT_SCHEMA

__all__ = ["columns_of", "models_of", "parsed"]


def parsed(verb, **options):
    """Return the step, after a way through pickle as workers get it."""
    return pickle.loads(pickle.dumps(parse_step({verb: options}, "steps[0]")))


def models_of(step):
    """Return option to path, as a run finds them."""
    return {name: file.path for name, file in step.find_all().items()}


def columns_of(step, **columns):
    """Return the step's rows for documents with some columns: the same in any batches."""
    types = {field.name: field.type for field in DOCUMENT_SCHEMA}
    arrays = {name: pa.array(values, types.get(name)) for name, values in columns.items()}
    batch = pa.RecordBatch.from_pydict(arrays)
    models = models_of(step)
    made = step.annotator(models)
    step.check(models, {field.name: field for field in [*DOCUMENT_SCHEMA, *batch.schema, *made.schema]})
    assert all(field.nullable and field.metadata[b"description"] for field in made.schema)
    assert set(made.requires) <= set(columns)
    whole = made.annotate(batch)
    assert whole.schema == made.schema
    ones = [made.annotate(batch.slice(row, 1)) for row in range(batch.num_rows)]
    tail = made.annotate(batch.slice(1))
    assert pa.Table.from_batches([*ones, made.annotate(batch.slice(0, 0))]).to_pylist() == whole.to_pylist()
    assert tail.to_pylist() == whole.to_pylist()[1:]
    return whole.to_pylist()
