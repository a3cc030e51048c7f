"""The pool of workers: who is to blame for a lost one, results of any size, damaged pass files, standing still."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tamis.pipeline.graph import stall
from tamis.pipeline.graph.passes import Values
from tamis.pipeline.graph.pool import LocalPool
from tamis.schemas.errors import DamagedError, RunError


@dataclass(frozen=True)
class Deaths:
    """Some tasks end their worker so often; the others wait for the end of all that."""

    folder: Path
    times: dict

    def __call__(self, task, values):
        for _ in range(self.times.get(task, 0)):
            mark = self.folder / f"{task}-{len(list(self.folder.glob(f'{task}-*')))}"
            if int(mark.name.rpartition("-")[2]) < self.times[task]:
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        until = time.monotonic() + 2  # what goes alone waits in vain
        while len(list(self.folder.iterdir())) < sum(self.times.values()) and time.monotonic() < until:
            time.sleep(0.01)
        return str(task).encode()


@pytest.fixture
def pool(tmp_path):
    told = []
    made = LocalPool(2, tmp_path / "scratch", told.append)
    made.told = told
    yield made
    made.close()
    assert not list((tmp_path / "scratch").iterdir())


def test_only_the_task_whose_worker_died_is_to_blame(tmp_path, pool):
    (tmp_path / "deaths").mkdir()
    # Task 9 is in hand at the deaths of three others, and not to blame.
    work = Deaths(tmp_path / "deaths", {1: 1, 2: 1, 3: 1})
    found = sorted(done.value for done, _ in pool.run("dying", work, [9, 1, 2, 3, 4], Values()))
    assert found == [b"1", b"2", b"3", b"4", b"9"]
    assert len(pool.told) == 3


def test_a_task_is_named_at_its_second_death(tmp_path, pool):
    (tmp_path / "deaths").mkdir()
    work = Deaths(tmp_path / "deaths", {7: 100})
    with pytest.raises(RunError, match="a worker ended twice while it worked on 7: "):
        list(pool.run("dying", work, [9, 8, 7], Values()))
    assert len(list((tmp_path / "deaths").iterdir())) == 2


@dataclass(frozen=True)
class Sized:
    def __call__(self, task, values):
        return bytes([task % 251]) * task


def test_results_of_every_size_arrive(pool):
    sizes = [0, 1, 4_000, 4_096, 16_384, 16_385, 1 << 20, 3 << 20]
    found = sorted((done.value for done, _ in pool.run("sized", Sized(), sizes, Values())), key=len)
    assert found == [bytes([size % 251]) * size for size in sizes]


@dataclass(frozen=True)
class Slow:
    folder: Path

    def __call__(self, task, values):
        (self.folder / f"began-{task}").touch()
        time.sleep(0.5)
        return b""


def test_a_damaged_pass_file_is_told_by_name(tmp_path, pool):
    list(pool.run("first", Sized(), [1, 2], Values()))
    scratch = tmp_path / "scratch"

    class Flipping(Path(scratch).__class__):
        def write_bytes(self, data):
            return super().write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])

        def __truediv__(self, name):
            return Flipping(super().__truediv__(name))

    pool._scratch = Flipping(scratch)
    with pytest.raises(DamagedError, match=r"pass-.*its bytes don't agree with its digest"):
        list(pool.run("second", Slow(tmp_path), [1, 2], Values()))
    pool._scratch = scratch


def test_workers_that_cannot_live_are_told(tmp_path, pool, monkeypatch):
    def ending(driver, path):
        os._exit(3)

    monkeypatch.setattr("tamis.pipeline.graph.pool._begin", ending)
    with pytest.raises(RunError, match="short: workers end before they take up work"):
        list(pool.run("short", Sized(), [1, 2], Values()))


def test_a_pass_that_stands_still_is_told_again_and_again(pool, tmp_path, monkeypatch):
    monkeypatch.setenv("TAMIS_STALL_SECONDS", "0.15")
    list(pool.run("slow", Slow(tmp_path), [1, 2], Values()))
    found = [line for line in pool.told if line.startswith("slow: nothing finished for 0 seconds; in hand: ")]
    assert len(found) >= 2


def test_the_interval_of_standing_still(monkeypatch):
    assert stall.stall_seconds() == 600
    monkeypatch.setenv("TAMIS_STALL_SECONDS", "soon")
    assert stall.stall_seconds() == 600
    assert stall.nothing_finished("x", 600, ["a", "b"]) == "x: nothing finished for 10 minutes; in hand: a, b"


def test_a_closed_pool_does_nothing_any_more(tmp_path):
    pool = LocalPool(2, tmp_path / "scratch")
    list(pool.run("first", Sized(), [1, 2], Values()))
    pool.close()
    with pytest.raises(RunError, match="was stopped"):
        list(pool.run("second", Sized(), [1, 2], Values()))
    assert pool.pids() == []
