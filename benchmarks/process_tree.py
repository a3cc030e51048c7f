"""What a command costs with all its children: CPU-seconds, wall seconds, and peak memory of the tree."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Cost", "measure"]


class Cost(NamedTuple):
    """CPU-seconds and wall seconds; peak of the tree's memory in bytes, what is shared counted once."""

    cpu: float
    wall: float
    peak: int


def measure(command: Sequence[str], *, core: int | None = None, environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end, on one core if told; ends this program if it fails."""
    pinned = list(command) if core is None else ["taskset", "-c", str(core), *command]
    before = os.times()
    began = time.monotonic()
    process = subprocess.Popen(pinned, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(_memory(pid) for pid in _tree(process.pid)))
        time.sleep(0.2)
    if process.returncode:
        told = process.stderr.read().decode() if process.stderr is not None else ""
        sys.exit(f"{' '.join(pinned)} failed with {process.returncode}: {told}")
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(spent, time.monotonic() - began, peak)


def _tree(pid: int) -> list[int]:
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [below for child in path.read_text().split() for below in _tree(int(child))]
        except OSError:  # it has ended meanwhile
            continue
    return found


def _memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
