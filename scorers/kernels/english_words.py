"""Splits text into English words by affix rules: the rules of spaCy's blank English tokenizer, written as loops.

A *chunk* is a run of characters without white space. From its front and its end prefixes and suffixes are taken off, one
of each a round, until an exception is left or nothing comes off; what is left is an exception, a web address, or is
split at infixes. At last neighbouring words that together are an exception are joined and split as it says.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from scorers.kernels.characters import (
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
)
from scorers.kernels.jit import kernel

__all__ = [
    "FILTER_SIZE",
    "MAX_EXCEPTION",
    "Chunk",
    "EnglishRules",
    "Tokens",
    "exception_filter",
    "exception_hash",
    "exception_slot",
    "new_chunk",
    "new_tokens",
    "split_chunk",
    "split_words",
]

MAX_EXCEPTION = 12
"""Characters of the longest exception."""
FILTER_SIZE = 8192
_HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_FNV_BASIS = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
_MAX_UNIT = 5

_QUOTE, _RIGHT_QUOTE, _DOT, _ELLIPSIS, _DEGREE = 0x27, 0x2019, 0x2E, 0x2026, 0xB0
_DOLLAR, _PLUS, _COMMA, _HYPHEN, _COLON, _SLASH, _AT = 0x24, 0x2B, 0x2C, 0x2D, 0x3A, 0x2F, 0x40
_EN_DASH, _EM_DASH, _TILDE = 0x2013, 0x2014, 0x7E


class EnglishRules(NamedTuple):
    """The exceptions and units in the form of arrays.

    Attributes:
        filter: 1 where an exception has such a first and last character and length, uint8 (FILTER_SIZE,).
        slots: open addressing from the hash of an exception to its row, -1 if free, int32 (a power of two,).
        texts: code points of the exceptions, uint32 (exceptions, MAX_EXCEPTION).
        lengths: their characters, int32 (exceptions,).
        pieces: ends of the words each is, padded with its length, int32 (exceptions, MAX_EXCEPTION).
        counts: how many words each is, int32 (exceptions,).
        plain_pieces: ends of the words that the rules alone make of each, int32 (exceptions, MAX_EXCEPTION).
        plain_counts: how many those are, int32 (exceptions,).
        units: hashes of the units that are split off a number, sorted, uint64 (units,).
    """

    filter: npt.NDArray[np.uint8]
    slots: npt.NDArray[np.int32]
    texts: npt.NDArray[np.uint32]
    lengths: npt.NDArray[np.int32]
    pieces: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    plain_pieces: npt.NDArray[np.int32]
    plain_counts: npt.NDArray[np.int32]
    units: npt.NDArray[np.uint64]


class Chunk(NamedTuple):
    """Room for one chunk: code points, classes, ends of its words, and the spans that are joined exceptions."""

    points: npt.NDArray[np.uint32]
    classes: npt.NDArray[np.uint32]
    cuts: npt.NDArray[np.int64]
    spare: npt.NDArray[np.int64]
    spans: npt.NDArray[np.int64]


class Tokens(NamedTuple):
    """Words of a text, which are written one after the other, without blanks, to a buffer.

    Attributes:
        ends: where each word ends in the buffer.
        chars: code points of each.
        some: the classes that some character of the word has.
        every: the classes that every character of the word has.
        hashes: FNV-1a of the word's bytes.
    """

    ends: npt.NDArray[np.int64]
    chars: npt.NDArray[np.int32]
    some: npt.NDArray[np.uint32]
    every: npt.NDArray[np.uint32]
    hashes: npt.NDArray[np.uint64]


@kernel
def new_chunk(size: int) -> Chunk:
    """Return room for a chunk of `size` characters; memory is taken as it is used."""
    return Chunk(
        np.empty(size + 1, np.uint32),
        np.empty(size + 1, np.uint32),
        np.empty(size + 1, np.int64),
        np.empty(size + 1, np.int64),
        np.empty((size + 1) * 3 * MAX_EXCEPTION, np.int64),
    )


@kernel
def new_tokens(size: int) -> Tokens:
    """Return room for `size` words; memory is taken as it is used."""
    return Tokens(
        np.empty(size, np.int64),
        np.empty(size, np.int32),
        np.empty(size, np.uint32),
        np.empty(size, np.uint32),
        np.empty(size, np.uint64),
    )


@kernel
def exception_filter(first: int, last: int, length: int) -> int:
    """Return the place in the filter for exceptions with such first and last characters and such a length."""
    return (first * 37 + last * 1031 + length * 389) & (FILTER_SIZE - 1)


@kernel
def exception_hash(points: npt.NDArray[np.uint32], start: int, end: int) -> np.uint64:
    """Return the hash of the code points `points[start:end]` that exceptions and units are found by."""
    key = np.uint64(end - start)
    for i in range(start, end):
        key = (key ^ np.uint64(points[i])) * _HASH_FACTOR
    return key


@kernel
def exception_slot(key: np.uint64, slots: int) -> int:
    """Return where the search for a hash begins among `slots`, a power of two."""
    return np.int64(np.uint64(key) >> np.uint64(40)) & (slots - 1)


@kernel
def _exception(points: npt.NDArray[np.uint32], start: int, end: int, rules: EnglishRules) -> int:
    """Return the row of the exception that `points[start:end]` is, -1 if it is none."""
    length = end - start
    if length <= 0 or length > MAX_EXCEPTION:
        return -1
    if rules.filter[exception_filter(np.int64(points[start]), np.int64(points[end - 1]), length)] == 0:
        return -1
    mask = len(rules.slots) - 1
    slot = exception_slot(exception_hash(points, start, end), len(rules.slots))
    while rules.slots[slot] >= 0:
        row = rules.slots[slot]
        if rules.lengths[row] == length:
            same = True
            for i in range(length):
                if rules.texts[row, i] != points[start + i]:
                    same = False
                    break
            if same:
                return np.int64(row)
        slot = (slot + 1) & mask
    return -1


@kernel
def _is_digit(point: int) -> bool:
    return 48 <= point <= 57


@kernel
def _prefix(chunk: Chunk, start: int, end: int) -> int:
    """Return the length of the prefix of the chunk's characters from `start` to `end`, 0 if there is none."""
    points = chunk.points
    if chunk.classes[start] & EN_PREFIX:
        return 1
    first = points[start]
    left = end - start
    if first == _DOT:
        run = 1
        while start + run < end and points[start + run] == _DOT:
            run += 1
        return run if run > 1 else 0
    if first == _PLUS:
        return 0 if left > 1 and _is_digit(points[start + 1]) else 1
    if (first == 0x43 or first == 0x41) and left > 1 and points[start + 1] == _DOLLAR:
        return 2
    if first == 0x55 and left > 2 and points[start + 1] == 0x53 and points[start + 2] == _DOLLAR:
        return 3
    return 0


@kernel
def _is_unit(points: npt.NDArray[np.uint32], start: int, end: int, rules: EnglishRules) -> bool:
    key = exception_hash(points, start, end)
    at = np.searchsorted(rules.units, key)
    return bool(at < len(rules.units) and rules.units[at] == key)


@kernel
def _suffix(chunk: Chunk, start: int, end: int, rules: EnglishRules) -> int:
    """Return the length of the longest suffix of the chunk's characters from `start` to `end`, 0 if there is none."""
    if end <= start:
        return 0
    points, classes = chunk.points, chunk.classes
    last, kind = points[end - 1], classes[end - 1]
    length = 1 if kind & EN_SUFFIX else 0
    before = points[end - 2] if end - 2 >= start else np.uint32(0)
    if last == _DOT:
        run = 1
        while end - 1 - run >= start and points[end - 1 - run] == _DOT:
            run += 1
        if run > 1:
            return run
        if end - 2 < start:
            return 0
        if classes[end - 2] & EN_STOP_AFTER:
            return 1
        if end - 3 >= start:
            if classes[end - 2] & EN_UPPER and classes[end - 3] & EN_UPPER:
                return 1
            if points[end - 3] == _DEGREE and (before == 0x43 or before == 0x46 or before == 0x4B):
                return 1
        return 0
    if last == _ELLIPSIS and before == _ELLIPSIS:
        return 2
    if (last == 0x73 or last == 0x53) and (before == _QUOTE or before == _RIGHT_QUOTE):
        return 2
    if last == _PLUS and _is_digit(before):
        length = 1
    if kind & EN_CURRENCY:
        if _is_digit(before):
            length = 1
        if last == _DOLLAR and end - 3 >= start:
            if (before == 0x43 or before == 0x41) and _is_digit(points[end - 3]):
                length = 2
            if before == 0x53 and points[end - 3] == 0x55 and end - 4 >= start and _is_digit(points[end - 4]):
                length = 3
    for digit in range(end - 2, max(start, end - 1 - _MAX_UNIT) - 1, -1):
        if _is_digit(points[digit]):
            if _is_unit(points, digit + 1, end, rules):
                length = max(length, end - 1 - digit)
            break
    return length


@kernel
def _infix(chunk: Chunk, at: int, start: int, end: int) -> int:
    """Return the length of the infix at `at`, looking no further than `start` and `end`; 0 if there is none."""
    points, classes = chunk.points, chunk.classes
    point, kind = points[at], classes[at]
    if kind & EN_PLAIN:
        return 0
    if point == _DOT:
        run = 1
        while at + run < end and points[at + run] == _DOT:
            run += 1
        if run > 1:
            return run
        if at == start or at + 1 == end:
            return 0
        left, right = classes[at - 1], classes[at + 1]
        return 1 if left & (EN_LOWER | EN_QUOTE) and right & (EN_UPPER | EN_QUOTE) else 0
    if point == _ELLIPSIS or kind & EN_ICON:
        return 1
    if at == start or at + 1 == end:
        return 0
    digit_left = _is_digit(points[at - 1])
    alpha_left = classes[at - 1] & EN_ALPHA != 0
    if digit_left and (point == _PLUS or point == _HYPHEN or point == 0x2A or point == 0x5E):
        if _is_digit(points[at + 1]) or points[at + 1] == _HYPHEN:
            return 1
    if point == _COMMA:
        return 1 if alpha_left and classes[at + 1] & EN_ALPHA else 0
    if not (alpha_left or digit_left):
        return 0
    if point == _HYPHEN or point == _EN_DASH or point == _EM_DASH or point == _TILDE:
        if classes[at + 1] & EN_ALPHA:
            return 1
        if point == _HYPHEN or point == _EM_DASH:
            run = 1
            while at + run < end and run < 4 and points[at + run] == point:
                run += 1
            longest = 3 if point == _HYPHEN else 2
            if 1 < run <= longest and at + run < end and classes[at + run] & EN_ALPHA:
                return run
        return 0
    if point == _COLON or point == _SLASH or 0x3C <= point <= 0x3E:
        return 1 if classes[at + 1] & EN_ALPHA else 0
    return 0


@kernel
def _is_host_letter(point: int) -> bool:
    return 48 <= point <= 57 or 65 <= point <= 90 or 97 <= point <= 122 or 0xA1 <= point <= 0xFFFF


@kernel
def _url_tail(chunk: Chunk, at: int, end: int) -> bool:
    """Tell whether a port, a path, both or nothing stands between a host and the end."""
    points, classes = chunk.points, chunk.classes
    if at < end and points[at] == _COLON:
        digits = 0
        while at + 1 + digits < end and classes[at + 1 + digits] & DIGIT:
            digits += 1
        if digits < 2 or digits > 5:
            return False
        at += 1 + digits
    return bool(at == end or points[at] == _SLASH or points[at] == 0x3F or points[at] == 0x23)


@kernel
def _is_ip_host(chunk: Chunk, at: int, end: int) -> bool:
    """Tell whether a public IPv4 address with an optional port and path is all there is from `at` to `end`."""
    points = chunk.points
    first = second = 0
    for part in range(4):
        value = digits = 0
        leading_zero = at < end and points[at] == 48
        while at < end and digits < 3 and _is_digit(points[at]):
            value = value * 10 + np.int64(points[at]) - 48
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
            if at >= end or points[at] != _DOT:
                return False
            at += 1
    private = first == 10 or first == 127 or (first == 169 and second == 254) or (first == 192 and second == 168)
    if private or (first == 172 and 16 <= second <= 31):
        return False
    return _url_tail(chunk, at, end)


@kernel
def _is_named_host(chunk: Chunk, at: int, end: int) -> bool:
    """Tell whether a domain name with an optional port and path is all there is from `at` to `end`."""
    points, classes = chunk.points, chunk.classes
    labels = 0
    while True:
        stop = at
        while stop < end and stop - at <= 64:
            point = points[stop]
            if not (_is_host_letter(point) or point == 0x5F or point == _HYPHEN):
                break
            stop += 1
        if stop < end and points[stop] == _DOT:
            length = stop - at
            if length < 1 or length > 64 or not _is_host_letter(points[at]) or not _is_host_letter(points[stop - 1]):
                return False
            labels += 1
            at = stop + 1
            continue
        if labels == 0:
            return False
        stop = at
        while stop < end and classes[stop] & EN_LOWER:
            stop += 1
        return 2 <= stop - at <= 63 and _url_tail(chunk, stop, end)


@kernel
def _is_url(chunk: Chunk, start: int, end: int) -> bool:
    """Tell whether the chunk's characters are a web or mail address."""
    points, classes = chunk.points, chunk.classes
    if _is_ip_host(chunk, start, end) or _is_named_host(chunk, start, end):
        return True
    at = start
    while at < end and (classes[at] & EN_WORD or points[at] == _PLUS or points[at] == _HYPHEN or points[at] == _DOT):
        at += 1
    if at - start >= 2 and at + 2 < end and points[at] == _COLON and points[at + 1] == points[at + 2] == _SLASH:
        if _is_ip_host(chunk, at + 3, end) or _is_named_host(chunk, at + 3, end):
            return True
    for at in range(start + 1, end):
        if points[at] == _AT and (_is_ip_host(chunk, at + 1, end) or _is_named_host(chunk, at + 1, end)):
            return True
    return False


@kernel
def _split_core(chunk: Chunk, start: int, end: int, cuts: int) -> int:
    """Split what affixes have left at its infixes; append the ends of words to the chunk's cuts, return their number.

    No infix stands at the start: it would have come off as a prefix.
    """
    first = -1
    for at in range(start + 1, end):
        if _infix(chunk, at, start, end) > 0:
            first = at
            break
    if first < 0 or _is_url(chunk, start, end):
        chunk.cuts[cuts] = end
        return cuts + 1
    word = start
    at = first
    while at < end:
        length = _infix(chunk, at, start, end)
        if length == 0:
            at += 1
            continue
        if at != word:
            chunk.cuts[cuts] = at
            cuts += 1
        at += length
        chunk.cuts[cuts] = at
        cuts += 1
        word = at
    if word < end:
        chunk.cuts[cuts] = end
        cuts += 1
    return cuts


@kernel
def split_chunk(chunk: Chunk, size: int, rules: EnglishRules, with_exceptions: bool) -> int:
    """Split the first `size` characters of `chunk`; write the ends of the words to its cuts and return their number."""
    start, end = 0, size
    cuts = suffixes = 0
    last = -1
    row = -1
    while start < end and end - start != last:
        if with_exceptions:
            row = _exception(chunk.points, start, end, rules)
            if row >= 0:
                break
        last = end - start
        prefix = _prefix(chunk, start, end)
        if prefix and with_exceptions and start + prefix < end:
            row = _exception(chunk.points, start + prefix, end, rules)
            if row >= 0:
                start += prefix
                chunk.cuts[cuts] = start
                cuts += 1
                break
        suffix = _suffix(chunk, start + prefix, end, rules)
        if suffix and with_exceptions and end - suffix > start:
            row = _exception(chunk.points, start, end - suffix, rules)
            if row >= 0:
                chunk.spare[suffixes] = end
                suffixes += 1
                end -= suffix
                break
        if prefix:
            start += prefix
            chunk.cuts[cuts] = start
            cuts += 1
        if suffix:
            chunk.spare[suffixes] = end
            suffixes += 1
            end -= suffix
    if start < end:
        if row >= 0:
            for i in range(rules.counts[row]):
                chunk.cuts[cuts] = start + rules.pieces[row, i]
                cuts += 1
        else:
            cuts = _split_core(chunk, start, end, cuts)
    for i in range(suffixes - 1, -1, -1):
        chunk.cuts[cuts] = chunk.spare[i]
        cuts += 1
    if with_exceptions and cuts > 1:
        cuts = _join_exceptions(chunk, cuts, rules)
    return cuts


@kernel
def _join_exceptions(chunk: Chunk, cuts: int, rules: EnglishRules) -> int:
    """Where neighbouring words are together an exception that the rules split so, split as the exception says.

    Of spans that overlap the longest counts, then the first; a span hides what it overlaps even if it is itself hidden.
    """
    spans = 0
    start = 0
    for i in range(cuts):
        for j in range(i + 1, cuts):
            if chunk.cuts[j] - start > MAX_EXCEPTION:
                break
            row = _exception(chunk.points, start, chunk.cuts[j], rules)
            if row < 0 or rules.plain_counts[row] != j - i + 1:
                continue
            same = True
            for k in range(i, j + 1):
                if chunk.cuts[k] - start != rules.plain_pieces[row, k - i]:
                    same = False
                    break
            if same:
                chunk.spans[spans * 3] = i
                chunk.spans[spans * 3 + 1] = j
                chunk.spans[spans * 3 + 2] = row
                spans += 1
        start = chunk.cuts[i]
    if spans == 0:
        return cuts
    return _replace_spans(chunk, cuts, spans, rules)


@kernel
def _replace_spans(chunk: Chunk, cuts: int, spans: int, rules: EnglishRules) -> int:
    seen = np.zeros(cuts, np.bool_)
    chosen = np.full(cuts, -1, np.int64)
    for length in range(MAX_EXCEPTION, 1, -1):
        for span in range(spans):
            i, j = chunk.spans[span * 3], chunk.spans[span * 3 + 1]
            if j - i + 1 != length:
                continue
            if not seen[i] and not seen[j]:
                chosen[i] = span
            seen[i : j + 1] = True
    old = chunk.cuts[:cuts].copy()
    out = i = 0
    while i < cuts:
        if chosen[i] < 0:
            chunk.cuts[out] = old[i]
            out += 1
            i += 1
            continue
        span = chosen[i]
        row = chunk.spans[span * 3 + 2]
        start = old[i - 1] if i else 0
        for k in range(rules.counts[row]):
            chunk.cuts[out] = start + rules.pieces[row, k]
            out += 1
        i = chunk.spans[span * 3 + 1] + 1
    return out


@kernel
def _skip_space(data: npt.NDArray[np.uint8], at: int, end: int, table: npt.NDArray[np.uint32]) -> int:
    while at < end:
        byte = data[at]
        if byte < 0x80:
            point, width = np.int64(byte), 1
        else:
            point, width = decode(data, at, end)
        if not table[point] & SPACE:
            break
        at += width
    return at


@kernel
def _add_space(tokens: Tokens, count: int, size: int) -> int:
    tokens.ends[count] = size
    tokens.chars[count] = 1
    tokens.some[count] = SPACE
    tokens.every[count] = SPACE
    tokens.hashes[count] = np.uint64(0)
    return count + 1


@kernel
def split_words(
    data: npt.NDArray[np.uint8],
    at: int,
    end: int,
    table: npt.NDArray[np.uint32],
    rules: EnglishRules,
    chunk: Chunk,
    buffer: npt.NDArray[np.uint8],
    tokens: Tokens,
    with_spaces: bool,
) -> int:
    """Split `data[at:end]` into words and return their number.

    Args:
        data: UTF-8.
        at: where the text begins.
        end: where it ends.
        table: character classes.
        rules: exceptions and units.
        chunk: room for a chunk as long as the text.
        buffer: the words' bytes are written here, one after the other; as long as the text.
        tokens: where each ends and what it is like; as many as the text has bytes.
        with_spaces: whether white space beyond the one blank after a word is a word too (of class SPACE, and nothing
            of it is written to the buffer).
    """
    count = 0
    size = 0
    begin = at
    while at < end:
        start = at
        some, every = np.uint32(0), np.uint32(0xFFFFFFFF)
        key = _FNV_BASIS
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
            key = (key ^ np.uint64(byte)) * _FNV_PRIME
            at += 1
        length = at - start
        if at == end or kind & SPACE:
            if length:
                plain = True
                first, last = np.int64(data[start]), np.int64(data[at - 1])
                if length <= MAX_EXCEPTION and rules.filter[exception_filter(first, last, length)]:
                    for i in range(length):
                        chunk.points[i] = data[start + i]
                    row = _exception(chunk.points, 0, length, rules)
                    if row >= 0 and rules.counts[row] > 1:
                        plain = False
                        for i in range(length):
                            chunk.classes[i] = table[data[start + i]]
                        for i in range(rules.counts[row]):
                            chunk.cuts[i] = rules.pieces[row, i]
                        size = _emit(data, start, chunk, rules.counts[row], buffer, size, tokens, count)
                        count += rules.counts[row]
                if plain:
                    size += length
                    tokens.ends[count] = size
                    tokens.chars[count] = length
                    tokens.some[count] = some
                    tokens.every[count] = every
                    tokens.hashes[count] = key
                    count += 1
            if at == end:
                break
            start = at
            at = _skip_space(data, at, end, table)
            # One blank after a word belongs to nothing.
            if with_spaces and at - start > (1 if start > begin and data[start] == 32 else 0):
                count = _add_space(tokens, count, size)
            continue
        # The chunk as code points.
        at = start
        length = 0
        plain_bits = np.uint32(EN_PLAIN)
        while at < end:
            byte = data[at]
            if byte < 0x80:
                point, width = np.int64(byte), 1
            else:
                point, width = decode(data, at, end)
            kind = table[point]
            if kind & SPACE:
                break
            chunk.points[length] = point
            chunk.classes[length] = kind
            plain_bits &= kind
            length += 1
            at += width
        if length == 0:  # white space that isn't ASCII
            at = _skip_space(data, at, end, table)
            if with_spaces:
                count = _add_space(tokens, count, size)
            continue
        if plain_bits:
            chunk.cuts[0] = length
            cuts = 1
        else:
            cuts = split_chunk(chunk, length, rules, True)
        size = _emit(data, start, chunk, cuts, buffer, size, tokens, count)
        count += cuts
    return count


@kernel
def _emit(
    data: npt.NDArray[np.uint8],
    at: int,
    chunk: Chunk,
    cuts: int,
    buffer: npt.NDArray[np.uint8],
    size: int,
    tokens: Tokens,
    count: int,
) -> int:
    """Write the words of a chunk that begins at `data[at]`; return the bytes in the buffer after them."""
    start = 0
    for i in range(cuts):
        stop = chunk.cuts[i]
        some, every = np.uint32(0), np.uint32(0xFFFFFFFF)
        key = _FNV_BASIS
        for j in range(start, stop):
            kind, point = chunk.classes[j], chunk.points[j]
            some |= kind
            every &= kind
            width = 1 if point < 0x80 else 2 if point < 0x800 else 3 if point < 0x10000 else 4
            for _ in range(width):
                byte = data[at]
                buffer[size] = byte
                key = (key ^ np.uint64(byte)) * _FNV_PRIME
                size += 1
                at += 1
        tokens.ends[count + i] = size
        tokens.chars[count + i] = stop - start
        tokens.some[count + i] = some
        tokens.every[count + i] = every
        tokens.hashes[count + i] = key
        start = stop
    return size
