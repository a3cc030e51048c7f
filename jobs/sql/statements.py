"""Runs SQL over a run: one statement after another, never into the run's own files, mistakes told in one sentence."""

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TypeVar

import duckdb

from tamis.jobs.manifest.file import FATES, MANIFEST, inside
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError, RunError

__all__ = ["columns_of", "execute", "interruptible", "split", "views_of"]

T = TypeVar("T")

_TABLE = re.compile(r"Table with name (\S+) does not exist")
_COLUMN = re.compile(r'(?:Referenced column (?=\S+ not found)|does not have a column named )"([^"]+)"')
_GUESS = re.compile(r'Did you mean "([^"]+)"')
_WRITERS = frozenset({"copy", "export", "attach"})
_POLL = 0.1
"""Seconds after which the main thread, which waits for DuckDB, sees to signals."""
_OURS = frozenset({*FATES, "work", MANIFEST})


def split(connection: duckdb.DuckDBPyConnection, text: str) -> list[duckdb.Statement]:
    """Cut SQL into its statements.

    Raises:
        ConfigError: if it can't be parsed.
    """
    try:
        return connection.extract_statements(text)
    except duckdb.Error as error:
        raise ConfigError(_sentence(error, connection, text)) from None


def execute(connection: duckdb.DuckDBPyConnection, runs: str | Sequence[str], statement: duckdb.Statement) -> None:
    """Run one statement; its rows are then fetched from the connection.

    Args:
        connection: over the runs.
        runs: a run's folder, or those of several.
        statement: of `split`.

    Raises:
        ConfigError: for a mistake in it, or if it would write into the run's own files.
        RunError: if the run's files can't be read.
        KeyboardInterrupt: if the user stopped it.
    """
    folders = [runs] if isinstance(runs, str) else list(runs)
    for run in folders:
        _guard(run, statement.query)
    try:
        interruptible(connection, lambda: connection.execute(statement))
    except duckdb.Error as error:
        for run in folders:
            if any(filesystem.join(run, fate) + "/" in str(error) for fate in FATES):
                told = _first_line(error)
                msg = f"{run}: its shards can't be read ({told}): tamis manifest verify says which are damaged"
                raise RunError(msg) from None
        raise ConfigError(_sentence(error, connection, statement.query)) from None


def interruptible(connection: duckdb.DuckDBPyConnection, work: Callable[[], T]) -> T:
    """Return what `work` returns, which waits inside DuckDB, and let Ctrl-C stop it.

    DuckDB doesn't look at signals while it computes. So it computes in a thread, and this one waits for both.

    Raises:
        KeyboardInterrupt: if the user stopped it; the connection can be used on.
    """
    done: list[T] = []
    failed: list[BaseException] = []
    over = threading.Event()  # joining a thread isn't safe here: Python forgets one whose join was interrupted

    def compute() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001  (raised again, in the thread that asked)
            failed.append(error)
        finally:
            over.set()

    threading.Thread(target=compute, name="duckdb", daemon=True).start()
    try:
        while not over.wait(_POLL):
            pass
    except KeyboardInterrupt:
        connection.interrupt()
        while not over.wait(_POLL):  # again, if it had only just begun
            connection.interrupt()
        raise
    if failed:
        raise failed[0]
    return done[0]


def views_of(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the names of tables and views that a query can name."""
    query = (
        "SELECT CASE WHEN table_schema = 'main' THEN '' ELSE table_schema || '.' END || table_name "
        "FROM information_schema.tables WHERE NOT starts_with(table_schema, 'record') ORDER BY table_schema, table_name"
    )
    return [name for (name,) in connection.execute(query).fetchall()]


def columns_of(connection: duckdb.DuckDBPyConnection, view: str) -> list[tuple[str, str, str | None]]:
    """Return name, type and description of a view's columns; nothing if there is no such view."""
    query = (
        "SELECT column_name, data_type, comment FROM duckdb_columns() "
        "WHERE NOT internal AND schema_name = ? AND lower(table_name) = lower(?) ORDER BY column_index"
    )
    schema, _, name = view.rpartition(".")
    return connection.execute(query, [schema or "main", name]).fetchall()


# --- mistakes ---


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip("!. ")


def _sentence(error: duckdb.Error, connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """Return DuckDB's message in one line, with the nearest name that is known here."""
    message = str(error)
    told = f"SQL: {_first_line(error)}"
    if table := _TABLE.search(message):
        return told + nearest(table[1], views_of(connection))
    if column := _COLUMN.search(message):
        words = set(re.findall(r"\w+", query.lower()))
        views = views_of(connection)
        named = [view for view in views if view.rpartition(".")[2] in words]
        named = named or [view for view in views if view.endswith("documents")]
        known = {name for view in named for name, _, _ in columns_of(connection, view)}
        return told + nearest(column[1], sorted(known))
    if guess := _GUESS.search(message):
        return f"{told}; did you mean {guess[1]!r}?"
    return told


# --- the run's own files ---


def _guard(run: str, query: str) -> None:
    """Refuse a statement that names one of the run's own files as the place to write to; against slips, not malice."""
    words = list(_outer_tokens(query))
    if not any(word.lower() in _WRITERS for word, _ in words):
        return
    for (before, _), (word, is_name) in pairwise(words):
        if before.lower() == "to" and not is_name:
            msg = f"SQL: name the file to write to in single quotes, not as {word}"
            raise ConfigError(msg)
        if is_name and before.lower() != "from" and _is_ours(run, word):
            msg = f"SQL: {word} belongs to the run, which stays as it is: write somewhere else"
            raise ConfigError(msg)


def _outer_tokens(query: str) -> Iterator[tuple[str, bool]]:
    """Yield the tokens outside of brackets, and for each whether it is a quoted name."""
    text = query.encode()
    tokens: Sequence[tuple[int, object]] = duckdb.tokenize(query)
    ends = [start for start, _ in tokens[1:]] + [len(text)]
    depth = 0
    for (start, kind), end in zip(tokens, ends, strict=True):
        token = text[start:end].decode().strip()
        if kind == duckdb.token_type.comment:
            continue
        depth -= token.startswith((")", "]"))
        if depth == 0:
            quote = token[:1]
            quoted = len(token) > 1 and quote in "'\"" and token.endswith(quote)
            yield (token[1:-1].replace(quote * 2, quote), True) if quoted else (token, False)
        depth += token.startswith(("(", "["))


def _is_ours(run: str, target: str) -> bool:
    if filesystem.is_local(run) and filesystem.is_local(target):
        run, target = (os.path.realpath(filesystem.local_path(path)) for path in (run, target))
    relative = inside(run, target)
    if relative is not None:
        return PurePosixPath(relative).parts[0] in _OURS
    return f"{run.rstrip('/')}/".startswith(f"{target.rstrip('/')}/")
