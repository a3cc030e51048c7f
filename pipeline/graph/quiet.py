"""What Beam would tell a user's terminal, and when it may."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

__all__ = ["debugging", "plain_labels", "silence_beam", "silence_workers"]

ITS_LOGGERS = ("apache_beam", "PrismJobServer", "PrismRunner", "FlinkJarJobServer", "SparkJarJobServer")
"""Beam's modules, and the job servers that it starts, whose output it logs."""
ITS_PACKAGES = ("apache_beam", "grpc")


def debugging() -> bool:
    """Return whether TAMIS_DEBUG=1 asks for everything that is usually kept from the terminal."""
    return os.environ.get("TAMIS_DEBUG") == "1"


def silence_beam() -> None:
    """Keep what Beam and its job servers log out of a user's terminal; other loggers are left alone.

    What went wrong is told in one sentence; TAMIS_DEBUG=1 shows the rest.
    """
    # Beam logs on the root logger too: notes about absent cloud extras, type hints, and messages of portable jobs.
    logging.getLogger().addFilter(_worth_telling)
    for name in ITS_LOGGERS:
        # A filter beside the level, since Beam sets the levels of its job servers' loggers itself.
        logging.getLogger(name).addFilter(_worth_telling)
    if not debugging():
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs tracebacks of what it raises besides
    logging.getLogger("apache_beam").setLevel(logging.WARNING if debugging() else logging.CRITICAL)


def silence_workers() -> None:
    """Keep the tracebacks of Beam's workers and connections in this process out of a user's terminal.

    A worker prints what a task raised, which the driver tells in a sentence; when a runner's process ends, each thread
    that listens to it ends with a traceback. That can be after the run, so this stays.
    """
    from apache_beam.runners.worker import sdk_worker

    sdk_worker.print = _print  # a name that the module finds before the built-in one
    if not isinstance(threading.excepthook, _ThreadHook):
        threading.excepthook = _ThreadHook(threading.excepthook)


@contextmanager
def plain_labels() -> Iterator[None]:
    """Let a pipeline that is built in a notebook be labelled as elsewhere.

    Beam puts the cell's number before labels there, and for that imports its dataframes, which fail with pandas 3.
    """
    from apache_beam import pipeline

    theirs = pipeline.alter_label_if_ipython
    pipeline.alter_label_if_ipython = lambda *_: None
    try:
        yield
    finally:
        pipeline.alter_label_if_ipython = theirs


def _print(*values: Any, **_: Any) -> None:
    logging.getLogger("apache_beam").warning("%s", " ".join(map(str, values)))


class _ThreadHook:
    """Passes on what ended a thread, but of Beam's own threads only what isn't about a connection."""

    def __init__(self, inner: Any):
        self._inner = inner

    def __call__(self, ended: Any) -> None:
        if debugging() or not (_lost_connection(ended.exc_value) and _of_beam(ended.exc_traceback)):
            self._inner(ended)


def _lost_connection(error: Any) -> bool:
    # By name, as what broke is Beam's dependency; ValueError: of a channel that is closed.
    of_grpc = any(kind.__module__.partition(".")[0] == "grpc" for kind in type(error).__mro__)
    return of_grpc or isinstance(error, ValueError)


def _of_beam(trace: TracebackType | None) -> bool:
    """Return whether all frames are of Beam, its connections, or Python's own threads."""
    inside = tuple(f"{os.sep}{package}{os.sep}" for package in ITS_PACKAGES)
    seen = False
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        seen = seen or any(part in path for part in inside)
        if "tamis" in trace.tb_frame.f_globals.get("__name__", "").split("."):
            return False
        trace = trace.tb_next
    return seen


def _worth_telling(record: logging.LogRecord) -> bool:
    if debugging():
        return "apitools not found" not in record.getMessage()
    return not (record.name.startswith(ITS_LOGGERS) or f"{os.sep}apache_beam{os.sep}" in record.pathname)
