"""A function in a child process with a limit of time and of memory: the one way to bound native code.

Signals reach only a process's main thread and don't interrupt C code, so a page that keeps a parser busy for
an hour, or makes it ask for gigabytes, can be ended only with the process that parses it. The limits are the
operating system's: they hold whatever the function does, and when the parent is gone.
"""

import importlib
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import IO, NamedTuple, cast

from tamis.schemas.errors import RunError, TamisError

__all__ = ["CallFailedError", "OutOfMemoryError", "Sandbox", "TimedOutError", "serve"]

_HEADER = struct.Struct("<dQ")  # of a request: seconds, bytes
_ANSWER = struct.Struct("<dQ")  # of an answer: CPU-seconds that the call took, bytes
_START_SECONDS = 120.0
_PIPE = 1 << 20  # bytes that a pipe holds where the system allows it: fewer turns between the two processes
_PATIENCE = 5.0  # a machine that is busy otherwise may take so many times the CPU-seconds, and so many seconds more
_DONE, _RAISED, _NO_MEMORY = b"\0", b"\1", b"\2"


class CallFailedError(TamisError):
    """The function raised, or its process died; the next call starts another if need be."""


class OutOfMemoryError(CallFailedError):
    """The function asked for more memory than it may have."""


class TimedOutError(TamisError):
    """The call took longer than it may; the child was ended and the next call starts another."""


class _DiedError(Exception):
    """The child ended without an answer."""


class _Child(NamedTuple):
    """A running child, and the two ends of its pipes."""

    process: "subprocess.Popen[bytes]"
    requests: IO[bytes]
    answers: IO[bytes]

    def running(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.requests, self.answers):
            with suppress(OSError):  # a request that the child never read
                stream.close()


class Sandbox:
    """Calls a function in a child process, which is kept between calls.

    Safe to share among threads: calls wait for each other.

    Args:
        target: "package.module:function"; the function takes and returns `str`, its module is imported in the
            child alone.
        memory: bytes of data that the child may hold; None for no limit.
    """

    def __init__(self, target: str, memory: int | None = None):
        self._target = target
        self._memory = memory
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self.seconds = 0.0
        """CPU time of all calls so far: the child's, which no clock of this process shows."""

    def call(self, text: str, seconds: float) -> str:
        """Return what the function returns for `text`.

        Args:
            text: the argument.
            seconds: CPU time that it may take, starting the child and its imports apart; so a page that passes on an
                idle machine passes on a busy one. A call that doesn't end in five times as long (and five seconds) is
                ended, too.

        Raises:
            TimedOutError: if it takes longer.
            OutOfMemoryError: if it wants more memory than it may have.
            CallFailedError: if the function raises or its process dies.
            RunError: if the child can't be started.
        """
        with self._lock:
            request = text.encode("utf-8", "replace")
            request = _HEADER.pack(seconds, len(request)) + request
            try:
                return self._asked(request, seconds)
            except _DiedError:
                pass  # perhaps somebody ended it: it's the text's fault if it does so again
            try:
                return self._asked(request, seconds)
            except _DiedError as error:
                msg = f"the process of {self._target} died: {error}"
                raise CallFailedError(msg) from error

    def _asked(self, request: bytes, seconds: float) -> str:
        if self._child is None or not self._child.running():
            self._child = self._start()
        try:
            self._child.requests.write(request)
            self._child.requests.flush()
            return self._answer(self._child, _PATIENCE * seconds + _PATIENCE)
        except OSError as error:
            status = self._child.process.wait()
            self._end()
            if status == -signal.SIGPROF:
                self.seconds += seconds
                msg = f"{self._target} took more than {seconds:g} s of CPU time"
                raise TimedOutError(msg) from error
            raise _DiedError(str(error)) from error
        except TimedOutError:
            self._end()
            raise

    def close(self) -> None:
        """End the child, if there is one; a later call starts another."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _start(self) -> _Child:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        code = f"from tamis.scorers.extraction.sandbox import serve; serve({self._target!r}, {self._memory!r})"
        process = subprocess.Popen(  # noqa: S603  (our own interpreter and code)
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        child = _Child(process, cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout))
        weakref.finalize(self, child.end)
        for stream in (child.requests, child.answers):
            _widen(stream)
        try:
            self._answer(child, _START_SECONDS)
        except (OSError, TamisError) as error:
            child.end()
            msg = f"{self._target} can't be started: {error}"
            raise RunError(msg) from error
        return child

    def _answer(self, child: _Child, seconds: float) -> str:
        deadline = time.monotonic() + seconds
        taken, length = _ANSWER.unpack(self._read(child, _ANSWER.size, deadline))
        self.seconds += taken
        answer = self._read(child, length, deadline)
        if answer[:1] == _NO_MEMORY:
            raise OutOfMemoryError(answer[1:].decode())
        if answer[:1] == _RAISED:
            raise CallFailedError(answer[1:].decode())
        return answer[1:].decode()

    def _read(self, child: _Child, size: int, deadline: float) -> bytes:
        descriptor = child.answers.fileno()
        parts: list[bytes] = []
        while size:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                msg = f"{self._target} took too long"
                raise TimedOutError(msg)
            part = os.read(descriptor, min(size, 1 << 20))
            if not part:
                msg = f"it ended with status {child.process.wait()}"
                raise OSError(msg)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _widen(stream: IO[bytes]) -> None:
    import fcntl

    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # beyond what the system grants this user
            fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)


def _limit_memory(size: int) -> None:
    import resource

    # Of data: what is mapped without being used, such as the libraries' code, is no matter.
    with suppress(OSError, ValueError):  # a system that has no such limit
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    with suppress(OSError, ValueError):  # a page that ends the parser leaves no core file
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def serve(target: str, memory: int | None = None) -> None:
    """Run in the child: answer requests on standard input until it is closed."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the function prints must not mix with answers

    def reply(status: bytes, text: str, taken: float = 0.0) -> None:
        data = status + text.encode("utf-8", "replace")
        sink.write(_ANSWER.pack(taken, len(data)) + data)
        sink.flush()

    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person who stops the run means the parent; its end is this one's
    module, _, name = target.partition(":")
    try:
        function: Callable[[str], str] = getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001  (told to the parent)
        reply(_RAISED, f"{type(error).__name__}: {error}")
        return
    if memory is not None:
        _limit_memory(memory)
    reply(_DONE, "")
    while header := source.read(_HEADER.size):
        seconds, size = _HEADER.unpack(header)
        text = source.read(size).decode()
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, max(seconds, 1e-6))  # its signal ends the process, in native code, too
        try:
            answer = _DONE, function(text)
        except MemoryError as error:
            answer = _NO_MEMORY, f"{type(error).__name__}: {error}"
        except (Exception, SystemExit) as error:  # noqa: BLE001  (told to the parent)
            answer = _RAISED, f"{type(error).__name__}: {error}"
        except BaseException as error:  # noqa: BLE001  (a panic of native code is no Exception)
            answer = _RAISED, f"{type(error).__name__}: {error}"
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        reply(*answer, time.process_time() - began)
