"""Statistics of words, lines, paragraphs and repetition: one pass over a text, one over its words."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import (
    ALNUM,
    ALPHA,
    BREAK,
    BULLET,
    CLOSER,
    DIGIT,
    MARK,
    PUNCTUATION,
    SPACE,
    TERMINAL,
    UNSPACED,
    UPPER,
    decode,
    integer,
)
from tamis.scorers.kernels.jit import helper, kernel
from tamis.scorers.statistics.repetition_kernels import (
    FNV_BASIS,
    FNV_PRIME,
    Repeats,
    covered_chars,
    intern,
    later_chars,
    new_repeats,
    next_order,
    repeated_words,
    top_ngram,
)

__all__ = ["NGRAM_ROWS", "REPEAT_ROWS", "WORD_ROWS", "count_ones", "stop_word_bit", "text_statistics"]

WORD_ROWS = 21
"""Statistics of words, lines and paragraphs, in the order of the catalogue."""
NGRAM_ROWS = 9
"""Statistics of repeated n-grams, which follow those."""
REPEAT_ROWS = 10
"""Statistics of what occurred before, first lines and paragraphs, then n-grams, which follow those."""

_SHORT_LINE = 30
_HASH, _DOT, _ELLIPSIS = 0x23, 0x2E, 0x2026


@helper
def stop_word_bit(data: npt.NDArray[np.uint8], start: int, end: int, fold: int) -> int:
    """Return the bit of the stop word (the, be, to, of, and, that, have, with) that it is, 0 if none.

    Args:
        data: UTF-8.
        start: where the word begins.
        end: where it ends.
        fold: 0x20 to take ASCII capitals for small letters, 0 to tell them apart.
    """
    # Without branches: which of a text's words are that short isn't to be foretold.
    length = end - start
    last = len(data) - 1
    word = 0
    for i in range(4):
        word = word << 8 | (integer(data[min(start + i, last)]) | fold)
    fits = 2 <= length <= 4
    word = word >> (8 * (4 - length) if fits else 32) | (length if fits else 0) << 32
    bits = integer(word == 0x3_00746865) | integer(word == 0x2_00006265) << 1 | integer(word == 0x2_0000746F) << 2
    bits |= integer(word == 0x2_00006F66) << 3 | integer(word == 0x3_00616E64) << 4 | integer(word == 0x4_74686174) << 5
    return bits | integer(word == 0x4_68617665) << 6 | integer(word == 0x4_77697468) << 7


@helper
def count_ones(value: int) -> int:
    """Return how many bits of `value` are set."""
    count = 0
    while value:
        value &= value - 1
        count += 1
    return count


@helper
def _repeated_shares(
    keys: npt.NDArray[np.uint64], chars: npt.NDArray[np.int64], size: int, repeats: Repeats
) -> tuple[float, float, float, float]:
    """Return the share of things that occur more than once, all counted, and of their characters; without the first."""
    if size < 2 or intern(keys, size, repeats) == size:
        return 0.0, 0.0, 0.0, 0.0
    many = repeated = total = later = later_chars = 0
    for i in range(size):
        total += chars[i]
        if repeats.counts[repeats.ids[i]] > 1:
            many += 1
            repeated += chars[i]
        if repeats.ids[i] != i:
            later += 1
            later_chars += chars[i]
    return many / size, repeated / total, later / size, later_chars / total


@helper
def _repeated_ngrams(
    words: npt.NDArray[np.uint64],
    chars: npt.NDArray[np.int64],
    size: int,
    repeats: Repeats,
    out: npt.NDArray[np.float64],
    text: int,
    later: bool,
) -> None:
    for row in range(NGRAM_ROWS):
        out[WORD_ROWS + row, text] = 0.0
    if later:
        for row in range(4, REPEAT_ROWS):
            out[WORD_ROWS + NGRAM_ROWS + row, text] = 0.0
    found = repeated_words(words, size, repeats)
    for order in range(2, 11):
        if found < 2:
            break
        found = next_order(found, repeats)
        group = -1
        if order < 5:
            group, _ = top_ngram(found, order, chars, repeats, True)  # noqa: FBT003
        out[WORD_ROWS + order - 2, text] = covered_chars(found, order, chars, repeats, group) / chars[size]
        if later and order > 4:
            covered = later_chars(found, order, chars, repeats)
            out[WORD_ROWS + NGRAM_ROWS + order - 1, text] = covered / chars[size]


@kernel
def text_statistics(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    detail: int,
    spaced: bool,
    out: npt.NDArray[np.float64],
) -> None:
    """Write the statistics of each text to its column of `out`.

    Args:
        data: UTF-8 of all texts.
        offsets: where each begins, and the end of the last, (n + 1,).
        table: character classes.
        detail: 0 for words, lines and paragraphs; 1 with repeated n-grams; 2 with all that occurred before, too.
        spaced: whether dots with a blank between are an ellipsis as well.
        out: (WORD_ROWS, n), with n-grams (WORD_ROWS + NGRAM_ROWS, n), with all (... + REPEAT_ROWS, n).
    """
    longest_text = 0
    for text in range(len(offsets) - 1):
        longest_text = max(longest_text, offsets[text + 1] - offsets[text])
    room = longest_text // 2 + 2
    words = np.empty(room, np.uint64)
    chars = np.empty(room + 1, np.int64)
    lines = np.empty(room, np.uint64)
    line_chars = np.empty(room, np.int64)
    paragraphs = np.empty(room, np.uint64)
    paragraph_chars = np.empty(room, np.int64)
    repeats = new_repeats(room)
    chars[0] = 0
    for text in range(len(offsets) - 1):
        at, end = offsets[text], offsets[text + 1]
        begin = at
        # characters of the text
        total = letters = capitals = digits = marks = hashes = ellipses = 0
        # words
        count = alphabetic = longest = stops = solid = 0
        in_word = False
        unspaced = False
        word_chars = 0
        word_kinds = np.uint32(0)
        key = FNV_BASIS
        core_start = core_end = -1
        # lines and paragraphs
        line_count = paragraph_count = 0
        bullets = line_ellipses = terminals = shorts = 0
        line_words = line_solid = 0
        line_key = paragraph_key = FNV_BASIS
        paragraph_solid = 0
        line_first = line_last = dots = gap = 0
        in_line = is_bullet = is_ellipsis = is_terminal = False
        while True:
            closing = at >= end
            point, width, kind = 0, 1, np.uint32(SPACE | BREAK)
            if not closing:
                byte = data[at]
                if byte < 0x80:
                    point = integer(byte)
                else:
                    point, width = decode(data, at, end)
                kind = table[point]
                total += 1
            is_space = kind & SPACE != 0
            if in_word and (is_space or kind & UNSPACED or (unspaced and not kind & MARK)):
                in_word = False
                words[count] = key
                solid += word_chars
                count += 1
                chars[count] = solid
                if word_kinds & ALPHA:
                    alphabetic += 1
                longest = max(longest, word_chars)
                if core_start >= 0:
                    stops |= stop_word_bit(data, core_start, core_end, 0x20)
                line_key = (line_key ^ key) * FNV_PRIME
                line_words += 1
                line_solid += word_chars
            if is_space:
                # The line feed of CR LF ends no line of its own, which would be blank and end a paragraph.
                if kind & BREAK and (closing or point != 10 or at == begin or data[at - 1] != 13):
                    if line_words:
                        lines[line_count] = line_key
                        line_chars[line_count] = line_solid
                        line_count += 1
                        bullets += is_bullet
                        line_ellipses += is_ellipsis or dots > 2
                        terminals += is_terminal
                        shorts += line_last - line_first < _SHORT_LINE
                        paragraph_key = (paragraph_key ^ line_key) * FNV_PRIME
                        paragraph_solid += line_solid
                        line_key = FNV_BASIS
                    if paragraph_solid and (closing or line_words == 0):
                        paragraphs[paragraph_count] = paragraph_key
                        paragraph_chars[paragraph_count] = paragraph_solid
                        paragraph_count += 1
                        paragraph_key = FNV_BASIS
                        paragraph_solid = 0
                    line_words = line_solid = 0
                    in_line = False
                if closing:
                    break
                gap += 1
                at += width
                continue
            if not in_line:
                in_line = True
                line_first = total - 1
                is_bullet = kind & BULLET != 0
                is_terminal = False
                dots = 0
            line_last = total
            if point == _DOT:
                dots = dots + 1 if in_word or (spaced and gap < 2) else 1
                ellipses += dots == 3
                gap = 0
            else:
                dots = 0
            is_ellipsis = point == _ELLIPSIS
            ellipses += is_ellipsis
            hashes += point == _HASH
            letters += kind & ALPHA != 0
            capitals += kind & UPPER != 0
            digits += kind & DIGIT != 0
            marks += kind & PUNCTUATION != 0
            if not kind & CLOSER:
                is_terminal = kind & TERMINAL != 0 or is_ellipsis
            if not in_word:
                in_word = True
                unspaced = kind & UNSPACED != 0
                word_chars = 0
                word_kinds = np.uint32(0)
                key = FNV_BASIS
                core_start = -1
            word_chars += 1
            word_kinds |= kind
            if kind & ALNUM:
                if core_start < 0:
                    core_start = at
                core_end = at + width
            for i in range(at, at + width):
                key = (key ^ np.uint64(data[i])) * FNV_PRIME
            at += width
        out[0, text] = total
        out[1, text] = count
        out[2, text] = solid / max(count, 1)
        out[3, text] = longest
        out[4, text] = alphabetic / max(count, 1)
        out[5, text] = count_ones(stops)
        out[6, text] = hashes / max(count, 1)
        out[7, text] = ellipses / max(count, 1)
        out[8, text] = capitals / max(letters, 1)
        out[9, text] = digits / max(solid, 1)
        out[10, text] = marks / max(solid, 1)
        out[11, text] = line_count
        out[12, text] = paragraph_count
        out[13, text] = bullets / max(line_count, 1)
        out[14, text] = line_ellipses / max(line_count, 1)
        out[15, text] = terminals / max(line_count, 1)
        out[16, text] = shorts / max(line_count, 1)
        same_lines = _repeated_shares(lines, line_chars, line_count, repeats)
        out[17, text], out[18, text] = same_lines[0], same_lines[1]
        same_paragraphs = _repeated_shares(paragraphs, paragraph_chars, paragraph_count, repeats)
        out[19, text], out[20, text] = same_paragraphs[0], same_paragraphs[1]
        if detail:
            later = detail > 1
            if later:
                first = WORD_ROWS + NGRAM_ROWS
                out[first, text], out[first + 1, text] = same_lines[2], same_lines[3]
                out[first + 2, text], out[first + 3, text] = same_paragraphs[2], same_paragraphs[3]
            _repeated_ngrams(words, chars, count, repeats, out, text, later)
