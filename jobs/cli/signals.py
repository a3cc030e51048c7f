"""Ends a command that was told to stop: at once, with one sentence and the status that shells expect, and no orphans.

Every file of a run appears whole or not at all, so nothing has to be waited for. A thread of its own does it: the main
thread may be inside a kernel for long, and looks at signals only when that is over.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence

from tamis.pipeline.graph.nursery_process import SIGNALS

__all__ = ["SENTENCE", "end_by_signals"]

RESUMABLE = ("run", "demo", "watch", "compact", "manifest rerun", "train preselect")
"""Commands that go on from where they were."""
SENTENCE = "stopped; what is finished is kept, and the same command goes on from there"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = b"\x1b[?25h"


def end_by_signals(arguments: Sequence[str]) -> None:
    """From now on, end this process by SIGINT, SIGTERM and SIGHUP if it carries out a resumable command.

    This holds to the very end: Python's own way would show a traceback of whatever is being tidied up. Worker
    processes are killed, one sentence is told on stderr, and the exit status is 128 and the signal's number. What was
    ignored when the process began, as under `nohup`, stays so.

    Args:
        arguments: of the command line, without the program's name.
    """
    if signal.getsignal(signal.SIGINT) is _nothing:  # done already
        return
    words = " ".join([word for word in arguments if not word.startswith("-")][:2]) + " "
    if not any(words.startswith(f"{command} ") for command in RESUMABLE):
        return
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    threading.Thread(target=_wait, args=(told,), name=SIGNALS, daemon=True).start()
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _nothing)


def _nothing(number: int, frame: object) -> None:
    """The thread that waits does all; without a handler the signal would end the process in its own way."""


def _wait(told: int) -> None:
    while True:
        number = os.read(told, 1)[0]
        if number in _SIGNALS:
            _end(number)


def _end(number: int) -> None:
    with contextlib.suppress(OSError):  # the terminal may be what went away
        last = b"\n" + _SHOW_CURSOR if os.isatty(2) else b""
        stderr = os.dup(2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the other threads still report; nothing follows the sentence
        # Who follows a job on a service has loaded this; it may be asked to end, which takes as long as it takes.
        followed = sys.modules.get("tamis.pipeline.graph.followed")
        told = followed.end_followed() if followed is not None else None
        os.write(stderr, last + f"tamis: {told or SENTENCE}\n".encode())
    # Whoever has made some has loaded these modules; loading them here would take seconds.
    for name, what in (("graph.pool", "end_pools"), ("storage.temporary", "forget_temporary")):
        module = sys.modules.get(f"tamis.pipeline.{name}")
        if module is not None:
            getattr(module, what)()
    os._exit(128 + number)
