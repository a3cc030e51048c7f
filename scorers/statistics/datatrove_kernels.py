"""The statistics behind the decisions of datatrove's Gopher and FineWeb filters, as its code defines them."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import ALPHA, BREAK, SPACE, SYMBOL, TERMINAL, decode, integer, without_space
from tamis.scorers.kernels.jit import helper, kernel
from tamis.scorers.statistics.english_words_kernels import (
    CHARS,
    ENDS,
    EVERY,
    SOME,
    EnglishRules,
    new_chunk,
    new_words,
    split_words,
)
from tamis.scorers.statistics.repetition_kernels import (
    FNV_BASIS,
    FNV_PRIME,
    Repeats,
    intern,
    new_repeats,
    next_order,
    repeated_words,
    top_ngram,
)
from tamis.scorers.statistics.text_kernels import count_ones, stop_word_bit

__all__ = [
    "DATATROVE_LINE_ROWS",
    "DATATROVE_WORD_ROWS",
    "GivenWords",
    "datatrove_lines",
    "datatrove_words",
    "words_found",
]

DATATROVE_LINE_ROWS = 14
DATATROVE_WORD_ROWS = 14

_WINDOW = 16
_FIRST_ORDER = 5
_POWERS = 1024
_SHORT_LINE = 30
_BASE = np.uint64(0x9E3779B97F4A7C15)
_HASH, _HYPHEN, _DOT, _BULLET, _ELLIPSIS = 0x23, 0x2D, 0x2E, 0x2022, 0x2026


class GivenWords(NamedTuple):
    """Words that another splitter found.

    Attributes:
        data: their UTF-8, one after the other without blanks.
        ends: where each ends in it, after a zero, (words + 1,).
        words: the number of words before each text, and of all, (n + 1,).
    """

    data: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]
    words: npt.NDArray[np.int64]


@helper
def _repeats_after_first(
    keys: npt.NDArray[np.uint64], chars: npt.NDArray[np.int64], size: int, repeats: Repeats
) -> tuple[int, int]:
    """Return how many things occurred before, and the characters of those."""
    if size < 2 or intern(keys, size, repeats) == size:
        return 0, 0
    many = total = 0
    for i in range(size):
        if repeats.ids[i] != i:
            many += 1
            total += chars[i]
    return many, total


@helper
def _paragraphs(
    data: npt.NDArray[np.uint8],
    at: int,
    end: int,
    keys: npt.NDArray[np.uint64],
    chars: npt.NDArray[np.int64],
) -> int:
    """Write hash and characters of each paragraph, between two or more line feeds; return how many."""
    count = 0
    key = FNV_BASIS
    length = 0
    while at < end:
        byte = data[at]
        if byte == 10:
            feeds = 1
            while data[at + feeds] == 10:  # the text doesn't end in one
                feeds += 1
            if feeds > 1:
                keys[count] = key
                chars[count] = length
                count += 1
                key = FNV_BASIS
                length = 0
                at += feeds
                continue
        key = (key ^ np.uint64(byte)) * FNV_PRIME
        length += byte & 0xC0 != 0x80
        at += 1
    keys[count] = key
    chars[count] = length
    return count + 1


@kernel
def datatrove_lines(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    out: npt.NDArray[np.float64],
) -> None:
    """Write the statistics that don't depend on words to `out`, (DATATROVE_LINE_ROWS, n).

    The last three rows are the numbers of "#", of ellipses and of line feeds, for ratios to the number of
    words.
    """
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    room = longest // 2 + 2
    keys = np.empty(room, np.uint64)
    chars = np.empty(room, np.int64)
    filled_chars = np.empty(room, np.int64)
    repeats = new_repeats(room)
    for text in range(len(offsets) - 1):
        begin, end = offsets[text], offsets[text + 1]
        at, stop = without_space(data, begin, end, table)
        paragraphs = _paragraphs(data, at, stop, keys, chars)
        same_paragraphs, same_paragraph_chars = _repeats_after_first(keys, chars, paragraphs, repeats)

        total = hashes = ellipses = feeds = dots = 0
        # lines as str.splitlines has them
        lines = bullets = line_ellipses = 0
        in_line = False
        first_point = last_point = -1
        run = last_run = 0  # of dots, and at the last character that isn't white space
        # segments between line feeds
        segments = segment_chars = filled = terminals = shorts = 0
        segment_key = FNV_BASIS
        blank = True
        last_kind = np.uint32(0)
        at = begin
        while at <= end:
            point, width = 10, 1
            closing = at == end
            if not closing:
                point = integer(data[at])
                if point >= 0x80:
                    point, width = decode(data, at, end)
                total += 1
            kind = table[point]
            if point == _DOT:
                dots += 1
            else:
                ellipses += dots // 3
                dots = 0
                hashes += point == _HASH
                ellipses += point == _ELLIPSIS
            if kind & BREAK:
                # The line feed of CR LF ends no line of its own; a text's end does if something stands before
                # it.
                if in_line or not (closing or (point == 10 and at > begin and data[at - 1] == 13)):
                    lines += 1
                    bullets += first_point in (_BULLET, _HYPHEN)
                    line_ellipses += last_point == _ELLIPSIS or last_run > 2
                in_line = False
                first_point = last_point = -1
                run = last_run = 0
            else:
                in_line = True
                if kind & SPACE:
                    run = 0
                else:
                    if first_point < 0:
                        first_point = point
                    last_point = point
                    run = run + 1 if point == _DOT else 0
                    last_run = run
            if point == 10:
                feeds += not closing
                if segment_chars:
                    keys[segments] = segment_key
                    chars[segments] = segment_chars
                    filled_chars[segments] = 0 if blank else segment_chars
                    segments += 1
                if not blank:
                    filled += 1
                    shorts += segment_chars <= _SHORT_LINE
                    terminals += last_kind & TERMINAL != 0
                segment_chars = 0
                segment_key = FNV_BASIS
                blank = True
            else:
                for i in range(at, at + width):
                    segment_key = (segment_key ^ np.uint64(data[i])) * FNV_PRIME
                segment_chars += 1
                last_kind = kind
                blank = blank and kind & SPACE != 0
            at += width

        # re.split on runs of line feeds gives an empty line before a leading and after a trailing run.
        leading = end > begin and data[begin] == 10
        trailing = end > begin and data[end - 1] == 10
        same_lines, same_chars = _repeats_after_first(keys, chars, segments, repeats)
        same_filled_chars = 0
        if same_lines:
            for i in range(segments):
                if repeats.ids[i] != i:
                    same_filled_chars += filled_chars[i]
        same_lines += leading and trailing
        out[0, text] = total
        out[1, text] = bullets / max(lines, 1)
        out[2, text] = line_ellipses / max(lines, 1)
        out[3, text] = same_paragraphs / paragraphs
        out[4, text] = same_paragraph_chars / max(total, 1)
        out[5, text] = same_lines / max(segments + leading + trailing, 1)
        out[6, text] = same_chars / max(total, 1)
        out[7, text] = filled
        out[8, text] = terminals / max(filled, 1)
        out[9, text] = shorts / max(filled, 1)
        out[10, text] = same_filled_chars / max(total - feeds, 1)
        out[11, text] = hashes
        out[12, text] = ellipses
        out[13, text] = feeds


@helper
def _same_bytes(data: npt.NDArray[np.uint8], first: int, second: int, length: int) -> bool:
    same = 0
    while same < length and data[first + same] == data[second + same]:
        same += 1
    return same == length


@helper
def _eight_bytes(data: npt.NDArray[np.uint8], at: int) -> np.uint64:
    """Return eight bytes as one number, which the compiler makes one load of."""
    number = np.uint64(0)
    for i in range(8):
        number |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return number


@helper
def _mark_windows(
    buffer: npt.NDArray[np.uint8],
    words: npt.NDArray[np.int64],
    count: int,
    repeats: Repeats,
    marks: npt.NDArray[np.bool_],
) -> None:
    """Mark words where a run of bytes begins that begins at another word too.

    Longer runs of words can only be equal as joined strings where these are.
    """
    size = words[ENDS, count - 1]
    start = 0
    for i in range(count):
        key = np.uint64(0)
        if start + _WINDOW <= size:
            key = (_eight_bytes(buffer, start) * _BASE + _eight_bytes(buffer, start + 8)) * _BASE
        repeats.keys[i] = key
        start = words[ENDS, i]
    intern(repeats.keys, count, repeats)
    for i in range(count):
        marks[i] = repeats.counts[repeats.ids[i]] > 1


@helper
def _prefix_sums(
    buffer: npt.NDArray[np.uint8], words: npt.NDArray[np.int64], count: int, sums: npt.NDArray[np.uint64]
) -> None:
    """Write the polynomial of the bytes before each word, and of all."""
    at = 0
    sums[0] = np.uint64(0)
    for i in range(count):
        total = sums[i]
        while at < words[ENDS, i]:
            total = total * _BASE + np.uint64(buffer[at]) + np.uint64(1)
            at += 1
        sums[i + 1] = total


@helper
def _power(exponent: int, powers: npt.NDArray[np.uint64]) -> np.uint64:
    """Return the base of the polynomial to the power of `exponent`, from the table where it has it."""
    power = np.uint64(1)
    while exponent >= len(powers):
        power *= powers[len(powers) - 1]
        exponent -= len(powers) - 1
    return np.uint64(power * powers[exponent])


@helper
def _greedy_repeats(
    buffer: npt.NDArray[np.uint8],
    words: npt.NDArray[np.int64],
    chars: npt.NDArray[np.int64],
    sums: npt.NDArray[np.uint64],
    powers: npt.NDArray[np.uint64],
    order: int,
    candidates: npt.NDArray[np.int32],
    keys: npt.NDArray[np.uint64],
    slots: npt.NDArray[np.int32],
) -> int:
    """Return the characters of n-grams that were met before, going on behind each such n-gram.

    Two n-grams are equal if their words joined without blanks are, wherever the words' borders lie.

    Args:
        buffer: the words' bytes.
        words: where each ends.
        chars: characters before each word.
        sums: polynomial of the bytes before each word.
        powers: of the polynomial's base.
        order: words of an n-gram.
        candidates: positions, ascending, among which are all whose n-gram occurs elsewhere too.
        keys: room for the hash of each candidate.
        slots: room for open addressing.
    """
    size = 16
    while size < 2 * len(candidates):
        size *= 2
    slots[:size] = -1
    mask = size - 1
    repeated = 0
    behind = 0
    for c in range(len(candidates)):
        i = integer(candidates[c])
        if i < behind:
            continue
        start = words[ENDS, i - 1] if i else 0
        length = words[ENDS, i + order - 1] - start
        key = sums[i + order] - sums[i] * _power(length, powers)
        slot = integer((key * FNV_PRIME >> np.uint64(32)) & np.uint64(mask))
        found = False
        while slots[slot] >= 0 and not found:
            other = integer(candidates[slots[slot]])
            other_start = words[ENDS, other - 1] if other else 0
            found = (
                keys[slots[slot]] == key
                and words[ENDS, other + order - 1] - other_start == length
                and _same_bytes(buffer, start, other_start, length)
            )
            slot = (slot + 1) & mask
        if found:
            repeated += chars[i + order] - chars[i]
            behind = i + order
        else:
            slots[slot] = c
            keys[c] = key
    return repeated


@helper
def _ngrams(
    buffer: npt.NDArray[np.uint8],
    words: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    chars: npt.NDArray[np.int64],
    count: int,
    repeats: Repeats,
    marks: npt.NDArray[np.bool_],
    sums: npt.NDArray[np.uint64],
    powers: npt.NDArray[np.uint64],
    out: npt.NDArray[np.float64],
    text: int,
) -> None:
    for row in range(5, DATATROVE_WORD_ROWS):
        out[row, text] = 0.0
    if count == 0:
        return
    found = repeated_words(hashes, count, repeats)
    for order in range(2, 5):
        found = next_order(found, repeats)
        first, times = top_ngram(found, order, chars, repeats, False)  # noqa: FBT003
        if times == 0:
            first, times = 0, 1
        if count >= order:
            out[3 + order, text] = (chars[first + order] - chars[first] + order - 1) * times
    _mark_windows(buffer, words, count, repeats, marks)
    candidates, keys, slots = repeats.candidates, repeats.keys, repeats.slots
    size = count
    for i in range(count):
        candidates[i] = i
    for order in range(_FIRST_ORDER, 11):
        kept = 0  # longer n-grams are fewer of those that can be repeated
        for c in range(size):
            i = integer(candidates[c])
            if i + order > count:
                break
            start = words[ENDS, i - 1] if i else 0
            if marks[i] or words[ENDS, i + order - 1] - start < _WINDOW:
                candidates[kept] = i
                kept += 1
        size = kept
        if size < 2:  # nor are there longer ones
            break
        if order == _FIRST_ORDER:
            _prefix_sums(buffer, words, count, sums)
        out[3 + order, text] = _greedy_repeats(
            buffer, words, chars, sums, powers, order, candidates[:size], keys, slots
        )


@helper
def _given(
    given: GivenWords,
    text: int,
    table: npt.NDArray[np.uint32],
    buffer: npt.NDArray[np.uint8],
    words: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
) -> int:
    """Describe the words that another splitter found in a text; return how many there are."""
    first = given.words[text]
    count = integer(given.words[text + 1] - first)
    base = given.ends[first]
    for i in range(count):
        at, end = given.ends[first + i], given.ends[first + i + 1]
        some, every = 0, -1
        chars = 0
        key = FNV_BASIS
        while at < end:
            point, width = integer(given.data[at]), 1
            if point >= 0x80:
                point, width = decode(given.data, at, end)
            some |= table[point]
            every &= table[point]
            chars += 1
            for j in range(at, at + width):
                buffer[j - base] = given.data[j]
                key = (key ^ np.uint64(given.data[j])) * FNV_PRIME
            at += width
        words[ENDS, i] = end - base
        words[CHARS, i] = chars
        words[SOME, i] = some
        words[EVERY, i] = every
        hashes[i] = key
    return count


@kernel
def words_found(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    rules: EnglishRules,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the words of all texts: their bytes, where each ends after a zero, and how many are before each text."""
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    words = new_words(longest + 1)
    hashes = np.empty(longest + 1, np.uint64)
    seen, slots, rows = rules.filter, rules.slots, rules.rows
    chunk = new_chunk(longest)
    buffer = np.empty(longest + 1, np.uint8)
    found = np.empty(len(data) + 1, np.uint8)
    ends = np.zeros(len(data) + 2, np.int64)
    before = np.zeros(len(offsets), np.int64)
    size = total = 0
    for text in range(len(offsets) - 1):
        count = split_words(
            data,
            offsets[text],
            offsets[text + 1],
            table,
            seen,
            slots,
            rows,
            chunk,
            buffer,
            words,
            hashes,
            False,  # noqa: FBT003
        )
        for i in range(count):
            ends[total + i + 1] = size + words[ENDS, i]
        if count:
            length = words[ENDS, count - 1]
            found[size : size + length] = buffer[:length]
            size += length
        total += count
        before[text + 1] = total
    return found[:size], ends[: total + 1], before


@kernel
def datatrove_words(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    rules: EnglishRules,
    given: GivenWords,
    use_given: bool,
    stop_words: npt.NDArray[np.uint64],
    english_stop_words: bool,
    ngrams: bool,
    out: npt.NDArray[np.float64],
) -> None:
    """Write the statistics that depend on words to `out`, (DATATROVE_WORD_ROWS, n).

    Args:
        data: UTF-8 of all texts.
        offsets: where each begins, and the end of the last, (n + 1,).
        table: character classes.
        rules: of English words.
        given: the words, if another splitter is to be followed.
        use_given: whether it is.
        stop_words: FNV-1a of the bytes of each stop word, ascending and each once.
        english_stop_words: whether Gopher's English ones are counted instead.
        ngrams: whether to compute the last nine rows, which are numbers of characters.
        out: number of words, of those with other characters than punctuation, mean characters of the latter,
            share of words with a letter, number of different stop words, most frequent 2- to 4-grams,
            repeated 5- to 10-grams.
    """
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    words = new_words(longest + 1)
    hashes = np.empty(longest + 1, np.uint64)
    seen, slots, rows = rules.filter, rules.slots, rules.rows
    chunk = new_chunk(longest)
    buffer = np.empty(longest + 1, np.uint8)
    chars = np.empty(longest + 2, np.int64)
    marks = np.empty(longest + 1, np.bool_)
    sums = np.empty(longest + 2, np.uint64)
    powers = np.ones(_POWERS, np.uint64)
    for i in range(1, _POWERS):
        powers[i] = powers[i - 1] * _BASE
    repeats = new_repeats(longest + 1)
    met = np.full(len(stop_words), -1, np.int64)  # the text in which each was met last
    for text in range(len(offsets) - 1):
        if use_given:
            count = _given(given, text, table, buffer, words, hashes)
        else:
            count = split_words(
                data,
                offsets[text],
                offsets[text + 1],
                table,
                seen,
                slots,
                rows,
                chunk,
                buffer,
                words,
                hashes,
                False,  # noqa: FBT003
            )
        real = real_chars = alphabetic = stops = others = total = start = 0
        for i in range(count):
            chars[i] = total
            total += words[CHARS, i]
            if not words[EVERY, i] & SYMBOL:
                real += 1
                real_chars += words[CHARS, i]
            alphabetic += words[SOME, i] & ALPHA != 0
            if english_stop_words:
                stops |= stop_word_bit(buffer, start, words[ENDS, i], 0)
            else:
                place = np.searchsorted(stop_words, hashes[i])
                if place < len(stop_words) and stop_words[place] == hashes[i] and met[place] != text:
                    met[place] = text
                    others += 1
            start = words[ENDS, i]
        chars[count] = total
        out[0, text] = count
        out[1, text] = real
        out[2, text] = real_chars / max(real, 1)
        out[3, text] = alphabetic / max(count, 1)
        out[4, text] = count_ones(stops) + others
        if ngrams:
            _ngrams(buffer, words, hashes, chars, count, repeats, marks, sums, powers, out, text)
