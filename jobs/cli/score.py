"""`tamis score`: steps over local files, straight to a table: no run, no work folder, no rejected documents."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import typer
from rich.table import Table

from tamis.jobs.cli.console import error_console, out_console
from tamis.jobs.config_file import read_yaml
from tamis.jobs.documents import documents
from tamis.jobs.run.check import check_steps
from tamis.jobs.run.plan import find_models, read_options, steps_of
from tamis.pipeline.passes.annotate import annotate_batch
from tamis.pipeline.steps.loaded import annotator_of
from tamis.pipeline.steps.registry import parse_config
from tamis.pipeline.storage import filesystem
from tamis.schemas.config import Config
from tamis.schemas.errors import ConfigError
from tamis.schemas.tables import DOCUMENT_SCHEMA
from tamis.scorers.base import Annotator

__all__ = ["score_batches", "score_files"]

SHOWN_ROWS = 20


def score_batches(config: Config) -> Iterator[pa.RecordBatch]:
    """Yield the documents of a config's inputs with the columns of its steps; rules and `keep` decide nothing here.

    Errors of records are told on stderr.

    Raises:
        TamisError: if inputs, models or options are wrong.
    """
    models = {label: {o: m.path for o, m in found.items()} for label, found in find_models(config).items()}
    steps = steps_of(config)
    check_steps(steps, models)
    scorers = [annotator_of(step, models.get(step.label, {})) for step in steps]
    for entry in config.inputs:
        for batch in documents(entry.path, read_options(entry, config.extract), entry.source):
            yield _scored(batch, [scorer for scorer in scorers if scorer is not None])


def _scored(batch: pa.RecordBatch, scorers: Sequence[Annotator]) -> pa.RecordBatch:
    for scorer in scorers:
        columns, failures = annotate_batch(scorer, batch, np.ones(batch.num_rows, bool))
        for row, error, detail in failures:
            error_console().print(f"{batch.column('doc_id')[row].as_py()}: {error}: {detail}")
        for name, column in zip(columns.schema.names, columns.columns, strict=True):
            batch = batch.append_column(columns.schema.field(name), column)
    return batch


def score_files(
    files: Sequence[str],
    steps: Sequence[str],
    options: Mapping[str, Any],
    *,
    output: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Score files and print a table (the first rows), JSON lines, or write a Parquet, CSV or JSONL file.

    Args:
        files: paths, folders, globs.
        steps: each a step in YAML, such as "{language: {}}".
        options: of the input: text, id, format.
        output: a file to write; by its suffix.
        limit: documents to score; all if None. A table on the terminal stops at its last row.
        as_json: print JSON lines with all columns but the text.
    """
    plain = {
        "inputs": [{"path": list(files), "source": "files", **{k: v for k, v in options.items() if v is not None}}],
        "steps": [read_yaml(step, "--step") for step in steps],
    }
    config = parse_config(plain)
    if output is not None and Path(output).suffix not in (".parquet", ".csv", ".jsonl"):
        msg = f"--output {output}: end the name in .parquet, .csv or .jsonl"
        raise ConfigError(msg)
    shown = SHOWN_ROWS if output is None and not as_json else None
    batches = _limited(score_batches(config), limit if limit is not None else shown)
    if output is not None:
        rows = _write(output, batches)
        error_console().print(f"{rows:,} documents scored to {output}")
    elif as_json:
        for batch in batches:
            for row in batch.drop_columns(["text", "meta", "timestamp"]).to_pylist():
                sys.stdout.write(json.dumps(_plain(row), ensure_ascii=False) + "\n")
    else:
        _print(batches, more=limit is None)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in row.items()}


def _limited(batches: Iterator[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    left = limit
    for batch in batches:
        if left is None:
            yield batch
            continue
        yield batch.slice(0, left)
        left -= min(left, batch.num_rows)
        if not left:
            return


def _write(output: str, batches: Iterator[pa.RecordBatch]) -> int:
    rows = 0
    with filesystem.write_atomically(output) as stream:
        writer: Any = None
        for batch in batches:
            rows += batch.num_rows
            if output.endswith(".jsonl"):
                for row in batch.drop_columns(["timestamp"]).to_pylist():
                    stream.write(json.dumps(_plain(row), ensure_ascii=False).encode() + b"\n")
                continue
            if writer is None:
                kind = pq.ParquetWriter if output.endswith(".parquet") else pyarrow.csv.CSVWriter
                writer = kind(pa.PythonFile(stream, "w"), batch.schema)
            writer.write_batch(batch)
        if writer is not None:
            writer.close()
    return rows


def _print(batches: Iterator[pa.RecordBatch], *, more: bool) -> None:
    table: Table | None = None
    rows = 0
    for batch in batches:
        names = [name for name in batch.schema.names if name not in DOCUMENT_SCHEMA.names]
        if table is None:
            table = Table("text", *names)
        for row in batch.select(["text", *names]).to_pylist():
            text = " ".join(row.pop("text")[:200].split())[:40]
            table.add_row(text, *(_shown(value) for value in row.values()))
            rows += 1
    if table is None:
        typer.echo("no document in the input")
        return
    out_console().print(table)
    if more and rows >= SHOWN_ROWS:
        typer.echo(f"the first {rows} documents; --limit shows more, --output writes all")


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value.hex() if isinstance(value, bytes) else str(value)
