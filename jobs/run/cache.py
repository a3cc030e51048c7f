"""The folder of finished stages: in the run's own work folder, or one that several runs share.

Its files are named by the digest of all that determined them, and appear whole, so any number of runs may use it at
once; only who deletes from it has to be alone.
"""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from tamis.jobs.run.folder import MARKER as RUN_MARKER
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError, RunError

__all__ = ["CACHE_MARKER", "USERS", "alone", "cache_folder", "shared"]

CACHE_MARKER = "tamis-cache"
"""In a folder that runs share: it is ours."""
USERS = "users.lock"
"""In a folder of stages: who uses it holds this file, together with others, or alone."""


def cache_folder(folder: str) -> str:
    """Return the folder that `--cache` means: that itself, or the work folder of a run that is named; mark a new one.

    Raises:
        ConfigError: if it holds somebody else's files.
    """
    for own in (folder, filesystem.join(folder, "work")):
        if filesystem.exists(filesystem.join(own, RUN_MARKER)):
            return own
    marker = filesystem.join(folder, CACHE_MARKER)
    if filesystem.exists(marker):
        return folder
    if filesystem.is_local(folder):
        path = Path(filesystem.local_path(folder))
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            msg = (
                f"--cache {folder} is neither a cache nor a run of tamis: give a run's folder, a folder that is empty, "
                "or one that doesn't exist yet"
            )
            raise ConfigError(msg)
    with filesystem.write_atomically(marker) as stream:
        stream.write(b"This folder has finished stages of runs of tamis, which may delete what is in it.\n")
    return folder


@contextlib.contextmanager
def _lock(folder: str) -> Iterator[TextIO | None]:
    """Open the file that is locked by who uses the stages in a folder; None on a store, which has no locks."""
    if not filesystem.is_local(folder):
        yield None
        return
    path = Path(filesystem.local_path(folder)) / USERS
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        yield stream


@contextlib.contextmanager
def shared(folder: str) -> Iterator[None]:
    """Use the stages in a folder while the block runs, as other runs may; what killed ones left half-written goes."""
    with _lock(folder) as stream:
        if stream is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for left in Path(filesystem.local_path(folder)).rglob(".*.tmp"):
                    left.unlink(missing_ok=True)
            fcntl.flock(stream, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def alone(folder: str) -> Iterator[None]:
    """Be the only one who uses the stages in a folder while the block runs.

    Raises:
        RunError: if a run uses them.
    """
    with _lock(folder) as stream:
        if stream is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                msg = f"another run takes finished stages from {folder}: wait for it, or stop it"
                raise RunError(msg) from None
        yield
