"""The soak, in full: see `benchmarks/soak.py`."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_fifty_faults_leave_the_bytes_as_they_are(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "soak.py", "--trials", "55", "--seed", "2", "--folder", tmp_path]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert "55 trials, 0 of them wrong" in done.stdout
