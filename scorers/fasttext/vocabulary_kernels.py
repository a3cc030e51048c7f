"""A fastText dictionary for kernels: scan its entries in the file, hash its words, find a token."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper, kernel, lean_kernel
from tamis.scorers.kernels.processor import prefetch

__all__ = [
    "BYTE",
    "FNV_OFFSET",
    "FNV_PRIME",
    "MIX",
    "TAIL",
    "Tokens",
    "Vocabulary",
    "build_slots",
    "find_words",
    "new_tokens",
    "scan_entries",
    "set_token",
]

FNV_OFFSET = np.uint32(2166136261)
FNV_PRIME = np.uint32(16777619)
MIX = np.uint64(0x9E3779B97F4A7C15)
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
BYTE = np.uint64(8)
TAIL = 8
"""Bytes of a word that a slot holds."""


class Vocabulary(NamedTuple):
    """Words of a model: entry `i` is the bytes of `data` from `starts[i]` to the next NUL.

    `slots` is an open-addressing table of shape (slots, 2): first 0 where free, else the word's 32-bit hash above its
    index plus one; then the word's tail, which for most words is all of it, so that no other memory need be read.
    """

    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    slots: npt.NDArray[np.uint64]


class Tokens(NamedTuple):
    """A block of tokens of a text.

    Attributes:
        starts: first byte of each.
        stops: the byte after the last.
        hashes: fastText's hash: FNV-1a in 32 bits, each byte sign-extended before the XOR.
        tails: the last eight bytes, or fewer.
    """

    starts: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint32]
    tails: npt.NDArray[np.uint64]


@kernel
def new_tokens(n: int) -> Tokens:
    """Return room for `n` tokens."""
    return Tokens(np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.uint32), np.empty(n, np.uint64))


@lean_kernel
def set_token(data: npt.NDArray[np.uint8], start: int, stop: int, tokens: Tokens, place: int) -> None:
    """Enter `data[start:stop]` as the token at `place`."""
    h = FNV_OFFSET
    tail = np.uint64(0)
    for i in range(start, stop):
        h = np.uint32((h ^ np.uint32(np.int8(data[i]))) * FNV_PRIME)
        tail = (tail << BYTE) | np.uint64(data[i])
    tokens.starts[place] = start
    tokens.stops[place] = stop
    tokens.hashes[place] = h
    tokens.tails[place] = tail


@lean_kernel
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
    vocabulary = Vocabulary(data, starts, slots)
    tokens = new_tokens(1)
    same = np.empty(1, np.int64)
    mask = np.int64(len(slots) - 1)
    for i in range(len(starts)):
        starts[i] = position
        stop = position
        while data[stop] != 0:
            stop += 1
        set_token(data, position, stop, tokens, 0)
        find_words(vocabulary, data, tokens, 1, same)
        h = np.uint64(tokens.hashes[0])
        slot = np.int64((h * MIX) >> HALF) & mask
        while slots[slot, 0] != 0 and np.int64(slots[slot, 0] & LOW) - 1 != same[0]:
            slot = (slot + 1) & mask
        slots[slot, 0] = (h << HALF) | np.uint64(i + 1)
        slots[slot, 1] = tokens.tails[0]
        position = stop + 10


@helper
def _begins(words: npt.NDArray[np.uint8], word: int, text: npt.NDArray[np.uint8], start: int, stop: int) -> bool:
    """Tell whether the word at `words[word]` is `text[start:stop]`, given that their tails are equal."""
    for i in range(stop - start - TAIL):
        if words[word + i] != text[start + i]:
            return False
    return bool(words[word + stop - start] == 0)


@lean_kernel
def find_words(
    vocabulary: Vocabulary,
    text: npt.NDArray[np.uint8],
    tokens: Tokens,
    n: int,
    words: npt.NDArray[np.int64],
) -> None:
    """Set `words[:n]` to the indices of the first `n` tokens of `text` in the vocabulary, or -1.

    The slots of a block are loaded ahead, so that the processor overlaps their cache misses.
    """
    slots = vocabulary.slots
    starts = vocabulary.starts
    mask = np.int64(len(slots) - 1)
    for t in range(n):
        slot = np.int64((np.uint64(tokens.hashes[t]) * MIX) >> HALF) & mask
        words[t] = slot
        prefetch(slots, 2 * slot)
    for t in range(n):
        h = np.uint64(tokens.hashes[t])
        tail = tokens.tails[t]
        slot = words[t]
        found = np.int64(-1)
        while True:
            held = slots[slot, 0]
            if held == 0:
                break
            if slots[slot, 1] == tail and held >> HALF == h:
                index = np.int64(held & LOW) - 1
                start, stop = tokens.starts[t], tokens.stops[t]
                if stop - start < TAIL or _begins(vocabulary.data, starts[index], text, start, stop):
                    found = index
                    break
            slot = (slot + 1) & mask
        words[t] = found
