r"""Noise that anyone can reproduce: a pure function of (seed, purpose, document id), never a generator with a state.

So the same documents are drawn whatever the runner, the workers, the order or the sharding. The definition is frozen:

* the key is the 32 bytes of `SHA-256("tamis-noise-1\0" + str(seed) + "\0" + purpose)` (UTF-8), as four big-endian
  64-bit words k0..k3;
* a document id of 128 bits is two 64-bit words a (the first 16 hex digits) and b; m is the finaliser of splitmix64
  (`x ^= x >> 30; x *= 0xbf58476d1ce4e5b9; x ^= x >> 27; x *= 0x94d049bb133111eb; x ^= x >> 31`), all arithmetic
  modulo 2^64;
* `h = m((m((m(a ^ k0) + k1) ^ b) + k2) ^ k3)`;
* uniform `v = min((float64(h) + 0.5) / 2^64, 1 - 2^-53)`;
* Gumbel `g = -ln(-ln(1 - v))`, with `tamis.scorers.kernels.portable_log`: the same bits on every machine.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.text.noise_kernels import gumbels, hashes, parse_hex, uniforms
from tamis.scorers.text.texts import as_buffer

__all__ = ["DocumentIds", "gumbel_noise", "id_words", "keyed_hash", "uniform_noise"]

DocumentIds: TypeAlias = Sequence[str] | pa.Array | pa.ChunkedArray | npt.NDArray[np.uint8] | npt.NDArray[np.uint64]
"""128-bit ids: 32 hex digits each (a sequence or Arrow string array), or 16 bytes each (uint8 (n, 16) or Arrow
fixed-size binary), or two words each (uint64 (n, 2), the more significant first)."""


def id_words(ids: DocumentIds) -> npt.NDArray[np.uint64]:
    """Return ids as two 64-bit words each, uint64 (n, 2), the more significant first: they sort as the hex text does.

    Raises:
        DataError: if an id isn't 128 bits; the message names its position.
    """
    if isinstance(ids, np.ndarray):
        if ids.dtype == np.uint64 and ids.ndim == 2 and ids.shape[1] == 2:
            return ids.astype(np.uint64, copy=False)
        if ids.dtype == np.uint8 and ids.ndim == 2 and ids.shape[1] == 16:
            return np.ascontiguousarray(ids).view(">u8").astype(np.uint64)
        if ids.dtype.kind not in "UO":
            msg = f"document ids must be hex text, 16 bytes or two 64-bit words, not {ids.dtype}{list(ids.shape)}"
            raise DataError(msg)
        ids = pa.array(ids, pa.large_string())
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if isinstance(ids, pa.Array) and pa.types.is_fixed_size_binary(ids.type) and ids.type.byte_width == 16:
        if ids.null_count:
            msg = "a document id is missing (null)"
            raise DataError(msg)
        raw = np.frombuffer(ids.buffers()[1], np.uint8, 16 * len(ids), 16 * ids.offset)
        return id_words(raw.reshape(-1, 16))
    text, offsets = as_buffer(ids)
    words = np.empty((len(offsets) - 1, 2), np.uint64)
    bad = parse_hex(text, offsets, words)
    if bad >= 0:
        value = text[offsets[bad] : offsets[bad + 1]].tobytes().decode(errors="replace")
        msg = f"document id {value[:40]!r} (row {bad}) isn't 32 hex digits"
        raise DataError(msg)
    return words


def keyed_hash(seed: int, purpose: str, ids: DocumentIds) -> npt.NDArray[np.uint64]:
    """Return 64 keyed bits for each id (n,).

    Args:
        seed: the run's seed, 0 to 2^63.
        purpose: what the noise is for; different purposes have independent noise.
        ids: the documents.

    Raises:
        ConfigError: if the seed is out of range.
        DataError: if an id isn't 128 bits.
    """
    if not 0 <= seed <= 2**63:
        msg = f"seed must be from 0 to 2^63, got {seed}"
        raise ConfigError(msg)
    digest = sha256(f"tamis-noise-1\0{seed}\0{purpose}".encode()).digest()
    key = np.frombuffer(digest, ">u8").astype(np.uint64)
    return hashes(id_words(ids), key)


def uniform_noise(seed: int, purpose: str, ids: DocumentIds) -> npt.NDArray[np.float64]:
    """Return a uniform number in (0, 1), both ends excluded, for each id (n,); see `keyed_hash` for the arguments."""
    return uniforms(keyed_hash(seed, purpose, ids))


def gumbel_noise(seed: int, purpose: str, ids: DocumentIds) -> npt.NDArray[np.float64]:
    """Return a standard Gumbel number for each id (n,), between -3.61 and 45.1; see `keyed_hash` for the arguments."""
    return gumbels(keyed_hash(seed, purpose, ids))
