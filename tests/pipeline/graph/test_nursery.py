"""Workers as forks of a process that has all ready: who their parent is, what they hold, and who outlives whom."""

import importlib
import json
import os
import signal
import subprocess
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
    monkeypatch.setattr("tamis.pipeline.graph.nursery._may_fork_here", lambda: False)
    (tmp_path / "torch.py").touch()
    (tmp_path / "sitecustomize.py").write_text("import torch")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert {parent for _, parent, _, _ in told(pool)} == {os.getpid()}


EARLY = """
import json, os, sys, threading
from pathlib import Path
from tamis.pipeline.graph import passes
from tamis.pipeline.graph.pool import LocalPool

class Told:
    def __call__(self, task, values):
        import time
        from tamis.pipeline.graph import passes
        time.sleep(0.3)
        return json.dumps([os.getppid(), getattr(passes, "ready", None), signals()]).encode()

def signals():
    import signal
    return [not callable(signal.getsignal(number)) or isinstance(signal.getsignal(number), signal.Handlers)
            for number in (signal.SIGTERM, signal.SIGHUP)]

def main(change):
    if change == "signals":
        from tamis.jobs.cli.signals import end_by_signals
        end_by_signals(["run"])
    elif change == "thread":
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    elif change:
        sys.modules[change] = sys
    passes.ready = "made ready"
    pool = LocalPool(2, Path(sys.argv[2]), print)
    pool.prepare()
    passes.ready = "too late"
    from tamis.pipeline.graph.quiet import silence_beam
    silence_beam()
    import tamis.pipeline.transforms
    told = [json.loads(done.value) for done, _ in pool.run("told", Told(), [1, 2, 3, 4], passes.Values())]
    nursery = pool._nursery.pid
    pool.close()
    print(json.dumps([nursery, told, Path(f"/proc/{nursery}").exists()]))

if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.parametrize(("change", "shares"), [("", True), ("signals", True), ("thread", False), ("duckdb", False)])
def test_what_a_driver_made_ready_is_shared_with_workers(change, shares, tmp_path):
    script = tmp_path / "early.py"
    script.write_text(EARLY)
    command = [sys.executable, "-W", "error", str(script), change, str(tmp_path / "scratch")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    nursery, told, left = json.loads(done.stdout)
    assert {tuple(map(str, found)) for found in told} == {
        (str(nursery), "made ready" if shares else "None", "[True, True]")
    }
    assert not left
    assert done.stderr == ""


@kernel
def doubled(values):
    return values * 2


def test_kernels_are_made_ready_without_a_call():
    doubled(np.arange(3))
    (mine,) = [entry for entry in ready_kernels() if entry[1] == "doubled"]
    assert mine[0] == __name__
    make_ready([mine, ("no.such.module", "doubled", mine[2]), (__name__, "no_such_kernel", mine[2])])
