"""The loops of `tamis.scorers.dedup.shingles` and `tamis.scorers.dedup.minhash`: hashes of shingles, and their minima.

A text is read in blocks, so that the scratch space doesn't grow with it (SHA-1 aside, which needs the folded bytes).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.scorers.dedup.sha1_kernels import sha1_word
from tamis.scorers.dedup.words_kernels import fill_characters, fill_words, write_folded
from tamis.scorers.kernels.jit import helper, kernel
from tamis.scorers.kernels.longest import longest_text
from tamis.scorers.kernels.splitmix import mix64

__all__ = ["AFFINE32", "AFFINE64", "LEGACY", "hash_shingles", "sign_texts"]

AFFINE32, AFFINE64, LEGACY = 0, 1, 2
_BLOCK = 4096
_STEP = 64
"""Hashes are padded to a multiple of this by repeating the first, which changes no minimum: no loop has a remainder."""

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SEQUENCE = np.uint64(0xD1342543DE82EF95)
_MERSENNE = np.uint64((1 << 61) - 1)
_LOW32 = np.uint64(0xFFFFFFFF)


@helper
def _roll(values: npt.NDArray[np.uint64], have: int, size: int, out: npt.NDArray[np.uint64]) -> int:
    """Hash each `size` consecutive values: mix64 of the polynomial in `_FACTOR`; return how many there are."""
    count = have - size + 1
    if count <= 0:
        return 0
    if size <= 8:
        for i in range(count):
            h = values[i]
            for j in range(1, size):
                h = h * _FACTOR + values[i + j]
            out[i] = mix64(h)
        return count
    power = np.uint64(1)
    h = np.uint64(0)
    for j in range(size):
        h = h * _FACTOR + values[j]
        if j:
            power *= _FACTOR
    out[0] = mix64(h)
    for i in range(1, count):
        h = (h - values[i - 1] * power) * _FACTOR + values[i + size - 1]
        out[i] = mix64(h)
    return count


@helper
def _sha1_units(
    data: npt.NDArray[np.uint8],
    at: int,
    end: int,
    table: npt.NDArray[np.uint32],
    words: bool,
    size: int,
    folded: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
) -> int:
    """Write the folded text; return how many shingles it has."""
    units = write_folded(data, at, end, table, words, folded, starts)
    return max(units - size + 1, 0)


@helper
def _sha1_shingle(
    folded: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    unit: int,
    words: bool,
    size: int,
    work: npt.NDArray[np.uint32],
) -> np.uint64:
    """Hash the shingle that begins with a unit of the folded text; the blank after its last word is no part of it."""
    stop = starts[unit + size] - (1 if words else 0)
    return sha1_word(folded, starts[unit], stop, work)


@helper
def _carry(values: npt.NDArray[np.uint64], have: int, size: int) -> int:
    """Put what the next block's first shingle begins with to the front; return how many values that are."""
    for i in range(size - 1):
        values[i] = values[have - size + 1 + i]
    return size - 1


@helper
def _padded(mixed: npt.NDArray[Any], count: int) -> int:
    """Repeat the first value up to a multiple of `_STEP`; return how many there are then."""
    padded = (count + _STEP - 1) // _STEP * _STEP
    for i in range(count, padded):
        mixed[i] = mixed[0]
    return padded


@helper
def _minima32(
    hashes: npt.NDArray[np.uint64],
    count: int,
    a: npt.NDArray[np.uint64],
    b: npt.NDArray[np.uint64],
    mixed: npt.NDArray[np.uint32],
    out: npt.NDArray[np.uint64],
) -> None:
    """Lower the minima by permutations a * fmix32(h) + b modulo 2^32 of the hashes' low halves."""
    for i in range(count):
        h = np.uint32(hashes[i] & _LOW32)
        h = np.uint32(h ^ (h >> np.uint32(16)))
        h = np.uint32(h * np.uint32(0x85EBCA6B))
        h = np.uint32(h ^ (h >> np.uint32(13)))
        h = np.uint32(h * np.uint32(0xC2B2AE35))
        mixed[i] = np.uint32(h ^ (h >> np.uint32(16)))
    padded = _padded(mixed, count)
    for k in range(len(a)):
        factor, summand = np.uint32(a[k]), np.uint32(b[k])
        least = np.uint32(out[k])
        for i in range(padded):
            value = np.uint32(factor * mixed[i] + summand)
            least = value if value < least else least
        out[k] = least


@helper
def _minima64(
    hashes: npt.NDArray[np.uint64],
    count: int,
    a: npt.NDArray[np.uint64],
    b: npt.NDArray[np.uint64],
    mixed: npt.NDArray[np.uint64],
    out: npt.NDArray[np.uint64],
) -> None:
    """Lower the minima by permutations a * fmix64(h) + b modulo 2^64."""
    for i in range(count):
        h = hashes[i]
        h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
        h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
        mixed[i] = h ^ (h >> np.uint64(33))
    padded = _padded(mixed, count)
    for k in range(len(a)):
        factor, summand, least = a[k], b[k], out[k]
        for i in range(padded):
            value = factor * mixed[i] + summand
            least = value if value < least else least
        out[k] = least


@helper
def _minima_legacy(
    hashes: npt.NDArray[np.uint64],
    count: int,
    a: npt.NDArray[np.uint64],
    b: npt.NDArray[np.uint64],
    mixed: npt.NDArray[np.uint64],
    out: npt.NDArray[np.uint64],
) -> None:
    """Lower the minima by (a * h + b modulo 2^64) modulo 2^61 - 1, low 32 bits, of the hashes' low halves."""
    padded = (count + _STEP - 1) // _STEP * _STEP
    for i in range(padded):
        mixed[i] = hashes[i if i < count else 0] & _LOW32
    for k in range(len(a)):
        factor, summand, least = a[k], b[k], out[k]
        for i in range(padded):
            value = factor * mixed[i] + summand
            value = (value & _MERSENNE) + (value >> np.uint64(61))
            value = value - _MERSENNE if value >= _MERSENNE else value
            value &= _LOW32
            least = value if value < least else least
        out[k] = least


@kernel
def sign_texts(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    words: bool,
    size: int,
    sha1: bool,
    scheme: int,
    a: npt.NDArray[np.uint64],
    b: npt.NDArray[np.uint64],
    signatures: npt.NDArray[np.uint64],
    counts: npt.NDArray[np.int64],
    digests: npt.NDArray[np.uint64],
) -> None:
    """Write each text's minima over its shingles, number of shingles (repeats included) and digest of their sequence.

    `signatures` (n, permutations) comes filled with the scheme's largest value and is left so for a text that is
    shorter than a shingle, whose count is 0.
    """
    values = np.empty(_BLOCK, np.uint64)
    hashes = np.empty(_BLOCK + _STEP, np.uint64)
    mixed32 = np.empty(_BLOCK + _STEP, np.uint32)
    mixed64 = np.empty(_BLOCK + _STEP, np.uint64)
    longest = longest_text(offsets) if sha1 else 0
    folded = np.empty(4 * longest + 4 if sha1 else 0, np.uint8)
    starts = np.empty(2 * longest + 3 if sha1 else 0, np.int64)
    work = np.empty(85, np.uint32)
    for text in range(len(offsets) - 1):
        at, end = offsets[text], offsets[text + 1]
        minima = signatures[text]
        total = np.int64(0)
        digest = np.uint64(0)
        have = state = 0
        done = 0
        waiting = _sha1_units(data, at, end, table, words, size, folded, starts) if sha1 else 0
        while True:
            if sha1:
                count = min(waiting - done, _BLOCK)
                for i in range(count):
                    hashes[i] = _sha1_shingle(folded, starts, done + i, words, size, work)
                done += count
            elif words:
                at, have = fill_words(data, at, end, table, values, have)
                count = _roll(values, have, size, hashes)
            else:
                at, have, state = fill_characters(data, at, end, table, values, have, state)
                count = _roll(values, have, size, hashes)
            if count > 0:
                total += count
                for i in range(count):
                    digest = digest * _SEQUENCE + hashes[i]
                if scheme == AFFINE32:
                    _minima32(hashes, count, a, b, mixed32, minima)
                elif scheme == AFFINE64:
                    _minima64(hashes, count, a, b, mixed64, minima)
                else:
                    _minima_legacy(hashes, count, a, b, mixed64, minima)
            if sha1:
                if done >= waiting:
                    break
            else:
                if at >= end:
                    break
                have = _carry(values, have, size)
        counts[text] = total
        digests[text] = mix64(digest ^ np.uint64(total))


@kernel
def hash_shingles(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    words: bool,
    size: int,
    sha1: bool,
    out: npt.NDArray[np.uint64],
    bounds: npt.NDArray[np.int64],
) -> None:
    """Write the hashes of each text's shingles, in order and with repeats; text i has `out[bounds[i]:bounds[i + 1]]`.

    `out` needs an entry a byte of the texts, and one more for each text.
    """
    values = np.empty(_BLOCK, np.uint64)
    longest = longest_text(offsets) if sha1 else 0
    folded = np.empty(4 * longest + 4 if sha1 else 0, np.uint8)
    starts = np.empty(2 * longest + 3 if sha1 else 0, np.int64)
    work = np.empty(85, np.uint32)
    size_so_far = np.int64(0)
    bounds[0] = 0
    for text in range(len(offsets) - 1):
        at, end = offsets[text], offsets[text + 1]
        if sha1:
            count = _sha1_units(data, at, end, table, words, size, folded, starts)
            for unit in range(count):
                out[size_so_far + unit] = _sha1_shingle(folded, starts, unit, words, size, work)
            size_so_far += count
        else:
            have = 0
            state = 0
            while True:
                if words:
                    at, have = fill_words(data, at, end, table, values, have)
                else:
                    at, have, state = fill_characters(data, at, end, table, values, have, state)
                size_so_far += _roll(values, have, size, out[size_so_far:])
                if at >= end:
                    break
                have = _carry(values, have, size)
        bounds[text + 1] = size_so_far
