"""The loops of `tamis.scorers.dedup.substrings`: fingerprints, keys of windows, and the bytes to remove."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import integer
from tamis.scorers.kernels.jit import kernel
from tamis.scorers.kernels.splitmix import mix64

__all__ = ["count_windows", "fingerprints", "mark_spans", "window_keys"]

_GRAM_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_FACTOR64 = np.uint64(0xD1342543DE82EF95)
_FACTOR61 = np.uint64(0x5BD1E995)
_P61 = np.uint64((1 << 61) - 1)
_LOW32 = np.uint64(0xFFFFFFFF)


@kernel
def fingerprints(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    size: int,
    window: int,
    hashes: npt.NDArray[np.uint64],
    texts: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    tied: npt.NDArray[np.bool_],
) -> int:
    """Write the least hash of each `window` consecutive `size`-grams of bytes, each place once; return how many.

    A place stays chosen as long as no smaller hash comes and it is in the window (robust winnowing; Schleimer,
    Wilkerson and Aiken 2003), and is `tied` if an equal one came meanwhile: so a run of one byte has one fingerprint a
    window. What doesn't fit is counted only.
    """
    power = np.uint64(1)
    for _ in range(size):
        power *= _GRAM_FACTOR
    ring = np.empty(window, np.uint64)
    found = 0
    for text in range(len(offsets) - 1):
        begin, end = integer(offsets[text]), integer(offsets[text + 1])
        grams = end - begin - size + 1
        if grams < window:
            continue
        rolling = np.uint64(0)
        for i in range(size - 1):
            rolling = rolling * _GRAM_FACTOR + np.uint64(data[begin + i])
        chosen = -1
        least = np.uint64(0)
        for i in range(grams):
            rolling = rolling * _GRAM_FACTOR + np.uint64(data[begin + i + size - 1])
            if i:
                rolling -= power * np.uint64(data[begin + i - 1])
            h = mix64(rolling)
            ring[i % window] = h
            if i < window - 1:
                continue
            fresh = False
            tie = False
            if i == window - 1 or chosen <= i - window:
                chosen = i
                least = h
                for j in range(i - 1, i - window, -1):
                    if ring[j % window] < least:
                        chosen, least, tie = j, ring[j % window], False
                    elif ring[j % window] == least:
                        tie = True
                fresh = True
            elif h < least:
                chosen, least, fresh = i, h, True
            elif h == least and found - 1 < len(hashes):
                tied[found - 1] = True
            if fresh:
                if found < len(hashes):
                    hashes[found], texts[found], places[found], tied[found] = least, text, chosen, tie
                found += 1
    return found


@kernel
def count_windows(
    offsets: npt.NDArray[np.int64],
    texts: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    size: int,
    length: int,
) -> int:
    """Return the number of windows of `length` bytes that hold one of the `size`-grams given, by text and place."""
    total = 0
    text, reach = -1, 0
    for i in range(len(texts)):
        if texts[i] != text:
            text, reach = integer(texts[i]), 0
        last = min(integer(places[i]), integer(offsets[text + 1] - offsets[text]) - length)
        first = max(integer(places[i]) - length + size, reach)
        total += max(last - first + 1, 0)
        reach = max(reach, last + 1)
    return total


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
    offsets: npt.NDArray[np.int64],
    texts: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    size: int,
    length: int,
    keys: npt.NDArray[np.uint64],
    rows: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
) -> None:
    """Write the key of each window that `count_windows` counted, its text and first byte, in order.

    A key mixes two polynomials of the window's bytes, modulo 2^61 - 1 and modulo 2^64: strings made to collide in one
    of them (Thue and Morse's) don't in the other.
    """
    power61, power64 = np.uint64(1), np.uint64(1)
    for _ in range(length):
        power61 = _times61(power61, _FACTOR61)
        power64 *= _FACTOR64
    gone61 = np.zeros(256, np.uint64)
    for byte in range(256):
        gone61[byte] = (_P61 - _times61(power61, np.uint64(byte))) % _P61
    found = 0
    text, reach, at = -1, 0, -1
    a, b = np.uint64(0), np.uint64(0)
    for i in range(len(texts)):
        if texts[i] != text:
            text, reach, at = integer(texts[i]), 0, -1
        begin = integer(offsets[text])
        last = min(integer(places[i]), integer(offsets[text + 1]) - begin - length)
        first = max(integer(places[i]) - length + size, reach)
        for start in range(first, last + 1):
            if at >= 0 and start == at + 1:
                new, old = np.uint64(data[begin + start + length - 1]), data[begin + start - 1]
                a = _times61(a, _FACTOR61) + new + gone61[old]
                a = (a & _P61) + (a >> np.uint64(61))
                b = b * _FACTOR64 + new - power64 * np.uint64(old)
            else:
                a, b = np.uint64(0), np.uint64(0)
                for j in range(length):
                    new = np.uint64(data[begin + start + j])
                    a = _times61(a, _FACTOR61) + new
                    b = b * _FACTOR64 + new
            at = start
            reduced = a - _P61 if a >= _P61 else a
            while reduced >= _P61:
                reduced -= _P61
            keys[found] = mix64(reduced) ^ mix64(b + _FACTOR64)
            rows[found], starts[found] = text, start
            found += 1
        reach = max(reach, last + 1)


@kernel
def mark_spans(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    texts: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    first_copy: npt.NDArray[np.bool_],
    length: int,
    gap: int,
    out: npt.NDArray[np.int64],
) -> int:
    """Write (text, first byte, byte after the last) of what to remove; return how many, which may be more than fit.

    Windows are given by text and place: those of a later copy go, but for bytes that a first copy has. Between two
    stretches that go, at most `gap` bytes that no first copy has go too. Stretches are narrowed to whole characters.
    """
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, integer(offsets[text + 1] - offsets[text]))
    states = np.zeros(longest + 1 if len(texts) else 0, np.uint8)
    found = 0
    i = 0
    while i < len(texts):
        text = integer(texts[i])
        begin, end = integer(offsets[text]), integer(offsets[text + 1])
        low = integer(starts[i])
        stop = i
        while stop < len(texts) and texts[stop] == text:
            stop += 1
        high = integer(starts[stop - 1]) + length
        for kept in range(2):  # later copies first, then first copies over them
            reach = 0
            for at in range(i, stop):
                if first_copy[at] == bool(kept):
                    first = max(integer(starts[at]), reach)
                    reach = integer(starts[at]) + length
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
