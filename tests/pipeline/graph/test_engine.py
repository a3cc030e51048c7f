"""Passes on the local runner: results, failures as sentences, retries, refused runners."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tamis.pipeline.graph.engine import Engine
from tamis.schemas.errors import ConfigError, InputError, RunError


@dataclass(frozen=True)
class Square:
    def __call__(self, task):
        return task * task


@dataclass(frozen=True)
class Failing:
    kind: type
    message: str

    def __call__(self, task):
        if task == 2:
            raise self.kind(self.message)
        return task


@dataclass(frozen=True)
class Flaky:
    folder: str

    def __call__(self, task):
        marks = list(Path(self.folder).glob("try*"))
        (Path(self.folder) / f"try{len(marks)}").touch()
        if not marks:
            raise TimeoutError("the first time is hard")
        return task


@dataclass(frozen=True)
class Number:
    def __call__(self, task):
        return json.dumps([task]).encode()


def join(parts):
    return json.dumps(sorted(x for part in parts for x in json.loads(part))).encode()


class Seen:
    def __init__(self):
        self.told = []

    def start(self, label, total):
        self.told.append((label, total))

    def update(self, done):
        self.told.append(done)

    def finish(self):
        self.told.append("finished")


@pytest.mark.parametrize("workers", [1, 2])
def test_map_returns_what_each_task_returned(tmp_path, workers):
    engine = Engine(str(tmp_path), workers=workers)
    assert sorted(engine.map("squares", [1, 2, 3], Square())) == [1, 4, 9]
    assert not list(tmp_path.iterdir())


def test_no_tasks_no_pass(tmp_path):
    assert Engine(str(tmp_path)).map("none", [], Square()) == []


def test_reduce_combines_many_values(tmp_path):
    total = Engine(str(tmp_path)).reduce("numbers", list(range(600)), Number(), join)
    assert json.loads(total) == list(range(600))


def test_an_error_raised_on_purpose_comes_back_as_it_was(tmp_path):
    with pytest.raises(InputError, match=r"^file x is empty$"):
        Engine(str(tmp_path)).map("reading", [1, 2, 3], Failing(InputError, "file x is empty"))


def test_any_other_error_names_the_pass_and_the_task(tmp_path):
    with pytest.raises(RunError, match="reading: 2: ZeroDivisionError: none left"):
        Engine(str(tmp_path)).map("reading", [1, 2, 3], Failing(ZeroDivisionError, "none left"))


def test_passing_faults_of_a_file_system_are_tried_again(tmp_path):
    folder = tmp_path / "tries"
    folder.mkdir()
    assert Engine(str(tmp_path / "scratch")).map("flaky", [5], Flaky(str(folder))) == [5]
    assert len(list(folder.iterdir())) == 2


def test_progress_is_told(tmp_path):
    seen = Seen()
    Engine(str(tmp_path), progress=seen).map("squares", [1, 2], Square())
    assert seen.told[0] == ("squares", 2)
    assert seen.told[-2:] == [2, "finished"]


@pytest.mark.parametrize("runner", ["DaskRunner", "DirectRunner", "NoSuchRunner"])
def test_runners_that_break_promises_are_refused(tmp_path, runner):
    with pytest.raises(ConfigError, match=runner):
        Engine(str(tmp_path), runner=runner)


def test_the_older_local_runner_gives_the_same(tmp_path):
    engine = Engine(str(tmp_path), runner="BundleBasedDirectRunner")
    assert sorted(engine.map("squares", [1, 2, 3], Square())) == [1, 4, 9]
