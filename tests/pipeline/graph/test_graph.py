"""Graphs on every engine that is at hand: values, exchanges, failures as sentences, retries, lost workers, progress."""

import json
import os
import signal
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.graph.passes import Done, Exchange, Graph, Pass, Values
from tamis.pipeline.graph.pool import LocalPool
from tamis.schemas.errors import ConfigError, DamagedError, InputError, RunError

EMBEDDED = ("--job_endpoint=embed", "--environment_type=LOOPBACK")
ENGINES = {
    "local": {},
    "two workers": {"workers": 2},
    "older local": {"runner": "BundleBasedDirectRunner"},
    "portable": {"runner": "PortableRunner", "options": EMBEDDED},
}
NUMBERS = pa.schema([("number", pa.int64())])


@dataclass(frozen=True)
class Task:
    index: int
    size: int = 1


@dataclass(frozen=True)
class Tasks:
    count: int

    def __call__(self, values):
        return [Task(i) for i in range(self.count)]


class AsManyAsTold:
    """Tasks that follow from an earlier pass's value."""

    def __call__(self, values):
        return [Task(i) for i in range(len(values["first"].split()))]


@dataclass(frozen=True)
class Say:
    """Says the task's number, and how many words it was given."""

    def __call__(self, task, values):
        words = sum(len(value.split()) for value in values.values())
        return Done(f"{task.index}:{words} ".encode(), {"saying: tasks": 1})


def joined(parts):
    return b" ".join(sorted(b" ".join(parts).split())) + b" "


@dataclass(frozen=True)
class Send:
    def __call__(self, task, partitions, values):
        return [numbers([10 * task.index + p]) for p in range(partitions)]


class Match:
    def __call__(self, batches, values):
        total = sum(value for batch in batches for value in batch.column(0).to_pylist())
        return [numbers([total, i]) for i, _ in enumerate(batches)]


class Receive:
    def __call__(self, task, batches, values):
        return f"{task.index}={[batch.column(0).to_pylist() for batch in batches]}".replace(" ", "").encode() + b" "


class Three:
    def __call__(self, values):
        return 3


def numbers(values):
    return pa.record_batch([pa.array(values, pa.int64())], schema=NUMBERS)


def graph(folder):
    return Graph(
        (
            Pass("first", Say(), Tasks(4), joined),
            Pass("second", Say(), AsManyAsTold(), joined, inputs=("first",)),
            Exchange(
                "moved", Tasks(3), Three(), Send(), Match(), Receive(), NUMBERS, NUMBERS, str(folder / "moved"),
                inputs=("second",), combine=joined,
            ),
            Pass("none", Say(), Tasks(0), joined, after=("moved",)),
            Pass("once", Ending(), inputs=("none", "moved"), after=("first",)),
        )
    )  # fmt: skip


class Ending:
    def __call__(self, task, values):
        assert task is None
        assert values.spent["first"].tasks == 4
        return values["none"] + b"|" + values["moved"]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_gives_the_same_values_and_counts(tmp_path, engine):
    with Engine(str(tmp_path / "scratch"), **ENGINES[engine]) as made:
        found = made.execute(graph(tmp_path), ["first", "second", "once"])
    assert found["first"][0] == b"0:0 1:0 2:0 3:0 "
    assert found["second"][0] == b"0:4 1:4 2:4 3:4 "
    answers = [f"{i}=[[30,{i}],[33,{i}],[36,{i}]]" for i in range(3)]
    assert found["once"][0] == b"|" + " ".join(answers).encode() + b" "
    assert found["first"][1].tasks == 4
    if engine != "portable":  # whose counters end with the job
        assert made.counters == {"saying: tasks": 8}
    assert not list((tmp_path / "scratch").iterdir())


SPENT = 0.05


def spend():
    until = time.process_time() + SPENT
    while time.process_time() < until:
        pass


class CostlySend(Send):
    def __call__(self, task, partitions, values):
        spend()
        return super().__call__(task, partitions, values)


class CostlyMatch(Match):
    def __call__(self, batches, values):
        spend()
        return super().__call__(batches, values)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_exchange_costs_what_its_sending_and_matching_cost(tmp_path, engine):
    work = (CostlySend(), CostlyMatch(), Receive(), NUMBERS, NUMBERS, str(tmp_path / "moved"))
    made = Graph((Exchange("moved", Tasks(3), Three(), *work),))
    with Engine(str(tmp_path / "scratch"), **ENGINES[engine]) as carrier:
        _, spent = carrier.execute(made, ["moved"])["moved"]
    assert spent.tasks == 3
    assert spent.cpu_seconds >= 6 * SPENT * 0.9  # three tasks sent, three partitions matched


def test_a_graph_knows_its_order():
    with pytest.raises(ValueError, match="comes before 'b', which it needs"):
        Graph((Pass("a", Say(), inputs=("b",)), Pass("b", Say())))
    with pytest.raises(ValueError, match="'a' is there twice"):
        Graph((Pass("a", Say()), Pass("a", Say())))


@dataclass(frozen=True)
class Square:
    def __call__(self, task):
        return task * task


@dataclass(frozen=True)
class Failing:
    error: Exception

    def __call__(self, task):
        if task == 2:
            raise self.error
        return task


@dataclass(frozen=True)
class Flaky:
    folder: str

    def __call__(self, task):
        marks = list(Path(self.folder).glob("try*"))
        (Path(self.folder) / f"try{len(marks)}").touch()
        if not marks:
            raise TimeoutError("the first time is hard")
        return task


@pytest.mark.parametrize("workers", [1, 2])
def test_map_returns_what_each_task_returned(tmp_path, workers):
    with Engine(str(tmp_path), workers=workers) as engine:
        assert sorted(engine.map("squares", [1, 2, 3], Square())) == [1, 4, 9]
        assert engine.map("none", [], Square()) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("engine", ENGINES)
def test_errors_on_purpose_come_back_as_they_were_and_others_name_pass_and_task(tmp_path, engine):
    with Engine(str(tmp_path), **ENGINES[engine]) as made:
        with pytest.raises(InputError, match=r"^file x is empty$"):
            made.map("reading", [1, 2, 3], Failing(InputError("file x is empty")))
        with pytest.raises(RunError, match="reading: 2: ZeroDivisionError: none left"):
            made.map("reading", [1, 2, 3], Failing(ZeroDivisionError("none left")))
        with pytest.raises(DamagedError, match="a/b is damaged") as caught:
            made.map("reading", [1, 2, 3], Failing(DamagedError("a/b", "a bit is off")))
        assert caught.value.path == "a/b"


@pytest.mark.parametrize("workers", [1, 2])
def test_passing_faults_of_a_file_system_are_tried_again(tmp_path, workers):
    folder = tmp_path / "tries"
    folder.mkdir()
    with Engine(str(tmp_path / "scratch"), workers=workers) as engine:
        assert engine.map("flaky", [5], Flaky(str(folder))) == [5]
    assert len(list(folder.iterdir())) == 2


@dataclass(frozen=True)
class Dying:
    """Ends its worker so many times for one task."""

    folder: str
    times: int

    def __call__(self, task):
        marks = list(Path(self.folder).glob("death*"))
        if task == 3 and len(marks) < self.times:
            (Path(self.folder) / f"death{len(marks)}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return task


def test_a_lost_worker_costs_a_retry(tmp_path):
    seen = Seen()
    (tmp_path / "deaths").mkdir()
    with Engine(str(tmp_path / "scratch"), workers=2, progress=seen) as engine:
        found = engine.map("dying", list(range(12)), Dying(str(tmp_path / "deaths"), 1))
        assert sorted(found) == list(range(12))
        assert any("a worker was lost" in str(told) for told in seen.told)
        assert sorted(engine.map("squares", [1, 2, 3], Square())) == [1, 4, 9]


def test_a_task_that_ends_its_worker_again_is_named(tmp_path):
    (tmp_path / "deaths").mkdir()
    with (
        Engine(str(tmp_path / "scratch"), workers=2) as engine,
        pytest.raises(RunError, match="dying: a worker ended twice while it worked on 3"),
    ):
        engine.map("dying", list(range(12)), Dying(str(tmp_path / "deaths"), 100))


class Seen:
    def __init__(self):
        self.told = []

    def plan(self, passes):
        self.told.append(("passes", passes))

    def start(self, label, total):
        self.told.append((label, total))

    def update(self, done):
        self.told.append(done)

    def finish(self, reused=0):
        self.told.append(("finished", reused))

    def note(self, text):
        self.told.append(text)


def test_progress_is_told(tmp_path):
    seen = Seen()
    with Engine(str(tmp_path), progress=seen) as engine:
        engine.map("squares", [1, 2], Square())
    assert seen.told == [("passes", 1), ("squares", 2), 1, 2, ("finished", 0)]


@pytest.mark.parametrize("runner", ["DaskRunner", "DirectRunner", "NoSuchRunner"])
def test_runners_that_break_promises_are_refused(tmp_path, runner):
    with pytest.raises(ConfigError, match=runner):
        Engine(str(tmp_path), runner=runner)


def test_workers_end_with_the_engine(tmp_path):
    with Engine(str(tmp_path), workers=2) as engine:
        assert json.dumps(sorted(engine.map("squares", [1, 2, 3], Square()))) == "[1, 4, 9]"
        pids = engine.worker_pids()
        assert len(pids) == 2
    for _ in range(100):
        if not any(Path(f"/proc/{pid}/status").exists() for pid in pids):
            break
        time.sleep(0.05)
    assert not [pid for pid in pids if Path(f"/proc/{pid}/status").exists()]


class Deserted:
    """An executor whose workers are gone without its having noticed."""

    _processes: ClassVar[dict] = {}
    _executor_manager_thread = None

    def submit(self, *_):
        return Future()

    def shutdown(self, **_):
        pass


def test_workers_that_are_gone_without_a_word_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.pipeline.graph.pool.LOOK_SECONDS", 0.01)
    pool = LocalPool(2, tmp_path / "scratch")
    monkeypatch.setattr(pool, "_started", Deserted)
    with pytest.raises(RunError, match="workers end before they take up work"):
        list(pool.run("squares", Say(), [Task(0), Task(1)], Values()))
