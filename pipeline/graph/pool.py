"""Local worker processes that live as long as a run: no open ports, and a lost one is replaced.

A pass's work and inputs are written to a file once, which each worker reads once. A worker notes the task that it has
in hand, so that a death names its task: what was in hand is tried again one by one, and a task that kills its worker
twice is told with its file and place.
"""

import contextlib
import hashlib
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cloudpickle

from tamis.pipeline.graph.passes import Done, Process, Spent, Values
from tamis.pipeline.graph.work import do_task, failed, shown_task
from tamis.schemas.errors import RunError, TamisError

__all__ = ["LocalPool"]

STALL_SECONDS = 600.0
"""After so long without a finished task the tasks in hand are told, again and again."""
LOST_TWICE = 2


class LocalPool:
    """Worker processes.

    Args:
        workers: how many.
        scratch: a local folder for what workers and driver tell each other; emptied when the pool closes.
        warn: told of lost workers and of passes that stand still.
    """

    def __init__(self, workers: int, scratch: Path, warn: Callable[[str], None] | None = None):
        self.workers = workers
        self._scratch = scratch
        self._warn = warn or (lambda _: None)
        self._executor: Any = None
        self._count = 0

    def run(self, label: str, process: Process, tasks: Sequence[Any], values: Values) -> Iterator[tuple[Done, Spent]]:
        """Process all tasks, the largest first, and yield what each gave as it is done.

        Raises:
            RunError: if a task ends its worker twice.
            Exception: what a task raised.
        """
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._count += 1
        work = self._scratch / f"pass-{os.getpid()}-{self._count:04d}.pickle"
        data = cloudpickle.dumps((process, values))
        work.write_bytes(data)
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        waiting = sorted(enumerate(tasks), key=lambda pair: (-getattr(pair[1], "size", 0), pair[0]))
        suspects: list[tuple[int, Any]] = []
        lost: dict[int, int] = {}
        try:
            while waiting or suspects:
                # What was in hand when a worker died goes alone: a second death has one culprit.
                batch, width = (suspects[:1], 1) if suspects else (waiting, self.workers * 2)
                done: set[int] = set()
                try:
                    for number, result in self._submit(label, str(work), digest, batch, width):
                        done.add(number)
                        yield result
                except BrokenProcessPool:
                    held = self._in_hand()
                    self._drop()
                    left = [(n, task) for n, task in batch if n not in done]
                    taken = [(n, task) for n, task in left if n in held] or left[: self.workers]
                    for number, task in taken:
                        lost[number] = lost.get(number, 0) + 1
                        if suspects and lost[number] >= LOST_TWICE:
                            msg = (
                                f"{label}: a worker ended twice while it worked on {shown_task(task)}: it ran out of "
                                "memory, or was killed; take fewer workers, or leave that part of the input out"
                            )
                            raise RunError(msg) from None
                    self._warn(f"{label}: a worker was lost; what it had in hand is done again")
                    if not suspects:
                        numbers = {number for number, _ in taken}
                        suspects = taken
                        waiting = [(n, task) for n, task in left if n not in numbers]
                    continue
                if suspects:
                    suspects = suspects[1:]
                else:
                    waiting = []
        finally:
            work.unlink(missing_ok=True)

    def _submit(
        self, label: str, work: str, digest: str, batch: Sequence[tuple[int, Any]], width: int
    ) -> Iterator[tuple[int, tuple[Done, Spent]]]:
        """Yield (number, result) of tasks, so many in flight at a time."""
        executor = self._started()
        known = dict(batch)
        rest = iter(batch)
        running: dict[Future[Any], int] = {}
        told = time.monotonic()
        while True:
            for number, task in rest:
                future = executor.submit(_work, work, digest, number, cloudpickle.dumps(task), str(self._scratch))
                running[future] = number
                if len(running) >= width:
                    break
            if not running:
                return
            finished, _ = wait(running, timeout=STALL_SECONDS, return_when=FIRST_COMPLETED)
            if not finished and time.monotonic() - told >= STALL_SECONDS:
                told = time.monotonic()
                held = ", ".join(shown_task(task) for number, task in batch if number in self._in_hand())
                self._warn(
                    f"{label}: nothing finished for {STALL_SECONDS / 60:.0f} minutes; in hand: {held or 'nothing'}"
                )
            for future in finished:
                told = time.monotonic()
                number = running.pop(future)
                try:
                    result = pickle.loads(future.result())  # noqa: S301  (what our own worker packed)
                except (BrokenProcessPool, TamisError):
                    raise
                except Exception as error:
                    raise failed(label, known[number], error) from error
                yield number, result

    def _started(self) -> Any:
        if self._executor is None:
            from loky import ProcessPoolExecutor

            self._executor = ProcessPoolExecutor(
                self.workers, timeout=None, initializer=_begin, initargs=(os.getpid(), [p for p in sys.path if p])
            )
        return self._executor

    def _in_hand(self) -> set[int]:
        """Return the numbers of the tasks that workers had begun and not finished."""
        held = set()
        for path in self._scratch.glob("holding-*"):
            with contextlib.suppress(OSError, ValueError):
                held.add(int(path.read_text()))
        return held

    def _drop(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False, kill_workers=True)
            self._executor = None
        for path in self._scratch.glob("holding-*"):
            path.unlink(missing_ok=True)

    def pids(self) -> list[int]:
        """Return the process ids of the workers that there are."""
        return [] if self._executor is None else list(self._executor._processes)

    def close(self) -> None:
        """End the workers."""
        self._drop()


def _begin(driver: int, path: list[str]) -> None:
    """Prepare a worker: it can import what the driver can, leaves signals to the driver, and ends with it."""
    sys.path[:] = list(dict.fromkeys([*path, *sys.path]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()


def _end_with(driver: int) -> None:
    # Linux can signal a parent's death, but means the death of the thread that started the child.
    while os.getppid() == driver:
        time.sleep(1.0)
    os._exit(1)


_loaded: tuple[str, Any] = ("", None)


def _work(work: str, digest: str, number: int, task: bytes, scratch: str) -> bytes:
    global _loaded  # noqa: PLW0603  (the one pass at hand of this worker process)
    if _loaded[0] != digest:
        _loaded = (digest, pickle.loads(Path(work).read_bytes()))  # noqa: S301  (what the driver packed)
    process, values = _loaded[1]
    holding = Path(scratch) / f"holding-{os.getpid()}"
    holding.write_text(str(number))
    try:
        return cloudpickle.dumps(do_task(process, pickle.loads(task), values))  # type: ignore[no-any-return]  # noqa: S301
    finally:
        holding.unlink(missing_ok=True)
