"""The loop of `tamis.scorers.dedup.paragraphs`: the lines or paragraphs of texts, and a hash of each."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.dedup.words_kernels import fill_words
from tamis.scorers.kernels.characters import integer
from tamis.scorers.kernels.jit import helper, kernel, lean_kernel
from tamis.scorers.kernels.splitmix import mix64

__all__ = ["find_units", "hash_units"]

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_NEWLINE = 10
_BLOCK = 1024


@helper
def _unit(data: npt.NDArray[np.uint8], at: int, end: int, breaks: int) -> tuple[int, int]:
    """Return the byte after a unit's last, and the first of the next."""
    stop = at
    while stop < end:
        if data[stop] != _NEWLINE:
            stop += 1
            continue
        after = stop + 1
        while breaks > 1 and after < end and data[after] == _NEWLINE:
            after += 1
        if after - stop >= breaks:
            return stop, after
        stop = after
    return stop, end


@lean_kernel
def find_units(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    breaks: int,
    texts: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    nexts: npt.NDArray[np.int64],
) -> int:
    """Write what `hash_units` writes but hashes and numbers of words; there must be room."""
    found = 0
    for text in range(len(offsets) - 1):
        begin, end = integer(offsets[text]), integer(offsets[text + 1])
        at = begin
        while at < end:
            stop, after = _unit(data, at, end, breaks)
            texts[found] = text
            starts[found], ends[found], nexts[found] = at - begin, stop - begin, after - begin
            found += 1
            at = after
    return found


@kernel
def hash_units(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    breaks: int,
    texts: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    nexts: npt.NDArray[np.int64],
    keys: npt.NDArray[np.uint64],
    words: npt.NDArray[np.int64],
) -> int:
    """Write each unit's text, first byte, byte after its last, first byte of the next, hash and number of words.

    Units are parted by at least `breaks` line breaks. A hash is of the unit's folded words in their order; that of one
    without words is 0. Returns the number of units, which may be more than fit.
    """
    values = np.empty(_BLOCK, np.uint64)
    found = 0
    for text in range(len(offsets) - 1):
        begin, end = integer(offsets[text]), integer(offsets[text + 1])
        at = begin
        while at < end:
            stop, after = _unit(data, at, end, breaks)
            hashed = np.uint64(0)
            count = 0
            place = at
            while place < stop:
                place, have = fill_words(data, place, stop, table, values, 0)
                for i in range(have):
                    hashed = (hashed + values[i]) * _FACTOR
                count += have
            if found < len(texts):
                texts[found], words[found] = text, count
                starts[found], ends[found], nexts[found] = at - begin, stop - begin, after - begin
                keys[found] = mix64(hashed ^ np.uint64(count)) if count else np.uint64(0)
            found += 1
            at = after
    return found
