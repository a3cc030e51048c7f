"""Signals that come while the program is still being imported end it without a traceback."""

import signal
import subprocess
import sys

import pytest

from tamis.jobs.cli.signals import SENTENCE

SCRIPT = """
import os, sys, time
from tamis.jobs.cli import start

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "tamis.jobs.cli.app":
            os.kill(os.getpid(), int(sys.argv.pop()))
            time.sleep(5)

sys.meta_path.insert(0, Finder())
start.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_is_stopped_in_a_sentence(number):
    command = [sys.executable, "-c", SCRIPT, "run", "corpus.yaml", str(int(number))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (128 + number, f"tamis: {SENTENCE}\n")


def test_other_commands_just_end():
    command = [sys.executable, "-c", SCRIPT, "steps", str(int(signal.SIGINT))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "")
