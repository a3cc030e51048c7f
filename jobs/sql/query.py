"""Queries over a run: each statement's result as values, its rows fetched as they are asked for."""

import functools
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import duckdb

from tamis.jobs.sql.statements import execute, interruptible, split
from tamis.jobs.sql.two_runs import connect_two
from tamis.jobs.sql.views import connect
from tamis.schemas.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FETCH", "Result", "Rows", "Written", "connect", "open_runs", "results"]

FETCH = 4096
"""Rows that are fetched at once."""


@dataclass(frozen=True)
class Written:
    """A statement that wrote rows somewhere.

    Attributes:
        rows: how many.
    """

    rows: int


@dataclass(frozen=True)
class Rows:
    """A table of rows; they are fetched before the next statement runs, or not at all.

    Attributes:
        names: of the columns; equal ones may occur.
        types: of the columns, as DuckDB calls them.
        connection: where they are fetched from.
        explains: they are what EXPLAIN gave: the kind of a plan, and its drawing of several lines.
    """

    names: Sequence[str]
    types: Sequence[str]
    connection: duckdb.DuckDBPyConnection
    explains: bool = False

    def fetch(self, limit: int | None = None) -> Iterator[Sequence[Any]]:
        """Yield the rows, so many at most."""
        left = math.inf if limit is None else limit
        while left > 0:
            many = int(min(left, FETCH))
            rows = interruptible(self.connection, functools.partial(self.connection.fetchmany, many))
            if not rows:
                return
            yield from rows
            left -= len(rows)

    def batches(self, rows: int = 65536) -> "pa.RecordBatchReader":
        """Return the rows as Arrow batches of so many at most."""
        cursor: Any = self.connection  # releases of DuckDB call it differently
        fetch = getattr(cursor, "to_arrow_reader", None) or cursor.fetch_record_batch

        def read() -> "pa.RecordBatchReader":
            with warnings.catch_warnings():  # that rows are copied once more is all right
                warnings.simplefilter("ignore", UserWarning)
                return fetch(rows)

        return interruptible(self.connection, read)


Result: TypeAlias = Written | Rows


def open_runs(runs: str | Sequence[str]) -> duckdb.DuckDBPyConnection:
    """Open a run for SQL, or two side by side.

    Raises:
        ConfigError: for more than two.
        RunError: as `connect` does.
    """
    match [runs] if isinstance(runs, str) else list(runs):
        case [run]:
            return connect(run)
        case [first, second]:
            return connect_two(first, second)
        case many:
            msg = f"one run or two can be opened at once, not {len(many)}"
            raise ConfigError(msg)


def results(connection: duckdb.DuckDBPyConnection, runs: str | Sequence[str], text: str) -> Iterator[Result]:
    """Run each statement of `text` over a run, one when the result before it was taken, and yield what it gives.

    Statements that give nothing, such as SET, yield nothing.

    Args:
        connection: of `open_runs(runs)`.
        runs: the run's folder, or those of two runs, which statements may not write into.
        text: one statement or several, parted by semicolons.

    Raises:
        ConfigError: for a mistake in a statement.
        RunError: if the run's shards can't be read.
        KeyboardInterrupt: if the user stopped a statement; the connection can be used on.
    """
    for statement in split(connection, text):
        execute(connection, runs, statement)
        expected = statement.expected_result_type
        if duckdb.ExpectedResultType.QUERY_RESULT not in expected:
            continue
        described = connection.description or ()
        names = [str(column[0]) for column in described]
        explains = statement.type == duckdb.StatementType.EXPLAIN
        if not explains and duckdb.ExpectedResultType.CHANGED_ROWS in expected and names == ["Count"]:
            yield Written(sum(rows for (rows,) in connection.fetchall()))
        else:
            yield Rows(names, [str(column[1]) for column in described], connection, explains)
