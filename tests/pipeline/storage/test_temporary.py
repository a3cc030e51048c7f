"""Temporary folders of processes that are no more are deleted; those of the living and of others are left alone."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tamis.pipeline.storage.damage import found_damage, take_damage
from tamis.pipeline.storage.temporary import (
    forget_temporary,
    make_temporary,
    process_lives,
    process_start,
    sweep_temporary,
    temporary_folder,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def name_of(folder, pid, start="0", host=None):
    own = make_temporary()
    _, mine, _, _, tail = own.name.split("-")
    own.rmdir()
    made = folder / f"tamis-{host or mine}-{pid}-{start}-{tail}"
    made.mkdir()
    (made / "file").touch()
    return made


def test_only_what_is_surely_of_the_dead_is_deleted(folder):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    start = process_start(dead.pid)
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    assert not process_lives(dead.pid)  # it waits to be looked after, but lives no more
    gone = [name_of(folder, dead.pid, start)]
    dead.wait()
    gone += [name_of(folder, dead.pid, start), name_of(folder, os.getpid(), "1")]  # the number was given out again
    kept = [name_of(folder, dead.pid, start, "elsewhere"), make_temporary(), folder / "tamis-kernels-0"]
    kept.append(folder / f"tamis-{dead.pid}")
    for path in kept[2:]:
        path.mkdir()
    sweep_temporary()
    assert sorted(folder.iterdir()) == sorted(kept)
    assert not [path for path in gone if path.exists()]
    forget_temporary()
    assert not kept[1].exists()


def test_a_folder_is_deleted_with_its_block(folder):
    assert process_lives(os.getpid(), process_start(os.getpid()))
    with temporary_folder() as made:
        (made / "file").touch()
        assert list(folder.iterdir()) == [made]
    assert not list(folder.iterdir())


def test_semaphores_of_a_dead_pool_are_deleted(folder):
    if not Path("/dev/shm").is_dir():
        pytest.skip("this system doesn't show its semaphores")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = Path(f"/dev/shm/sem.loky-{dead.pid}-test")
    left.touch()
    sweep_temporary()
    assert left.exists()  # nothing says that the pool was ours
    name_of(folder, dead.pid, "1")
    sweep_temporary()
    assert not left.exists()


def test_damage_is_told_once_and_taken_once():
    take_damage()
    for sentence in ("a is damaged", "b is damaged", "a is damaged"):
        found_damage(sentence)
    assert take_damage() == ("a is damaged", "b is damaged")
    assert take_damage() == ()
