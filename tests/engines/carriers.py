"""Where tests run a config: every engine at hand, in a process of its own that is killed when its time is over."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
LIMIT = 240.0
"""Seconds that anything may take here; a lost worker can cost an engine minutes, or for ever."""

EMBEDDED = ("--runner", "PortableRunner", "--", "--job_endpoint=embed", "--environment_type=LOOPBACK")


def prism_arguments(prism: Path, *further: str) -> tuple[str, ...]:
    """Return what the command line is told to run on Prism."""
    return ("--runner", "PrismRunner", "--", f"--prism_location={prism}", *further)


def external(port: int) -> tuple[str, ...]:
    """Return the options for workers from a pool."""
    return ("--environment_type=EXTERNAL", f"--environment_config=localhost:{port}")


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a child: this checkout's code, and this interpreter as `python`, as pools start it."""
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    kept = {key: value for key, value in os.environ.items() if key not in {"TAMIS_DEBUG", "PYTEST_CURRENT_TEST"}}
    return kept | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "COLUMNS": "140",
    } | changes  # fmt: skip


@dataclass
class Ended:
    """A child that ended.

    Attributes:
        status: its exit status.
        out: its standard output.
        err: what a user's terminal showed besides.
        jobs: names of the pipelines that it submitted.
        counters: those that the engine told.
        tasks: how many were done, where that was asked for.
        seconds: how long it took, or from a fault to its end.
    """

    status: int
    out: str
    err: str
    jobs: list[str] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    tasks: int = 0
    seconds: float = 0.0


class Child:
    """`tamis` in a process group of its own, with its output in files, so that nobody waits for a pipe."""

    def __init__(self, folder: Path, *arguments: str, cwd: Path = ROOT, **changes: str):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        note = folder / "observed.json"
        note.unlink(missing_ok=True)
        self._note = note
        self.began = time.monotonic()
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "observed.py"), *arguments],
                cwd=cwd, env=environment(OBSERVED=str(note), **changes), stdin=subprocess.DEVNULL, stdout=out,
                stderr=err, start_new_session=True,
            )  # fmt: skip

    def ended(self, limit: float = LIMIT, since: float | None = None) -> Ended:
        """Wait for the end; what isn't over within the limit is killed with all that it started."""
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            status = -1
        seconds = time.monotonic() - (since or self.began)
        self.kill()
        told = json.loads(self._note.read_text()) if self._note.exists() else {}
        out, err = ((self._folder / name).read_text(errors="replace") for name in ("out", "err"))
        if status == -1:
            msg = f"not over after {limit:.0f} s: {err[-2000:]}"
            raise AssertionError(msg)
        return Ended(status, out, err, **told, seconds=seconds)

    def kill(self) -> None:
        """End the child and all that it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()


def tamis(folder: Path, *arguments: str, limit: float = LIMIT, cwd: Path = ROOT, **changes: str) -> Ended:
    """Run a command to its end."""
    child = Child(folder, *arguments, cwd=cwd, **changes)
    try:
        return child.ended(limit)
    finally:
        child.kill()


@contextmanager
def worker_pool(folder: Path, boot: Path | None = None, **changes: str):
    """Give a pool of workers that listens on loopback: (its port, its process)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "examples").symlink_to(ROOT / "examples")  # the demo's paths are relative, and boot writes files here
    port = folder / "port"
    command = [sys.executable, str(HERE / "worker_pool.py"), str(port), *([str(boot)] if boot else [])]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(**changes), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(port.exists, 60, "the worker pool's port")
        yield int(port.read_text()), process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(true, limit: float, what: str) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + limit
    while not true():
        if time.monotonic() > end:
            msg = f"no {what} after {limit:.0f} s"
            raise AssertionError(msg)
        time.sleep(0.05)


def processes(root: int) -> dict[int, str]:
    """Return the processes below one, and their command lines."""
    parents, lines = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text()
            lines[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        parents[int(path.name)] = int(stat.rpartition(")")[2].split()[1])
    below, more = {root}, True
    while more:
        more = {pid for pid, parent in parents.items() if parent in below and pid not in below}
        below |= more
    return {pid: lines[pid] for pid in below - {root} if pid in lines}
