"""SHA-1 (FIPS 180-4) in Numba: the first 64 bits of the digest, as datasketch's hash functions read them."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import kernel

__all__ = ["sha1_word"]


@kernel
def _rotate(x: np.uint32, by: int) -> np.uint32:
    return np.uint32(x << np.uint32(by)) | np.uint32(x >> np.uint32(32 - by))


@kernel
def _swapped(x: np.uint32) -> np.uint64:
    """Return the word with its bytes in reverse order."""
    return np.uint64(
        np.uint32(x >> np.uint32(24))
        | np.uint32(x >> np.uint32(8)) & np.uint32(0xFF00)
        | np.uint32(x << np.uint32(8)) & np.uint32(0xFF0000)
        | np.uint32(x << np.uint32(24))
    )


@kernel
def _compress(work: npt.NDArray[np.uint32]) -> None:
    """Mix the block in `work[:16]` (words in host order) into the state `work[80:85]`."""
    for i in range(16, 80):
        work[i] = _rotate(np.uint32(work[i - 3] ^ work[i - 8] ^ work[i - 14] ^ work[i - 16]), 1)
    a, b, c, d, e = work[80], work[81], work[82], work[83], work[84]
    for i in range(80):
        if i < 20:
            mixed = np.uint32((b & c) | (~b & d))
            constant = np.uint32(0x5A827999)
        elif i < 40:
            mixed = np.uint32(b ^ c ^ d)
            constant = np.uint32(0x6ED9EBA1)
        elif i < 60:
            mixed = np.uint32((b & c) | (b & d) | (c & d))
            constant = np.uint32(0x8F1BBCDC)
        else:
            mixed = np.uint32(b ^ c ^ d)
            constant = np.uint32(0xCA62C1D6)
        new = np.uint32(_rotate(a, 5) + mixed + e + constant + work[i])
        e, d, c, b, a = d, c, _rotate(b, 30), a, new
    work[80] = np.uint32(work[80] + a)
    work[81] = np.uint32(work[81] + b)
    work[82] = np.uint32(work[82] + c)
    work[83] = np.uint32(work[83] + d)
    work[84] = np.uint32(work[84] + e)


@kernel
def sha1_word(data: npt.NDArray[np.uint8], start: int, end: int, work: npt.NDArray[np.uint32]) -> np.uint64:
    """Return the first eight bytes of the SHA-1 of `data[start:end]` as a little-endian number.

    Its low half is datasketch's `sha1_hash32`, the whole `sha1_hash64`. `work` has 85 entries.
    """
    work[80] = np.uint32(0x67452301)
    work[81] = np.uint32(0xEFCDAB89)
    work[82] = np.uint32(0x98BADCFE)
    work[83] = np.uint32(0x10325476)
    work[84] = np.uint32(0xC3D2E1F0)
    length = end - start
    blocks = (length + 8) // 64 + 1
    for block in range(blocks):
        first = start + 64 * block
        for i in range(16):
            word = np.uint32(0)
            for j in range(4):
                at = first + 4 * i + j
                byte = np.uint32(data[at]) if at < end else np.uint32(0x80) if at == end else np.uint32(0)
                word = np.uint32(np.uint32(word << np.uint32(8)) | byte)
            work[i] = word
        if block == blocks - 1:
            work[14] = np.uint32(length >> 29)
            work[15] = np.uint32((length << 3) & 0xFFFFFFFF)
        _compress(work)
    return _swapped(work[80]) | _swapped(work[81]) << np.uint64(32)
