"""Kernels that count n-grams: sentences to word numbers, and word numbers to n-gram numbers, order by order."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper, kernel, lean_kernel
from tamis.scorers.kernels.word_hash import signed, word_hash

__all__ = ["BOS", "EOS", "add_sentences", "expand_ngrams", "number_ngrams", "rehash"]

BOS, EOS = 1, 2
"""Numbers of `<s>` and `</s>`; 0 is `<unk>`, and words start at 3."""

_BLOCK = 1024
_MIX = np.uint64(0x9E3779B97F4A7C15)


@helper
def _is_separator(byte: int) -> bool:
    """Lmplz splits at blank, tab, carriage return and NUL; a line break can only stand inside a sentence here."""
    return byte in (32, 9, 10, 13, 0)


@helper
def _special(data: npt.NDArray[np.uint8], start: int, end: int) -> bool:
    """Tell whether a word is `<s>`, `</s>` or `<unk>`."""
    length = end - start
    if length < 3 or length > 5 or data[start] != 60 or data[end - 1] != 62:
        return False
    same = data[start + 1] == 115
    if length == 4:
        same = data[start + 1] == 47 and data[start + 2] == 115
    elif length == 5:
        same = data[start + 1] == 117 and data[start + 2] == 110 and data[start + 3] == 107
    return bool(same)


@lean_kernel
def add_sentences(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    keys: npt.NDArray[np.uint64],
    values: npt.NDArray[np.int64],
    first_number: int,
    stream: npt.NDArray[np.uint32],
    new_starts: npt.NDArray[np.int64],
    new_ends: npt.NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """Append `<s>` words `</s>` of each sentence to `stream`, and number the new words from `first_number`.

    The word table (a power of two, `values` -1 where empty) must have room for all of them.

    Returns:
        how much of `stream` is used; how many new words there are, found at `new_starts`, `new_ends`; how many times
        `<s>`, `</s>` or `<unk>` stood in the text (they are left out); and the first sentence where one did, or -1.
    """
    mask = np.uint64(len(keys) - 1)
    used = 0
    new = 0
    specials = 0
    special_at = -1
    for sentence in range(len(starts)):
        at = starts[sentence]
        end = ends[sentence]
        stream[used] = BOS
        used += 1
        while at < end:
            if _is_separator(data[at]):
                at += 1
                continue
            start = at
            while at < end and not _is_separator(data[at]):
                at += 1
            if _special(data, start, at):
                specials += 1
                if special_at < 0:
                    special_at = sentence
                continue
            key = word_hash(data, start, at)
            slot = key & mask
            while values[slot] >= 0 and keys[slot] != key:
                slot = (slot + np.uint64(1)) & mask
            if values[slot] < 0:
                keys[slot] = key
                values[slot] = first_number + new
                new_starts[new] = start
                new_ends[new] = at
                new += 1
            stream[used] = np.uint32(values[slot])
            used += 1
        stream[used] = EOS
        used += 1
    return used, new, specials, special_at


@kernel
def number_ngrams(
    stream: npt.NDArray[np.uint32],
    previous: npt.NDArray[np.int32],
    current: npt.NDArray[np.int32],
    first: int,
    table: npt.NDArray[np.int32],
    begins_before: npt.NDArray[np.bool_],
    contexts: npt.NDArray[np.int32],
    suffixes: npt.NDArray[np.int32],
    words: npt.NDArray[np.uint32],
    begins: npt.NDArray[np.bool_],
    counts: npt.NDArray[np.int64],
    used: int,
    highest: bool,
) -> tuple[int, int]:
    """Number the n-grams that end at each place of `stream`, in the order in which they are first seen.

    `previous` holds the numbers of the (n-1)-grams that end at each place, -1 where a sentence is too young for one;
    `current` gets those of the n-grams. An n-gram is told by its `contexts` (the (n-1)-gram before its last word) and
    `words` (its last word); `suffixes` is the (n-1)-gram without its first word, `begins` whether it begins with
    `<s>`. `counts` is how often it was seen, for orders below the highest only if it begins with `<s>`. `table` maps
    hashes to numbers, -1 where empty.

    Returns:
        the place reached (the end, or where `table` or the arrays have become too full) and the n-grams so far.
    """
    mask = np.uint64(len(table) - 1)
    limit = min(len(table) // 2, len(contexts))
    homes = np.empty(_BLOCK, np.int64)
    seen = np.empty(_BLOCK, np.int32)
    place = first
    while place < len(stream):
        if used + _BLOCK > limit:
            return place, used
        stop = min(place + _BLOCK, len(stream))
        for i in range(place, stop):
            if i == 0 or stream[i] == BOS or previous[i - 1] < 0:
                homes[i - place] = -1
                continue
            key = np.uint64(previous[i - 1]) << np.uint64(32) | np.uint64(stream[i])
            key = (key ^ key >> np.uint64(29)) * _MIX
            home = signed((key ^ key >> np.uint64(32)) & mask)
            homes[i - place] = home
            seen[i - place] = table[home]
        for i in range(place, stop):
            slot = homes[i - place]
            if slot < 0:
                current[i] = -1
                continue
            context = previous[i - 1]
            word = stream[i]
            number = seen[i - place]
            if number < 0:
                number = table[slot]  # it may have been entered since
            while number >= 0 and (contexts[number] != context or words[number] != word):
                slot += 1
                if slot == len(table):
                    slot = 0
                number = table[slot]
            if number < 0:
                number = np.int32(used)
                table[slot] = number
                contexts[number] = context
                suffixes[number] = previous[i]
                words[number] = word
                begins[number] = begins_before[context]
                counts[number] = 0
                used += 1
            current[i] = number
            if highest or begins[number]:
                counts[number] += 1
        place = stop
    return place, used


@lean_kernel
def rehash(
    table: npt.NDArray[np.int32], contexts: npt.NDArray[np.int32], words: npt.NDArray[np.uint32], used: int
) -> None:
    """Enter the first `used` n-grams into an empty table."""
    mask = np.uint64(len(table) - 1)
    for number in range(used):
        key = np.uint64(contexts[number]) << np.uint64(32) | np.uint64(words[number])
        key = (key ^ key >> np.uint64(29)) * _MIX
        slot = signed((key ^ key >> np.uint64(32)) & mask)
        while table[slot] >= 0:
            slot += 1
            if slot == len(table):
                slot = 0
        table[slot] = np.int32(number)


@kernel
def expand_ngrams(
    contexts: npt.NDArray[np.int32], words: npt.NDArray[np.uint32], shorter: npt.NDArray[np.uint32]
) -> npt.NDArray[np.uint32]:
    """Return the words of each n-gram, (rows, n), from those of the (n-1)-grams."""
    n = shorter.shape[1] + 1
    ids = np.empty((len(words), n), np.uint32)
    for row in range(len(words)):
        context = contexts[row]
        for k in range(n - 1):
            ids[row, k] = shorter[context, k]
        ids[row, n - 1] = words[row]
    return ids
