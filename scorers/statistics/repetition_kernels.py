"""Finds equal things: hashes that occur again, and repeated n-grams, order by order."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import integer
from tamis.scorers.kernels.jit import helper, kernel

__all__ = [
    "FNV_BASIS",
    "FNV_PRIME",
    "Repeats",
    "covered_chars",
    "intern",
    "later_chars",
    "new_repeats",
    "next_order",
    "repeated_words",
    "top_ngram",
]

FNV_BASIS = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Repeats(NamedTuple):
    """Room to find repeats among the words or lines of one text, and the n-grams that are repeated so far.

    Attributes:
        slots: open addressing, sized to the text.
        keys: what is looked for.
        ids: the first position with the same key.
        counts: at a first position, how often its key occurs.
        candidates: positions of n-grams that may be repeated.
        positions: positions of the repeated n-grams, ascending.
        groups: for each of those the position where the same n-gram occurs first.
        times: for each of those how often it occurs.
    """

    slots: npt.NDArray[np.int32]
    keys: npt.NDArray[np.uint64]
    ids: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    candidates: npt.NDArray[np.int32]
    positions: npt.NDArray[np.int32]
    groups: npt.NDArray[np.int32]
    times: npt.NDArray[np.int32]


@kernel
def new_repeats(size: int) -> Repeats:
    """Return room for texts of up to `size` words; memory is taken as it is used."""
    return Repeats(
        np.empty(max(16, size * 4), np.int32),
        np.empty(size, np.uint64),
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty(size, np.int32),
    )


@helper
def intern(keys: npt.NDArray[np.uint64], size: int, repeats: Repeats) -> int:
    """Set `ids` and `counts` for the first `size` keys; return how many different ones there are."""
    capacity = 16
    while capacity < 2 * size:
        capacity *= 2
    slots, ids, counts = repeats.slots, repeats.ids, repeats.counts
    slots[:capacity] = -1
    mask = capacity - 1
    different = 0
    for i in range(size):
        key = keys[i]
        mixed = key * _MIX
        slot = integer((mixed ^ (mixed >> np.uint64(32))) & np.uint64(mask))
        while True:
            first = slots[slot]
            if first < 0:
                slots[slot] = i
                ids[i] = i
                counts[i] = 1
                different += 1
                break
            if keys[first] == key:
                ids[i] = first
                counts[first] += 1
                break
            slot = (slot + 1) & mask
    return different


@helper
def repeated_words(keys: npt.NDArray[np.uint64], size: int, repeats: Repeats) -> int:
    """Find the words that occur more than once, order 1; return at how many positions they stand."""
    intern(keys, size, repeats)
    found = 0
    for i in range(size):
        first = repeats.ids[i]
        if repeats.counts[first] > 1:
            repeats.positions[found] = i
            repeats.groups[found] = first
            repeats.times[found] = repeats.counts[first]
            found += 1
    return found


@helper
def next_order(found: int, repeats: Repeats) -> int:
    """Go from the repeated n-grams of one order to the next; return at how many positions they stand.

    An n-gram is repeated only if the shorter ones at its position and at the next are, and two are equal if
    those are.
    """
    positions, groups = repeats.positions, repeats.groups
    size = 0
    for j in range(found - 1):
        if positions[j + 1] == positions[j] + 1:
            repeats.keys[size] = np.uint64(groups[j]) << np.uint64(32) | np.uint64(groups[j + 1])
            repeats.candidates[size] = positions[j]
            size += 1
    intern(repeats.keys, size, repeats)
    found = 0
    for c in range(size):
        first = repeats.ids[c]
        if repeats.counts[first] > 1:
            positions[found] = repeats.candidates[c]
            groups[found] = repeats.candidates[first]
            repeats.times[found] = repeats.counts[first]
            found += 1
    return found


@helper
def top_ngram(found: int, order: int, chars: npt.NDArray[np.int64], repeats: Repeats, longest: bool) -> tuple[int, int]:
    """Return where the most frequent repeated n-gram is first, and how often it is; (-1, 0) if none.

    Args:
        found: how many positions are repeated at this order.
        order: words of the n-gram.
        chars: characters before each word, with the total at the end.
        repeats: as `next_order` left it.
        longest: among equally frequent ones the longest counts, else the first.
    """
    best, best_times, best_chars = -1, 0, 0
    for j in range(found):
        at = integer(repeats.positions[j])
        if repeats.groups[j] != at:
            continue
        times = integer(repeats.times[j])
        length = chars[at + order] - chars[at]
        if times > best_times or (longest and times == best_times and length > best_chars):
            best, best_times, best_chars = at, times, length
    return best, best_times


@helper
def covered_chars(found: int, order: int, chars: npt.NDArray[np.int64], repeats: Repeats, group: int) -> int:
    """Return the characters of all words that stand in a repeated n-gram, each word counted once.

    Args:
        found: how many positions are repeated at this order.
        order: words of the n-gram.
        chars: characters before each word, with the total at the end.
        repeats: as `next_order` left it.
        group: only occurrences of the n-gram that occurs first here; all if negative.
    """
    total = 0
    until = 0
    for j in range(found):
        if group >= 0 and repeats.groups[j] != group:
            continue
        at = integer(repeats.positions[j])
        total += chars[at + order] - chars[max(at, until)]
        until = at + order
    return total


@helper
def later_chars(found: int, order: int, chars: npt.NDArray[np.int64], repeats: Repeats) -> int:
    """Return the characters of all words that stand in an n-gram that occurred before, each word counted once.

    Args:
        found: how many positions are repeated at this order.
        order: words of the n-gram.
        chars: characters before each word, with the total at the end.
        repeats: as `next_order` left it.
    """
    total = 0
    until = 0
    for j in range(found):
        at = integer(repeats.positions[j])
        if repeats.groups[j] == at:
            continue
        total += chars[at + order] - chars[max(at, until)]
        until = at + order
    return total
