"""One pass over texts that finds personal data made of digits, and the places where other kinds may stand."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import integer
from tamis.scorers.kernels.jit import kernel
from tamis.scorers.pii.number_kernels import account_at, address_at, card_at, phone_at

__all__ = [
    "ACCOUNT",
    "ADDRESS",
    "AT_CLASS",
    "AT_SIGN",
    "CARD",
    "COLON",
    "COLON_CLASS",
    "DIGIT_CLASS",
    "HEAD_CLASS",
    "PHONE",
    "SECRET",
    "scan",
]

AT_SIGN, COLON, SECRET = 0, 1, 2
"""Places that need a look: an @ between word characters, a token of hexadecimal groups, the start of a known token."""

ADDRESS, CARD, ACCOUNT, PHONE = 3, 4, 5, 6
"""Findings that are exact already."""

DIGIT_CLASS, AT_CLASS, COLON_CLASS, HEAD_CLASS = 1, 2, 3, 4
"""What a byte may start."""


@kernel
def _wordlike(byte: np.uint8) -> bool:
    return bool(48 <= byte <= 57 or 65 <= (byte & 0xDF) <= 90 or byte == 95 or byte >= 0x80)


@kernel
def _hexadecimal(byte: np.uint8) -> bool:
    return bool(48 <= byte <= 58 or 65 <= (byte & 0xDF) <= 70 or byte == 46)


@kernel
def _groups(data: npt.NDArray[np.uint8], begin: int, end: int, at: int) -> tuple[int, int]:
    """Return the token of hexadecimal digits, colons and dots around the colon at `at` if it may be an IPv6 address."""
    start, stop = at, at
    while start > begin and _hexadecimal(data[start - 1]) and at - start < 48:
        start -= 1
    while stop < end and _hexadecimal(data[stop]) and stop - at < 48:
        stop += 1
    while stop > at + 1 and (data[stop - 1] == 46 or (data[stop - 1] == 58 and data[stop - 2] != 58)):
        stop -= 1
    colons = 0
    double = False
    for i in range(start, stop):
        if data[i] == 58:
            colons += 1
            double = double or (i + 1 < stop and data[i + 1] == 58)
    if colons < 2 or stop - start < 4 or stop - start > 45 or not (double or colons in (7, 6)):
        return -1, stop
    if (start > begin and _wordlike(data[start - 1])) or (stop < end and _wordlike(data[stop]) and data[stop] < 0x80):
        return -1, stop
    return start, stop


@kernel
def _head_at(
    data: npt.NDArray[np.uint8],
    begin: int,
    end: int,
    at: int,
    heads: npt.NDArray[np.uint8],
    bounds: npt.NDArray[np.int64],
    marks: npt.NDArray[np.int64],
    low: int,
    high: int,
) -> int:
    """Return where one of the heads `low` to `high` whose marked byte is at `at` begins, or -1."""
    for i in range(low, high):
        first = at - integer(marks[i])
        size = integer(bounds[i + 1] - bounds[i])
        if first < begin or first + size > end:
            continue
        same = True
        for j in range(size):
            same = same and data[first + j] == heads[bounds[i] + j]
        if same:
            return first
    return -1


@kernel
def scan(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    classes: npt.NDArray[np.uint8],
    heads: npt.NDArray[np.uint8],
    head_bounds: npt.NDArray[np.int64],
    head_marks: npt.NDArray[np.int64],
    head_places: npt.NDArray[np.int64],
    versions: npt.NDArray[np.uint64],
    networks: npt.NDArray[np.uint64],
    lengths: npt.NDArray[np.int64],
    cues: npt.NDArray[np.uint64],
    others: npt.NDArray[np.uint64],
    calling: npt.NDArray[np.bool_],
    wanted: npt.NDArray[np.bool_],
    out: npt.NDArray[np.int64],
) -> int:
    """Write findings (text, kind, start, end) to `out` (n, 4); return how many there are, which may be more than fit.

    Args:
        data: the texts' buffer.
        offsets: their bounds.
        classes: of each byte, what it may start, 0 for nothing.
        heads: the beginnings of known tokens, one after the other.
        head_bounds: their bounds in `heads`.
        head_marks: which byte of each is looked for first.
        head_places: the heads whose marked byte is b are `head_places[b]` to `head_places[b + 1]` (257).
        versions: see `address_at`.
        networks: see `address_at`.
        lengths: see `account_at`.
        cues: see `phone_at`.
        others: see `phone_at`.
        calling: see `phone_at`.
        wanted: which kinds to look for (7).
        out: where findings go.
    """
    found = 0
    for text in range(len(offsets) - 1):
        begin, end = integer(offsets[text]), integer(offsets[text + 1])
        at = begin
        while at < end:
            kind = classes[data[at]]
            if kind == 0:
                at += 1
                continue
            result, start, stop = -1, -1, -1
            if kind == DIGIT_CLASS:
                if wanted[ACCOUNT] and at - 2 >= begin and 65 <= data[at - 1] <= 90 and 65 <= data[at - 2] <= 90:
                    start, stop = account_at(data, begin, end, at, lengths)
                    result = ACCOUNT
                if start < 0 and wanted[CARD]:
                    start, stop = card_at(data, begin, end, at)
                    result = CARD
                if start < 0 and wanted[ADDRESS]:
                    start, stop = address_at(data, begin, end, at, versions, networks)
                    result = ADDRESS
                if start < 0 and wanted[PHONE]:
                    start, stop = phone_at(data, begin, end, at, cues, others, calling)
                    result = PHONE
                if start < 0:
                    result = -1
                    stop = at
                    while stop < end and 48 <= data[stop] <= 57:
                        stop += 1
            elif kind == AT_CLASS:
                stop = at + 1
                near = at > begin and at + 1 < end and _wordlike(data[at - 1]) and _wordlike(data[at + 1])
                if near and wanted[AT_SIGN]:
                    start, result = at, AT_SIGN
            elif kind == COLON_CLASS:
                stop = at + 1
                if wanted[COLON] and at + 1 < end and (_hexadecimal(data[at + 1])):
                    start, after = _groups(data, begin, end, at)
                    if start >= 0:
                        result, stop = COLON, after
                        # an address that begins with digits was passed as a number: its start lies before `at`
            else:
                stop = at + 1
                low, high = integer(head_places[data[at]]), integer(head_places[data[at] + 1])
                start = _head_at(data, begin, end, at, heads, head_bounds, head_marks, low, high)
                if start >= 0 and wanted[SECRET]:
                    result = SECRET
            if result >= 0:
                if found < len(out):
                    out[found, 0] = text
                    out[found, 1] = result
                    out[found, 2] = start
                    out[found, 3] = stop
                found += 1
            at = max(stop, at + 1)
    return found
