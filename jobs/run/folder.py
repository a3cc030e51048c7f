"""The folder of a run: whose it is, who works in it, and what earlier runs left there."""

import contextlib
import fcntl
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tamis.jobs.manifest.file import FATES, MANIFEST, TABLES, files_of, read_manifest
from tamis.jobs.run.plan import Plan
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.temporary import process_lives, process_start, sweep_temporary
from tamis.schemas.errors import ConfigError, RunError

__all__ = ["LOCK", "MARKER", "claim", "owned", "owner_of", "refuse_own_inputs", "remove_others", "sweep"]

MARKER = "tamis-run"
"""In a work folder: it is ours."""
LOCK = "lock.json"
"""In a work folder: who works in it."""
TAKING_OVER = 0.5
"""Seconds until who takes over a dead owner's lock looks whether another did the same; only on object stores."""
SHARD = re.compile(r"(selected(/[^/]+)?|rejected|errors)/part-\d{5,}\.parquet|tables/[^/]+/[a-z_]+\.parquet")


def claim(output: str) -> None:
    """Refuse a folder that holds somebody else's files where a run's would go; mark it as ours otherwise.

    Raises:
        ConfigError: naming what is in the way.
    """
    work = filesystem.join(output, "work")
    marker = filesystem.join(work, MARKER)
    if filesystem.content(marker) is not None:
        return
    there = filesystem.names_in(output)
    if "work" in there and LOCK in filesystem.names_in(work):  # the marker was lost
        _mark(marker)
        return
    taken = [name for name in (MANIFEST, *FATES, TABLES, "work") if name in there]
    if MANIFEST in taken:
        try:
            read_manifest(output)
        except RunError:
            pass
        else:  # a finished run whose work folder was removed, as it may be
            taken = ["work"] if "work" in taken else []
    if taken:
        msg = f"{output} holds {', '.join(taken)}, not made by tamis: give another folder with --output"
        raise ConfigError(msg)
    _mark(marker)


def refuse_own_inputs(output: str, plan: Plan) -> None:
    """Refuse a folder that an input names, or in whose shards inputs lie: the run would delete what it reads.

    Raises:
        ConfigError: naming the input.
    """
    if not filesystem.is_local(output):
        return
    root = Path(filesystem.local_path(output)).resolve()
    inside = [root / name for name in (*FATES, TABLES, "work")]
    named = [path for entry in plan.config.inputs for path in entry.path if not path.startswith("@")]
    for path in (*named, *(file.path for file in plan.files)):
        if not filesystem.is_local(path):
            continue
        places = [Path(folder) / filesystem.local_path(path) for folder in plan.folders or (str(Path.cwd()),)]
        real = next((place for place in places if place.exists()), places[0]).resolve()
        if real == root or any(folder in real.parents for folder in inside):
            msg = f"{output} is where the run would write, and the input {path} lies there: give another folder"
            raise ConfigError(msg)


def _mark(marker: str) -> None:
    with filesystem.write_atomically(marker) as stream:
        stream.write(b"This folder belongs to a run of tamis, which may delete what is in it.\n")


def sweep(output: str) -> None:
    """Delete what a run that was killed left: half-written files, which never had a name that anyone reads.

    Those among the finished stages are deleted by who uses these.
    """
    sweep_temporary()
    if not filesystem.is_local(output):
        return
    root = Path(filesystem.local_path(output))
    for name in ("work/written", *FATES, TABLES):
        for path in (root / name).rglob(".*.tmp"):
            path.unlink(missing_ok=True)
    for path in (root / "work" / "passes").glob("*"):
        path.unlink(missing_ok=True)


def remove_others(output: str, paths: set[str]) -> None:
    """Delete the shards and tables that an earlier run into the same folder left; what has another name stays.

    Args:
        output: the run's folder.
        paths: of the run's own shards and tables, relative to it.
    """
    for path in list(files_of(output)):
        if path not in paths and SHARD.fullmatch(path):
            filesystem.remove(filesystem.join(output, path))
    if filesystem.is_local(output):  # a source or step that is gone shouldn't show as an empty folder
        root = Path(filesystem.local_path(output))
        for folder in (*root.glob("selected/*"), *root.glob(f"{TABLES}/*"), *root.glob(TABLES)):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


@contextlib.contextmanager
def owned(output: str) -> Iterator[None]:
    """Be the only one who works in a folder while the block runs; a dead owner doesn't hold it.

    Raises:
        RunError: naming the owner, if there is another.
    """
    path = filesystem.join(output, "work", LOCK)
    me = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "start": process_start(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "id": secrets.token_hex(8),  # two runs of one process are two owners
    }
    if filesystem.is_local(output):
        with _locked_file(Path(filesystem.local_path(path)), output, me):
            yield
        return
    if not filesystem.create(path, json.dumps(me).encode()):
        with filesystem.open_binary(path) as stream:
            owner = _owner(stream.read())
        if owner == me:  # it was written by a try of which the answer was lost
            pass
        elif not _ended(owner):
            msg = f"{_told(output, owner)}; if that run is dead, delete {path}"
            raise RunError(msg)
        else:
            _take_over(path, output, me)
    try:
        yield
    finally:
        filesystem.remove(path)


def _take_over(path: str, output: str, me: dict[str, Any]) -> None:
    """Take a dead owner's lock.

    Raises:
        RunError: if another took it at the same moment.
    """
    with filesystem.write_atomically(path) as stream:
        stream.write(json.dumps(me).encode())
    time.sleep(TAKING_OVER)
    with filesystem.open_binary(path) as stream:
        owner = _owner(stream.read())
    if owner != me:
        raise RunError(_told(output, owner))


@contextlib.contextmanager
def _locked_file(path: Path, output: str, me: dict[str, Any]) -> Iterator[None]:
    """Hold a lock that the kernel takes back when its holder ends, however that happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(_told(output, _owner(path.read_bytes()))) from None
        stream.truncate(0)
        stream.write(json.dumps(me))
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


def owner_of(output: str) -> str | None:
    """Return who works in a folder, as a sentence's part; None if nobody does."""
    path = filesystem.join(output, "work", LOCK)
    if not filesystem.exists(path):
        return None
    if filesystem.is_local(output):
        with Path(filesystem.local_path(path)).open("a+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                pass
            else:
                return None
    with filesystem.open_binary(path) as stream:
        owner = _owner(stream.read())
    return None if not owner or _ended(owner) else _who(owner)


def _owner(content: bytes) -> dict[str, Any]:
    """Return what a lock says; nothing if it is damaged."""
    try:
        owner = json.loads(content)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _told(output: str, owner: dict[str, Any]) -> str:
    return f"another run works in {output} ({_who(owner)}): wait for it, stop it, or give another folder with --output"


def _who(owner: dict[str, Any]) -> str:
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}, since {owner.get('since', '?')}"


def _ended(owner: dict[str, Any]) -> bool:
    """Return whether an owner is known to be dead: only of this machine anybody knows."""
    if owner.get("host") != socket.gethostname():
        return False
    return not process_lives(int(owner["pid"]), str(owner.get("start", "0")))
