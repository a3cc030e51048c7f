"""KenLM's hash functions: of a word's bytes, and of an n-gram's words."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper, lean_kernel

__all__ = ["extend_hash", "signed", "word_hash"]

_M = np.uint64(0xC6A4A7935BD1E995)
_WORD_FACTOR = np.uint64(17894857484156487943)
_NODE_FACTOR = np.uint64(8978948897894561157)


@helper
def signed(value: Any) -> int:
    """Return an unsigned number as a signed one: Numba makes a float of a sum of both."""
    number: Any = np.int64(value)
    return number  # type: ignore[no-any-return]


@lean_kernel
def word_hash(data: npt.NDArray[np.uint8], start: int, end: int) -> np.uint64:
    """Return MurmurHash64A (Appleby, public domain) of `data[start:end]` with seed 0, KenLM's key of a word."""
    length = end - start
    h = np.uint64(length) * _M
    at = start
    while at + 8 <= end:
        k = (
            np.uint64(data[at])
            | np.uint64(data[at + 1]) << np.uint64(8)
            | np.uint64(data[at + 2]) << np.uint64(16)
            | np.uint64(data[at + 3]) << np.uint64(24)
            | np.uint64(data[at + 4]) << np.uint64(32)
            | np.uint64(data[at + 5]) << np.uint64(40)
            | np.uint64(data[at + 6]) << np.uint64(48)
            | np.uint64(data[at + 7]) << np.uint64(56)
        )
        k *= _M
        k ^= k >> np.uint64(47)
        k *= _M
        h ^= k
        h *= _M
        at += 8
    if at < end:
        tail = np.uint64(0)
        shift = np.uint64(0)
        while at < end:
            tail |= np.uint64(data[at]) << shift
            shift += np.uint64(8)
            at += 1
        h ^= tail
        h *= _M
    h ^= h >> np.uint64(47)
    h *= _M
    h ^= h >> np.uint64(47)
    return h


@helper
def extend_hash(node: np.uint64, word: int) -> np.uint64:
    """Return the key of the n-gram with `word` in front of the n-gram (or last word) whose key is `node`."""
    return node * _NODE_FACTOR ^ (np.uint64(1) + np.uint64(word)) * _WORD_FACTOR
