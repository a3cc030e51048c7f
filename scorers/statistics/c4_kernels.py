"""C4's rules for lines: which are kept, what they are without citation marks, and their sentences."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import (
    BREAK,
    CLOSER,
    DIGIT,
    PUNCTUATION,
    SENTENCE_END,
    SPACE,
    TERMINAL,
    decode,
    integer,
    without_space,
)
from tamis.scorers.kernels.jit import helper, kernel, lean_kernel
from tamis.scorers.statistics.english_words_kernels import CHARS, EVERY, EnglishRules, new_chunk, new_words, split_words

__all__ = [
    "C4_CURLY",
    "C4_LOREM",
    "C4Lines",
    "C4Options",
    "c4_lines",
    "english_sentences",
    "page_phrases",
    "sentences",
    "stripped",
]

C4_LOREM, C4_CURLY = 1, 2
_JAVASCRIPT, _POLICY = 4, 8
_ELLIPSIS = 0x2026

_FIRST, _SECOND = np.zeros(256, np.uint8), np.zeros(256, np.uint8)
"""Bits of the phrases whose first and whose second letter a byte is, in either case."""
for _bit, _start in enumerate((b"ja", b"lo", b"te", b"pr", b"co", b"us")):
    for _table, _letter in zip((_FIRST, _SECOND), _start, strict=True):
        _table[[_letter, _letter & ~0x20]] |= 1 << _bit


class C4Options(NamedTuple):
    """What makes a line worth keeping.

    Attributes:
        min_words: least number of words between white space.
        max_word: most characters of such a word; 0 for no limit.
        terminal: whether it must end in one of `. ? ! "` and not in three dots.
        single_quote: whether an apostrophe is such an ending too; a right double quotation mark is otherwise.
        trim: whether blanks that a citation mark leaves at the line's ends are cut before that is looked at.
    """

    min_words: int
    max_word: int
    terminal: bool
    single_quote: bool
    trim: bool


class C4Lines(NamedTuple):
    """The lines kept of some texts.

    Attributes:
        data: UTF-8 of the lines, with a line feed between those of one text.
        offsets: where each text begins in it, and the end, (n + 1,).
        starts: where each line begins.
        ends: where each line ends.
        lines: the number of lines before each text, and of all, (n + 1,).
        chars: characters of each text's lines, those kept and all, without white space at their ends, (2, n).
        first: which came first in the lines that got so far, C4_LOREM or C4_CURLY; 0 if neither, (n,).
    """

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]
    chars: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]


@helper
def _begins(data: npt.NDArray[np.uint8], at: int, end: int, phrase: bytes) -> bool:
    """Tell whether the lower case of `data[at:end]` begins with `phrase` (a Kelvin sign gives a k)."""
    for letter in phrase:
        if at >= end:
            return False
        byte = integer(data[at])
        if letter == 0x6B and byte == 0xE2 and at + 2 < end and data[at + 1] == 0x84 and data[at + 2] == 0xAA:
            at += 3
            continue
        if 65 <= byte <= 90:
            byte |= 0x20
        if byte != letter:
            return False
        at += 1
    return True


@helper
def _phrases(data: npt.NDArray[np.uint8], at: int, end: int) -> int:
    """Return which of C4's phrases are in `data[at:end]`, as bits."""
    found = 0
    for i in range(at, end - 9):
        # The phrases that begin with a byte and those that go on with the next: hardly ever is one left.
        if not _FIRST[data[i]] & _SECOND[data[i + 1]]:
            continue
        first = data[i] | 0x20
        if first == 0x6A:
            if _begins(data, i, end, b"javascript"):
                found |= _JAVASCRIPT
        elif first == 0x6C:
            if _begins(data, i, end, b"lorem ipsum"):
                found |= C4_LOREM
        elif (
            _begins(data, i, end, b"terms of use")
            or _begins(data, i, end, b"privacy policy")
            or _begins(data, i, end, b"cookie policy")
            or _begins(data, i, end, b"uses cookies")
            or _begins(data, i, end, b"use of cookies")
            or _begins(data, i, end, b"use cookies")
        ):
            found |= _POLICY
    return found


@lean_kernel
def page_phrases(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], out: npt.NDArray[np.float64]) -> None:
    """Write how often each text has "lorem ipsum", in any case, and how often "{", to `out`, (2, n)."""
    for text in range(len(offsets) - 1):
        lorem = curly = 0
        end = offsets[text + 1]
        for i in range(offsets[text], end):
            byte = data[i]
            if byte == 0x7B:
                curly += 1
            elif (byte | 0x20) == 0x6C and _begins(data, i, end, b"lorem ipsum"):
                lorem += 1
        out[0, text] = lorem
        out[1, text] = curly


@helper
def _citation(data: npt.NDArray[np.uint8], at: int, end: int, table: npt.NDArray[np.uint32]) -> int:
    """Return the bytes of the citation mark at `data[at]`, a "[": [1], [edit] or [citation needed]."""
    i = at + 1
    while i < end:
        byte = data[i]
        if byte < 0x80:
            point, width = integer(byte), 1
        else:
            point, width = decode(data, i, end)
        if not table[point] & DIGIT:
            break
        i += width
    if i < end and data[i] == 0x5D:
        return i + 1 - at
    for phrase in (b"edit]", b"citation needed]"):
        same = at + len(phrase) < end
        if same:
            for j in range(len(phrase)):
                if data[at + 1 + j] != phrase[j]:
                    same = False
                    break
        if same:
            return len(phrase) + 1
    return 0


@helper
def _ends_sentence(data: npt.NDArray[np.uint8], start: int, end: int, options: C4Options) -> bool:
    """Tell whether a line ends as a sentence does."""
    if end == start:
        return False
    last = data[end - 1]
    if last == 0x2E:
        return not (end - start > 2 and data[end - 2] == 0x2E and data[end - 3] == 0x2E)
    if last in (0x3F, 0x21, 0x22):
        return True
    if options.single_quote:
        return bool(last == 0x27)
    return bool(end - start > 2 and last == 0x9D and data[end - 2] == 0x80 and data[end - 3] == 0xE2)


@helper
def _count_chars(data: npt.NDArray[np.uint8], start: int, end: int) -> int:
    chars = 0
    for i in range(start, end):
        chars += data[i] & 0xC0 != 0x80
    return chars


@helper
def _clean_line(
    data: npt.NDArray[np.uint8],
    at: int,
    end: int,
    table: npt.NDArray[np.uint32],
    options: C4Options,
    out: npt.NDArray[np.uint8],
    size: int,
    first: npt.NDArray[np.int64],
    text: int,
) -> int:
    """Write a line without citation marks to `out[size:]`; return its end, -1 if it is to be dropped.

    The line has no white space at its ends. What would have its whole page dropped is recorded in `first`.
    """
    words = 0
    word_chars = 0
    for i in range(at, end):  # white space is ASCII but for a few characters, which take the longer way
        byte = data[i]
        if byte < 0x80:
            is_space = table[byte] & SPACE != 0
        elif byte < 0xC0:
            continue
        else:
            point, _ = decode(data, i, end)
            is_space = table[point] & SPACE != 0
        if is_space:
            word_chars = 0
            continue
        words += word_chars == 0
        word_chars += 1
        if options.max_word and word_chars > options.max_word:
            return -1
    stop = size
    i = at
    while i < end:
        if data[i] == 0x5B:
            skip = _citation(data, i, end, table)
            if skip:
                i += skip
                continue
        if not (options.trim and stop == size and data[i] == 32):
            out[stop] = data[i]
            stop += 1
        i += 1
    if options.trim:
        _, stop = without_space(out, size, stop, table)
    if options.terminal and not _ends_sentence(out, size, stop, options):
        return -1
    if words < options.min_words:
        return -1
    found = _phrases(out, size, stop)
    if found & C4_LOREM and first[text] == 0:
        first[text] = C4_LOREM
    if found & _JAVASCRIPT:
        return -1
    if first[text] == 0:
        for i in range(size, stop):
            if out[i] == 0x7B:
                first[text] = C4_CURLY
                break
    return -1 if found & _POLICY else stop


@kernel
def c4_lines(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], table: npt.NDArray[np.uint32], options: C4Options
) -> C4Lines:
    """Return the lines that C4's rules keep of each text, without citation marks."""
    texts = len(offsets) - 1
    room = offsets[texts] - offsets[0]
    out = np.empty(room + 1, np.uint8)
    out_offsets = np.zeros(texts + 1, np.int64)
    starts = np.empty(room // 2 + texts + 1, np.int64)
    ends = np.empty(room // 2 + texts + 1, np.int64)
    lines = np.zeros(texts + 1, np.int64)
    chars = np.zeros((2, texts), np.int64)
    first = np.zeros(texts, np.int64)
    size = count = 0
    for text in range(texts):
        at, end = offsets[text], offsets[text + 1]
        any_line = False
        start = stop = -1  # the line's first and last characters that aren't white space
        while at <= end:
            point, width = 10, 1
            if at < end:
                point = integer(data[at])
                if point >= 0x80:
                    point, width = decode(data, at, end)
            kind = table[point]
            if not kind & SPACE:
                if start < 0:
                    start = at
                stop = at + width
            elif kind & BREAK and start >= 0:
                chars[1, text] += _count_chars(data, start, stop)
                begin = size + 1 if any_line else size
                new = _clean_line(data, start, stop, table, options, out, begin, first, text)
                if new >= 0:
                    if any_line:
                        out[size] = 10
                    any_line = True
                    starts[count] = begin
                    ends[count] = new
                    count += 1
                    chars[0, text] += _count_chars(out, begin, new)
                    size = new
                start = -1
            at += width
        out_offsets[text + 1] = size
        lines[text + 1] = count
    return C4Lines(out[:size], out_offsets, starts[:count], ends[:count], lines, chars, first)


@kernel
def stripped(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], table: npt.NDArray[np.uint32]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the texts and their offsets without white space at the ends of each."""
    out = np.empty(len(data), np.uint8)
    out_offsets = np.zeros(len(offsets), np.int64)
    size = 0
    for text in range(len(offsets) - 1):
        start, end = without_space(data, offsets[text], offsets[text + 1], table)
        for at in range(start, end):
            out[size + at - start] = data[at]
        size += end - start
        out_offsets[text + 1] = size
    return out[:size], out_offsets


@lean_kernel
def sentences(lines: C4Lines, table: npt.NDArray[np.uint32], out: npt.NDArray[np.float64]) -> None:
    """Write the number of sentences in each text's lines to `out`, (n,).

    A sentence ends at a run of terminal marks and closing quotation marks or brackets if white space or the
    line's end follows, or if the marks aren't ASCII, and at the line's end.
    """
    data = lines.data
    for text in range(len(out)):
        total = 0
        for line in range(lines.lines[text], lines.lines[text + 1]):
            at, end = lines.starts[line], lines.ends[line]
            unfinished = False
            terminal = wide = False
            while at < end:
                point, width = integer(data[at]), 1
                if point >= 0x80:
                    point, width = decode(data, at, end)
                kind = table[point]
                at += width
                if kind & TERMINAL or point == _ELLIPSIS:
                    unfinished = terminal = True
                    wide |= point >= 0x80
                    continue
                if terminal and kind & CLOSER:
                    continue
                if terminal and (wide or kind & SPACE):
                    total += 1
                    unfinished = False
                terminal = wide = False
                unfinished |= not kind & SPACE
            total += unfinished
        out[text] = total


@kernel
def english_sentences(
    lines: C4Lines, table: npt.NDArray[np.uint32], rules: EnglishRules, out: npt.NDArray[np.float64]
) -> None:
    """Write the number of sentences as spaCy's sentencizer sees them in each text's lines to `out`, (n,).

    A sentence ends after a word that is one terminal mark and after the marks that follow it.
    """
    data, starts, ends, first = lines.data, lines.starts, lines.ends, lines.lines
    longest = 0
    for line in range(len(starts)):
        longest = max(longest, ends[line] - starts[line])
    chunk = new_chunk(longest)
    words = new_words(longest + 1)
    hashes = np.empty(longest + 1, np.uint64)
    seen, slots, rows = rules.filter, rules.slots, rules.rows
    buffer = np.empty(longest + 1, np.uint8)
    for text in range(len(out)):
        total = 0
        for line in range(first[text], first[text + 1]):
            start, end = starts[line], ends[line]
            count = split_words(
                data,
                start,
                end,
                table,
                seen,
                slots,
                rows,
                chunk,
                buffer,
                words,
                hashes,
                True,  # noqa: FBT003
            )
            total += count > 0
            ended = False
            for i in range(count):
                is_end = words[CHARS, i] == 1 and words[EVERY, i] & SENTENCE_END != 0
                if is_end:
                    ended = True
                elif ended and not words[EVERY, i] & PUNCTUATION:
                    total += 1
                    ended = False
        out[text] = total
