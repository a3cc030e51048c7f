"""Inputs that change with size and time kept: between planning and reading, between two tries, and on resume."""

import json
import os

import pytest

import tamis.pipeline.passes.read
from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config
from tamis.schemas.errors import InputError
from tests.faults.test_damage import Runs, Told

CHANGED = "was changed"


def change(path):
    """Write other bytes into a file; size and time stay."""
    before = path.stat()
    text = path.read_text()
    path.write_text(text.replace("river", "shark", 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    assert path.read_text() != text


def plan_of(trial):
    plain = trial.plain()
    return make_plan(parse_config(plain), plain)


def carry_out(trial, output, told=None, plan=None):
    folder = str(trial.folder / output)
    engine = Engine(f"{folder}/work/passes", progress=told)
    return Runs.digests(execute(plan or plan_of(trial), folder, engine).manifest)


@pytest.fixture
def part(trial):
    trial.open()
    return trial.folder / "corpus" / "part2.jsonl"


def test_a_change_between_planning_and_reading_is_noticed(trial, part):
    plan = plan_of(trial)
    change(part)
    with pytest.raises(InputError, match=f"part2.jsonl {CHANGED} while it was being read: run the same command again"):
        carry_out(trial, "run", plan=plan)
    assert carry_out(trial, "run") == carry_out(trial, "plain")


def test_a_change_after_the_digest_is_noticed(trial, part):
    told = Told(lambda label: change(part) if label == "inputs" else None)
    with pytest.raises(InputError, match=f"part2.jsonl {CHANGED} after the run began to read it: run the same"):
        carry_out(trial, "run", told)
    assert carry_out(trial, "run") == carry_out(trial, "plain")


def test_a_change_between_two_tries_is_noticed(trial, part, monkeypatch):
    read = tamis.pipeline.passes.read.read_split
    tries = []

    def failing(split, *more):
        for number, batch in enumerate(read(split, *more)):
            if split.path == str(part) and not tries:
                tries.append(number)
                change(part)
                raise TimeoutError("the file system is slow")
            yield batch

    monkeypatch.setattr(tamis.pipeline.passes.read, "read_split", failing)
    with pytest.raises(InputError, match=f"part2.jsonl {CHANGED}"):
        carry_out(trial, "run")
    assert tries == [0]
    assert carry_out(trial, "run") == carry_out(trial, "plain")


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_a_change_before_a_resume_is_noticed(trial, part, how):
    first = carry_out(trial, "run")
    if how == "replaced":
        copy = part.with_suffix(".new")
        copy.write_bytes(part.read_bytes())
        before = part.stat()
        os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
        change(copy)
        copy.replace(part)
    else:
        change(part)
    again = carry_out(trial, "run")  # the manifest is there: the plan isn't the same
    assert again != first
    assert again == carry_out(trial, "plain")
    manifest = json.loads((trial.folder / "run" / "manifest.json").read_text())
    assert manifest["warnings"] == []
