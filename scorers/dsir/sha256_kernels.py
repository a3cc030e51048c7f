"""SHA-256 (FIPS 180-4) in Numba, folded modulo a number of buckets: equal to `int(hexdigest, 16) % buckets`."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper, lean_kernel

__all__ = ["sha256_bucket", "sha256_workspace"]

_INITIAL = np.array(
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], np.uint32
)
_ROUNDS = np.array(
    [
        *(0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5),
        *(0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174),
        *(0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA),
        *(0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967),
        *(0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85),
        *(0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070),
        *(0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3),
        *(0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2),
    ],
    np.uint32,
)


def sha256_workspace(buckets: int) -> npt.NDArray[np.uint32]:
    """Return the array that `sha256_bucket` works in, for this number of buckets (below 2^32).

    It holds the message schedule, the state, and the weights of the digest's words modulo `buckets`: the powers of
    2^32, or zeros where their sum could overflow 64 bits.
    """
    work = np.zeros(64 + 8 + 8, np.uint32)
    if buckets <= 2**29:
        work[72:] = [pow(2, 32 * (7 - i), buckets) for i in range(8)]
    return work


@helper
def _rotate(x: np.uint32, by: int) -> np.uint32:
    return np.uint32(x >> np.uint32(by)) | np.uint32(x << np.uint32(32 - by))


@helper
def _round(
    a: np.uint32, b: np.uint32, c: np.uint32, d: np.uint32, e: np.uint32, f: np.uint32, g: np.uint32, h: np.uint32,
    word: np.uint32,
) -> tuple[np.uint32, np.uint32]:  # fmt: skip
    """Return the two registers that a round changes: the new d and the new h, which serve as e and a of the next."""
    t = np.uint32(h + (_rotate(e, 6) ^ _rotate(e, 11) ^ _rotate(e, 25)) + (g ^ (e & (f ^ g))) + word)
    u = np.uint32((_rotate(a, 2) ^ _rotate(a, 13) ^ _rotate(a, 22)) + ((a & b) | (c & (a | b))))
    return np.uint32(d + t), np.uint32(t + u)


@helper
def _compress(work: npt.NDArray[np.uint32]) -> None:
    """Mix the block in `work[:16]` (big-endian words already in host order) into the state `work[64:72]`."""
    for i in range(16, 64):
        x, y = work[i - 15], work[i - 2]
        s0 = _rotate(x, 7) ^ _rotate(x, 18) ^ np.uint32(x >> np.uint32(3))
        s1 = _rotate(y, 17) ^ _rotate(y, 19) ^ np.uint32(y >> np.uint32(10))
        work[i] = np.uint32(work[i - 16] + s0 + work[i - 7] + s1)
    a, b, c, d = work[64], work[65], work[66], work[67]
    e, f, g, h = work[68], work[69], work[70], work[71]
    for i in range(0, 64, 8):  # eight rounds at a time, so that the registers change their roles by name, not by moving
        d, h = _round(a, b, c, d, e, f, g, h, np.uint32(_ROUNDS[i] + work[i]))
        c, g = _round(h, a, b, c, d, e, f, g, np.uint32(_ROUNDS[i + 1] + work[i + 1]))
        b, f = _round(g, h, a, b, c, d, e, f, np.uint32(_ROUNDS[i + 2] + work[i + 2]))
        a, e = _round(f, g, h, a, b, c, d, e, np.uint32(_ROUNDS[i + 3] + work[i + 3]))
        h, d = _round(e, f, g, h, a, b, c, d, np.uint32(_ROUNDS[i + 4] + work[i + 4]))
        g, c = _round(d, e, f, g, h, a, b, c, np.uint32(_ROUNDS[i + 5] + work[i + 5]))
        f, b = _round(c, d, e, f, g, h, a, b, np.uint32(_ROUNDS[i + 6] + work[i + 6]))
        e, a = _round(b, c, d, e, f, g, h, a, np.uint32(_ROUNDS[i + 7] + work[i + 7]))
    for i, register in enumerate((a, b, c, d, e, f, g, h)):
        work[64 + i] = np.uint32(work[64 + i] + register)


@lean_kernel
def sha256_bucket(
    message: npt.NDArray[np.uint8], start: int, end: int, buckets: int, work: npt.NDArray[np.uint32]
) -> np.int64:
    """Return the SHA-256 digest of `message[start:end]`, as one big-endian integer, modulo `buckets`."""
    for i in range(8):
        work[64 + i] = _INITIAL[i]
    length = end - start
    blocks = (length + 9 + 63) // 64
    for block in range(blocks):
        base = start + block * 64
        if base + 64 <= end:
            for i in range(16):
                p = base + 4 * i
                work[i] = (
                    np.uint32(message[p]) << np.uint32(24)
                    | np.uint32(message[p + 1]) << np.uint32(16)
                    | np.uint32(message[p + 2]) << np.uint32(8)
                    | np.uint32(message[p + 3])
                )
        else:
            for i in range(16):
                work[i] = 0
            for p in range(base, end):
                i = p - base
                work[i >> 2] |= np.uint32(message[p]) << np.uint32(24 - 8 * (i & 3))
            if base <= end:  # the byte 0x80 follows the message; it may fall in the block before the length's
                i = end - base
                work[i >> 2] |= np.uint32(0x80) << np.uint32(24 - 8 * (i & 3))
            if block == blocks - 1:
                work[14] = np.uint32(length >> 29)
                work[15] = np.uint32(length << 3)
        _compress(work)
    total = np.uint64(0)
    if work[79] != 0:
        for i in range(8):
            total += np.uint64(work[64 + i]) * np.uint64(work[72 + i])
        return np.int64(total % np.uint64(buckets))
    for i in range(8):
        total = (total << np.uint64(32) | np.uint64(work[64 + i])) % np.uint64(buckets)
    return np.int64(total)
