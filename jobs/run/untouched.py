"""A finished run stays one when the next run into its folder fails before it wrote anything there."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tamis.jobs.manifest.file import MANIFEST
from tamis.pipeline.storage import filesystem

__all__ = ["unfinished"]

_State = dict[str, tuple[int, int, int]]


def _state(output: str) -> _State:
    """Return size, time and inode of every file that a run leaves: what is replaced gets another inode."""
    root = Path(filesystem.local_path(output))
    found = {}
    for path in root.rglob("*"):
        name = path.relative_to(root)
        if name.parts[0] not in ("work", MANIFEST) and path.is_file():
            told = path.stat()
            found[str(name)] = (told.st_size, told.st_mtime_ns, told.st_ino)
    return found


@contextlib.contextmanager
def unfinished(output: str) -> Iterator[None]:
    """Take the manifest out of a folder while the block makes a run there.

    Without its manifest a folder is no finished run: nobody takes half of the new for the whole of the old. If the
    block fails, and what the folder holds is still the old, the manifest comes back: a nightly run that meets a broken
    input costs no earlier one. In object stores it doesn't, for there every look at a shard is a request.
    """
    path = filesystem.join(output, MANIFEST)
    known: bytes | None = None
    before: _State = {}
    if filesystem.is_local(output) and filesystem.exists(path):
        known = Path(filesystem.local_path(path)).read_bytes()
        before = _state(output)
    filesystem.remove(path)
    try:
        yield
    except BaseException:
        if known is not None and _state(output) == before:
            with filesystem.write_atomically(path) as stream:
                stream.write(known)
        raise
