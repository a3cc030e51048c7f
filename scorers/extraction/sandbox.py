"""A function in a child process that can be stopped: the one way to bound the time of native code.

Signals reach only a process's main thread and don't interrupt C code, so a page that keeps a parser busy for
an hour can be ended only by ending the process that parses it.
"""

import importlib
import os
import select
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

__all__ = ["CallFailedError", "Sandbox", "TimedOutError", "serve"]

_LENGTH = struct.Struct("<Q")
_START_SECONDS = 120.0
_DONE, _RAISED = b"\0", b"\1"


class CallFailedError(TamisError):
    """The function raised, or its process died; the next call starts another if need be."""


class TimedOutError(TamisError):
    """The call took longer than it may; the child was ended and the next call starts another."""


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
    """

    def __init__(self, target: str):
        self._target = target
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def call(self, text: str, seconds: float) -> str:
        """Return what the function returns for `text`.

        Raises:
            TimedOutError: if it takes longer than `seconds` (starting the child and its imports apart).
            CallFailedError: if the function raises or its process dies.
            RunError: if the child can't be started.
        """
        with self._lock:
            if self._child is None or not self._child.running():
                self._child = self._start()
            request = text.encode("utf-8", "replace")
            try:
                self._child.requests.write(_LENGTH.pack(len(request)) + request)
                self._child.requests.flush()
                return self._answer(self._child, seconds)
            except OSError as error:
                self._end()
                msg = f"the process of {self._target} died: {error}"
                raise CallFailedError(msg) from error
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
        process = subprocess.Popen(  # noqa: S603  (our own interpreter and code)
            [sys.executable, "-c", f"from tamis.scorers.extraction.sandbox import serve; serve({self._target!r})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        child = _Child(process, cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout))
        weakref.finalize(self, child.end)
        try:
            self._answer(child, _START_SECONDS)
        except (OSError, TamisError) as error:
            child.end()
            msg = f"{self._target} can't be started: {error}"
            raise RunError(msg) from error
        return child

    def _answer(self, child: _Child, seconds: float) -> str:
        deadline = time.monotonic() + seconds
        (length,) = _LENGTH.unpack(self._read(child, _LENGTH.size, deadline))
        answer = self._read(child, length, deadline)
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


def serve(target: str) -> None:
    """Run in the child: answer requests on standard input until it is closed."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the function prints must not mix with answers

    def reply(status: bytes, text: str) -> None:
        data = status + text.encode("utf-8", "replace")
        sink.write(_LENGTH.pack(len(data)) + data)
        sink.flush()

    module, _, name = target.partition(":")
    try:
        function: Callable[[str], str] = getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001  (told to the parent)
        reply(_RAISED, f"{type(error).__name__}: {error}")
        return
    reply(_DONE, "")
    while header := source.read(_LENGTH.size):
        text = source.read(_LENGTH.unpack(header)[0]).decode()
        try:
            reply(_DONE, function(text))
        except Exception as error:  # noqa: BLE001  (told to the parent)
            reply(_RAISED, f"{type(error).__name__}: {error}")
