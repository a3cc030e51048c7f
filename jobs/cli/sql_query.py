"""Carries out `tamis sql`: runs statements and shows what each gives."""

import duckdb

from tamis.jobs.cli.console import error_console, out_console, say
from tamis.jobs.cli.sql_output import Format, checked_format, show_rows
from tamis.jobs.cli.text import counted
from tamis.jobs.sql.query import Written, results
from tamis.jobs.sql.views import connect

__all__ = ["run_query", "run_statements"]


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
    connection: duckdb.DuckDBPyConnection,
    run: str,
    text: str,
    format_: Format,
    limit: int | None,
    *,
    more: str = "--limit shows more, --format csv or json all",
) -> None:
    """Run each statement of `text` and print what it gives; see `run_query`.

    Args:
        connection: of the run.
        run: its folder.
        text: the statements.
        format_: how rows are shown.
        limit: rows to show.
        more: how to see those of a table that aren't shown.
    """
    for result in results(connection, run, text):
        if isinstance(result, Written):
            say(f"{counted(result.rows, 'row')} written", error_console())
        elif result.explains and format_ == "table":
            for _, plan in result.fetch():
                out_console().print(plan, soft_wrap=True)
        else:
            show_rows(result, format_, limit, more=more)
