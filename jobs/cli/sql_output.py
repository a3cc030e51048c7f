"""Shows the rows of a query: a table for people, CSV, TSV or JSON lines for programs."""

import csv
import itertools
import json
import re
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from tamis.jobs.cli.console import out_console, say, write_json
from tamis.jobs.cli.text import counted, harmless, one_line
from tamis.jobs.json_text import json_object, json_text, unique_names
from tamis.jobs.sql.query import Rows
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
IDENTIFIER = 40
"""Columns up to so many characters whose values are one word each, such as a doc_id, aren't cut."""
NAMES = frozenset({"column", "column_name", "label", "name", "path", "reason", "reference", "rule", "step"})
"""Columns of names, which are folded where they don't fit, and never cut."""
LONGEST_NAME = 400
FOLDED = 24
"""Characters that a column of names gets at least."""
GAP = 3
"""Blanks between two columns."""
PIPED_WIDTH = 200
CUT = "…"
LARGE, HUGE = 1e6, 1e15
"""Fractions between these are shown without an exponent."""


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


def show_rows(rows: Rows, format_: Format, limit: int | None, *, more: str) -> None:
    """Print the rows of a statement.

    Args:
        rows: fetched as far as shown.
        format_: table (cut to the terminal's width, with a count of rows), csv, tsv, or json: one object a line, of
            equal names each with a number, decimals with all their digits.
        limit: rows to show; 40 of a table and all otherwise, if None.
        more: how to see the rows of a table that aren't shown.
    """
    if format_ == "table":
        shown = limit or TABLE_ROWS
        _show_table(rows.names, rows.types, list(rows.fetch(shown + 1)), shown, more)
    elif format_ == "json":
        names = unique_names(rows.names)
        are_json = [type_ == "JSON" for type_ in rows.types]
        for row in rows.fetch(limit):
            told = [_parsed(value) if is_json else value for value, is_json in zip(row, are_json, strict=True)]
            write_json(json_object(names, told))
    else:
        writer = csv.writer(sys.stdout, delimiter="," if format_ == "csv" else "\t", lineterminator="\n")
        # A program gets what is there; on a terminal it is shown as everything else.
        shown_as = harmless if sys.stdout.isatty() else str
        writer.writerow([shown_as(name) for name in rows.names])
        writer.writerows([shown_as(_field(value)) for value in row] for row in rows.fetch(limit))


def _parsed(value: Any) -> Any:
    """Return what a column of DuckDB's type JSON holds, decimals as exact as they stand there."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_float=Decimal, parse_constant=lambda _: None)
    except ValueError:  # DuckDB lets a trailing comma pass
        return value


def _field(value: Any) -> str:
    match value:
        case None:
            return ""
        case float():
            return repr(value)
        case str():
            return value
        case Decimal():
            return format(value, "f")
    text = json_text(value)
    return text[1:-1] if text.startswith('"') else text  # bytes, times: nothing in them is escaped


# --- for people ---


def _show_table(
    names: Sequence[str], types: Sequence[str], rows: Sequence[Sequence[Any]], limit: int, more: str
) -> None:
    console = out_console()
    width = console.width if console.is_terminal else PIPED_WIDTH
    heads = [harmless(name) for name in names]
    room = width if console.is_terminal else CELL
    rooms = [LONGEST_NAME if head in NAMES else room for head in heads]
    shown = [[_cell(value, most) for value, most in zip(row, rooms, strict=True)] for row in rows[:limit]]
    widest = [max(map(cell_len, column), default=0) for column in zip(heads, *shown, strict=True)]
    # No name is cut, no identifier, and no text below what lets it be told from another.
    words = [all(" " not in row[i] for row in shown) for i in range(len(heads))]
    folds = [head in NAMES and most > FOLDED for head, most in zip(heads, widest, strict=True)]
    least = [
        FOLDED if fold else most if is_word and most <= IDENTIFIER else max(cell_len(head), min(most, NARROW))
        for head, most, is_word, fold in zip(heads, widest, words, folds, strict=True)
    ]
    if shown and sum(least) + GAP * (len(least) - 1) > width:
        _show_records(console, heads, shown, width)
    else:
        free = width - GAP * (len(least) - 1)
        widths = _fitted(widest, least, free) if console.is_terminal else widest
        sides = ["right" if _is_number(type_) else "left" for type_ in types]
        _line(console, heads, widths, sides, style="bold")
        rule = "─" if console.encoding.lower().startswith("utf") else "-"
        _print(console, (rule * GAP).join(rule * one for one in widths))
        for row in shown:
            parts = [
                _folded(cell, width) if fold else [_cut(cell, width)]
                for cell, width, fold in zip(row, widths, folds, strict=True)
            ]
            for cells in itertools.zip_longest(*parts, fillvalue=""):
                _line(console, cells, widths, sides)
    if len(rows) > limit:
        say(f"the first {counted(limit, 'row')}: {more}")
    else:
        say(counted(len(rows), "row"))


def _fitted(widest: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Return the columns' widths, cut so that all fit: long text gives way, short columns don't."""
    over = sum(widest) - room
    widths = list(widest)
    while over > 0:
        place = max(range(len(widths)), key=lambda i: (widths[i] - least[i] > 0, widths[i]))
        if widths[place] <= least[place]:
            return widths
        others = [w for i, w in enumerate(widths) if w < widths[place] and widths[i] > least[i]]
        down = max([least[place], max(others, default=0), widths[place] - over])
        over -= widths[place] - min(down, widths[place] - 1)
        widths[place] = min(down, widths[place] - 1)
    return widths


def _line(console: Console, cells: Sequence[str], widths: Sequence[int], sides: Sequence[str], style: str = "") -> None:
    parts = []
    for cell, width, side in zip(cells, widths, sides, strict=True):
        text = _cut(cell, width)
        blanks = " " * (width - cell_len(text))
        parts.append(blanks + text if side == "right" else text + blanks)
    _print(console, (" " * GAP).join(parts).rstrip(), style)


def _folded(text: str, width: int) -> list[str]:
    """Return a name's lines: parted behind a blank or a mark, and anywhere where there is none."""
    lines = [""]
    for part in re.findall(r"[^ ._/+-]*[ ._/+-]|[^ ._/+-]+", text):
        piece = part
        if cell_len(lines[-1] + piece.rstrip()) > width and lines[-1]:
            lines.append("")
        while cell_len(piece) > width:
            lines[-1] = piece[:width]
            piece = piece[width:]
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines if line.strip()] or [""]


def _cut(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    cut = Text(text)
    cut.truncate(width, overflow="ellipsis")
    return cut.plain


def _show_records(console: Console, names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> None:
    """Print a line a value: for rows of too many columns."""
    left = max(map(cell_len, names))
    room = max(NARROW, width - left - 2)
    for number, row in enumerate(rows, start=1):
        _print(console, f"--- row {number} ".ljust(min(width, 60), "-"))
        for name, cell in zip(names, row, strict=True):
            for i, line in enumerate(_folded(cell, room) if name in NAMES else [_cut(cell, room)]):
                head = "" if i else name
                _print(console, (head + " " * (left - cell_len(head)) + "  " + line).rstrip())


def _print(console: Console, line: str, style: str = "") -> None:
    """Print a line as it is: it was laid out for the width."""
    console.print(line, style=style or None, soft_wrap=True)


def _is_number(type_: str) -> bool:
    return type_.startswith(("DECIMAL", "DOUBLE", "FLOAT", "HUGEINT", "UHUGEINT")) or type_.endswith(("INT", "INTEGER"))


def _cell(value: Any, room: int) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        size = abs(value)
        return f"{value:.1f}" if LARGE <= size < HUGE else f"{value:.6g}"
    return one_line(_field(value), room, CUT)
