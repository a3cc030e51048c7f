"""Processes that die: the driver with its workers, workers one by one, and what they leave; two runs on one folder."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tamis.jobs.run.folder import owned
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import RunError
from tests.faults.trials import ROOT, gone, session


@pytest.fixture
def temporary(tmp_path):
    """A temporary folder of the runs' own, so that what they leave there can be seen."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def semaphores(pid):
    return list(Path("/dev/shm").glob(f"sem.loky-{pid}-*"))


def test_workers_end_with_a_killed_driver_and_the_next_run_leaves_nothing_behind(shared, temporary):
    process = shared.start("run", 2, TMPDIR=str(temporary))
    shared.at_gate(process, 2)
    trackers = [pid for pid in session(process.pid) if b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(session(process.pid)) == 4 + len(trackers)  # driver, nursery, and two workers
    for pid in trackers:  # nobody is left who would delete semaphores
        os.kill(pid, signal.SIGKILL)
    process.kill()
    assert gone(process.pid)
    assert list(temporary.iterdir())
    assert semaphores(process.pid)
    left = shared.root / "run" / "work" / "00-read-0" / ".text.1.2.tmp"
    left.parent.mkdir()
    left.touch()
    shared.open()
    status, told = shared.run("run", 2, TMPDIR=str(temporary))
    assert status == 0, told
    assert list(temporary.iterdir()) == []
    assert not semaphores(process.pid)
    assert not left.exists()
    assert list((shared.root / "run" / "work" / "passes").iterdir()) == []
    assert shared.run("plain")[0] == 0
    assert shared.digests("run") == shared.digests("plain")


def test_a_lost_worker_costs_a_retry_and_nothing_else(shared):
    process = shared.start("run", 2)
    os.kill(shared.at_gate(process, 2)[0], signal.SIGKILL)
    shared.open()
    told = shared.ended(process)
    assert process.returncode == 0, told
    assert told.count("a worker was lost; what it had in hand is done again") == 1
    assert shared.run("plain")[0] == 0
    assert shared.digests("run") == shared.digests("plain")


def test_a_shard_that_ends_its_worker_twice_is_named_with_file_and_records(trial):
    lines = (trial.folder / "corpus" / "part2.jsonl").read_text().replace("GATE", "DEATH")
    (trial.folder / "corpus" / "part2.jsonl").write_text(lines)
    scorer = trial.folder / "scorer.py"
    deadly = 'if any(text.startswith("DEATH") for text in texts): os.kill(os.getpid(), 9)'
    scorer.write_text(scorer.read_text().replace("texts.to_pylist()\n", f"texts.to_pylist()\n        {deadly}\n"))
    trial.open()
    status, told = trial.run("run", 2)
    assert status == 1
    last = told.splitlines()[-1]
    assert "a worker ended twice while it worked on s2: " in last
    assert "part2.jsonl, documents 1 to 60" in last
    assert "Traceback" not in told
    assert told.count("a worker was lost") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_pass_that_stands_still_is_noticed(shared, workers):
    process = shared.start("run", workers, TAMIS_STALL_SECONDS="0.5")
    shared.at_gate(process, workers)
    time.sleep(1.2)
    shared.open()
    told = shared.ended(process)
    assert process.returncode == 0, told
    found = re.findall(
        r"score: nothing finished for \d seconds; in hand: s\d: \S+part\d.jsonl, documents 1 to 60", told
    )
    assert found, told


def test_a_second_run_on_a_folder_is_refused_and_harms_nobody(shared):
    process = shared.start("run", 2)
    workers = shared.at_gate(process, 2)
    for pid in workers:
        held = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir() if path.exists()]
        assert not [path for path in held if path.endswith("lock.json")]
    status, told = shared.run("run", 1)
    assert status == 1
    assert f"process {process.pid} on {socket.gethostname()}, since 2" in told
    assert "another run works in" in told
    assert "Traceback" not in told
    shared.open()
    assert shared.ended(process)
    assert process.returncode == 0
    assert shared.run("plain")[0] == 0
    assert shared.digests("run") == shared.digests("plain")


def test_a_damaged_lock_is_no_traceback(tmp_path):
    output = str(tmp_path / "run")
    with owned(output):
        (tmp_path / "run" / "work" / "lock.json").write_bytes(b"\x00{")
        with pytest.raises(RunError, match=r"process \? on \?"), owned(output):
            pass
    with owned(output):
        pass


def test_a_dead_owner_does_not_hold_a_folder_elsewhere():
    output = "memory://faults/owned"
    with owned(output):
        with pytest.raises(RunError, match=f"process {os.getpid()} on .* since .* delete memory://"), owned(output):
            pass
        assert filesystem.exists(f"{output}/work/lock.json")
    assert not filesystem.exists(f"{output}/work/lock.json")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    owner = {"host": socket.gethostname(), "pid": dead.pid, "since": "then"}
    filesystem.create(f"{output}/work/lock.json", json.dumps(owner).encode())
    with owned(output):
        pass
    filesystem.create(f"{output}/work/lock.json", json.dumps(owner | {"host": "elsewhere"}).encode())
    with pytest.raises(RunError, match=r"process .* on elsewhere, since then"), owned(output):
        pass
    filesystem.remove(f"{output}/work/lock.json")


INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
import tamis
gate, config, output, workers = sys.argv[1:]

def interrupt():
    while len(list(Path(gate).glob("at-*"))) < int(workers):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    tamis.run(config, output=output, workers=int(workers))
except KeyboardInterrupt:
    Path(gate, "open").touch()
    time.sleep(1)
    found = [pid for path in Path(f"/proc/{os.getpid()}/task").glob("*/children") for pid in path.read_text().split()]
    told = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in found]
    print("workers", sum("resource_tracker" not in line for line in told))
    manifest = tamis.run(config, output=output, workers=int(workers)).manifest
    print("selected", manifest.selected)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_notebook_ends_its_workers_and_can_go_on(shared, workers):
    command = [sys.executable, "-c", INTERRUPTED, shared.gate, shared.config, shared.root / "run", workers]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    shared.processes.append(process)
    shown, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert shown.splitlines() == ["workers 0", "selected 118"]
    assert "Traceback" not in told
