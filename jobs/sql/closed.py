"""A database that was shut: it reads what lies below given folders and nothing else, and answers queries alone."""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from tamis.jobs.json_text import unique_names
from tamis.jobs.sql.names import literal
from tamis.jobs.sql.statements import split
from tamis.schemas.errors import ConfigError

__all__ = ["FirstRows", "first_rows", "shut"]

_EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+)?", re.IGNORECASE)
_OPTIONS = re.compile(r"\s*explain\s*\(", re.IGNORECASE)


@dataclass(frozen=True)
class FirstRows:
    """What a query gave.

    Attributes:
        heads: names of the columns, each another.
        rows: the first ones.
        more: whether there are others.
    """

    heads: list[str]
    rows: list[tuple[Any, ...]]
    more: bool


def shut(connection: duckdb.DuckDBPyConnection, folders: Sequence[str], spill: str) -> None:
    """Let nothing but local folders be read from now on, and no setting be changed.

    Args:
        connection: whose views are made.
        folders: that it may read; if none, it stays open to what it reads already, as of runs on object stores.
        spill: a folder of its own for what doesn't fit memory, since that may be read, too.
    """
    connection.execute(f"SET temp_directory = {literal(spill)}")
    if folders:
        listed = ", ".join(map(literal, folders))
        connection.execute(f"SET allowed_directories = [{listed}]")
        connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def first_rows(connection: duckdb.DuckDBPyConnection, query: str, rows: int, seconds: float) -> FirstRows:
    """Run one query that only reads, and return its first rows.

    Args:
        connection: may be asked from several threads.
        query: SELECT, FROM, DESCRIBE, or EXPLAIN of one of these.
        rows: at most.
        seconds: after which it is stopped.

    Raises:
        ConfigError: for a mistake, a statement that isn't a query, or one that takes too long.
    """
    with connection.cursor() as cursor:
        statements = split(cursor, query)
        if len(statements) != 1 or not _reads(cursor, statements[0]):
            msg = "one query is wanted: SELECT, FROM, DESCRIBE or EXPLAIN of a query"
            raise ConfigError(msg)
        timer = threading.Timer(seconds, cursor.interrupt)
        timer.start()
        try:
            cursor.execute(statements[0])
            found = cursor.fetchmany(rows + 1)
        except duckdb.InterruptException:
            msg = f"the query took more than {seconds:.0f} s and was stopped: tamis sql has no such limit"
            raise ConfigError(msg) from None
        except duckdb.Error as error:
            msg = f"SQL: {str(error).strip().splitlines()[0]}"
            raise ConfigError(msg) from None
        finally:
            timer.cancel()
        heads = unique_names([str(column[0]) for column in cursor.description or ()])
    return FirstRows(heads, found[:rows], len(found) > rows)


def _reads(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> bool:
    """Return whether a statement only reads; EXPLAIN ANALYZE carries out what it explains."""
    if statement.type == duckdb.StatementType.SELECT:
        return True
    if statement.type != duckdb.StatementType.EXPLAIN or _OPTIONS.match(statement.query):
        return False
    inner = split(connection, _EXPLAIN.sub("", statement.query, count=1))
    return len(inner) == 1 and inner[0].type == duckdb.StatementType.SELECT
