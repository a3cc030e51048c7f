"""The process that forks workers, see `tamis.pipeline.graph.nursery`: what it does, and what a worker does first."""

import contextlib
import gc
import importlib
import io
import os
import pickle
import selectors
import signal
import socket
import struct
import sys
import warnings
from multiprocessing import process

__all__ = ["NOT_IN_FORKS", "SIGNALS", "STATUS", "Received", "receive", "send", "serve", "serve_here"]

STATUS = struct.Struct("<i")
"""A worker's exit status, as the nursery tells it."""
MOST_DESCRIPTORS = 64
NOT_IN_FORKS = ("torch", "tensorflow", "jax")
"""Libraries that start threads which a fork loses. No module of ours brings one when imported; a site's own may."""
SIGNALS = "signals"
"""The name of the command line's thread that waits for signals: it holds nothing that a fork would miss."""
_LENGTH = struct.Struct("<Q")

_received: list[int] = []
"""In a worker: the descriptors that came with it."""


class Received:
    """A descriptor that travels to a worker: its number among those that the worker gets."""

    def __init__(self, number: int):
        self._number = number

    def detach(self) -> int:
        """Return the descriptor, in the worker."""
        return _received[self._number]


def send(to: socket.socket, message: bytes) -> None:
    """Send a message."""
    to.sendall(_LENGTH.pack(len(message)) + message)


def receive(sender: socket.socket) -> bytes:
    """Return the next message.

    Raises:
        EOFError: if there is none, as the other side has ended; an `OSError` too, of the kind of a broken connection.
    """
    (size,) = _LENGTH.unpack(_exactly(sender, _LENGTH.size))
    return _exactly(sender, size)


class _EndedError(EOFError, ConnectionError):
    """The other side is gone."""


def _exactly(sender: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = sender.recv(min(size, 1 << 20))
        if not part:
            raise _EndedError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def serve(descriptor: int) -> None:
    """Get everything ready, then fork workers as the driver asks for them, until it ends.

    Args:
        descriptor: of the socket to the driver.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with socket.socket(fileno=descriptor) as driver:
            _get_ready(*pickle.loads(receive(driver)))  # noqa: S301  (what our own driver packed)
            if not any(name in sys.modules for name in NOT_IN_FORKS):
                _Server(driver).run()
    finally:
        # At once, without a traceback: where it fails, the driver finds that it is gone, and starts workers without it.
        # Nor shall a terminal get what libraries say when the interpreter is taken down.
        os._exit(0)


def serve_here(driver: socket.socket) -> None:
    """Serve in a process that was just forked from the driver, and so has ready what that had; until the driver ends.

    Args:
        driver: the socket to the driver.
    """
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.SIG_DFL)
    _settle()
    _Server(driver).run()


def _get_ready(modules: list[str], kernels: list[tuple[str, str, object]]) -> None:
    from tamis.scorers.kernels.jit import make_ready

    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    make_ready(kernels)
    _settle()


def _settle() -> None:
    """Prepare for forking."""
    import loky.backend.popen_loky_posix
    import loky.process_executor  # noqa: F401

    # Threads of libraries that are at rest, such as those of a BLAS, mend themselves in a fork.
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
    gc.collect()
    gc.freeze()  # what is there stays shared: a collection in a worker would write to all of it


class _Server:
    """Forks workers and tells how they ended."""

    def __init__(self, driver: socket.socket):
        self._driver = driver
        self._workers: dict[int, int] = {}  # process id to the descriptor that its exit status is written to
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)

    def run(self) -> None:
        """Serve until the driver ends; then end all workers."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._driver, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            try:
                while True:
                    for key, _ in selector.select():
                        if key.fileobj is self._driver:
                            self._fork(selector)
                        else:
                            with contextlib.suppress(BlockingIOError):
                                os.read(self._woken, 4096)
                            self._reap(os.WNOHANG)
            except (EOFError, ConnectionError):
                self._end()

    def _fork(self, selector: selectors.BaseSelector) -> None:
        message = receive(self._driver)
        _, (tell, *descriptors), _, _ = socket.recv_fds(self._driver, 1, MOST_DESCRIPTORS)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                selector.close()
                self._driver.close()
                for descriptor in (self._woken, self._wake, tell, *self._workers.values()):
                    os.close(descriptor)
                _received[:] = descriptors
                status = _work(message)
            finally:
                os._exit(status)
        self._workers[pid] = tell
        for descriptor in descriptors:
            os.close(descriptor)
        send(self._driver, pid.to_bytes(8))

    def _reap(self, flag: int) -> None:
        while self._workers:
            try:
                pid, status = os.waitpid(-1, flag)
            except ChildProcessError:
                return
            if not pid:
                return
            tell = self._workers.pop(pid, None)
            if tell is not None:
                with contextlib.suppress(OSError):
                    os.write(tell, STATUS.pack(os.waitstatus_to_exitcode(status)))
                os.close(tell)

    def _end(self) -> None:
        for pid in self._workers:
            for kill in (os.killpg, os.kill):  # it may not have come so far as to have a group of its own
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(pid, signal.SIGKILL)
        self._reap(0)


def _nothing(number: int, frame: object) -> None:
    """That a signal came is read from the pipe."""


def _work(message: bytes) -> int:
    """Be the worker that the message tells of; return its exit status."""
    from loky.backend import spawn

    packed = io.BytesIO(message)
    this = process.current_process()
    this._inheriting = True  # type: ignore[attr-defined]
    try:
        data = pickle.load(packed)  # noqa: S301  (what our own driver packed)
        for name in ("tracker_fd", "mp_tracker_fd"):
            data[name] = _received[data[name]]
        spawn.prepare(data)
        worker = pickle.load(packed)  # noqa: S301
    finally:
        del this._inheriting  # type: ignore[attr-defined]
    os.environ.update(worker.env)
    status: int = worker._bootstrap()
    return status
