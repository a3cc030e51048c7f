"""Worker processes as forks of one process that has everything imported: two of them cost little more than one.

A worker that starts from nothing spends two CPU-seconds on importing and on making kernels ready. The nursery is a
process that has done this, and forks a worker when it is told to. It never runs a step, so it holds nothing that a
fork would break: no threads, no connections. Driver and nursery talk through a pair of sockets that only these two
have. Where forks aren't safe, or the nursery is gone, workers start as loky starts them.

A driver that is asked for it in time, before it brings Beam and its threads, becomes the nursery's parent by a fork:
then the nursery has for nothing what the driver made ready while it planned, models included. Otherwise it is a program
of its own that imports the same modules.

The nursery ends when the driver does, however that ends, and takes its workers along: it reads the end of file.
"""

import contextlib
import io
import json
import multiprocessing.resource_tracker
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from multiprocessing import util
from multiprocessing.connection import wait
from multiprocessing.context import set_spawning_popen
from typing import Any

from loky.backend import popen_loky_posix, reduction, resource_tracker, spawn
from loky.backend.context import LokyContext
from loky.backend.process import LokyProcess

from tamis.pipeline.graph.nursery_process import (
    NOT_IN_FORKS,
    SIGNALS,
    STATUS,
    Received,
    receive,
    send,
    serve,
    serve_here,
)
from tamis.scorers.kernels.jit import ready_kernels

__all__ = ["Nursery", "NurseryContext"]

NOT_IN_WORKERS = (
    "tamis.jobs.cli",
    "tamis.pipeline.graph.beam",
    "tamis.pipeline.graph.coder",
    "tamis.pipeline.transforms",
)
"""Modules of the driver alone: Beam, whose connections have threads, and the command line."""
WITH_THREADS = (*NOT_IN_FORKS, "apache_beam", "duckdb", "grpc", "polars", "tokenizers")
"""Libraries that have threads of their own, or may: a process that brought one isn't forked."""
START = "import json, sys; sys.path[:] = json.loads(sys.argv[2]); import {0}; {0}.serve(int(sys.argv[1]))"
ENDING_SECONDS = 5.0
LOST = 255
"""The exit status of a worker whose nursery is gone."""


class _Forked:
    """A child that was forked here, as `subprocess.Popen` would hold it."""

    def __init__(self, pid: int):
        self.pid = pid
        self._ended = False

    def poll(self) -> int | None:
        if not self._ended:
            try:
                pid, _ = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else waits for all children of this process
                pid = self.pid
            self._ended = pid != 0
        return 0 if self._ended else None

    def wait(self, timeout: float | None = None) -> int:
        until = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired("", timeout or 0)
            time.sleep(0.01)
        return 0

    def kill(self) -> None:
        if not self._ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class Nursery:
    """A process that forks workers.

    Raises:
        OSError: if it can't be started.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs:
            self._process = _forked(ours, theirs) if _may_fork_here() else _started(theirs)
        if isinstance(self._process, _Forked):
            return
        modules = [name for name in sys.modules if name.startswith("tamis.") and not name.startswith(NOT_IN_WORKERS)]
        send(ours, pickle.dumps((modules, ready_kernels())))

    @staticmethod
    def is_safe() -> bool:
        """Return whether workers may be forks here: what the driver has imported doesn't matter, the nursery hasn't."""
        return sys.platform == "linux"

    @property
    def pid(self) -> int:
        """The process id, which is that of the workers' parent."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Return whether it is there."""
        return self._process.poll() is None

    def fork(self, message: bytes, descriptors: list[int]) -> tuple[int, int]:
        """Have a worker made.

        Args:
            message: what the worker unpickles and does.
            descriptors: open files that it gets.

        Returns:
            Its process id, and a descriptor that can be read when it has ended: its exit status.

        Raises:
            OSError: if the nursery is gone.
        """
        told, tell = os.pipe()
        try:
            send(self._socket, message)
            # A byte of its own: descriptors travel with the first byte of a message.
            socket.send_fds(self._socket, [b"f"], [tell, *descriptors])
            pid = int.from_bytes(receive(self._socket))
        except OSError:
            os.close(told)
            raise
        finally:
            os.close(tell)
        return pid, told

    def close(self) -> None:
        """End it and its workers, and wait for that, so that what they cost counts as this process's children's."""
        self.end()
        self._socket.close()
        try:
            self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        """Have it end its workers and itself, which isn't waited for."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def _may_fork_here() -> bool:
    harmless = {t.ident for t in threading.enumerate() if t is threading.main_thread() or t.name == SIGNALS}
    others = {*sys._current_frames()} - harmless  # those too that no `threading.Thread` stands for
    return not others and not any(name in sys.modules for name in WITH_THREADS)


def _forked(ours: socket.socket, theirs: socket.socket) -> _Forked:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the threads of a BLAS, see `serve_here`
        pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            serve_here(theirs)
        finally:
            os._exit(0)
    return _Forked(pid)


def _started(theirs: socket.socket) -> "subprocess.Popen[bytes]":
    path = json.dumps([part for part in sys.path if part])
    command = [sys.executable, "-P", "-c", START.format(serve.__module__), str(theirs.fileno()), path]
    return subprocess.Popen(command, pass_fds=[theirs.fileno()], process_group=0)  # noqa: S603


class NurseryContext(LokyContext):
    """Makes loky's executor start its workers in a nursery."""

    def __init__(self, nursery: Nursery):
        super().__init__()
        self._nursery = nursery

    def Process(self, *args: Any, **options: Any) -> Any:  # noqa: N802  (the library's name)
        """Return a process that isn't started yet."""
        process = LokyProcess(*args, **options)
        process._Popen = self._started
        return process

    def _started(self, process: Any) -> Any:
        del process._Popen  # the worker gets the process, and needs no nursery
        try:
            return _Popen(process, self._nursery)
        except OSError:
            return popen_loky_posix.Popen(process)


class _Popen(popen_loky_posix.Popen):
    """A worker of a nursery, as loky's executor holds it."""

    DupFd = Received

    def __init__(self, process: Any, nursery: Nursery):
        self._nursery = nursery
        self.returncode: int | None = None
        super().__init__(process)

    def duplicate_for_child(self, descriptor: int) -> int:
        """Return by which number the worker finds a descriptor among those that it gets."""
        self._fds.append(descriptor)
        return len(self._fds) - 1

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """Return the exit status, None while there is none."""
        if self.returncode is None:
            if not wait([self.sentinel], 0 if flag == os.WNOHANG else None):
                return None
            told = os.read(self.sentinel, STATUS.size)
            self.returncode = STATUS.unpack(told)[0] if len(told) == STATUS.size else LOST
        return self.returncode

    def _launch(self, process: Any) -> None:
        trackers = (resource_tracker._resource_tracker, multiprocessing.resource_tracker._resource_tracker)
        message = io.BytesIO()
        set_spawning_popen(self)
        try:
            data = spawn.get_preparation_data(process._name, init_main_module=False)
            for name, tracker in zip(("tracker_fd", "mp_tracker_fd"), trackers, strict=True):
                data[name] = self.duplicate_for_child(tracker._fd)
            reduction.dump(data, message)
            reduction.dump(process, message)
        finally:
            set_spawning_popen(None)
        self.pid, self.sentinel = self._nursery.fork(message.getvalue(), self._fds)
        util.Finalize(self, os.close, (self.sentinel,))
