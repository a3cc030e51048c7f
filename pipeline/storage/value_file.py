"""Small values that a run keeps between passes and runs: bytes that prove themselves when they are read."""

import xxhash

from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.damage import found_damage
from tamis.schemas.errors import DamagedError, InputError

__all__ = ["read_value", "write_value"]

MAGIC = b"TAMISVF1"
DIGEST_BYTES = 16


def write_value(path: str, value: bytes) -> None:
    """Write a value with its digest; it appears under its name only when complete."""
    with filesystem.write_atomically(path) as stream:
        stream.write(MAGIC + xxhash.xxh3_128_digest(value) + value)


def read_value(path: str, damaged: list[str]) -> bytes | None:
    """Return a value; None if there is none, or if it is damaged and so has to be found again.

    Args:
        path: the file; deleted if it is damaged.
        damaged: gets a sentence about a damaged file.
    """
    if not filesystem.exists(path):
        return None
    try:
        with filesystem.open_binary(path) as stream:
            data = stream.read()
    except InputError:
        if filesystem.exists(path):
            raise
        return None  # another task that found it damaged was faster
    head = len(MAGIC) + DIGEST_BYTES
    value = data[head:]
    if data[: len(MAGIC)] == MAGIC and xxhash.xxh3_128_digest(value) == data[len(MAGIC) : head]:
        return value
    error = DamagedError(path, "its bytes don't agree with its digest")
    damaged.append(str(error))
    found_damage(str(error))
    filesystem.remove(path)
    return None
