"""Signals: one sentence, the status that shells expect, no process left, and the same command goes on."""

import os
import signal

import pytest

from tests.faults.trials import SENTENCE, gone

CASES = [
    (signal.SIGINT, 1, "driver"),
    (signal.SIGTERM, 1, "group"),
    (signal.SIGHUP, 1, "driver"),
    (signal.SIGINT, 2, "group"),
    (signal.SIGTERM, 2, "driver"),
    (signal.SIGHUP, 2, "group"),
]


@pytest.mark.parametrize(("number", "workers", "target"), CASES)
def test_a_signal_ends_a_run_with_one_sentence(trial, number, workers, target):
    process = trial.start("run", workers)
    trial.at_gate(process, workers)
    (os.kill if target == "driver" else os.killpg)(process.pid, number)
    told = trial.ended(process, 5)
    assert process.returncode == 128 + number
    assert gone(process.pid)
    lines = told.splitlines()
    assert lines[-1] == f"tamis: {SENTENCE}"
    # Before it there are lines of progress alone.
    assert all(" s" in line and " of " in line for line in lines[:-1]), told
