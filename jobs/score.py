"""Scores documents without a run: steps over files, straight to batches or to one file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from tamis.jobs.documents import Observer, RecordProblem, documents, ignore
from tamis.jobs.json_text import json_object, json_text
from tamis.jobs.run.check import check_steps, scored_columns
from tamis.jobs.run.plan import find_models, read_options, steps_of
from tamis.pipeline.passes.annotate import annotate_batch
from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.loaded import annotator_of
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import side_by_side
from tamis.schemas.config import Config
from tamis.schemas.errors import ConfigError
from tamis.schemas.tables import DOCUMENT_SCHEMA
from tamis.scorers.base import Annotator

__all__ = ["Scores", "check_output", "score_documents", "write_scores"]

SUFFIXES = (".parquet", ".csv", ".jsonl")
"""Of the files that scores can be written to."""


@dataclass(frozen=True)
class Scores:
    """Documents with the columns of steps.

    Attributes:
        schema: of every batch: the documents' columns, then those that the steps add; known before any is read.
        added: the columns that the steps computed, in order; `text` among them if a step rewrote it.
        batches: read once; scoring happens meanwhile.
    """

    schema: pa.Schema
    added: tuple[str, ...]
    batches: Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class _Scorer:
    label: str
    annotator: Annotator
    shown: Sequence[pa.Field]


def score_documents(config: Config, *, limit: int | None = None, observe: Observer = ignore) -> Scores:
    """Score the documents of a config's inputs; rules and `keep` decide nothing here.

    Args:
        config: inputs and steps.
        limit: so many documents are read and scored at most.
        observe: told of records that can't be read or scored; the columns of the latter are null.

    Raises:
        ConfigError: if steps don't fit together, or one can only be computed over a whole run.
        ModelError: if a model is missing or broken.
        InputError: while batches are read: if a file is missing or can't be read.
    """
    models = {label: {o: m.path for o, m in found.items()} for label, found in find_models(config).items()}
    steps = steps_of(config)
    for step in steps:
        _check_scorable(step)
    check_steps(steps, models)
    scorers = []
    for step in steps:
        found = annotator_of(step, models.get(step.label, {}))
        if found is not None:
            scorers.append(_Scorer(step.label, found, scored_columns(step, found.schema)))
    fields = {field.name: field for field in DOCUMENT_SCHEMA}
    added: list[str] = []
    for scorer in scorers:
        for field in scorer.shown:
            fields[field.name] = field.with_nullable(True)  # noqa: FBT003  (Arrow takes it by position only)
            added.append(field.name)
    schema = pa.schema(list(fields.values()))
    return Scores(schema, tuple(dict.fromkeys(added)), _scored(config, scorers, schema, limit, observe))


def _check_scorable(step: Step) -> None:
    if step.fits and "model" not in type(step).model_fields:
        msg = f"step {step.label}: what it finds follows from all documents of a corpus, so only `tamis run` can tell"
        raise ConfigError(msg)
    if step.fits:
        msg = (
            f"step {step.label}: it fits its model on the documents of a whole run: fit one beforehand, as "
            f"`tamis train {step.verb}` does, and give the step `model: FOLDER`"
        )
        raise ConfigError(msg)


def _scored(
    config: Config, scorers: Sequence[_Scorer], schema: pa.Schema, limit: int | None, observe: Observer
) -> Iterator[pa.RecordBatch]:
    left = limit
    for entry in config.inputs:
        options = read_options(entry, config.extract)
        for batch in documents(entry.path, options, entry.source, observe=observe):
            # Cut before scoring, which is what takes long, and which may have more to tell than was asked for.
            taken = batch if left is None else batch.slice(0, left)
            yield _with_columns(taken, scorers, schema, observe)
            if left is not None:
                left -= taken.num_rows
                if not left:
                    return


def _with_columns(
    batch: pa.RecordBatch, scorers: Sequence[_Scorer], schema: pa.Schema, observe: Observer
) -> pa.RecordBatch:
    seen = batch
    for scorer in scorers:
        found, failures = annotate_batch(scorer.annotator, seen, np.ones(batch.num_rows, bool))
        for row, error, detail in failures:
            doc_id = batch.column("doc_id")[row].as_py()
            observe(RecordProblem(None, doc_id, error, f"step {scorer.label}: {detail}"))
        # A column that is there already is replaced: what cleaning left is the text of the steps that follow.
        seen = side_by_side([seen, found])
    return pa.RecordBatch.from_arrays([seen.column(name) for name in schema.names], schema=schema)


# --- to a file ---


def check_output(path: str) -> None:
    """Refuse a file whose name doesn't say what to write.

    Raises:
        ConfigError: unless it ends in one of `SUFFIXES`.
    """
    if PurePosixPath(path).suffix not in SUFFIXES:
        msg = f"--output {path}: end the name in .parquet, .csv or .jsonl"
        raise ConfigError(msg)


def write_scores(path: str, scores: Scores) -> int:
    """Write all documents with their columns to one file, and return how many there were.

    The file is valid where there is no document, too: a Parquet file with the columns, a CSV with its head. Bytes are
    hex in CSV and JSON lines, lists and mappings JSON in CSV.

    Args:
        path: by its suffix .parquet, .csv or .jsonl; it appears when it is complete.
        scores: whose batches are read here.

    Raises:
        ConfigError: for another suffix.
        InputError: if an input can't be read.
    """
    check_output(path)
    rows = 0
    with filesystem.write_atomically(path) as stream:
        if path.endswith(".jsonl"):
            for batch in scores.batches:
                rows += batch.num_rows
                stream.writelines(
                    json_object(batch.schema.names, list(row)).encode() + b"\n"
                    for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
                )
            return rows
        as_csv = path.endswith(".csv")
        schema = pa.schema([_csv_field(field) for field in scores.schema]) if as_csv else scores.schema
        kind: Any = pyarrow.csv.CSVWriter if as_csv else pq.ParquetWriter
        with kind(pa.PythonFile(stream, "w"), schema) as writer:
            for batch in scores.batches:
                rows += batch.num_rows
                arrays = [_csv_column(column) for column in batch.columns] if as_csv else batch.columns
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return rows


def _is_plain(type_: pa.DataType) -> bool:
    """Return whether CSV has a form for the type."""
    bytes_like = pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_)
    return not (bytes_like or pa.types.is_nested(type_))


def _csv_field(field: pa.Field) -> pa.Field:
    return field if _is_plain(field.type) else pa.field(field.name, pa.string())


def _csv_column(column: pa.Array) -> pa.Array:
    if _is_plain(column.type):
        return column
    told = [None if value is None else _csv_text(value) for value in column.to_pylist()]
    return pa.array(told, pa.string())


def _csv_text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else json_text(value)
