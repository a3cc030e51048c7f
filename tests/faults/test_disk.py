"""Disks that are full and folders that can't be written: one sentence, exit 1, and the run goes on later."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
os.execv(sys.argv[1], sys.argv[1:])
"""


def last_line(process, told):
    assert process.returncode == 1, told
    assert "Traceback" not in told
    last = told.splitlines()[-1]
    assert last.startswith("tamis: ")
    return last


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_cannot_grow_is_one_sentence_and_the_run_goes_on(shared, workers):
    shared.open()
    process = shared.start("run", workers, under=(sys.executable, "-c", LIMITED.format(6000)))
    told = shared.ended(process)
    assert "File too large" in last_line(process, told)
    assert not list((shared.root / "run").rglob(".*.tmp"))
    assert shared.run("run", workers)[0] == 0
    assert shared.digests("run") == shared.expected


def test_a_full_disk_is_one_sentence_and_the_run_goes_on(shared):
    disk = shared.root / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        shared.open()
        process = shared.start("disk/run", 2)
        told = shared.ended(process)
        last = last_line(process, told)
        assert "No space left on device" in last
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        status, told = shared.run("disk/run", 2)
        assert status == 0, told
        assert shared.digests("disk/run") == shared.expected
    finally:
        shared.end()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_folder_that_cannot_be_written_is_one_sentence(shared):
    shared.open()
    place = Path("/proc/tamis/run")  # where not even the superuser can make folders
    if os.name != "posix" or not place.parent.parent.exists():
        pytest.skip("needs a /proc")
    process = shared.start(place, 1)
    assert "/proc/tamis" in last_line(process, shared.ended(process))
