"""The loops of `tamis.scorers.dedup.substrings`: anchors of windows, keys of windows, and the bytes to remove."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import integer
from tamis.scorers.kernels.jit import kernel
from tamis.scorers.kernels.longest import longest_text
from tamis.scorers.kernels.splitmix import mix64

__all__ = ["find_anchors", "mark_spans", "window_keys"]

_GRAM_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_FACTOR64 = np.uint64(0xD1342543DE82EF95)
_FACTOR61 = np.uint64(0x5BD1E995)
_P61 = np.uint64((1 << 61) - 1)
_LOW32 = np.uint64(0xFFFFFFFF)


@kernel
def find_anchors(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    size: int,
    window: int,
    hashes: npt.NDArray[np.uint64],
    texts: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
) -> int:
    """Write the anchors of all runs of `window` consecutive `size`-grams: hash, text, first run; return how many.

    The anchor of a run is the first of its grams of least hash, so it follows from the run's bytes alone. Consecutive
    runs of one anchor are written once, by the place of the first; those of a text follow one another without a gap.
    Minima come from the ends of one block of grams and the beginnings of the next (van Herk 1992): three comparisons a
    byte, whatever the bytes. What doesn't fit is counted only.
    """
    power = np.uint64(1)
    for _ in range(size):
        power *= _GRAM_FACTOR
    block = np.empty(window, np.uint64)  # the hashes of a block
    least = np.empty(window, np.uint64)  # the least from each place of the block before to its end
    where = np.empty(window, np.int64)
    found = 0
    for text in range(len(offsets) - 1):
        begin, end = integer(offsets[text]), integer(offsets[text + 1])
        grams = end - begin - size + 1
        if grams < window:
            continue
        rolling = np.uint64(0)
        for i in range(size - 1):
            rolling = rolling * _GRAM_FACTOR + np.uint64(data[begin + i])
        last = -1
        for first in range(0, grams, window):
            stop = min(first + window, grams)
            head, head_at = np.uint64(0), -1
            for i in range(first, stop):
                rolling = rolling * _GRAM_FACTOR + np.uint64(data[begin + i + size - 1])
                if i:
                    rolling -= power * np.uint64(data[begin + i - 1])
                h = mix64(rolling)
                block[i - first] = h
                if head_at < 0 or h < head:
                    head, head_at = h, i
                if first and i - first + 1 < window:  # the run from within the block before to here
                    place = i - first + 1
                    at = where[place]
                    value = least[place]
                    if head < value:
                        at, value = head_at, head
                    if at != last:
                        last = at
                        if found < len(hashes):
                            hashes[found], texts[found], starts[found] = value, text, first - window + place
                        found += 1
            if stop - first == window:
                value, at = block[window - 1], stop - 1
                for j in range(window - 1, -1, -1):
                    if block[j] <= value:
                        value, at = block[j], first + j
                    least[j], where[j] = value, at
                if at != last:
                    last = at
                    if found < len(hashes):
                        hashes[found], texts[found], starts[found] = value, text, first
                    found += 1
    return found


@kernel
def _times61(a: np.uint64, b: np.uint64) -> np.uint64:
    """Return a * b modulo 2^61 - 1, for a below that and b below 2^31."""
    high = (a >> np.uint64(32)) * b
    low = (a & _LOW32) * b
    total = (high >> np.uint64(29)) + ((high << np.uint64(32)) & _P61) + (low >> np.uint64(61)) + (low & _P61)
    total = (total & _P61) + (total >> np.uint64(61))
    return total - _P61 if total >= _P61 else total


@kernel
def window_keys(
    data: npt.NDArray[np.uint8],
    begins: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    length: int,
    keys: npt.NDArray[np.uint64],
) -> None:
    """Write the keys of runs of consecutive windows of `length` bytes, run after run.

    A key mixes two polynomials of the window's bytes, modulo 2^61 - 1 and modulo 2^64: strings made to collide in one
    of them (Thue and Morse's) don't in the other.

    Args:
        data: the bytes.
        begins: the first byte of each run's first window in `data`.
        counts: windows of each run.
        length: of a window.
        keys: for all of them.
    """
    power61, power64 = np.uint64(1), np.uint64(1)
    for _ in range(length):
        power61 = _times61(power61, _FACTOR61)
        power64 *= _FACTOR64
    gone61 = np.zeros(256, np.uint64)
    for byte in range(256):
        gone61[byte] = (_P61 - _times61(power61, np.uint64(byte))) % _P61
    found = 0
    at = -1
    a, b = np.uint64(0), np.uint64(0)
    for run in range(len(begins)):
        for start in range(integer(begins[run]), integer(begins[run] + counts[run])):
            if at >= 0 and start == at + 1:
                new, old = np.uint64(data[start + length - 1]), data[start - 1]
                a = _times61(a, _FACTOR61) + new + gone61[old]
                a = (a & _P61) + (a >> np.uint64(61))
                b = b * _FACTOR64 + new - power64 * np.uint64(old)
            else:
                a, b = np.uint64(0), np.uint64(0)
                for j in range(length):
                    new = np.uint64(data[start + j])
                    a = _times61(a, _FACTOR61) + new
                    b = b * _FACTOR64 + new
            at = start
            reduced = a - _P61 if a >= _P61 else a
            while reduced >= _P61:
                reduced -= _P61
            keys[found] = mix64(reduced) ^ mix64(b + _FACTOR64)
            found += 1


@kernel
def mark_spans(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    texts: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    first_copy: npt.NDArray[np.bool_],
    length: int,
    gap: int,
    out: npt.NDArray[np.int64],
) -> int:
    """Write (text, first byte, byte after the last) of what to remove; return how many, which may be more than fit.

    Runs of windows are given by text and place: those of a later copy go, but for bytes that a first copy has. Between
    two stretches that go, at most `gap` bytes that no first copy has go too. Stretches are narrowed to whole
    characters.
    """
    longest = longest_text(offsets)
    states = np.zeros(longest + 1 if len(texts) else 0, np.uint8)
    found = 0
    i = 0
    while i < len(texts):
        text = integer(texts[i])
        begin, end = integer(offsets[text]), integer(offsets[text + 1])
        low, high = integer(starts[i]), 0
        stop = i
        while stop < len(texts) and texts[stop] == text:
            high = max(high, integer(starts[stop] + counts[stop]) - 1 + length)
            stop += 1
        for kept in range(2):  # later copies first, then first copies over them
            reach = 0
            for at in range(i, stop):
                if first_copy[at] == bool(kept):
                    first = max(integer(starts[at]), reach)
                    reach = integer(starts[at] + counts[at]) - 1 + length
                    states[first:reach] = kept + 1
        at = low
        while at < high:
            if states[at] != 1:
                at += 1
                continue
            first, last = at, at
            while at < high and states[at] != 2 and at - last <= gap:
                at += 1
                if states[at - 1] == 1:
                    last = at
            at = max(last, first + 1)
            while first < last and data[begin + first] & 0xC0 == 0x80:
                first += 1
            while last > first and begin + last < end and data[begin + last] & 0xC0 == 0x80:
                last -= 1
            if first < last:
                if found < len(out):
                    out[found, 0], out[found, 1], out[found, 2] = text, first, last
                found += 1
        states[low:high] = 0
        i = stop
    return found
