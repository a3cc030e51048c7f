"""Passes on this machine: one after the other inside the one Beam pipeline, in this process or by its pool of workers.

A transform of Beam's local runner is pickled and so holds no live objects; it finds the run it belongs to by a key.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tamis.pipeline.graph.passes import Node, Pass, Values, fold_value, folded, pack_value, unpack_value
from tamis.pipeline.graph.pool import LocalPool
from tamis.pipeline.graph.progress import Progress
from tamis.pipeline.graph.stall import watched
from tamis.pipeline.graph.start_up import started
from tamis.pipeline.graph.work import do_task, failed, shown_task
from tamis.pipeline.storage.damage import take_damage
from tamis.schemas.errors import RunError, TamisError

__all__ = ["LocalRun", "local_run", "values_of"]

_runs: dict[str, "LocalRun"] = {}


class LocalRun:
    """What passes of one run share in this process: the pool, progress, values, and the first error.

    Args:
        pool: worker processes; None works in this process.
        progress: told how far the run is.
    """

    def __init__(self, pool: LocalPool | None, progress: Progress | None):
        self._pool = pool
        self._progress = progress
        self.values: dict[str, bytes] = {}
        self.error: TamisError | None = None
        self.interrupted = False
        self._over = False

    def register(self, key: str) -> None:
        """Make the run known to transforms by a key."""
        _runs[key] = self

    def forget(self, key: str) -> None:
        """End what `register` began; a pass that is at work in another thread begins no other task."""
        self._over = True
        _runs.pop(key, None)

    def run(self, pass_: Pass, count: Callable[[str, int], None] | None = None) -> None:
        """Carry out a pass and keep its packed value in `values`.

        Args:
            pass_: the pass; those that it names must have been carried out.
            count: takes the counters.

        Raises:
            TamisError: what a task raised, as the sentence that it raised; `error` keeps it.
            KeyboardInterrupt: if a person stops the run; `interrupted` keeps it.
        """
        started()
        try:
            value, spent = unpack_value(self._run(pass_, values_of(pass_, self.values), count))
            seconds = sum(unpack_value(self.values[part])[1].cpu_seconds for part in pass_.parts)
            self.values[pass_.name] = pack_value(value, spent._replace(cpu_seconds=spent.cpu_seconds + seconds))
        except TamisError as error:
            self.error = error
            raise
        except KeyboardInterrupt:  # Beam would tell it as one more failure of a worker
            self.interrupted = True
            raise

    def _run(self, pass_: Pass, values: Values, count: Callable[[str, int], None] | None) -> bytes:
        take_damage()
        tasks = list(pass_.tasks(values))
        self._told(take_damage())
        if self._progress is not None and tasks:
            self._progress.start(pass_.name, len(tasks))
        held: list[list[bytes]] = []
        reused = 0
        for done, (result, spent) in enumerate(self._results(pass_, tasks, values), start=1):
            fold_value(pass_.combine, held, pack_value(result.value, spent))
            for name, number in result.counters.items():
                if count is not None:
                    count(name, number)
            reused += result.reused
            self._told(result.damaged)
            if self._progress is not None:
                self._progress.update(done)
        if self._progress is not None and tasks:
            self._progress.finish(reused)
        return folded(pass_.combine, held)

    def _told(self, damaged: Sequence[str]) -> None:
        for sentence in damaged:
            self._note(f"{sentence}: it is made again")

    def _note(self, text: str) -> None:
        if self._progress is not None:
            self._progress.note(text)

    def _results(self, pass_: Pass, tasks: Sequence[Any], values: Values) -> Any:
        if self._pool is not None and len(tasks) > 1 and not pass_.small:
            yield from self._pool.run(pass_.name, pass_.process, tasks, values)
            return
        for task in tasks:
            if self._over:
                msg = f"{pass_.name}: the run was stopped"
                raise RunError(msg)
            try:
                with watched(pass_.name, shown_task(task), self._note):
                    done = do_task(pass_.process, task, values)
                yield done
            except (TamisError, KeyboardInterrupt):
                raise
            except Exception as error:
                raise failed(pass_.name, task, error) from error


def values_of(pass_: Node, packed: Mapping[str, bytes]) -> Values:
    """Return what a pass asked for, from the packed values of the passes that it names."""
    unpacked = {name: unpack_value(packed[name]) for name in (*pass_.inputs, *pass_.after)}
    return Values(
        {name: unpacked[name][0] for name in pass_.inputs}, {name: spent for name, (_, spent) in unpacked.items()}
    )


def local_run(key: str) -> LocalRun:
    """Return the run that a transform belongs to.

    Raises:
        RunError: if it is over.
    """
    if key not in _runs:
        msg = f"the run {key} isn't in this process: local passes work where the run was started"
        raise RunError(msg)
    return _runs[key]
