"""Damage to files: flipped bits, cut ends, zeroed pages, deletion."""

from pathlib import Path

__all__ = ["KINDS", "damage", "damageable"]


def _flip(data, draw):
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << draw.randrange(8))]) + data[place + 1 :]


def _cut(data, draw):
    return data[: draw.randrange(len(data))]


def _zero(data, draw):
    size = min(len(data), 512)
    place = draw.randrange(len(data) - size + 1)
    return data[:place] + bytes(size) + data[place + size :]


def _empty(data, draw):
    return b""


def _append(data, draw):
    return data + bytes(8)


KINDS = {"flip": _flip, "cut": _cut, "zero": _zero, "empty": _empty, "append": _append, "delete": None}


def damageable(work: Path) -> list[Path]:
    """The files of a work folder, but for the lock and the marker that say whose it is."""
    return sorted(p for p in work.rglob("*") if p.is_file() and p.name not in ("lock.json", "tamis-run"))


def damage(path: Path, kind: str, draw) -> bool:
    """Damage a file; return whether it isn't what it was."""
    if kind == "delete":
        path.unlink(missing_ok=True)
        return True
    data = path.read_bytes()
    changed = KINDS[kind](data, draw) if data else data
    path.write_bytes(changed)
    return changed != data
