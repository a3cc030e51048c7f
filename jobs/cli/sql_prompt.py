"""The prompt of `tamis sql RUN`: history, completion, and statements over several lines, up to a semicolon."""

import os
import re
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from tamis.jobs.cli.console import error_console, out_console, say
from tamis.jobs.cli.layout import Column, in_short, print_pairs, print_rows
from tamis.jobs.cli.sql_output import FORMATS, Format, checked_format
from tamis.jobs.cli.sql_query import run_statements
from tamis.jobs.cli.text import harmless
from tamis.jobs.sql.macros import MACROS
from tamis.jobs.sql.query import open_runs
from tamis.jobs.sql.statements import columns_of, views_of
from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError, TamisError

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

__all__ = ["history", "prompt"]

COMMANDS = {
    ".help": "this list",
    ".tables": "the views and their columns",
    ".macros": "questions that are asked often, as FROM funnel()",
    ".schema NAME": "columns of a view: types, and what they mean",
    ".format NAME": f"how rows are shown: {', '.join(FORMATS)}",
    ".limit N": "how many rows are shown; .limit alone: the default",
    ".quit": "leave; so does Ctrl-D",
}
BARE = {"help": ".help", "quit": ".quit", "exit": ".quit"}
"""Words that are taken for commands without the dot, too: no statement is just one of them."""


class _Leave(Exception):  # noqa: N818  (no error)
    """The user asked to leave."""


@dataclass
class _Prompt:
    """One session over a run."""

    connection: duckdb.DuckDBPyConnection
    runs: str | Sequence[str]
    format: Format
    limit: int | None

    def take(self, text: str) -> None:
        """Carry out a command or statements."""
        bare = BARE.get(_bare(text), text)
        if bare.lstrip().startswith("."):
            self._command(*bare.rstrip("; \n").split())
        else:
            more = ".limit N shows more, .format csv or json all"
            run_statements(self.connection, self.runs, text, self.format, self.limit, more=more)

    def _command(self, name: str, *words: str) -> None:
        match name, words:
            case ".quit" | ".exit", ():
                raise _Leave
            case ".help", ():
                for command, meaning in COMMANDS.items():
                    say(f"{command:14} {meaning}")
                say("SELECT ...;    SQL as DuckDB has it; ends with a semicolon")
            case ".tables", ():
                self._views()
            case ".macros", ():
                rows = [[head, meaning] for head, meaning in MACROS.items()]
                print_rows(out_console(), [Column("macro"), Column("gives", wrap=True)], rows)
            case ".schema", (view,):
                self._schema(view)
            case ".schema", ():
                for view in views_of(self.connection):
                    say(harmless(view))
                    self._schema(view)
            case ".format", (chosen,):
                self.format = checked_format(chosen)
            case ".limit", ():
                self.limit = None
            case ".limit", (number,) if number.isdigit() and int(number) > 0:
                self.limit = int(number)
            case _:
                known = [command.split()[0] for command in COMMANDS]
                usage = next((c for c in COMMANDS if c.split()[0] == name), None)
                msg = f"{name}: write it as {usage}" if usage else f"unknown command {name!r}{nearest(name, known)}"
                raise ConfigError(msg)

    def _views(self) -> None:
        views = {view: [name for name, _, _ in columns_of(self.connection, view)] for view in views_of(self.connection)}
        console = out_console()
        if console.is_terminal:
            print_pairs(console, [(view, in_short(names, f".schema {view}")) for view, names in views.items()])
            return
        for view, names in views.items():
            console.print(harmless(f"{view:12} {', '.join(names)}"), soft_wrap=True)

    def _schema(self, view: str) -> None:
        columns = columns_of(self.connection, view)
        if not columns:
            msg = f"no view is called {view!r}{nearest(view, views_of(self.connection))}"
            raise ConfigError(msg)
        rows = [[name, type_, comment or ""] for name, type_, comment in columns]
        print_rows(out_console(), [Column("column"), Column("type"), Column("meaning", wrap=True)], rows)


def prompt(runs: str | Sequence[str], *, format: str = "table", limit: int | None = None) -> None:  # noqa: A002
    """Ask for SQL over a run or two until the user leaves; without a terminal, run what the standard input holds.

    Args:
        runs: the run's folder, or those of two.
        format: how rows are shown at first: table, csv, tsv, json.
        limit: rows to print of each statement; if None, 40 of a table and all otherwise.

    Raises:
        ConfigError: for a mistake in a statement of the standard input, the rest of which isn't run.
        RunError: if the run isn't there, or its shards can't be read.
    """
    known = checked_format(format)
    with open_runs(runs) as connection:
        session = _Prompt(connection, runs, known, limit)
        try:
            if sys.stdin.isatty():
                _converse(session)
            else:
                for text in _statements(sys.stdin):
                    session.take(text)
        except _Leave:
            return


def _bare(text: str) -> str:
    return text.strip().rstrip("; ").lower()


def _complete(text: str) -> bool:
    """Return whether what was typed can be carried out: a command, nothing, or SQL whose last semicolon ends it."""
    bare = text.strip()
    return not bare or bare.startswith(".") or _bare(text) in BARE or sqlite3.complete_statement(bare)


def _statements(lines: Iterable[str]) -> Iterable[str]:
    """Join lines to commands and statements; the last one needs no semicolon."""
    pending = ""
    for line in lines:
        pending += line
        if _complete(pending):
            if pending.strip():
                yield pending
            pending = ""
    if pending.strip():
        yield pending


def _converse(session: _Prompt) -> None:
    say("SQL over the run; end statements with a semicolon. .tables lists the views, .help the commands.")
    asking = _session(session)
    while True:
        try:
            text = asking.prompt("tamis> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if not text.strip():
            continue
        try:
            session.take(text)
        except TamisError as error:
            say(harmless(error, lines=True), error_console())
        except KeyboardInterrupt:
            say("stopped", error_console())


def _session(session: _Prompt) -> "PromptSession[str]":
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.filters import Condition
    from prompt_toolkit.key_binding import KeyBindings

    views = views_of(session.connection)
    keywords = "SELECT upper(keyword_name) FROM duckdb_keywords() WHERE keyword_category = 'reserved'"
    words = {word: "" for (word,) in session.connection.execute(keywords).fetchall()}
    for view in views:
        for column, type_, _ in columns_of(session.connection, view):
            words[column] = type_.lower()
    words |= dict.fromkeys(views, "view") | {head.partition("(")[0]: "macro" for head in MACROS}
    words |= {command.split()[0]: "command" for command in COMMANDS}
    bindings = KeyBindings()
    asking: PromptSession[str] = PromptSession(
        history=history(),
        completer=WordCompleter(list(words), meta_dict=words, ignore_case=True, pattern=re.compile(r"\.?[\w.]+")),
        complete_while_typing=False,
        multiline=True,
        key_bindings=bindings,
        prompt_continuation="  ...> ",
    )

    @bindings.add("enter", filter=Condition(lambda: _complete(asking.default_buffer.text)))
    def _submit(event: Any) -> None:
        event.current_buffer.validate_and_handle()

    return asking


def history() -> Any:
    """Return the prompt's history: a file of the user's own, or memory where none can be written."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    path = Path(state).expanduser() / "tamis" / "sql_history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:  # a home that can't be written to must not keep anyone from asking
        return InMemoryHistory()
    return FileHistory(str(path))
