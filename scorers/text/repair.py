"""Texts whose encoding was mistaken on their way, repaired; lines of table rules and their like taken out."""

import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tamis.schemas.errors import ConfigError
from tamis.schemas.wording import install_extra
from tamis.scorers.text.texts import Texts, as_arrow

__all__ = ["EncodingRepair", "count_symbol_lines", "drop_symbol_lines"]

_UNTOUCHED = r"^[\t\n\r -%'-~]*$"
"""ASCII without ampersands and control characters: ftfy leaves it as it is."""


class EncodingRepair:
    """Repairs mojibake with ftfy (Speer 2019), as FineWeb and FineWeb-2 do.

    That is with its defaults, but ligatures, full-width characters, curly quotes and line breaks stay, and no Unicode
    normalisation: these are choices of writing, no damage.

    Raises:
        ConfigError: if ftfy isn't installed.
    """

    def __init__(self) -> None:
        try:
            import ftfy
        except ImportError as error:
            msg = f"repair: encoding: ftfy isn't installed: {install_extra('ftfy')}, or set `encoding: false`"
            raise ConfigError(msg) from error
        self._fix: Any = ftfy.fix_text
        self._options = ftfy.TextFixerConfig(
            fix_latin_ligatures=False,
            fix_character_width=False,
            uncurl_quotes=False,
            fix_line_breaks=False,
            normalization=None,
            explain=False,
        )

    def repair(self, texts: Texts) -> pa.Array:
        """Return the texts as they should have been; those without a fault as they are."""
        array = as_arrow(texts)
        plain = pc.fill_null(pc.match_substring_regex(array, pattern=_UNTOUCHED), fill_value=True)
        if pc.all(plain).as_py() or not len(array):
            return array
        rows = pc.indices_nonzero(pc.invert(plain))
        fixed = [self._fix(text, self._options) for text in array.take(rows).to_pylist()]
        return pc.replace_with_mask(array, pc.invert(plain), pa.array(fixed, array.type))


def count_symbol_lines(texts: Texts, symbols: str) -> pa.Array:
    """Return how many lines each text has that `drop_symbol_lines` takes out, int64."""
    return pc.cast(pc.count_substring_regex(as_arrow(texts), pattern=_lines(symbols)), pa.int64())


def drop_symbol_lines(texts: Texts, symbols: str, replacement: str = "") -> pa.Array:
    """Return the texts without lines of nothing but some characters, and blanks between them.

    Lines end at a line feed. Each run of such lines gives way to one line, the replacement, or to nothing if that is
    empty; empty lines stay.

    Args:
        texts: they.
        symbols: the characters, such as `|`, which is what is left of a table's empty cells.
        replacement: in place of the lines; a line feed makes a paragraph's end of them.
    """
    array = as_arrow(texts)
    one = f"[{re.escape(symbols)}]"
    line = re.compile(f" *{one}[ {re.escape(symbols)}]*")
    there = pc.fill_null(pc.match_substring_regex(array, pattern=_lines(symbols)), fill_value=False)
    if not pc.any(there).as_py():
        return array
    changed = [_without(text, line, replacement) for text in array.filter(there).to_pylist()]
    return pc.replace_with_mask(array, there, pa.array(changed, array.type))


def _lines(symbols: str) -> str:
    """Return a pattern of such a line in RE2's syntax."""
    listed = "".join(rf"\x{{{ord(symbol):x}}}" for symbol in symbols)
    return rf"(?m)^ *[{listed}][ {listed}]*$"


def _without(text: str, line: "re.Pattern[str]", replacement: str) -> str:
    found: list[str] = []
    inside = False
    for one in text.split("\n"):
        if line.fullmatch(one):
            if not inside and replacement:
                found.append(replacement)
            inside = True
        else:
            found.append(one)
            inside = False
    return "\n".join(found)
