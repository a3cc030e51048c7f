"""Kernels that read the words or characters of a text as 64-bit values, a block at a time.

A word's value is `mix64` of the FNV-1a hash (64 bits) of its folded code points; a character's value is its folded code
point, and between two words stands one blank.
"""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import decode, integer
from tamis.scorers.kernels.jit import helper, kernel
from tamis.scorers.kernels.splitmix import mix64

__all__ = ["BLANK", "fill_characters", "fill_words", "fill_words_with_places", "write_folded"]

_BASIS = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)
_DROPPED = 1 << 31
_SINGLE = 1 << 30
_POINT = (1 << 30) - 1
BLANK = 32


@helper
def _fill(
    data: npt.NDArray[np.uint8],
    at: int,
    end: int,
    table: npt.NDArray[np.uint32],
    values: npt.NDArray[np.uint64],
    starts: npt.NDArray[np.int64] | None,
    ends: npt.NDArray[np.int64] | None,
    have: int,
) -> tuple[int, int]:
    """As `fill_words_with_places`; where `starts` and `ends` are None, nothing of them is left in the machine code."""
    capacity = len(values)
    hashed = _BASIS
    inside = False
    while at < end and have < capacity:
        point = integer(data[at])
        width = 1
        if point >= 0x80:
            point, width = decode(data, at, end)
        folded = integer(table[point])
        if folded == 0:
            if inside:
                values[have] = mix64(hashed)
                have += 1
                hashed = _BASIS
                inside = False
        elif folded < _SINGLE:
            if starts is not None and not inside:
                starts[have] = at
            hashed = (hashed ^ np.uint64(folded)) * _PRIME
            inside = True
            if ends is not None:
                ends[have] = at + width
        elif folded != _DROPPED:
            if inside:
                values[have] = mix64(hashed)
                have += 1
                hashed = _BASIS
                inside = False
                continue  # the character begins the next word: look at it again, if there is room
            values[have] = mix64((_BASIS ^ np.uint64(folded & _POINT)) * _PRIME)
            if starts is not None:
                starts[have] = at
            if ends is not None:
                ends[have] = at + width
            have += 1
        elif ends is not None and inside:
            ends[have] = at + width  # a mark belongs to the letter before it
        at += width
    if inside:  # only the text's end interrupts a word
        values[have] = mix64(hashed)
        have += 1
    return at, have


@kernel
def fill_words(
    data: npt.NDArray[np.uint8],
    at: int,
    end: int,
    table: npt.NDArray[np.uint32],
    values: npt.NDArray[np.uint64],
    have: int,
) -> tuple[int, int]:
    """Append the values of words to `values[have:]` until it is full or the text ends; return (where, how many)."""
    return _fill(data, at, end, table, values, None, None, have)


@kernel
def fill_words_with_places(
    data: npt.NDArray[np.uint8],
    at: int,
    end: int,
    table: npt.NDArray[np.uint32],
    values: npt.NDArray[np.uint64],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    have: int,
) -> tuple[int, int]:
    """As `fill_words`, with the bytes of `data` that each word comes from."""
    return _fill(data, at, end, table, values, starts, ends, have)


@kernel
def fill_characters(
    data: npt.NDArray[np.uint8],
    at: int,
    end: int,
    table: npt.NDArray[np.uint32],
    values: npt.NDArray[np.uint64],
    have: int,
    state: int,
) -> tuple[int, int, int]:
    """Append folded code points, one blank between words, until `values` is all but full or the text ends.

    `state` is 0 before the text's first character, 2 where a blank is due before the next one, else 1. Returns where,
    how many, and the state.
    """
    capacity = len(values) - 1
    while at < end and have < capacity:
        point = integer(data[at])
        width = 1
        if point >= 0x80:
            point, width = decode(data, at, end)
        folded = integer(table[point])
        if folded == 0:
            if state:
                state = 2
        elif folded != _DROPPED:
            if state == 2:
                values[have] = BLANK
                have += 1
            values[have] = folded & _POINT
            have += 1
            state = 1
        at += width
    return at, have, state


@kernel
def _encode(point: int, out: npt.NDArray[np.uint8], size: int) -> int:
    """Write a code point as UTF-8; return the new size."""
    if point < 0x80:
        out[size] = point
        return size + 1
    if point < 0x800:
        out[size] = 0xC0 | point >> 6
        out[size + 1] = 0x80 | point & 0x3F
        return size + 2
    if point < 0x10000:
        out[size] = 0xE0 | point >> 12
        out[size + 1] = 0x80 | point >> 6 & 0x3F
        out[size + 2] = 0x80 | point & 0x3F
        return size + 3
    out[size] = 0xF0 | point >> 18
    out[size + 1] = 0x80 | point >> 12 & 0x3F
    out[size + 2] = 0x80 | point >> 6 & 0x3F
    out[size + 3] = 0x80 | point & 0x3F
    return size + 4


@kernel
def write_folded(
    data: npt.NDArray[np.uint8],
    at: int,
    end: int,
    table: npt.NDArray[np.uint32],
    words: bool,
    out: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
) -> int:
    """Write the folded text as UTF-8, one blank between words; return the number of units.

    `starts[i]` is where unit i (a word, or a character where `words` is False) begins in `out`, and one entry more says
    where the next would begin: a word ends one byte before that. `out` needs 4 * (end - at) + 1 bytes, and `starts` one
    entry a byte and two more.
    """
    size = 0
    units = 0
    inside = False
    pending = False
    while at < end:
        point = integer(data[at])
        width = 1
        if point >= 0x80:
            point, width = decode(data, at, end)
        folded = integer(table[point])
        at += width
        if folded == 0:
            inside = False
            pending = units > 0
            continue
        if folded == _DROPPED:
            continue
        single = words and folded >= _SINGLE
        if units and (pending or (words and (single or not inside))):
            if not words:
                starts[units] = size
                units += 1
            out[size] = BLANK
            size += 1
        pending = False
        if not words or single or not inside:
            starts[units] = size
            units += 1
        size = _encode(folded & _POINT, out, size)
        inside = not single
    starts[units] = size + 1 if words else size
    return units
