"""Kernels that fill KenLM's probing tables; `tamis.scorers.ngram.query_kernels` says how they lie in memory."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper, kernel, lean_kernel
from tamis.scorers.kernels.word_hash import extend_hash, signed, word_hash
from tamis.scorers.ngram.query_kernels import BUCKETS, TABLES, UNIGRAMS, VOCABULARY

__all__ = ["FULL", "NO_CONTEXT", "insert_ngrams", "insert_words"]

FULL = -1
"""A table has no room left: the model lacks too many of the n-grams that end its longer ones."""
NO_CONTEXT = -2
"""The n-gram without its last word isn't in the model."""

_NO_EXTENSION = np.uint32(0x80000000)
_SIGN = np.uint32(0x80000000)
_MAGNITUDE = np.uint32(0x7FFFFFFF)


@helper
def _find(cells: npt.NDArray[np.uint32], base: int, buckets: int, width: int, key: np.uint64) -> tuple[int, bool]:
    """Return the cell of the entry with `key` and True, or of the empty entry where it belongs and False."""
    bucket = signed(key % np.uint64(buckets))
    while True:
        at: int = base + width * bucket
        found = np.uint64(cells[at]) | np.uint64(cells[at + 1]) << np.uint64(32)
        if found == key:
            return at, True
        if found == 0:
            return at, False
        bucket += 1
        if bucket == buckets:
            bucket = 0


@helper
def _free(cells: npt.NDArray[np.uint32], base: int, buckets: int, width: int, key: np.uint64) -> int:
    """Return the cell of the first empty entry for `key`, whether or not the key is there already."""
    bucket = signed(key % np.uint64(buckets))
    while True:
        at: int = base + width * bucket
        if cells[at] == 0 and cells[at + 1] == 0:
            return at
        bucket += 1
        if bucket == buckets:
            bucket = 0


@helper
def _store(cells: npt.NDArray[np.uint32], at: int, key: np.uint64) -> None:
    cells[at] = np.uint32(key & np.uint64(0xFFFFFFFF))
    cells[at + 1] = np.uint32(key >> np.uint64(32))


@lean_kernel
def insert_words(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    cells: npt.NDArray[np.uint32],
    layout: npt.NDArray[np.int64],
) -> None:
    """Enter words 1, 2, ... (word 0 is `<unk>`, which is nowhere) under their hashes."""
    for word in range(1, len(offsets) - 1):
        key = word_hash(data, offsets[word], offsets[word + 1])
        at = _free(cells, layout[VOCABULARY], layout[BUCKETS], 3, key)
        _store(cells, at, key)
        cells[at + 2] = np.uint32(word)


@kernel
def insert_ngrams(
    ids: npt.NDArray[np.uint32],
    log10_probs: npt.NDArray[np.float32],
    backoffs: npt.NDArray[np.float32],
    cells: npt.NDArray[np.uint32],
    floats: npt.NDArray[np.float32],
    layout: npt.NDArray[np.int64],
    entries: npt.NDArray[np.int64],
) -> tuple[int, int]:
    """Enter the n-grams of one order; the lower orders are there already.

    N-grams that end a longer one but aren't in the model get an entry with the probability that back-off gives them.
    Returns 0 or what went wrong, and the row at which it did. `entries[k]` counts the entries of order k.
    """
    order = layout[0]
    unigrams = layout[UNIGRAMS]
    n = ids.shape[1]
    width = 3 if n == order else 4
    base = layout[TABLES + 2 * (n - 2)]
    buckets = layout[TABLES + 2 * (n - 2) + 1]
    keys: Any = np.zeros(n + 1, np.uint64)  # of the last k words
    for row in range(len(ids)):
        last = signed(ids[row, n - 1])
        keys[1] = np.uint64(last)
        for k in range(2, n + 1):
            keys[k] = extend_hash(keys[k - 1], signed(ids[row, n - k]))
        entries[n] += 1
        if entries[n] >= buckets:
            return FULL, row
        at = _free(cells, base, buckets, width, keys[n])
        _store(cells, at, keys[n])
        floats[at + 2] = log10_probs[row]
        cells[at + 2] |= _SIGN
        if n < order:
            floats[at + 3] = backoffs[row]
            if cells[at + 3] & _MAGNITUDE == 0:
                cells[at + 3] = _NO_EXTENSION

        # The longest n-gram that this one extends to the left; those between are missing and get an entry.
        known = n - 1
        while known > 1:
            lower = layout[TABLES + 2 * (known - 2)]
            lower_buckets = layout[TABLES + 2 * (known - 2) + 1]
            at, there = _find(cells, lower, lower_buckets, 4, keys[known])
            if there:
                break
            entries[known] += 1
            if entries[known] >= lower_buckets:
                return FULL, row
            _store(cells, at, keys[known])
            cells[at + 3] = _NO_EXTENSION
            known -= 1
        if known == 1:
            at = unigrams + 2 * last - 2
        cells[at + 2] &= _MAGNITUDE
        prob = -floats[at + 2]
        for k in range(known + 1, n):
            # p(last | k - 1 words) = backoff(those words) p(last | k - 2 words)
            context = np.uint64(ids[row, n - 2])
            for j in range(2, k):
                context = extend_hash(context, signed(ids[row, n - 1 - j]))
            if k == 2:
                at = unigrams + 2 * signed(ids[row, n - 2]) - 2
                there = True
            else:
                at, there = _find(cells, layout[TABLES + 2 * (k - 3)], layout[TABLES + 2 * (k - 3) + 1], 4, context)
            if there:
                if cells[at + 3] == _NO_EXTENSION:
                    cells[at + 3] = 0
                prob += floats[at + 3]
            at, there = _find(cells, layout[TABLES + 2 * (k - 2)], layout[TABLES + 2 * (k - 2) + 1], 4, keys[k])
            floats[at + 2] = prob
            cells[at + 2] &= _MAGNITUDE  # it extends to the left

        # The n-gram without its last word can be extended to the right.
        if n == 2:
            at = unigrams + 2 * signed(ids[row, 0]) - 2
        else:
            context = np.uint64(ids[row, n - 2])
            for j in range(2, n):
                context = extend_hash(context, signed(ids[row, n - 1 - j]))
            at, there = _find(cells, layout[TABLES + 2 * (n - 3)], layout[TABLES + 2 * (n - 3) + 1], 4, context)
            if not there:
                return NO_CONTEXT, row
        if cells[at + 3] == _NO_EXTENSION:
            cells[at + 3] = 0
    return 0, 0
