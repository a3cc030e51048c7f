"""What people read is made of: text that can do no harm, numbers, counted things, durations.

All that comes from documents, files, models, configs and errors is shown through `harmless`.
"""

import math
import re
from decimal import Decimal
from typing import Any

from tamis.jobs.unprintable import UNPRINTABLE
from tamis.schemas.wording import counted

__all__ = ["counted", "duration", "figure", "file_size", "harmless", "one_line"]

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_BLANKS = re.compile(r"\s+")
_LARGE, _HUGE, _SMALL = 1e4, 1e15, 1e-4
MINUTE, HOUR = 60, 3600


def harmless(text: object, *, lines: bool = False) -> str:
    r"""Return text as a terminal can show it: controls, escapes and marks of direction as `\x1b`, `\u202e`.

    Args:
        text: anything; `str()` of it is shown.
        lines: leave line ends as they are, for text of several lines of our own.
    """

    def escaped(found: re.Match[str]) -> str:
        character = found[0]
        if lines and character == "\n":
            return character
        code = ord(character)
        known = _ESCAPES.get(character)
        if known is not None:
            return known
        return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"

    return UNPRINTABLE.sub(escaped, str(text))


def one_line(text: str, room: int, end: str = "") -> str:
    """Return the beginning of a text as one harmless line: runs of blanks and line ends as one blank.

    Args:
        text: any text.
        room: characters that it may take.
        end: what stands at the end of one that was cut.
    """
    bare = _BLANKS.sub(" ", text[: 8 * room]).strip()
    shown = harmless(bare)
    if len(shown) <= room and len(text) <= 8 * room:
        return shown
    parts = []
    left = room - len(end)
    for character in bare:  # an escape isn't cut in two
        part = harmless(character)
        left -= len(part)
        if left < 0:
            break
        parts.append(part)
    return "".join(parts).rstrip() + end


def figure(value: Any) -> str:
    """Return a value of a column for people: thousands parted by commas, four digits of a fraction, bytes as hex."""
    match value:
        case None:
            return "-"
        case bool():
            return "true" if value else "false"
        case int() | Decimal():
            return f"{value:,}"
        case float():
            return _fraction(value)
        case bytes() | bytearray():
            return value.hex()
        case _:
            return harmless(value)


def _fraction(value: float) -> str:
    size = abs(value)
    if not math.isfinite(value) or size == 0 or _SMALL <= size < 1000:
        return f"{value:.4g}"
    if 1000 <= size < _HUGE:
        return f"{value:,.1f}" if size < _LARGE else f"{value:,.0f}"
    return f"{value:.3e}"


def file_size(size: float) -> str:
    """Return a number of bytes: "512 B", "20 kB", "2.2 MB", "1,234 MB"."""
    if size < 1000:
        return f"{size:.0f} B"
    if size < 100_000:
        return f"{size / 1e3:.0f} kB"
    return f"{size / 1e6:,.1f} MB" if size < 100e6 else f"{size / 1e6:,.0f} MB"


def duration(seconds: float) -> str:
    """Return a time span: "3.2 s", "48 s", "5 min", "2 h 10 min"."""
    if seconds < MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    hours, rest = divmod(round(seconds / MINUTE), MINUTE)
    return f"{hours} h {rest} min"
