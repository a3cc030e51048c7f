"""Rows for people at any width: a table where it fits, else a block a row. No name and no value is ever cut."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console

from tamis.jobs.cli.text import harmless

__all__ = ["Column", "in_short", "print_pairs", "print_rows"]

ALIKE = 6
"""Names with the same beginning of which all are named."""
GAP = 2
"""Blanks between two columns."""
BOLD = "bold"
LEAST = 24
"""A column that may be folded gets so many characters at least."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its head.
        right: numbers stand to the right.
        wrap: may be folded over several lines, as paths and lists may; at most one column of a table.
    """

    name: str
    right: bool = False
    wrap: bool = False


def print_rows(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str | None = None
) -> None:
    """Print rows: as a table if it fits the console's width, else as blocks with the first column as their heads.

    Args:
        console: whose width counts.
        columns: their heads.
        rows: a text for each column; made harmless here.
        title: a line above.
    """
    shown = [[harmless(cell) for cell in row] for row in rows]
    if title is not None:
        _print(console, harmless(title), BOLD)
    widths = _widths(columns, shown, console.width)
    if widths is None:
        _blocks(console, columns, shown)
    else:
        _table(console, columns, shown, widths)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Return the columns' widths, or None if they don't fit."""
    cells = zip([column.name for column in columns], *rows, strict=True)
    widths = [max(map(cell_len, column)) for column in cells]
    over = sum(widths) + GAP * (len(widths) - 1) - room
    if over <= 0:
        return widths
    for place, column in enumerate(columns):
        if column.wrap and widths[place] - over >= max(LEAST, cell_len(column.name)):
            widths[place] -= over
            return widths
    return None


def _table(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    heads = [[column.name] for column in columns]
    for line in _lines(heads, columns, widths):
        _print(console, line, BOLD)
    mark = "─" if console.encoding.lower().startswith("utf") else "-"
    _print(console, (" " * GAP).join(mark * width for width in widths))
    for row in rows:
        folded = [
            _folded(cell, width) if column.wrap else [cell]
            for cell, column, width in zip(row, columns, widths, strict=True)
        ]
        for line in _lines(folded, columns, widths):
            _print(console, line)


def _lines(cells: Sequence[Sequence[str]], columns: Sequence[Column], widths: Sequence[int]) -> Iterable[str]:
    for number in range(max(map(len, cells))):
        parts = []
        for lines, column, width in zip(cells, columns, widths, strict=True):
            text = lines[number] if number < len(lines) else ""
            blanks = " " * (width - cell_len(text))
            parts.append(blanks + text if column.right else text + blanks)
        yield (" " * GAP).join(parts).rstrip()


def _folded(text: str, width: int) -> list[str]:
    """Return the lines of a text: parted at blanks, in long words behind a slash, and anywhere if there is none."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= width:
            lines[-1] = joined
            continue
        lines.append("")
        for part in re.findall(r"[^/]*/+|[^/]+", word):
            for piece in _pieces(part, width):
                if cell_len(lines[-1] + piece) > width:
                    lines.append("")
                lines[-1] += piece
    return [line for line in lines if line] or [""]


def _pieces(text: str, width: int) -> Iterator[str]:
    """Yield the text in pieces of this width at most."""
    piece = ""
    for character in text:
        if piece and cell_len(piece + character) > width:
            yield piece
            piece = ""
        piece += character
    yield piece


def _blocks(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        for line in _folded(", ".join(column.name for column in columns), max(LEAST, console.width)):
            _print(console, line)
    for row in rows:
        head = f"{columns[0].name}: " if columns[0].name else ""
        for number, line in enumerate(_folded(head + row[0], max(LEAST, console.width))):
            _print(console, line, BOLD if not number else None)
        pairs = [(column.name, cell) for column, cell in zip(columns[1:], row[1:], strict=True)]
        print_pairs(console, pairs, indent=GAP)


def print_pairs(console: Console, pairs: Sequence[tuple[str, str]], *, indent: int = 0) -> None:
    """Print names with their values below each other, several to a line where the width allows it.

    A value that is too long is folded under itself.
    """
    told = [(harmless(name), harmless(value)) for name, value in pairs]
    if not told:
        return
    left = max(cell_len(name) for name, _ in told)
    right = max(cell_len(value) for _, value in told)
    room = console.width - indent
    many = max(1, (room + 2 * GAP) // (left + right + 3 * GAP)) if len(told) > 1 else 1
    if many == 1:
        for name, value in told:
            lines = _folded(value, max(LEAST // 2, room - left - GAP))
            for number, line in enumerate(lines):
                begin = _filled(name if not number else "", left)
                _print(console, (" " * indent + begin + " " * GAP + line).rstrip())
        return
    for start in range(0, len(told), many):
        cells = [_filled(name, left) + " " * GAP + _filled(value, right) for name, value in told[start : start + many]]
        _print(console, (" " * indent + (" " * 2 * GAP).join(cells)).rstrip())


def in_short(names: Sequence[str], where: str) -> str:
    """Return names of columns; of many with the same beginning the first two, and how many more there are.

    Args:
        names: of columns.
        where: what says the others.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.partition("_")[0], []).append(name)
    told = []
    for begin, group in groups.items():
        many = len(group) > ALIKE
        told += [*group[:2], f"{len(group) - 2} more {begin}_* ({where})"] if many else group
    return ", ".join(told)


def _filled(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _print(console: Console, line: str, style: str | None = None) -> None:
    """Print a line as it is: it was laid out for the width."""
    console.print(line, style=style, soft_wrap=True)
