"""Watches the job servers that Beam starts on this machine: where one ends early, Beam may wait for ever."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from subprocess import TimeoutExpired
from typing import Any

from tamis.schemas.errors import RunError

__all__ = ["watched_servers"]

EVERY = 0.5
GRACE = 4.0
"""Seconds in which Beam usually notices by itself."""


@contextmanager
def watched_servers(runner: str) -> Iterator[None]:
    """Interrupt the block when a job server that it started has ended and the block goes on all the same.

    Args:
        runner: its name.

    Raises:
        RunError: if so.
    """
    watch = _Watch()
    # Only the main thread can be interrupted.
    if threading.current_thread() is threading.main_thread():
        threading.Thread(target=watch.loop, daemon=True, name="job server watch").start()
    try:
        yield
    except BaseException as error:
        # Ctrl-C ends job servers too, and stays what it is.
        if watch.end() or (isinstance(error, Exception) and watch.ended(EVERY)):
            raise RunError(_told(runner)) from error
        raise
    if watch.end():
        with suppress(KeyboardInterrupt):
            threading.Event().wait(GRACE)  # for the interruption, which is on its way
        raise RunError(_told(runner))


def _told(runner: str) -> str:
    return f"the process of the runner {runner} ended before the run did, killed or out of memory; run again to go on"


class _Watch:
    def __init__(self) -> None:
        # An earlier run of this process may have lost one; one that lives serves this run too.
        self._before = {server for server in _servers() if server.poll() is not None}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._interrupted = False

    def loop(self) -> None:
        gone, main = 0.0, threading.main_thread().ident or 0
        while not self._over.wait(EVERY):
            gone = gone + EVERY if self.ended() else 0.0
            if gone >= GRACE:
                with self._lock:
                    if not self._over.is_set():
                        self._interrupted = True
                        # A real signal, which wakes a waiting thread; `interrupt_main` doesn't.
                        signal.pthread_kill(main, signal.SIGINT)
                return

    def ended(self, patience: float = 0.0) -> bool:
        """Return whether a job server has ended that wasn't stopped; its connections can end first."""
        for server in _servers():
            with suppress(TimeoutExpired):
                if server not in self._before:
                    server.wait(patience)
                    return True
        return False

    def end(self) -> bool:
        """End it; return whether it interrupted."""
        with self._lock:
            self._over.set()
            return self._interrupted


def _servers() -> list[Any]:
    """Return the processes of the job servers that Beam started and didn't stop, those that have ended included."""
    from apache_beam.utils.subprocess_server import SubprocessServer

    entries = list(getattr(getattr(SubprocessServer, "_cache", None), "_cache", {}).values())
    found = [getattr(entry, "obj", None) for entry in entries]
    return [pair[0] for pair in found if isinstance(pair, tuple) and hasattr(pair[0], "wait")]
