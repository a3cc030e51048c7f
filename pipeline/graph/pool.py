"""Local worker processes that live as long as a run: no open ports, and a lost one is replaced.

A pass's work and inputs are written to a file once, which each worker reads once. A worker notes the task that it has
in hand, so that a death names its task: that one is tried again alone, and a task whose worker dies again is told with
its file and place. All workers go when one is lost, since what they share may be locked for good; those that didn't die
by themselves aren't to blame.

Signals are the driver's: workers have a process group of their own, which ends with the driver, however that ends.
"""

import contextlib
import hashlib
import os
import pickle
import shutil
import signal
import sys
import threading
import time
import uuid
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cloudpickle

from tamis.pipeline.graph.passes import Done, Process, Spent, Values
from tamis.pipeline.graph.stall import nothing_finished, stall_seconds
from tamis.pipeline.graph.work import do_task, failed, shown_task
from tamis.pipeline.storage.temporary import make_temporary
from tamis.schemas.errors import DamagedError, RunError, TamisError

__all__ = ["LocalPool", "end_pools"]

LOST_TWICE = 2
LOOK_SECONDS = 5.0
"""So often it is looked whether the workers are there, while nothing finishes."""
NEVER_BEGAN = 3
"""So often in a row workers may die without a task in hand: more say that they can't live here."""
IN_PIPE = 4096
"""Larger results go through files: a worker killed while it writes to a pipe would leave the driver waiting."""
ENDING_SECONDS = 10.0
_HELD_BACK = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_pools: "weakref.WeakSet[LocalPool]" = weakref.WeakSet()


def end_pools() -> None:
    """Kill the workers of all pools of this process, which is about to end: nothing is told or waited for."""
    for pool in list(_pools):
        pool.stop()


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
        self._nursery: Any = None
        self._ended: set[int] = set()
        self._mark: Path | None = None
        self._stopped = False
        self._count = 0
        _pools.add(self)

    def run(self, label: str, process: Process, tasks: Sequence[Any], values: Values) -> Iterator[tuple[Done, Spent]]:
        """Process all tasks, the largest first, and yield what each gave as it is done.

        Raises:
            RunError: if a task ends its worker twice, or workers can't live here.
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
        lost: Counter[int] = Counter()
        never_began = 0
        try:
            while waiting or suspects:
                # What a worker died of goes alone: with less in memory beside it, it may well pass.
                batch, width = (suspects[:1], 1) if suspects else (waiting, self.workers * 2)
                done: set[int] = set()
                try:
                    for number, result in self._submit(label, str(work), digest, batch, width):
                        done.add(number)
                        never_began = 0
                        yield result
                except BrokenProcessPool:
                    guilty = self._lost_tasks()
                    left = [(number, task) for number, task in batch if number not in done]
                    taken = [(number, task) for number, task in left if number in guilty]
                    lost.update(number for number, _ in taken)
                    for number, task in taken:
                        if lost[number] >= LOST_TWICE:
                            msg = (
                                f"{label}: a worker ended twice while it worked on {shown_task(task)}: it ran out of "
                                "memory, or was killed; take fewer workers, or leave that part of the input out"
                            )
                            raise RunError(msg) from None
                    never_began = 0 if taken else never_began + 1
                    if never_began >= NEVER_BEGAN:
                        msg = f"{label}: workers end before they take up work: there may be too little memory for them"
                        raise RunError(msg) from None
                    self._warn(f"{label}: a worker was lost; what it had in hand is done again")
                    if not suspects:
                        numbers = {number for number, _ in taken}
                        suspects = taken
                        waiting = [(number, task) for number, task in left if number not in numbers]
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
        gone = 0
        while True:
            for number, task in rest:
                arguments = (_work, work, digest, number, cloudpickle.dumps(task), str(self._scratch))
                running[self._submitted(executor, *arguments)] = number
                if len(running) >= width:
                    break
            if not running:
                return
            seconds = stall_seconds()
            finished, _ = wait(running, timeout=min(seconds, LOOK_SECONDS), return_when=FIRST_COMPLETED)
            # The executor tells of a lost worker; should it ever miss one, this does.
            gone = 0 if finished or _all_live(executor) else gone + 1
            if gone >= LOST_TWICE:
                msg = "workers are gone, and nobody said so"
                raise BrokenProcessPool(msg)
            if finished:
                told = time.monotonic()
            elif time.monotonic() - told >= seconds:
                told = time.monotonic()
                held = set(self._in_hand().values())
                self._warn(nothing_finished(label, seconds, [shown_task(known[n]) for n in sorted(held & {*known})]))
            for future in finished:
                number = running.pop(future)
                try:
                    result = _unpacked(future.result())
                except (BrokenProcessPool, TamisError):
                    raise
                except Exception as error:
                    self._go_on()
                    raise failed(label, known[number], error) from error
                yield number, result

    def _submitted(self, executor: Any, *arguments: Any) -> Future[Any]:
        self._go_on()
        # Workers are started here. One that a signal to the driver's group hits on its way would show a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
        try:
            future: Future[Any] = executor.submit(*arguments)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        manager = executor._executor_manager_thread
        if manager is not None and not isinstance(manager.kill_workers, _KillWorkers):
            manager.kill_workers = _KillWorkers(manager, self._ended)
        return future

    def _go_on(self) -> None:
        if self._stopped:
            msg = "the run was stopped"
            raise RunError(msg)

    def _started(self) -> Any:
        self._go_on()
        if self._executor is None:
            from loky import ProcessPoolExecutor

            from tamis.pipeline.graph.nursery import NurseryContext

            self._ended = set()
            if self._mark is None:
                self._mark = make_temporary()  # says that a pool of this process may have left something
            _start_tracker()
            nursery = self._started_nursery()
            self._executor = ProcessPoolExecutor(
                self.workers,
                timeout=None,
                context=None if nursery is None else NurseryContext(nursery),
                initializer=_begin,
                initargs=((os.getpid(), -1 if nursery is None else nursery.pid), [p for p in sys.path if p]),
            )
        return self._executor

    def _started_nursery(self) -> Any:
        """Return the process that forks workers; None where workers start from nothing."""
        from tamis.pipeline.graph.nursery import Nursery

        if self._nursery is not None and not (self._nursery.is_alive() and Nursery.is_safe()):
            self._nursery.close()
            self._nursery = None
        if self._nursery is None and Nursery.is_safe():
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
            try:
                self._nursery = Nursery()
            except OSError:
                return None
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._nursery

    def _lost_tasks(self) -> set[int]:
        """End all workers; return the numbers of the tasks that those had in hand which died by themselves."""
        held = self._in_hand()
        self._drop()
        died = self._ended & {*held} or {*held}
        return {held[pid] for pid in died}

    def _in_hand(self) -> dict[int, int]:
        """Return process ids of workers to the numbers of the tasks that they had begun and not finished."""
        held = {}
        for path in self._scratch.glob("holding-*"):
            with contextlib.suppress(OSError, ValueError):
                held[int(path.name.rpartition("-")[2])] = int(path.read_text())
        return held

    def _drop(self) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            manager = executor._executor_manager_thread
            executor.shutdown(wait=False, kill_workers=True)
            if manager is not None:  # so that no worker of old is at work beside the new ones
                manager.join(ENDING_SECONDS)
        for path in self._scratch.glob("holding-*"):
            path.unlink(missing_ok=True)

    def prepare(self) -> None:
        """Start now what workers are forked from: the earlier, the more it shares with this process."""
        self._started_nursery()

    def pids(self) -> list[int]:
        """Return the process ids of the workers that there are."""
        return [] if self._executor is None else list(self._executor._processes)

    def stop(self) -> None:
        """Kill the workers at once; nothing is told of it, and the pool does nothing any more."""
        self._stopped = True
        self._warn = lambda _: None
        for pid in self.pids():
            _kill(pid)
        if self._nursery is not None:
            self._nursery.end()
        if self._mark is not None:
            shutil.rmtree(self._mark, ignore_errors=True)
            self._mark = None

    def close(self) -> None:
        """End the workers; a pass that is at work in another thread ends with a `RunError`."""
        self.stop()
        self._drop()
        if self._nursery is not None:
            self._nursery.close()
            self._nursery = None
        for path in self._scratch.glob("result-*"):
            path.unlink(missing_ok=True)


class _KillWorkers:
    """What the pool's manager calls to end workers: notes which had ended by themselves, and kills the others.

    The library's own asks another program for children of the workers; these are in the worker's process group.
    """

    def __init__(self, manager: Any, ended: set[int]):
        self._manager = manager
        self._ended = ended

    def __call__(self, reason: str = "") -> None:
        del reason
        processes = dict(self._manager.processes)
        self._ended.update(pid for pid, process in processes.items() if process.exitcode is not None)
        self._manager.processes.clear()
        for pid, process in processes.items():
            _kill(pid)
            process.join()


def _kill(pid: int) -> None:
    """Kill a worker and what it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # it hasn't come so far as to have a group of its own
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _start_tracker() -> None:
    """Start the process that deletes semaphores when this one ends, and keep it from telling a terminal that it did."""
    from loky.backend import resource_tracker

    quiet = "ignore:resource_tracker"
    sys.warnoptions.append(quiet)  # handed on to the processes that this one starts
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(quiet)


def _all_live(executor: Any) -> bool:
    """Return whether an executor has its workers, as far as one can see from outside."""
    processes = list(executor._processes.values())
    return bool(processes) and all(process.is_alive() for process in processes)


def _begin(parents: tuple[int, ...], path: list[str]) -> None:
    """Prepare a worker: it can import what the driver can, leaves signals to the driver, and ends with its parent."""
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent if parent in parents else -1,), daemon=True).start()
    sys.path[:] = list(dict.fromkeys([*path, *sys.path]))
    warnings.filterwarnings("ignore", module="loky")
    from loky import process_executor

    process_executor._USE_PSUTIL = False  # a worker that has loaded models is no leak that it should end for


def _end_with(parent: int) -> None:
    # Linux can signal a parent's death, but means the death of the thread that started the child.
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(os.getpgrp(), signal.SIGKILL)


_loaded: tuple[str, Any] = ("", None)


def _work(work: str, digest: str, number: int, task: bytes, scratch: str) -> bytes:
    global _loaded  # noqa: PLW0603  (the one pass at hand of this worker process)
    if _loaded[0] != digest:
        _loaded = (digest, _pass(work, digest))
    process, values = _loaded[1]
    result: bytes
    holding = Path(scratch) / f"holding-{os.getpid()}"
    holding.write_text(str(number))
    try:
        result = cloudpickle.dumps(do_task(process, pickle.loads(task), values))  # noqa: S301
    finally:
        holding.unlink(missing_ok=True)
    if len(result) <= IN_PIPE:
        return b"=" + result
    path = Path(scratch) / f"result-{os.getpid()}-{uuid.uuid4().hex}"
    path.write_bytes(result)
    return b"@" + hashlib.blake2b(result, digest_size=16).digest() + os.fsencode(path)


def _pass(work: str, digest: str) -> Any:
    """Return what the driver wrote of a pass.

    Raises:
        DamagedError: if it isn't that.
    """
    try:
        data = Path(work).read_bytes()
    except FileNotFoundError:
        raise DamagedError(work, "it is missing") from None
    if hashlib.blake2b(data, digest_size=16).hexdigest() != digest:
        raise DamagedError(work, "its bytes don't agree with its digest")
    return pickle.loads(data)  # noqa: S301  (what the driver packed)


def _unpacked(told: bytes) -> Any:
    """Return a worker's result, from what it told or from the file that it named."""
    if told[:1] == b"=":
        return pickle.loads(told[1:])  # noqa: S301  (what our own worker packed)
    digest, path = told[1:17], Path(os.fsdecode(told[17:]))
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DamagedError(str(path), "it is missing") from None
    path.unlink(missing_ok=True)
    if hashlib.blake2b(data, digest_size=16).digest() != digest:
        raise DamagedError(str(path), "its bytes don't agree with its digest")
    return pickle.loads(data)  # noqa: S301
