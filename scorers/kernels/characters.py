"""Classes of Unicode characters as bits, and the step from UTF-8 to code points."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper

__all__ = [
    "ALNUM",
    "ALPHA",
    "BREAK",
    "BULLET",
    "CLOSER",
    "DIGIT",
    "EN_ALPHA",
    "EN_CURRENCY",
    "EN_ICON",
    "EN_LOWER",
    "EN_PLAIN",
    "EN_PREFIX",
    "EN_QUOTE",
    "EN_STOP_AFTER",
    "EN_SUFFIX",
    "EN_UPPER",
    "EN_WORD",
    "MARK",
    "PUNCTUATION",
    "SENTENCE_END",
    "SPACE",
    "SYMBOL",
    "TERMINAL",
    "UNSPACED",
    "UPPER",
    "decode",
    "integer",
    "without_space",
]

SPACE = 1 << 0
"""White space as `str.isspace` has it."""
BREAK = 1 << 1
"""Ends a line, as `str.splitlines` has it."""
ALPHA = 1 << 2
"""`str.isalpha`."""
ALNUM = 1 << 3
"""`str.isalnum`."""
UNSPACED = 1 << 4
"""A letter of a script that is written without blanks between words."""
MARK = 1 << 5
"""A combining mark (general category M)."""
TERMINAL = 1 << 6
"""Ends a sentence in some script."""
CLOSER = 1 << 7
"""May follow a sentence's end: a closing quotation mark or bracket."""
BULLET = 1 << 8
"""Begins an item of a list."""
UPPER = 1 << 9
"""`str.isupper`."""
DIGIT = 1 << 10
"""A decimal digit (general category Nd)."""
PUNCTUATION = 1 << 11
"""General category P."""
SYMBOL = 1 << 12
"""datatrove's set of punctuation and control characters."""
SENTENCE_END = 1 << 13
"""Ends a sentence for spaCy's sentencizer."""
EN_PREFIX = 1 << 14
"""Split off the front of an English word."""
EN_SUFFIX = 1 << 15
"""Split off the end of an English word."""
EN_ICON = 1 << 16
"""A pictorial symbol: a word of its own wherever it stands."""
EN_ALPHA = 1 << 17
"""A letter, to the rules of English words."""
EN_LOWER = 1 << 18
"""Such a letter in lower case or without case."""
EN_UPPER = 1 << 19
"""Such a letter in upper case or without case."""
EN_QUOTE = 1 << 20
"""A quotation mark, to the rules of English words."""
EN_STOP_AFTER = 1 << 21
"""A full stop after it is split off the end of an English word."""
EN_CURRENCY = 1 << 22
"""Currency sign: split off the end of an English word after a digit."""
EN_WORD = 1 << 23
"""`\\w` of Python's regular expressions."""
EN_PLAIN = 1 << 24
"""No rule of English words splits at it."""


@helper
def integer(value: Any) -> int:
    """Return `value` as a signed number: kernels make floats of unsigned and signed ones together."""
    return np.int64(value)  # type: ignore[return-value]


@helper
def decode(data: npt.NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Return the code point at `at`, whose first byte isn't ASCII, and its width in bytes.

    Texts are valid UTF-8; the bounds only keep a broken one from reading outside the arrays.
    """
    first = integer(data[at])
    if first < 0xE0 or at + 2 >= end:
        if at + 1 >= end:
            return 0xFFFD, 1
        return (first & 0x1F) << 6 | (integer(data[at + 1]) & 0x3F), 2
    second = integer(data[at + 1]) & 0x3F
    third = integer(data[at + 2]) & 0x3F
    if first < 0xF0 or at + 3 >= end:
        return (first & 0x0F) << 12 | second << 6 | third, 3
    return min((first & 0x07) << 18 | second << 12 | third << 6 | integer(data[at + 3]) & 0x3F, 0x10FFFF), 4


@helper
def without_space(data: npt.NDArray[np.uint8], at: int, end: int, table: npt.NDArray[np.uint32]) -> tuple[int, int]:
    """Return where `data[at:end]` begins and ends without the white space at its ends."""
    while at < end:
        point, width = integer(data[at]), 1
        if point >= 0x80:
            point, width = decode(data, at, end)
        if not table[point] & SPACE:
            break
        at += width
    while end > at:
        last = end - 1
        while last > at and data[last] & 0xC0 == 0x80:
            last -= 1
        point = integer(data[last])
        if point >= 0x80:
            point, _ = decode(data, last, end)
        if not table[point] & SPACE:
            break
        end = last
    return at, end
