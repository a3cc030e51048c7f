"""`tamis sql`: queries over a run, printed as people or programs want them."""

import duckdb

from tamis.jobs.cli.console import error_console, out_console
from tamis.jobs.sql.output import Format, checked_format, show_rows
from tamis.jobs.sql.statements import execute, split
from tamis.jobs.sql.views import connect

__all__ = ["connect", "run_query", "run_statements"]


def run_query(run: str, query: str, *, format: str = "table", limit: int | None = None) -> None:  # noqa: A002
    """Run SQL over a run and print the rows.

    Args:
        run: the run's folder.
        query: one statement or several, parted by semicolons.
        format: table, csv, tsv, or json (an object a line).
        limit: rows to print of each statement; if None, 40 of a table and all otherwise.

    Raises:
        ConfigError: for a mistake in the query.
        RunError: if the run isn't there, or its shards can't be read.
    """
    known = checked_format(format)
    with connect(run) as connection:
        run_statements(connection, run, query, known, limit)


def run_statements(
    connection: duckdb.DuckDBPyConnection, run: str, text: str, format_: Format, limit: int | None
) -> None:
    """Run each statement of `text` and print what it gives; see `run_query`."""
    for statement in split(connection, text):
        execute(connection, run, statement)
        expected = statement.expected_result_type
        if duckdb.ExpectedResultType.QUERY_RESULT not in expected:
            continue
        if statement.type == duckdb.StatementType.EXPLAIN and format_ == "table":
            for _, plan in connection.fetchall():
                out_console().print(plan, markup=False)
        elif duckdb.ExpectedResultType.CHANGED_ROWS in expected and _is_count(connection):
            for (rows,) in connection.fetchall():
                error_console().print(f"{rows:,} rows written")
        else:
            show_rows(connection, format_, limit)


def _is_count(connection: duckdb.DuckDBPyConnection) -> bool:
    return [column[0] for column in connection.description or ()] == ["Count"]
