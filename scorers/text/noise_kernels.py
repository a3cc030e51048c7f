"""The loops of `tamis.scorers.text.noise`."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper, kernel, lean_kernel
from tamis.scorers.kernels.portable_log import log1m, natural_log
from tamis.scorers.kernels.splitmix import mix64

__all__ = ["gumbels", "hashes", "parse_hex", "uniforms"]


@helper
def _uniform(digest: np.uint64) -> float:
    """Return (digest + 1/2) / 2^64, at most 1 - 2^-53: never 0 and never 1."""
    return min((np.float64(digest) + 0.5) * 2.0**-64, 1.0 - 2.0**-53)


@kernel
def hashes(ids: npt.NDArray[np.uint64], key: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of each row of `ids` (n, 2), keyed by four words."""
    out = np.empty(len(ids), np.uint64)
    for i in range(len(ids)):
        x = mix64(ids[i, 0] ^ key[0]) + key[1]
        x = mix64(x ^ ids[i, 1]) + key[2]
        out[i] = mix64(x ^ key[3])
    return out


@kernel
def uniforms(digests: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Return the uniform number of each 64-bit hash."""
    out = np.empty(len(digests), np.float64)
    for i in range(len(digests)):
        out[i] = _uniform(digests[i])
    return out


@kernel
def gumbels(digests: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Return -ln(-ln(1 - v)) of each hash's uniform number v: finest where it matters, at the large end."""
    out = np.empty(len(digests), np.float64)
    for i in range(len(digests)):
        out[i] = -natural_log(-log1m(_uniform(digests[i])))
    return out


@lean_kernel
def parse_hex(text: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], out: npt.NDArray[np.uint64]) -> int:
    """Read 32 hex digits a row into two words; return the first row that isn't 32 hex digits, or -1."""
    for row in range(len(offsets) - 1):
        begin = offsets[row]
        if offsets[row + 1] - begin != 32:
            return row
        for half in range(2):
            word = np.uint64(0)
            for i in range(begin + 16 * half, begin + 16 * half + 16):
                digit = np.int64(text[i])
                if 48 <= digit <= 57:
                    digit -= 48
                elif 97 <= digit <= 102:
                    digit -= 87
                elif 65 <= digit <= 70:
                    digit -= 55
                else:
                    return row
                word = word << np.uint64(4) | np.uint64(digit)
            out[row, half] = word
    return -1
