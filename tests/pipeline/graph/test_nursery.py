"""Workers as forks of a process that has all ready: who their parent is, what they hold, and who outlives whom."""

import importlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest

from tamis.pipeline.graph.nursery import Nursery
from tamis.pipeline.graph.passes import Values
from tamis.pipeline.graph.pool import LocalPool
from tamis.scorers.kernels.jit import kernel, kernel_states, make_ready, ready_kernels
from tamis.scorers.perplexity.normalize import ccnet

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forks on Linux alone")


@dataclass(frozen=True)
class Told:
    """What a worker says of itself."""

    def __call__(self, task, values):
        time.sleep(0.3)  # so that both workers have one
        brought = [name for name in ("apache_beam", "grpc", "torch") if name in sys.modules]
        loaded = sum(state.loaded + state.compiled for state in kernel_states())
        return json.dumps([os.getpid(), os.getppid(), brought, loaded]).encode()


def told(pool):
    return [json.loads(done.value) for done, _ in pool.run("told", Told(), [1, 2, 3, 4], Values())]


@pytest.fixture
def pool(tmp_path):
    warned = []
    made = LocalPool(2, tmp_path / "scratch", warned.append)
    made.warned = warned
    yield made
    made.close()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_are_forks_of_one_process_without_beam(pool):
    importlib.import_module("tamis.pipeline.transforms")  # what the driver has of Beam stays the driver's
    found = told(pool)
    nursery = pool._nursery.pid
    assert {parent for _, parent, _, _ in found} == {nursery}
    assert len({pid for pid, _, _, _ in found}) == 2
    assert all(brought == [] for _, _, brought, _ in found)
    pool.close()
    assert not alive(nursery)
    assert not any(alive(pid) for pid, _, _, _ in found)


def test_kernels_that_the_driver_has_ready_are_ready_in_workers(pool):
    ccnet("A text")
    states = {state.name: state for state in kernel_states()}
    assert ready_kernels()
    loaded = [number for _, _, _, number in told(pool)]
    assert max(loaded) <= sum(state.loaded + state.compiled for state in states.values())
    assert min(loaded) > 0


def test_a_lost_nursery_costs_a_retry(pool):
    first = told(pool)
    os.kill(pool._nursery.pid, signal.SIGKILL)
    second = told(pool)
    assert len(second) == 4
    assert {parent for _, parent, _, _ in second} == {pool._nursery.pid}
    until = time.monotonic() + 5
    while any(alive(pid) for pid, _, _, _ in first) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(alive(pid) for pid, _, _, _ in first)


def test_workers_start_from_nothing_where_there_is_no_nursery(pool, monkeypatch):
    monkeypatch.setattr(Nursery, "fork", lambda *_: (_ for _ in ()).throw(OSError("gone")))
    assert {parent for _, parent, _, _ in told(pool)} == {os.getpid()}


def test_what_the_driver_has_imported_is_no_matter(pool, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    assert os.getpid() not in {parent for _, parent, _, _ in told(pool)}


def test_beside_a_library_whose_threads_a_fork_would_lose_workers_start_from_nothing(pool, monkeypatch, tmp_path):
    (tmp_path / "torch.py").touch()
    (tmp_path / "sitecustomize.py").write_text("import torch")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert {parent for _, parent, _, _ in told(pool)} == {os.getpid()}


@kernel
def doubled(values):
    return values * 2


def test_kernels_are_made_ready_without_a_call():
    doubled(np.arange(3))
    (mine,) = [entry for entry in ready_kernels() if entry[1] == "doubled"]
    assert mine[0] == __name__
    make_ready([mine, ("no.such.module", "doubled", mine[2]), (__name__, "no_such_kernel", mine[2])])
