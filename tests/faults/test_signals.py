"""Signals: one sentence, the status that shells expect, no process left, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.faults.trials import ROOT, SENTENCE, caught, gone

CASES = [
    (signal.SIGINT, 1, "driver"),
    (signal.SIGTERM, 1, "group"),
    (signal.SIGHUP, 1, "driver"),
    (signal.SIGINT, 2, "group"),
    (signal.SIGTERM, 2, "driver"),
    (signal.SIGHUP, 2, "group"),
]


@pytest.mark.parametrize(("number", "workers", "target"), CASES)
def test_a_signal_ends_a_run_with_one_sentence(shared, number, workers, target):
    process = shared.start("run", workers)
    shared.at_gate(process, workers)
    (os.kill if target == "driver" else os.killpg)(process.pid, number)
    told = shared.ended(process, 5)
    assert process.returncode == 128 + number
    assert gone(process.pid)
    lines = told.splitlines()
    assert lines[-1] == f"tamis: {SENTENCE}"
    # Before it there are lines of progress alone.
    assert all(" s" in line and " of " in line for line in lines[:-1]), told


def test_what_is_ignored_at_the_start_stays_so(shared):
    process = shared.start("run", 2, under=("sh", "-c", 'trap "" HUP; exec "$@"', "sh"))
    shared.at_gate(process, 2)
    os.killpg(process.pid, signal.SIGHUP)
    shared.open()
    told = shared.ended(process)
    assert process.returncode == 0, told
    assert shared.digests("run") == shared.expected


def test_a_signal_ends_a_run_that_is_still_planning(shared):
    process = shared.start("run")
    for _ in range(2000):
        if caught(process.pid, signal.SIGINT):
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    assert shared.ended(process) == f"tamis: {SENTENCE}\n"
    assert process.returncode == 130


def test_other_commands_keep_their_own_ways():
    code = "import signal, sys; from tamis.jobs.cli.signals import end_by_signals\n"
    code += "end_by_signals(sys.argv[1:]); print(*[signal.getsignal(n) == b for n, b in before.items()])"
    code = code.replace("\n", "\nbefore = {n: signal.getsignal(n) for n in (1, 2, 15)}\n")
    for arguments, same in ((["sql", "run"], True), (["manifest", "show"], True), (["manifest", "rerun"], False)):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
        assert done.stdout.split() == [str(same)] * 3
