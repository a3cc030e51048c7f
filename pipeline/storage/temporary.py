"""Temporary folders that say whose they are, so that what a killed process left can be deleted by a later one.

The name holds host, process and the process's start: in a temporary folder that machines or containers share, nobody
deletes what another machine's process still needs.
"""

import contextlib
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from os import getpid, kill
from pathlib import Path

__all__ = [
    "forget_temporary",
    "make_temporary",
    "process_lives",
    "process_start",
    "sweep_temporary",
    "temporary_folder",
]

_SEMAPHORES = Path("/dev/shm")  # noqa: S108  (where Linux shows the named semaphores of the pool of workers)

_made: set[Path] = set()


def _host() -> str:
    return re.sub(r"\W", "_", socket.gethostname()) or "host"


def process_start(pid: int) -> str:
    """Return when a process began, in whatever unit its system counts.

    "0" where that isn't told; "ended" for one that is only waiting to be looked after.
    """
    try:
        # The second field is the program's name in parentheses, which may hold blanks.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "0"
    return "ended" if fields[0] in ("Z", "X") else fields[19]


def process_lives(pid: int, started: str = "0") -> bool:
    """Return whether there is such a process on this machine, and it began then (if that is known)."""
    try:
        kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    now = process_start(pid)
    return now != "ended" and ("0" in (now, started) or now == started)


def make_temporary() -> Path:
    """Make a folder in the system's temporary folder, named for this process; the caller deletes it."""
    pid = getpid()
    folder = Path(tempfile.mkdtemp(prefix=f"tamis-{_host()}-{pid}-{process_start(pid)}-"))
    _made.add(folder)
    return folder


def forget_temporary() -> None:
    """Delete all such folders of this process, which is about to end."""
    while _made:
        shutil.rmtree(_made.pop(), ignore_errors=True)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give such a folder, deleted when the block ends."""
    folder = make_temporary()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_temporary() -> None:
    """Delete such folders of this machine's processes that are no more, and the semaphores of their worker pools."""
    known = re.compile(rf"tamis-{re.escape(_host())}-(\d+)-(\d+)-\w+")
    for folder in Path(tempfile.gettempdir()).glob("tamis-*"):
        found = known.fullmatch(folder.name)
        if found is None or process_lives(int(found[1]), found[2]):
            continue
        if _SEMAPHORES.is_dir():
            for name in _SEMAPHORES.glob(f"sem.loky-{found[1]}-*"):
                with contextlib.suppress(OSError):
                    name.unlink()
        shutil.rmtree(folder, ignore_errors=True)
