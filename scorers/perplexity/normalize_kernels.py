"""The kernel of the text normaliser: one table look-up a code point, over UTF-8 buffers."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import decode
from tamis.scorers.kernels.jit import helper, lean_kernel
from tamis.scorers.kernels.whitespace import whitespace_length
from tamis.scorers.kernels.word_hash import signed

__all__ = ["CASED", "IGNORABLE", "SIGMA", "SLOW", "map_texts"]

SIGMA = 1
"""Class bit of a code point: the capital sigma, whose lower case depends on its neighbours."""
CASED = 2
"""Class bit: a cased letter that isn't case-ignorable."""
IGNORABLE = 4
"""Class bit: skipped when the neighbours of a capital sigma are looked for."""
SLOW = 8
"""Class bit: a mark whose place after decomposition depends on its neighbours; its text takes the slow path."""


@helper
def _row(pages: npt.NDArray[np.int32], point: int) -> int:
    """Return the row of a code point in the tables, or -1 where they leave it as it is."""
    page = pages[point >> 8]
    return -1 if page < 0 else (signed(page) << 8) | (point & 255)


@helper
def _point(data: npt.NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    first = data[at]
    return (signed(first), 1) if first < 0x80 else decode(data, at, end)


@helper
def _before(data: npt.NDArray[np.uint8], position: int, start: int) -> int:
    """Return where the code point that ends before `position` starts."""
    position -= 1
    while position > start and data[position] & 0xC0 == 0x80:
        position -= 1
    return position


@helper
def _ends_word(
    data: npt.NDArray[np.uint8],
    pages: npt.NDArray[np.int32],
    classes: npt.NDArray[np.uint8],
    start: int,
    end: int,
    sigma: int,
) -> bool:
    """Tell whether the capital sigma at `sigma` (two bytes) ends a word: Unicode's condition Final_Sigma."""
    position = sigma
    cased = False
    while position > start:
        position = _before(data, position, start)
        row = _row(pages, _point(data, position, end)[0])
        kind = 0 if row < 0 else classes[row]
        if kind & IGNORABLE == 0:
            cased = kind & CASED != 0
            break
    if not cased:
        return False
    position = sigma + 2
    while position < end:
        point, width = _point(data, position, end)
        row = _row(pages, point)
        kind = 0 if row < 0 else classes[row]
        if kind & IGNORABLE == 0:
            return kind & CASED == 0
        position += width
    return True


@lean_kernel
def map_texts(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    ascii_map: npt.NDArray[np.int16],
    pages: npt.NDArray[np.int32],
    classes: npt.NDArray[np.uint8],
    lengths: npt.NDArray[np.int8],
    places: npt.NDArray[np.int32],
    pool: npt.NDArray[np.uint8],
    final_sigma: npt.NDArray[np.uint8],
    out: npt.NDArray[np.uint8],
    out_starts: npt.NDArray[np.int64],
    out_ends: npt.NDArray[np.int64],
    slow: npt.NDArray[np.bool_],
) -> int:
    """Strip each text of white space and map its code points into `out`, which must have room; return the bytes used.

    `ascii_map[byte]` is a byte or -1 (deleted). Other code points have the row `pages[point >> 8] * 256 +
    (point & 255)` (page -1: unchanged) and become `pool[places[row]: places[row] + lengths[row]]` (length -1:
    unchanged); a capital sigma that ends a word becomes `final_sigma`. A text with a code point of class `SLOW` is left
    empty and marked in `slow`.
    """
    at = 0
    for text in range(len(starts)):
        start = starts[text]
        end = ends[text]
        while start < end:
            step = whitespace_length(data, start, end)
            if step == 0:
                break
            start += step
        while end > start:
            position = _before(data, end, start)
            if whitespace_length(data, position, end) == 0:
                break
            end = position
        out_starts[text] = at
        position = start
        while position < end:
            byte = data[position]
            if byte < 0x80:
                mapped = ascii_map[byte]
                if mapped >= 0:
                    out[at] = np.uint8(mapped)
                    at += 1
                position += 1
                continue
            point, width = decode(data, position, end)
            row = _row(pages, point)
            kind = 0 if row < 0 else classes[row]
            if kind & SLOW:
                slow[text] = True
                at = out_starts[text]
                break
            if kind & SIGMA and _ends_word(data, pages, classes, start, end, position):
                for k in range(len(final_sigma)):
                    out[at + k] = final_sigma[k]
                at += len(final_sigma)
            elif row < 0 or lengths[row] < 0:
                for k in range(width):
                    out[at + k] = data[position + k]
                at += width
            else:
                place = places[row]
                for k in range(lengths[row]):
                    out[at + k] = pool[place + k]
                at += lengths[row]
            position += width
        out_ends[text] = at
    return at
