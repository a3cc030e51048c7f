"""A finished run stays one when the next run into its folder fails before it wrote anything there."""

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

from tamis.jobs.manifest.file import FATES, MANIFEST, TABLES
from tamis.pipeline.graph.remote_job import LetGo
from tamis.pipeline.storage import filesystem

__all__ = ["earlier_manifest", "unfinished"]

EARLIER = "earlier.json"
"""In a work folder, while a run works: the manifest of the finished run that was there, and the state of its files."""
_LOG = logging.getLogger("tamis")

_State = dict[str, str]


def _state(output: str) -> _State:
    """Return what tells a change of every file that a run leaves: what is replaced gets another inode or tag."""
    if not filesystem.is_local(output):
        found = {name: filesystem.fingerprints_below(filesystem.join(output, name)) for name in (*FATES, TABLES)}
        return {f"{name}/{path}": told for name, files in found.items() for path, told in files.items()}
    root = Path(filesystem.local_path(output))
    state = {}
    for path in root.rglob("*"):
        name = path.relative_to(root)
        if name.parts[0] not in ("work", MANIFEST) and path.is_file():
            told = path.stat()
            state[str(name)] = f"{told.st_size} {told.st_mtime_ns} {told.st_ino}"
    return state


def _earlier(output: str) -> tuple[bytes, _State] | None:
    """Return what a run that was killed, or let go, noted of the finished run before it; None if none did."""
    found = filesystem.content(filesystem.join(output, "work", EARLIER))
    try:
        noted = None if found is None else json.loads(found)
        return None if noted is None else (noted["manifest"].encode(), dict(noted["state"]))
    except (ValueError, KeyError, TypeError, AttributeError):  # a damaged file says nothing
        return None


def earlier_manifest(output: str) -> bytes | None:
    """Return the manifest of the finished run whose files a folder holds, though a run that was killed took it out.

    None if there is no such run, or its files aren't what they were.
    """
    earlier = _earlier(output)
    return earlier[0] if earlier is not None and _state(output) == earlier[1] else None


@contextlib.contextmanager
def unfinished(output: str, *, alone: bool = True) -> Iterator[None]:
    """Take the manifest out of a folder while the block makes a run there.

    Without its manifest a folder is no finished run: nobody takes half of the new for the whole of the old. It is kept
    in the work folder meanwhile, so that one who is killed loses none. If the block fails, and what the folder holds is
    still the old, the manifest comes back: a nightly run that meets a broken input costs no earlier one. If it isn't, a
    warning says what is left.

    Args:
        output: the run's folder.
        alone: whether nobody writes there any more once the block has failed. A service's workers may: then the
            manifest comes back when the next run begins.
    """
    path, kept = filesystem.join(output, MANIFEST), filesystem.join(output, "work", EARLIER)
    known = filesystem.content(path)
    before: _State = {}
    if known is not None:
        before = _state(output)
        with filesystem.write_atomically(kept) as stream:
            stream.write(json.dumps({"manifest": known.decode(), "state": before}).encode())
        filesystem.remove(path)
    elif (earlier := _earlier(output)) is not None:
        known, before = earlier
    try:
        yield
    except LetGo:  # the job goes on
        raise
    except BaseException:
        if known is not None and alone:
            _put_back(output, known, before)
        raise
    filesystem.remove(kept)


def _put_back(output: str, known: bytes, before: _State) -> None:
    """Put a finished run's manifest back if its files are what they were, and say so if they aren't."""
    now = _state(output)
    if now == before:
        with filesystem.write_atomically(filesystem.join(output, MANIFEST)) as stream:
            stream.write(known)
    else:
        left = sum(now.get(name) == told for name, told in before.items())
        _LOG.warning(
            "%s held a finished run, and this one had begun to replace it: %d of its %d files are left, and no "
            "manifest until a run there is finished",
            output,
            left,
            len(before),
        )
    filesystem.remove(filesystem.join(output, "work", EARLIER))
