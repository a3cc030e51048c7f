"""What a work file knows of its own name: an intact file under another's name is no less wrong than a damaged one."""

import xxhash

__all__ = ["name_digest"]


def name_digest(path: str, content: bytes) -> bytes:
    """Return the digest by which a file proves that it is the one that its name promises; 16 bytes.

    Args:
        path: the file. What counts is the part below the run's folder `work`, so that a run can be moved; elsewhere
            it is the file's name.
        content: the digest of the file's content.
    """
    parts = path.split("/")
    below = len(parts) - parts[::-1].index("work") if "work" in parts[:-1] else len(parts) - 1
    return xxhash.xxh3_128_digest("/".join(parts[below:]).encode(errors="surrogateescape") + b"\0" + content)
