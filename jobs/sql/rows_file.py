"""Writes the rows of a query to a file that appears whole or not at all."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import IO, Any

import duckdb

from tamis.jobs.json_text import json_object, json_text, unique_names
from tamis.jobs.sql.query import Rows, results
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError

__all__ = ["check_rows_file", "query_to_file"]

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")


def check_rows_file(path: str) -> None:
    """Raise ConfigError unless the name ends in a suffix of a format that rows can be written in."""
    if not path.endswith(SUFFIXES):
        msg = f"{path}: rows are written to {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise ConfigError(msg)


def query_to_file(
    connection: duckdb.DuckDBPyConnection, runs: str | Sequence[str], query: str, path: str, limit: int | None = None
) -> int:
    """Run one query and write its rows; return how many there were.

    Args:
        connection: over the runs.
        runs: their folders.
        query: one statement that gives rows.
        path: by its suffix .parquet (zstd), .csv, .tsv or .jsonl.
        limit: rows to write at most.

    Raises:
        ConfigError: for a mistake in the query, another suffix, or a query that gives no table of rows.
        RunError: if the runs' shards can't be read.
    """
    check_rows_file(path)
    tables = 0
    written = 0
    for result in results(connection, runs, query):
        if not isinstance(result, Rows) or result.explains:
            continue
        tables += 1
        if tables > 1:
            msg = f"{path} takes the rows of one query, and there are several"
            raise ConfigError(msg)
        with filesystem.write_atomically(path) as stream:
            as_parquet = path.endswith(".parquet")
            written = _parquet(stream, result, limit) if as_parquet else _lines(stream, path, result, limit)
    if not tables:
        msg = f"{path}: the statement gives no rows to write"
        raise ConfigError(msg)
    return written


def _parquet(stream: IO[bytes], rows: Rows, limit: int | None) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    reader = rows.batches()
    names = unique_names(reader.schema.names)
    schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, names, strict=True)])
    written = 0
    with pq.ParquetWriter(pa.PythonFile(stream, "w"), schema, compression="zstd") as writer:
        for batch in reader:
            part = batch if limit is None else batch.slice(0, limit - written)
            writer.write_batch(pa.RecordBatch.from_arrays(part.columns, schema=schema))
            written += part.num_rows
            if written == limit:
                break
    return written


def _lines(stream: IO[bytes], path: str, rows: Rows, limit: int | None) -> int:
    written = 0
    for line in _json(rows, limit) if path.endswith(".jsonl") else _delimited(rows, limit, path):
        stream.write(line.encode())
        written += 1
    return written if path.endswith(".jsonl") else written - 1


def _json(rows: Rows, limit: int | None) -> Iterator[str]:
    names = unique_names(rows.names)
    for row in rows.fetch(limit):
        yield json_object(names, list(row)) + "\n"


def _delimited(rows: Rows, limit: int | None, path: str) -> Iterator[str]:
    yield _row(rows.names, path)
    for row in rows.fetch(limit):
        yield _row([_field(value) for value in row], path)


def _row(cells: Sequence[str], path: str) -> str:
    line = io.StringIO()
    csv.writer(line, delimiter="," if path.endswith(".csv") else "\t", lineterminator="\n").writerow(cells)
    return line.getvalue()


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    text = json_text(value)
    return text[1:-1] if text.startswith('"') else text  # bytes, times: nothing in them is escaped
