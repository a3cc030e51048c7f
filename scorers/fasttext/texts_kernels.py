"""What part of each text a classifier sees: stripped, a bounded prefix, without newlines."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper, lean_kernel

__all__ = ["cut_texts", "drop_newlines"]


@helper
def _is_space(code: int) -> bool:
    """Tell whether Python's `str.isspace` holds for the code point."""
    if code <= 32:
        return code == 32 or 9 <= code <= 13 or 28 <= code <= 31
    return code >= 0x85 and (
        code in (0x85, 0xA0, 0x1680) or 0x2000 <= code <= 0x200A or code in (0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
    )


@helper
def _code_point(data: npt.NDArray[np.uint8], position: int, stop: int) -> tuple[Any, int]:
    """Return the code point at `position` and its length in bytes; the data is valid UTF-8."""
    first = np.int64(data[position])
    if first < 0x80:
        return first, 1
    length = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    code = first & (0xFF >> (length + 1))
    for i in range(1, min(length, stop - position)):
        code = (code << 6) | (np.int64(data[position + i]) & 0x3F)
    return code, length


@lean_kernel
def cut_texts(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    strip: bool,
    prefix: int,
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
) -> None:
    """Set the byte range of each text: stripped as by `str.strip` if asked, then a prefix.

    fastText's own separators at the beginning, which form no token, are left out in any case.

    Args:
        data: UTF-8 bytes of all texts.
        offsets: text `i` is `data[offsets[i]:offsets[i + 1]]`.
        strip: whether to leave out white space at both ends.
        prefix: number of characters, or -1 for all.
        starts: receives the first byte of each text.
        stops: receives the byte after the last.
    """
    for i in range(len(starts)):
        start, stop = offsets[i], offsets[i + 1]
        if strip:
            while start < stop:
                code, length = _code_point(data, start, stop)
                if not _is_space(code):
                    break
                start += length
            while stop > start:
                last = stop - 1
                while last > start and (data[last] & 0xC0) == 0x80:
                    last -= 1
                code, length = _code_point(data, last, stop)
                if not _is_space(code):
                    break
                stop = last
        while start < stop and (data[start] == 32 or 9 <= data[start] <= 13 or data[start] == 0):
            start += 1  # separates no tokens, but would use up the prefix
        if 0 <= prefix < stop - start:
            left = prefix
            position = start
            while position < stop:
                if (data[position] & 0xC0) != 0x80:
                    if left == 0:
                        break
                    left -= 1
                position += 1
            stop = position
        starts[i] = start
        stops[i] = stop


@lean_kernel
def drop_newlines(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    glued: npt.NDArray[np.uint8],
) -> None:
    """Copy the texts to `glued` without their newlines; set `starts` and `stops` to where they lie there."""
    end = 0
    for i in range(len(starts)):
        start = end
        for j in range(starts[i], stops[i]):
            if data[j] != 10:
                glued[end] = data[j]
                end += 1
        starts[i] = start
        stops[i] = end
