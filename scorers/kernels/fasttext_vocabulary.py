"""A fastText dictionary for kernels: scan its entries in the file, hash its words, find a token."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from scorers.kernels.jit import kernel

__all__ = ["FNV_OFFSET", "FNV_PRIME", "Vocabulary", "build_slots", "find_word", "hash_bytes", "scan_entries"]

FNV_OFFSET = np.uint32(2166136261)
FNV_PRIME = np.uint32(16777619)
MIX = np.uint64(0x9E3779B97F4A7C15)
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
ONE = np.uint64(1)


class Vocabulary(NamedTuple):
    """Words of a model: entry `i` is the bytes of `data` from `starts[i]` to the next NUL.

    `slots` is an open-addressing table: 0 is free, else the word's 32-bit hash above its index plus one.
    """

    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    slots: npt.NDArray[np.uint64]


@kernel
def hash_bytes(data: npt.NDArray[np.uint8], start: int, stop: int) -> np.uint32:
    """Return fastText's hash of `data[start:stop]`: 32-bit FNV-1a, each byte sign-extended before the XOR."""
    h = FNV_OFFSET
    for i in range(start, stop):
        h = np.uint32((h ^ np.uint32(np.int8(data[i]))) * FNV_PRIME)
    return h


@kernel
def scan_entries(
    data: npt.NDArray[np.uint8],
    position: int,
    n_words: int,
    label_starts: npt.NDArray[np.int64],
    label_counts: npt.NDArray[np.int64],
) -> int:
    """Pass over the dictionary's entries (bytes, NUL, int64 count, int8 kind), words first, then labels.

    Args:
        data: the file.
        position: where the entries begin.
        n_words: number of words.
        label_starts: receives each label's position.
        label_counts: receives each label's count.

    Returns:
        The position after the last entry; -1 where the file ends inside one, -2 where an entry is of the
        wrong kind.
    """
    for i in range(n_words + len(label_starts)):
        start = position
        while position < len(data) and data[position] != 0:
            position += 1
        if position + 10 > len(data):
            return -1
        label = i - n_words
        if data[position + 9] != (1 if label >= 0 else 0):
            return -2
        if label >= 0:
            count = np.uint64(0)
            for j in range(8):
                count |= np.uint64(data[position + 1 + j]) << np.uint64(8 * j)
            label_starts[label] = start
            label_counts[label] = np.int64(count)
        position += 10
    return position


@kernel
def build_slots(
    data: npt.NDArray[np.uint8], position: int, starts: npt.NDArray[np.int64], slots: npt.NDArray[np.uint64]
) -> None:
    """Index the entries that `scan_entries` accepted: fill `starts` and `slots`.

    `slots` comes as zeros, a power of two and more than there are entries. Of two equal words the later
    one is found, as in fastText.
    """
    mask = np.uint64(len(slots) - 1)
    for i in range(len(starts)):
        starts[i] = position
        stop = position
        while data[stop] != 0:
            stop += 1
        h = np.uint64(hash_bytes(data, position, stop))
        slot = ((h * MIX) >> HALF) & mask
        while slots[slot] != 0:
            held = slots[slot]
            if held >> HALF == h and _equal(data, starts[np.int64(held & LOW) - 1], data, position, stop):
                break
            slot = (slot + ONE) & mask
        slots[slot] = (h << HALF) | np.uint64(i + 1)
        position = stop + 10


@kernel
def _equal(
    words: npt.NDArray[np.uint8], word: int, text: npt.NDArray[np.uint8], start: int, stop: int
) -> bool:
    """Tell whether the NUL-terminated bytes at `words[word]` are `text[start:stop]`, which holds no NUL."""
    for i in range(stop - start):
        if words[word + i] != text[start + i]:
            return False
    return bool(words[word + stop - start] == 0)


@kernel
def find_word(
    vocabulary: Vocabulary, text: npt.NDArray[np.uint8], start: int, stop: int, hashed: np.uint32
) -> np.int64:
    """Return the index of the word `text[start:stop]`, whose hash is `hashed`, or -1."""
    slots = vocabulary.slots
    mask = np.uint64(len(slots) - 1)
    h = np.uint64(hashed)
    slot = ((h * MIX) >> HALF) & mask
    while slots[slot] != 0:
        held = slots[slot]
        if held >> HALF == h:
            index = np.int64(held & LOW) - 1
            if _equal(vocabulary.data, vocabulary.starts[index], text, start, stop):
                return index
        slot = (slot + ONE) & mask
    return np.int64(-1)
