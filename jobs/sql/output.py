"""Shows the rows of a query: a table for people, CSV, TSV or JSON lines for programs."""

import csv
import datetime as dt
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Literal

import duckdb
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tamis.jobs.cli.console import out_console
from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError

__all__ = ["FORMATS", "Format", "checked_format", "show_rows"]

Format = Literal["table", "csv", "tsv", "json"]
FORMATS: tuple[Format, ...] = ("table", "csv", "tsv", "json")
TABLE_ROWS = 40
"""Rows of a table unless a limit is given."""
CELL = 64
"""Characters of a cell where no terminal's width bounds it."""
NARROW = 10
"""A column that must be cut below so many characters is better shown as a line of its own."""
GAP = 3
"""Blanks between two columns."""
PIPED_WIDTH = 200
FETCH = 4096
# Text from the web must not move the cursor, colour the terminal, or turn the reading direction round.
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]+")


def checked_format(name: str) -> Format:
    """Return `name` if it is a known format.

    Raises:
        ConfigError: naming the nearest one.
    """
    for known in FORMATS:
        if name == known:
            return known
    msg = f"unknown format {name!r}{nearest(name, FORMATS)}"
    raise ConfigError(msg)


def show_rows(connection: duckdb.DuckDBPyConnection, format_: Format, limit: int | None) -> None:
    """Print the rows of the statement that the connection has just executed.

    Args:
        connection: fetched from as far as shown.
        format_: table (cut to the terminal's width, with a count of rows), csv, tsv, or json: one object a line.
        limit: rows to show; 40 of a table and all otherwise, if None.
    """
    names = [str(column[0]) for column in connection.description or ()]
    types = [str(column[1]) for column in connection.description or ()]
    if format_ == "table":
        _show_table(names, types, list(_rows(connection, (limit or TABLE_ROWS) + 1)), limit or TABLE_ROWS)
    elif format_ == "json":
        for row in _rows(connection, limit):
            values = (_json(value, type_) for value, type_ in zip(row, types, strict=True))
            told = json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False)
            sys.stdout.write(told + "\n")
    else:
        writer = csv.writer(sys.stdout, delimiter="," if format_ == "csv" else "\t", lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_field(value) for value in row] for row in _rows(connection, limit))


def _rows(connection: duckdb.DuckDBPyConnection, limit: int | None) -> Iterator[Sequence[Any]]:
    left = math.inf if limit is None else limit
    while left > 0:
        rows = connection.fetchmany(int(min(left, FETCH)))
        if not rows:
            return
        yield from rows
        left -= len(rows)


# --- for programs ---


def _json(value: Any, type_: str = "") -> Any:
    """Return a value as JSON has it: bytes as hex, times in ISO 8601, numbers that JSON lacks as null."""
    if type_ == "JSON" and isinstance(value, str):
        return json.loads(value)
    match value:
        case float():
            return value if math.isfinite(value) else None
        case None | str() | int():
            return value
        case bytes() | bytearray():
            return value.hex()
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case dict():
            return {str(key): _json(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_json(inner) for inner in value]
        case _:
            return str(value)


def _field(value: Any) -> Any:
    plain = _json(value) if not isinstance(value, float) else value
    if plain is None:
        return ""
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, dict | list | bool) else plain


# --- for people ---


def _show_table(names: Sequence[str], types: Sequence[str], rows: Sequence[Sequence[Any]], limit: int) -> None:
    console = out_console()
    width = console.width
    if not console.is_terminal:
        width, console.width = PIPED_WIDTH, 1 << 20
    room = width if console.is_terminal else CELL
    shown = [[_cell(value, room) for value in row] for row in rows[:limit]]
    widest = [max((cell_len(cell) for cell in column), default=0) for column in zip(names, *shown, strict=True)]
    if shown and sum(min(w, NARROW) + GAP for w in widest) > width + GAP:
        _show_records(console, names, shown, width)
    else:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        room = _widest_column(widest, width - GAP * (len(names) - 1)) if console.is_terminal else console.width
        for name, type_, most in zip(names, types, widest, strict=True):
            side: Literal["left", "right"] = "right" if _is_number(type_) else "left"
            table.add_column(Text(name), justify=side, no_wrap=True, overflow="ellipsis", width=min(most, room))
        for row in shown:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
    if len(rows) > limit:
        console.print(f"the first {limit:,} rows: --limit shows more, --format csv or json all")
    else:
        console.print(f"{len(rows):,} row{'' if len(rows) == 1 else 's'}")


def _widest_column(widest: Sequence[int], room: int) -> int:
    """Return the width to cut columns to so that all fit, so that long text gives way and short columns don't."""
    left = room
    for taken, width in enumerate(sorted(widest)):
        fair = left // (len(widest) - taken)
        if width > fair:
            return max(1, fair)
        left -= width
    return max(widest, default=1)


def _show_records(console: Console, names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> None:
    """Print a line a value: for rows of too many columns."""
    left = max(map(cell_len, names))
    room = max(NARROW, width - left - 2)
    for number, row in enumerate(rows, start=1):
        console.print(Text(f"--- row {number} ".ljust(min(width, 60), "-")))
        for name, cell in zip(names, row, strict=True):
            line = Text(cell)
            line.truncate(room, overflow="ellipsis")
            console.print(Text(name.ljust(left) + "  ") + line)


def _is_number(type_: str) -> bool:
    return type_.startswith(("DECIMAL", "DOUBLE", "FLOAT", "HUGEINT", "UHUGEINT")) or type_.endswith(("INT", "INTEGER"))


def _cell(value: Any, room: int) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(_field(value))
    text = _UNPRINTABLE.sub(" ", text[: 8 * room]).strip()
    return text if len(text) <= room else text[: room - 1] + "…"
