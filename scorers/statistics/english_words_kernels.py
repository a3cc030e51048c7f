"""Splits text into English words by the affix rules of spaCy's blank English tokenizer, as loops.

A *chunk* is a run of characters without white space. From its front and its end prefixes and suffixes are
taken off, one of each a round, until an exception is left or nothing comes off; what is left is an exception,
a web address, or is split at infixes. At last neighbouring words that together are an exception are joined
and split as it says.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import (
    DIGIT,
    EN_ALPHA,
    EN_CURRENCY,
    EN_ICON,
    EN_LOWER,
    EN_PLAIN,
    EN_PREFIX,
    EN_QUOTE,
    EN_STOP_AFTER,
    EN_SUFFIX,
    EN_UPPER,
    EN_WORD,
    SPACE,
    decode,
    integer,
)
from tamis.scorers.kernels.jit import helper, kernel, lean_kernel
from tamis.scorers.statistics.repetition_kernels import FNV_BASIS, FNV_PRIME

__all__ = [
    "CHARS",
    "CLASSES",
    "CUTS",
    "ELIDING",
    "ENDS",
    "EVERY",
    "FILTER_SIZE",
    "HYPHENATED",
    "LENGTH",
    "MAX_EXCEPTION",
    "POINTS",
    "ROW_SIZE",
    "RULE_WORDS",
    "RULE_WORD_ENDS",
    "SOME",
    "TEXT",
    "UNIT",
    "WORDS",
    "WORD_ENDS",
    "EnglishRules",
    "exception_filter",
    "exception_slot",
    "new_chunk",
    "new_words",
    "split_chunk",
    "split_words",
]

MAX_EXCEPTION = 12
"""Characters of the longest exception."""
FILTER_SIZE = 8192
HYPHENATED, ELIDING = 1, 2
"""Habits of languages: words with a hyphen between letters are one; the apostrophe between letters ends a word."""
_HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MAX_UNIT = 5

_QUOTE, _RIGHT_QUOTE, _DOT, _ELLIPSIS, _DEGREE = 0x27, 0x2019, 0x2E, 0x2026, 0xB0
_DOLLAR, _PLUS, _COMMA, _HYPHEN, _COLON, _SLASH, _AT = 0x24, 0x2B, 0x2C, 0x2D, 0x3A, 0x2F, 0x40
_EN_DASH, _EM_DASH, _TILDE, _UNDERSCORE = 0x2013, 0x2014, 0x7E, 0x5F
_STAR, _CARET, _LESS, _GREATER, _QUESTION = 0x2A, 0x5E, 0x3C, 0x3E, 0x3F
_CAPITAL_A, _CAPITAL_C, _CAPITAL_S, _CAPITAL_U, _SMALL_S = 0x41, 0x43, 0x53, 0x55, 0x73


class EnglishRules(NamedTuple):
    """The exceptions and units in the form of arrays, which inner loops are handed one by one.

    Attributes:
        filter: 1 where an exception or unit has such a first and last character and length, then what a language
            does otherwise than English (`HYPHENATED`, `ELIDING`), uint8 (FILTER_SIZE + 1,).
        slots: open addressing from the hash of an exception or unit to its row, -1 if free, int32 (a power of
            two,).
        rows: one row each, int32 (rows, ROW_SIZE): its characters, how many words it is (0 if it is a unit
            alone), how many the rules alone make of it, whether it is a unit, its code points, the ends of
            the words it is, and the ends of those that the rules alone make of it.
    """

    filter: npt.NDArray[np.uint8]
    slots: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int32]


LENGTH, WORDS, RULE_WORDS, UNIT = 0, 1, 2, 3
TEXT = 4
WORD_ENDS = TEXT + MAX_EXCEPTION
RULE_WORD_ENDS = WORD_ENDS + MAX_EXCEPTION
ROW_SIZE = RULE_WORD_ENDS + MAX_EXCEPTION
"""Columns of `EnglishRules.rows`."""

POINTS, CLASSES, CUTS, _SPARE = 0, 1, 2, 3
"""Rows of a chunk, int64 (4, characters): its code points, their classes, the ends of its words, room to
work."""

ENDS, CHARS, SOME, EVERY = 0, 1, 2, 3
"""Rows of the words found, int64 (4, words): where each ends in the buffer, its characters, the classes
that some and that every character of it has."""


@kernel
def new_chunk(size: int) -> npt.NDArray[np.int64]:
    """Return room for a chunk of `size` characters; memory is taken as it is used."""
    return np.empty((4, size + 1), np.int64)


@kernel
def new_words(size: int) -> npt.NDArray[np.int64]:
    """Return room for `size` words; memory is taken as it is used."""
    return np.empty((4, size), np.int64)


@lean_kernel
def exception_filter(first: int, last: int, length: int) -> int:
    """Return the place in the filter for exceptions and units with such ends and such a length."""
    return (first * 37 + last * 1031 + length * 389) & (FILTER_SIZE - 1)


@lean_kernel
def exception_slot(chunk: npt.NDArray[np.int64], start: int, end: int, slots: int) -> int:
    """Return where among `slots`, a power of two, the search for a part of the chunk begins."""
    key = np.uint64(end - start)
    for i in range(start, end):
        key = (key ^ np.uint64(chunk[POINTS, i])) * _HASH_FACTOR
    return integer(key >> np.uint64(40)) & (slots - 1)


@helper
def _maybe(chunk: npt.NDArray[np.int64], start: int, end: int, seen: npt.NDArray[np.uint8]) -> bool:
    """Tell whether a part of the chunk may be an exception or unit; so small that it is inlined."""
    length = end - start
    if length <= 0 or length > MAX_EXCEPTION:
        return False
    return bool(seen[exception_filter(chunk[POINTS, start], chunk[POINTS, end - 1], length)])


@helper
def _find(
    chunk: npt.NDArray[np.int64],
    start: int,
    end: int,
    slots: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int32],
) -> int:
    """Return the row of the exception or unit that a part of the chunk is, -1 if it is none."""
    length = end - start
    slot = exception_slot(chunk, start, end, len(slots))
    while slots[slot] >= 0:
        row = integer(slots[slot])
        if rows[row, LENGTH] == length:
            same = True
            for i in range(length):
                if rows[row, TEXT + i] != chunk[POINTS, start + i]:
                    same = False
                    break
            if same:
                return row
        slot = (slot + 1) & (len(slots) - 1)
    return -1


@helper
def _exception(
    chunk: npt.NDArray[np.int64],
    start: int,
    end: int,
    seen: npt.NDArray[np.uint8],
    slots: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int32],
) -> int:
    """Return the row of the exception that a part of the chunk is, -1 if it is none."""
    if not _maybe(chunk, start, end, seen):
        return -1
    row = _find(chunk, start, end, slots, rows)
    return row if row >= 0 and rows[row, WORDS] else -1


@helper
def _is_digit(point: int) -> bool:
    return 48 <= point <= 57


@helper
def _prefix(chunk: npt.NDArray[np.int64], start: int, end: int) -> int:
    """Return the length of the prefix of the chunk's characters from `start` to `end`, 0 if there is none."""
    if chunk[CLASSES, start] & EN_PREFIX:
        return 1
    first = chunk[POINTS, start]
    left = end - start
    if first == _DOT:
        run = 1
        while start + run < end and chunk[POINTS, start + run] == _DOT:
            run += 1
        return run if run > 1 else 0
    if first == _PLUS:
        return 0 if left > 1 and _is_digit(chunk[POINTS, start + 1]) else 1
    if first in (_CAPITAL_C, _CAPITAL_A) and left > 1 and chunk[POINTS, start + 1] == _DOLLAR:
        return 2
    if first == 0x55 and left > 2 and chunk[POINTS, start + 1] == 0x53 and chunk[POINTS, start + 2] == _DOLLAR:
        return 3
    return 0


@helper
def _suffix(
    chunk: npt.NDArray[np.int64],
    start: int,
    end: int,
    seen: npt.NDArray[np.uint8],
    slots: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int32],
) -> int:
    """Return the length of the longest suffix of a part of the chunk, 0 if there is none."""
    if end <= start:
        return 0
    last, kind = chunk[POINTS, end - 1], chunk[CLASSES, end - 1]
    length = 1 if kind & EN_SUFFIX else 0
    before = chunk[POINTS, end - 2] if end - 2 >= start else 0
    if last == _DOT:
        run = 1
        while end - 1 - run >= start and chunk[POINTS, end - 1 - run] == _DOT:
            run += 1
        if run > 1:
            return run
        if end - 2 < start:
            return 0
        if chunk[CLASSES, end - 2] & EN_STOP_AFTER:
            return 1
        if end - 3 >= start:
            if chunk[CLASSES, end - 2] & EN_UPPER and chunk[CLASSES, end - 3] & EN_UPPER:
                return 1
            if chunk[POINTS, end - 3] == _DEGREE and before in (_CAPITAL_C, 0x46, 0x4B):  # C, F, K
                return 1
        return 0
    if last == _ELLIPSIS and before == _ELLIPSIS:
        return 2
    if last in (_SMALL_S, _CAPITAL_S) and before in (_QUOTE, _RIGHT_QUOTE):
        return 2
    if last == _PLUS and _is_digit(before):
        length = 1
    if kind & EN_CURRENCY:
        if _is_digit(before):
            length = 1
        if last == _DOLLAR and end - 3 >= start:
            if before in (_CAPITAL_C, _CAPITAL_A) and _is_digit(chunk[POINTS, end - 3]):
                length = 2
            if (
                before == 0x53
                and chunk[POINTS, end - 3] == 0x55
                and end - 4 >= start
                and _is_digit(chunk[POINTS, end - 4])
            ):
                length = 3
    for digit in range(end - 2, max(start, end - 1 - _MAX_UNIT) - 1, -1):
        if _is_digit(chunk[POINTS, digit]):
            row = _find(chunk, digit + 1, end, slots, rows) if _maybe(chunk, digit + 1, end, seen) else -1
            if row >= 0 and rows[row, UNIT]:
                length = max(length, end - 1 - digit)
            break
    return length


@helper
def _infix(chunk: npt.NDArray[np.int64], at: int, start: int, end: int, habits: int) -> int:
    """Return the length of the infix at `at` in a part of the chunk, 0 if there is none."""
    point, kind = chunk[POINTS, at], chunk[CLASSES, at]
    if kind & EN_PLAIN:
        return 0
    if point == _DOT:
        run = 1
        while at + run < end and chunk[POINTS, at + run] == _DOT:
            run += 1
        if run > 1:
            return run
        if at == start or at + 1 == end:
            return 0
        left, right = chunk[CLASSES, at - 1], chunk[CLASSES, at + 1]
        return 1 if left & (EN_LOWER | EN_QUOTE) and right & (EN_UPPER | EN_QUOTE) else 0
    if point == _ELLIPSIS or kind & EN_ICON:
        return 1
    if at == start or at + 1 == end:
        return 0
    digit_left = _is_digit(chunk[POINTS, at - 1])
    alpha_left = chunk[CLASSES, at - 1] & EN_ALPHA != 0
    digit_right = _is_digit(chunk[POINTS, at + 1]) or chunk[POINTS, at + 1] == _HYPHEN
    if digit_left and digit_right and point in (_PLUS, _HYPHEN, _STAR, _CARET):
        return 1
    if point == _COMMA:
        return 1 if alpha_left and chunk[CLASSES, at + 1] & EN_ALPHA else 0
    if not (alpha_left or digit_left):
        return 0
    if point in (_HYPHEN, _EN_DASH, _EM_DASH, _TILDE):
        if chunk[CLASSES, at + 1] & EN_ALPHA:
            return 0 if habits & HYPHENATED else 1
        if point in (_HYPHEN, _EM_DASH):
            run = 1
            while at + run < end and run < 4 and chunk[POINTS, at + run] == point:
                run += 1
            longest = 3 if point == _HYPHEN else 2
            if 1 < run <= longest and at + run < end and chunk[CLASSES, at + run] & EN_ALPHA:
                return run
        return 0
    if point in (_COLON, _SLASH) or _LESS <= point <= _GREATER:
        return 1 if chunk[CLASSES, at + 1] & EN_ALPHA else 0
    return 0


@helper
def _is_host_letter(point: int) -> bool:
    return 48 <= point <= 57 or 65 <= point <= 90 or 97 <= point <= 122 or 0xA1 <= point <= 0xFFFF


@helper
def _url_tail(chunk: npt.NDArray[np.int64], at: int, end: int) -> bool:
    """Tell whether a port, a path, both or nothing stands between a host and the end."""
    if at < end and chunk[POINTS, at] == _COLON:
        digits = 0
        while at + 1 + digits < end and chunk[CLASSES, at + 1 + digits] & DIGIT:
            digits += 1
        if digits < 2 or digits > 5:
            return False
        at += 1 + digits
    return bool(at == end or chunk[POINTS, at] == _SLASH or chunk[POINTS, at] == 0x3F or chunk[POINTS, at] == 0x23)


@helper
def _is_ip_host(chunk: npt.NDArray[np.int64], at: int, end: int) -> bool:
    """Tell whether a part of the chunk is a public IPv4 address with an optional port and path."""
    first = second = 0
    for part in range(4):
        value = digits = 0
        leading_zero = at < end and chunk[POINTS, at] == 48
        while at < end and digits < 3 and _is_digit(chunk[POINTS, at]):
            value = value * 10 + integer(chunk[POINTS, at]) - 48
            digits += 1
            at += 1
        if digits == 0:
            return False
        if part == 0:
            first = value
            if leading_zero or value > 223:
                return False
        elif part == 3:
            if leading_zero or value > 254:
                return False
        else:
            second = value if part == 1 else second
            if value > 255 or (digits == 3 and leading_zero):
                return False
        if part < 3:
            if at >= end or chunk[POINTS, at] != _DOT:
                return False
            at += 1
    private = first in (10, 127) or (first == 169 and second == 254) or (first == 192 and second == 168)
    if private or (first == 172 and 16 <= second <= 31):
        return False
    return _url_tail(chunk, at, end)


@helper
def _is_named_host(chunk: npt.NDArray[np.int64], at: int, end: int) -> bool:
    """Tell whether a domain name with an optional port and path is all there is from `at` to `end`."""
    labels = 0
    while True:
        stop = at
        while stop < end and stop - at <= 64:
            point = chunk[POINTS, stop]
            if not (_is_host_letter(point) or point in (_UNDERSCORE, _HYPHEN)):
                break
            stop += 1
        if stop < end and chunk[POINTS, stop] == _DOT:
            length = stop - at
            if (
                length < 1
                or length > 64
                or not _is_host_letter(chunk[POINTS, at])
                or not _is_host_letter(chunk[POINTS, stop - 1])
            ):
                return False
            labels += 1
            at = stop + 1
            continue
        if labels == 0:
            return False
        stop = at
        while stop < end and chunk[CLASSES, stop] & EN_LOWER:
            stop += 1
        return 2 <= stop - at <= 63 and _url_tail(chunk, stop, end)


@helper
def _is_url(chunk: npt.NDArray[np.int64], start: int, end: int) -> bool:
    """Tell whether the chunk's characters are a web or mail address."""
    if _is_ip_host(chunk, start, end) or _is_named_host(chunk, start, end):
        return True
    found = False
    at = start
    while at < end and (
        chunk[CLASSES, at] & EN_WORD
        or chunk[POINTS, at] == _PLUS
        or chunk[POINTS, at] == _HYPHEN
        or chunk[POINTS, at] == _DOT
    ):
        at += 1
    if (
        at - start >= 2
        and at + 2 < end
        and chunk[POINTS, at] == _COLON
        and chunk[POINTS, at + 1] == chunk[POINTS, at + 2] == _SLASH
    ):
        found = _is_ip_host(chunk, at + 3, end) or _is_named_host(chunk, at + 3, end)
    if found:
        return True
    for at in range(start + 1, end):
        if chunk[POINTS, at] == _AT and (_is_ip_host(chunk, at + 1, end) or _is_named_host(chunk, at + 1, end)):
            return True
    return False


@helper
def _elided(chunk: npt.NDArray[np.int64], at: int, end: int, habits: int) -> bool:
    """Tell whether a word ends with the apostrophe at `at`, as the article of `l'eau` does."""
    if not habits & ELIDING or at == 0 or at + 1 >= end:
        return False
    mark = chunk[POINTS, at] == _QUOTE or chunk[POINTS, at] == _RIGHT_QUOTE
    return bool(mark and chunk[CLASSES, at - 1] & EN_ALPHA and chunk[CLASSES, at + 1] & EN_ALPHA)


@helper
def _split_core(chunk: npt.NDArray[np.int64], start: int, end: int, cuts: int, habits: int) -> int:
    """Split what affixes have left at its infixes; append ends of words to the cuts, return their number.

    No infix stands at the start: it would have come off as a prefix.
    """
    first = -1
    for at in range(start + 1, end):
        if _infix(chunk, at, start, end, habits) > 0 or _elided(chunk, at, end, habits):
            first = at
            break
    if first < 0 or _is_url(chunk, start, end):
        chunk[CUTS, cuts] = end
        return cuts + 1
    word = start
    at = first
    while at < end:
        length = _infix(chunk, at, start, end, habits)
        if length == 0:
            at += 1
            if _elided(chunk, at - 1, end, habits):
                chunk[CUTS, cuts] = at
                cuts += 1
                word = at
            continue
        if at != word:
            chunk[CUTS, cuts] = at
            cuts += 1
        at += length
        chunk[CUTS, cuts] = at
        cuts += 1
        word = at
    if word < end:
        chunk[CUTS, cuts] = end
        cuts += 1
    return cuts


@lean_kernel
def split_chunk(
    chunk: npt.NDArray[np.int64],
    size: int,
    seen: npt.NDArray[np.uint8],
    slots: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int32],
    with_exceptions: bool,
) -> int:
    """Split the first `size` characters; write the ends of the words to the cuts, return their number."""
    start, end = 0, size
    cuts = suffixes = 0
    last = -1
    row = -1
    while start < end and end - start != last:
        if with_exceptions:
            row = _exception(chunk, start, end, seen, slots, rows)
            if row >= 0:
                break
        last = end - start
        prefix = _prefix(chunk, start, end)
        if prefix and with_exceptions and start + prefix < end:
            row = _exception(chunk, start + prefix, end, seen, slots, rows)
            if row >= 0:
                start += prefix
                chunk[CUTS, cuts] = start
                cuts += 1
                break
        suffix = _suffix(chunk, start + prefix, end, seen, slots, rows)
        if suffix and with_exceptions and end - suffix > start:
            row = _exception(chunk, start, end - suffix, seen, slots, rows)
            if row >= 0:
                chunk[_SPARE, suffixes] = end
                suffixes += 1
                end -= suffix
                break
        if prefix:
            start += prefix
            chunk[CUTS, cuts] = start
            cuts += 1
        if suffix:
            chunk[_SPARE, suffixes] = end
            suffixes += 1
            end -= suffix
    if start < end:
        if row >= 0:
            for i in range(rows[row, WORDS]):
                chunk[CUTS, cuts] = start + rows[row, WORD_ENDS + i]
                cuts += 1
        else:
            cuts = _split_core(chunk, start, end, cuts, integer(seen[FILTER_SIZE]))
    for i in range(suffixes - 1, -1, -1):
        chunk[CUTS, cuts] = chunk[_SPARE, i]
        cuts += 1
    if with_exceptions and cuts > 1:
        cuts = _join_exceptions(chunk, cuts, seen, slots, rows)
    return cuts


@helper
def _next_span(
    chunk: npt.NDArray[np.int64],
    cuts: int,
    first: int,
    length: int,
    seen: npt.NDArray[np.uint8],
    slots: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int32],
) -> tuple[int, int, int]:
    """Return the first and last word and the row of the next span that is an exception, from word `first` on.

    A span is of `length` words, of any number if that is 0. The first word is `cuts` if there is none.
    """
    for i in range(first, cuts):
        start = chunk[CUTS, i - 1] if i else 0
        for j in range(i + 1, cuts) if length == 0 else range(i + length - 1, min(i + length, cuts)):
            if chunk[CUTS, j] - start > MAX_EXCEPTION:
                break
            row = _exception(chunk, start, chunk[CUTS, j], seen, slots, rows)
            if row < 0 or rows[row, RULE_WORDS] != j - i + 1:
                continue
            same = True
            for k in range(i, j + 1):
                if chunk[CUTS, k] - start != rows[row, RULE_WORD_ENDS + k - i]:
                    same = False
                    break
            if same:
                return i, j, row
    return cuts, cuts, -1


@kernel
def _join_exceptions(
    chunk: npt.NDArray[np.int64],
    cuts: int,
    seen: npt.NDArray[np.uint8],
    slots: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int32],
) -> int:
    """Split words that are together an exception as the exception says, if the rules alone split it so.

    Of spans that overlap the longest counts, then the first; a span hides what it overlaps even if it is
    itself hidden.
    """
    first, _, _ = _next_span(chunk, cuts, 0, 0, seen, slots, rows)
    if first == cuts:
        return cuts
    old = chunk[CUTS, :cuts].copy()
    taken = np.zeros(cuts, np.bool_)
    joined = np.full(cuts, -1, np.int64)
    until = np.zeros(cuts, np.int64)
    for length in range(MAX_EXCEPTION, 1, -1):
        i, j, row = _next_span(chunk, cuts, first, length, seen, slots, rows)
        while i < cuts:
            if not taken[i] and not taken[j]:
                joined[i] = row
                until[i] = j
            taken[i : j + 1] = True
            i, j, row = _next_span(chunk, cuts, i + 1, length, seen, slots, rows)
    out = i = 0
    while i < cuts:
        if joined[i] < 0:
            chunk[CUTS, out] = old[i]
            out += 1
            i += 1
            continue
        start = old[i - 1] if i else 0
        for k in range(rows[joined[i], WORDS]):
            chunk[CUTS, out] = start + rows[joined[i], WORD_ENDS + k]
            out += 1
        i = until[i] + 1
    return out


@helper
def _ascii_exception(
    data: npt.NDArray[np.uint8],
    start: int,
    length: int,
    seen: npt.NDArray[np.uint8],
    slots: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int32],
    chunk: npt.NDArray[np.int64],
) -> int:
    """Return the row of the exception that some ASCII characters are, -1 if they are none."""
    for i in range(length):
        chunk[POINTS, i] = data[start + i]
    return _exception(chunk, 0, length, seen, slots, rows)


@helper
def _maybe_ascii(data: npt.NDArray[np.uint8], start: int, length: int, seen: npt.NDArray[np.uint8]) -> bool:
    """Tell whether some ASCII characters may be an exception; so small that it is inlined."""
    if length <= 0 or length > MAX_EXCEPTION:
        return False
    return bool(seen[exception_filter(integer(data[start]), integer(data[start + length - 1]), length)])


@helper
def _comes_off(data: npt.NDArray[np.uint8], start: int, at: int, end: int, table: npt.NDArray[np.uint32]) -> bool:
    """Tell whether the mark at `at`, after plain ASCII characters, ends its chunk and is a suffix."""
    mark = data[at]
    if mark >= 0x80 or (at + 1 < end and (data[at + 1] >= 0x80 or not table[data[at + 1]] & SPACE)):
        return False
    if mark != _DOT:
        return bool(table[mark] & EN_SUFFIX)
    last = table[data[at - 1]]
    return bool(last & EN_STOP_AFTER or (at - start > 1 and last & EN_UPPER and table[data[at - 2]] & EN_UPPER))


@helper
def _skip_space(data: npt.NDArray[np.uint8], at: int, end: int, table: npt.NDArray[np.uint32]) -> int:
    while at < end:
        byte = data[at]
        if byte < 0x80:
            point, width = integer(byte), 1
        else:
            point, width = decode(data, at, end)
        if not table[point] & SPACE:
            break
        at += width
    return at


@helper
def _add_space(words: npt.NDArray[np.int64], hashes: npt.NDArray[np.uint64], count: int, size: int) -> int:
    words[ENDS, count] = size
    words[CHARS, count] = 1
    words[SOME, count] = SPACE
    words[EVERY, count] = SPACE
    hashes[count] = np.uint64(0)
    return count + 1


@lean_kernel
def split_words(
    data: npt.NDArray[np.uint8],
    at: int,
    end: int,
    table: npt.NDArray[np.uint32],
    seen: npt.NDArray[np.uint8],
    slots: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int32],
    chunk: npt.NDArray[np.int64],
    buffer: npt.NDArray[np.uint8],
    words: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    with_spaces: bool,
) -> int:
    """Split `data[at:end]` into words and return their number.

    Args:
        data: UTF-8.
        at: where the text begins.
        end: where it ends.
        table: character classes.
        seen: `EnglishRules.filter`.
        slots: `EnglishRules.slots`.
        rows: `EnglishRules.rows`.
        chunk: room for a chunk as long as the text.
        buffer: the words' bytes are written here, one after the other; as long as the text.
        words: where each word ends and what it is like, for as many words as the text has bytes.
        hashes: FNV-1a of each word's bytes.
        with_spaces: whether white space beyond the one blank after a word is a word too (of class SPACE, and
            nothing of it is written to the buffer).
    """
    count = 0
    size = 0
    begin = at
    while at < end:
        start = at
        some, every = 0, -1
        key = FNV_BASIS
        kind = np.uint32(0)
        while at < end:
            byte = data[at]
            if byte >= 0x80:
                kind = np.uint32(0)
                break
            kind = table[byte]
            if not kind & EN_PLAIN:
                break
            some |= kind
            every &= kind
            buffer[size + at - start] = byte
            key = (key ^ np.uint64(byte)) * FNV_PRIME
            at += 1
        length = at - start
        ended = at == end or kind & SPACE != 0
        # A word alone, or with one mark after it that comes off, is most of English and goes without code
        # points.
        marked = not ended and length > 0 and _comes_off(data, start, at, end, table)
        if ended or marked:
            row = -1
            if _maybe_ascii(data, start, length, seen):
                row = _ascii_exception(data, start, length, seen, slots, rows, chunk)
            if marked and row < 0 and _maybe_ascii(data, start, length + 1, seen):
                row = _ascii_exception(data, start, length + 1, seen, slots, rows, chunk)
            if marked and row >= 0:
                marked = False
            elif row >= 0:
                for i in range(length):
                    chunk[CLASSES, i] = table[data[start + i]]
                for i in range(rows[row, WORDS]):
                    chunk[CUTS, i] = rows[row, WORD_ENDS + i]
                size = _emit(data, start, chunk, rows[row, WORDS], buffer, size, words, hashes, count)
                count += rows[row, WORDS]
            elif length:
                size += length
                words[ENDS, count] = size
                words[CHARS, count] = length
                words[SOME, count] = some
                words[EVERY, count] = every
                hashes[count] = key
                count += 1
        if marked:
            buffer[size] = data[at]
            size += 1
            words[ENDS, count] = size
            words[CHARS, count] = 1
            words[SOME, count] = kind
            words[EVERY, count] = kind
            hashes[count] = (FNV_BASIS ^ np.uint64(data[at])) * FNV_PRIME
            count += 1
            at += 1
            continue
        if ended:
            if at == end:
                break
            start = at
            at = _skip_space(data, at, end, table)
            # One blank after a word belongs to nothing.
            if with_spaces and at - start > (1 if start > begin and data[start] == 32 else 0):
                count = _add_space(words, hashes, count, size)
            continue
        # The chunk as code points.
        at = start
        length = 0
        plain_bits = np.uint32(EN_PLAIN)
        while at < end:
            byte = data[at]
            if byte < 0x80:
                point, width = integer(byte), 1
            else:
                point, width = decode(data, at, end)
            kind = table[point]
            if kind & SPACE:
                break
            chunk[POINTS, length] = point
            chunk[CLASSES, length] = kind
            plain_bits &= kind
            length += 1
            at += width
        if length == 0:  # white space that isn't ASCII
            at = _skip_space(data, at, end, table)
            if with_spaces:
                count = _add_space(words, hashes, count, size)
            continue
        if plain_bits and length > MAX_EXCEPTION:
            chunk[CUTS, 0] = length
            cuts = 1
        else:
            cuts = split_chunk(chunk, length, seen, slots, rows, True)  # noqa: FBT003
        size = _emit(data, start, chunk, cuts, buffer, size, words, hashes, count)
        count += cuts
    return count


@helper
def _emit(
    data: npt.NDArray[np.uint8],
    at: int,
    chunk: npt.NDArray[np.int64],
    cuts: int,
    buffer: npt.NDArray[np.uint8],
    size: int,
    words: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    count: int,
) -> int:
    """Write the words of a chunk that begins at `data[at]`; return the bytes in the buffer after them."""
    start = 0
    for i in range(cuts):
        stop = chunk[CUTS, i]
        some, every = 0, -1
        key = FNV_BASIS
        for j in range(start, stop):
            kind, point = chunk[CLASSES, j], chunk[POINTS, j]
            some |= kind
            every &= kind
            width = 1 if point < 0x80 else 2 if point < 0x800 else 3 if point < 0x10000 else 4
            for _ in range(width):
                byte = data[at]
                buffer[size] = byte
                key = (key ^ np.uint64(byte)) * FNV_PRIME
                size += 1
                at += 1
        words[ENDS, count + i] = size
        words[CHARS, count + i] = stop - start
        words[SOME, count + i] = some
        words[EVERY, count + i] = every
        hashes[count + i] = key
        start = stop
    return size
