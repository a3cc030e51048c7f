"""The transforms for pipelines of one's own: record batches in, record batches with more columns out."""

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that

from tamis.pipeline.steps.exact_dedup import ExactDedupStep
from tamis.pipeline.steps.language import LanguageStep
from tamis.pipeline.steps.rules import RulesStep
from tamis.pipeline.transforms import Annotate, ReadDocuments
from tamis.schemas.tables import DOCUMENT_SCHEMA


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "The river runs to the sea."}\n{broken\n{"text": "Guten Morgen."}\n')
    return str(path)


def test_read_then_annotate(lines):
    def check(batches):
        (batch,) = batches
        assert isinstance(batch, pa.RecordBatch)
        assert batch.schema.names == [*DOCUMENT_SCHEMA.names, "language", "language_score", "text_hash"]
        assert batch.column("language").to_pylist() == ["en", "de"]
        assert batch.column("source").to_pylist() == ["web", "web"]

    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        documents = pipeline | beam.Create([lines]) | ReadDocuments("web")
        scored = documents | "language" >> Annotate(LanguageStep()) | "hash" >> Annotate(ExactDedupStep())
        assert_that(scored, check)


def test_a_step_without_columns_changes_nothing(lines):
    rules = RulesStep.model_validate({"rules": [{"column": "x", "op": "min", "threshold": 1, "reason": "y"}]})

    def check(batches):
        assert [batch.schema.names for batch in batches] == [DOCUMENT_SCHEMA.names]

    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create([lines]) | ReadDocuments("web") | Annotate(rules), check)
