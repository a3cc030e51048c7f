"""Small values that a run keeps between passes and runs: bytes that prove themselves, and their name, when read."""

import xxhash

from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.damage import found_damage
from tamis.pipeline.storage.own_name import name_digest
from tamis.schemas.errors import DamagedError

__all__ = ["read_value", "write_value"]

MAGIC = b"TAMISVF2"
DIGEST_BYTES = 16


def write_value(path: str, value: bytes) -> None:
    """Write a value with its digest; it appears under its name only when complete."""
    with filesystem.write_atomically(path, keep=True) as stream:
        digest = xxhash.xxh3_128_digest(value)
        stream.write(MAGIC + digest + name_digest(path, digest) + value)


def read_value(path: str, damaged: list[str], *, look: bool = False) -> bytes | None:
    """Return a value; None if there is none, or if it is damaged and so has to be found again.

    Args:
        path: the file; deleted if it is damaged.
        damaged: gets a sentence about a damaged file.
        look: see `filesystem.absent`: for a value that is found again where another process has just written it.
    """
    if look and filesystem.absent(path):
        return None
    data = filesystem.content(path)
    if data is None:
        return None
    try:
        value = _proven(path, data)
    except DamagedError as error:
        damaged.append(str(error))
        found_damage(str(error))
        filesystem.remove(path)
        return None
    filesystem.keep(path, data)
    return value


def _proven(path: str, data: bytes) -> bytes:
    digest_at = len(MAGIC)
    name_at = digest_at + DIGEST_BYTES
    value_at = name_at + DIGEST_BYTES
    value, digest = data[value_at:], data[digest_at:name_at]
    if data[:digest_at] != MAGIC or xxhash.xxh3_128_digest(value) != digest:
        raise DamagedError(path, "its bytes don't agree with its digest")
    if name_digest(path, digest) != data[name_at:value_at]:
        raise DamagedError(path, "it is another file under this name")
    return value
