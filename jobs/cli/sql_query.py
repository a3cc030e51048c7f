"""Carries out `tamis sql`: runs statements and shows what each gives."""

import re
from collections.abc import Sequence

import duckdb

from tamis.jobs.cli.console import error_console, out_console, say
from tamis.jobs.cli.sql_output import Format, checked_format, show_rows
from tamis.jobs.cli.text import counted, harmless
from tamis.jobs.manifest.file import MANIFEST
from tamis.jobs.sql.query import Written, open_runs, results
from tamis.jobs.sql.rows_file import check_rows_file, query_to_file
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError

__all__ = ["run_query", "run_statements", "runs_and_query"]


def runs_and_query(run: str, rest: Sequence[str]) -> tuple[list[str], str | None]:
    """Tell another run's folder from SQL among the arguments behind the first run.

    Raises:
        ConfigError: if there are more than a run and a query.
    """
    match list(rest):
        case []:
            return [run], None
        case [one] if _holds_run(one):
            return [run, one], None
        case [one] if "/" in one and not re.search(r"\s", one.strip()):
            msg = f"{one} is neither SQL nor a folder with a {MANIFEST}"
            raise ConfigError(msg)
        case [query]:
            return [run], query
        case [other, query]:
            return [run, other], query
        case _:
            msg = "give a run, perhaps another one, and one argument with SQL in quotes"
            raise ConfigError(msg)


def _holds_run(path: str) -> bool:
    try:
        return filesystem.exists(filesystem.join(path, MANIFEST))
    except OSError:  # SQL of many lines is longer than a name may be
        return False


def run_query(
    runs: str | Sequence[str],
    query: str,
    *,
    format: str = "table",  # noqa: A002
    limit: int | None = None,
    output: str | None = None,
) -> None:
    """Run SQL over a run or two, and print the rows or write them to a file.

    Args:
        runs: the run's folder, or those of two.
        query: one statement or several, parted by semicolons.
        format: table, csv, tsv, or json (an object a line).
        limit: rows to print of each statement; if None, 40 of a table and all otherwise.
        output: a .parquet, .csv, .tsv or .jsonl file for the rows, which are then not printed; of one query alone.

    Raises:
        ConfigError: for a mistake in the query, or another suffix.
        RunError: if the run isn't there, or its shards can't be read.
    """
    known = checked_format(format)
    if output is not None:
        check_rows_file(output)
    with open_runs(runs) as connection:
        if output is None:
            run_statements(connection, runs, query, known, limit)
            return
        rows = query_to_file(connection, runs, query, output, limit)
        say(f"{counted(rows, 'row')} written to {harmless(output)}", error_console())


def run_statements(
    connection: duckdb.DuckDBPyConnection,
    runs: str | Sequence[str],
    text: str,
    format_: Format,
    limit: int | None,
    *,
    more: str = "--limit shows more, --format csv or json all",
) -> None:
    """Run each statement of `text` and print what it gives; see `run_query`.

    Args:
        connection: of the runs.
        runs: their folders.
        text: the statements.
        format_: how rows are shown.
        limit: rows to show.
        more: how to see those of a table that aren't shown.
    """
    for result in results(connection, runs, text):
        if isinstance(result, Written):
            say(f"{counted(result.rows, 'row')} written", error_console())
        elif result.explains and format_ == "table":
            for _, plan in result.fetch():
                out_console().print(plan, soft_wrap=True)
        else:
            show_rows(result, format_, limit, more=more)
