"""Two thresholds: a finished run isn't replaced unasked, and what it computed serves the other one."""

import fcntl
import os
import re
import subprocess
import sys

import pytest
import yaml

import tamis
from tamis.jobs.manifest.verify import verify
from tamis.jobs.run.cache import CACHE_MARKER, USERS, shared
from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.jobs.run.replace import refuse_replacing, replaced_run
from tamis.jobs.run.status import clean_run
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.graph.remote_job import LetGo, RemoteJob
from tamis.pipeline.steps.registry import parse_config
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError, InputError, RunError
from tests.source_tree import ROOT


class Told:
    """Keeps what each pass said: label to (tasks, reused)."""

    def __init__(self):
        self.passes = {}
        self.notes = []

    def plan(self, passes):
        pass

    def note(self, text):
        self.notes.append(text)

    def start(self, label, total):
        self._now = (label, total)

    def update(self, done):
        pass

    def finish(self, reused=0):
        label, total = self._now
        self.passes[label] = (total, reused)


def plain(folder, maximum=8, **changes):
    if not (folder / "texts.jsonl").exists():
        (folder / "texts.jsonl").write_text("".join(f'{{"text": "{"river " * n}end"}}\n' for n in range(20)))
    rule = {"column": "text_words", "op": "max", "threshold": maximum, "reason": "long"}
    return {
        "inputs": [{"path": str(folder / "texts.jsonl"), "source": "web"}],
        "steps": [{"heuristics": {"rules": [rule]}}],
        **changes,
    }


def go(config, folder, told=None, **options):
    with Engine(f"{folder}/work/passes", progress=told) as engine:
        return execute(make_plan(parse_config(config), config), str(folder), engine, **options).manifest


def shards(manifest):
    return {shard.path: shard.sha256 for shard in manifest.shards}


@pytest.mark.parametrize("cache", ["cache", "first"])
def test_two_thresholds_cost_one_scoring(tmp_path, cache):
    first, second, told = tmp_path / "first", tmp_path / "second", Told()
    shared_by = {"cache": str(tmp_path / "cache")} if cache == "cache" else {}
    go(plain(tmp_path), first, **shared_by)
    manifest = go(plain(tmp_path, 4), second, told, cache=str(tmp_path / cache))
    assert told.passes["inputs"] == told.passes["read"] == told.passes["heuristics"] == (1, 1)
    assert manifest.selected == 4
    assert shards(manifest) == shards(go(plain(tmp_path, 4), tmp_path / "alone"))
    assert tamis.open(first).manifest.selected == 8
    assert tamis.open(first).verify().ok
    assert not list((second / "work").glob("*heuristics*"))


def test_a_cache_is_emptied_when_nobody_uses_it(tmp_path):
    cache = tmp_path / "cache"
    manifest = go(plain(tmp_path), tmp_path / "run", cache=str(cache))
    with shared(str(cache)):  # another process asks
        code = f"from tamis.jobs.run.status import clean_run; clean_run({str(cache)!r})"
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert f"another run takes finished stages from {cache}" in done.stderr
    assert clean_run(str(cache)) > 0
    assert sorted(path.name for path in cache.iterdir()) == sorted([CACHE_MARKER, USERS])
    (tmp_path / "run" / "manifest.json").unlink()
    assert shards(go(plain(tmp_path), tmp_path / "run", cache=str(cache))) == shards(manifest)


def test_what_a_killed_run_left_half_written_goes_unless_another_run_may_be_writing_it(tmp_path):
    cache = tmp_path / "cache"
    go(plain(tmp_path), tmp_path / "run", cache=str(cache))
    left = next(cache.glob("00-read*")) / ".x.arrow.1.tmp"
    left.touch()
    with (cache / USERS).open() as another:
        fcntl.flock(another, fcntl.LOCK_SH)
        with shared(str(cache)):
            assert left.exists()
    with shared(str(cache)):
        assert not left.exists()


def test_no_folder_of_other_files_becomes_a_cache(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(tamis.ConfigError, match="neither a cache nor a run of tamis"):
        go(plain(tmp_path), tmp_path / "run", cache=str(tmp_path / "mine"))
    with pytest.raises(tamis.ConfigError, match="give one of the two"):
        go(plain(tmp_path), tmp_path / "run", cache=str(tmp_path / "cache"), fresh=True)


def test_a_finished_run_of_another_config_is_not_replaced_unasked(tmp_path):
    output = tmp_path / "run"
    tamis.run(plain(tmp_path), output=output)
    with pytest.raises(tamis.ConfigError) as refused:
        tamis.run(plain(tmp_path, 4, seed=3), output=output)
    told = str(refused.value)
    assert re.search(r"holds the run of \S+ \(8 selected of 20 read\) with another config", told)
    assert "seed was 0 and is 3" in told
    assert "replace=True" in told
    assert tamis.open(output).manifest.selected == 8
    assert tamis.run(plain(tmp_path, 4), output=output, replace=True).manifest.selected == 4
    assert tamis.run(plain(tmp_path), output=output, fresh=True).manifest.selected == 8


def test_new_inputs_bring_a_finished_run_up_to_date(tmp_path):
    config, output = plain(tmp_path), tmp_path / "run"
    tamis.run(config, output=output)
    with (tmp_path / "texts.jsonl").open("a") as stream:
        stream.write('{"text": "one more river"}\n')
    found = replaced_run(make_plan(parse_config(config), config), str(output))
    assert found.changes == ()
    assert "inputs" in found.why
    assert tamis.run(config, output=output).manifest.selected == 9
    assert replaced_run(make_plan(parse_config(config), config), str(output)) is None


def test_the_command_line_says_what_it_replaces(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain(tmp_path)))

    def run(*arguments):
        command = [sys.executable, "-c", "from tamis.jobs.cli.app import main; main()", "run", "config.yaml"]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
        )

    assert run("-o", "run").returncode == 0
    changed = ["--set", "seed=7"]
    refused = run("-o", "run", *changed)
    assert refused.returncode == 2
    assert "--replace replaces it; --output with another folder, and --cache run, keeps both" in refused.stderr
    assert refused.stderr.count("\n") == 1
    beside = run("-o", "beside", "--cache", "run", *changed)
    assert re.search(r"heuristics: 1 of 1, 1 reused in", beside.stderr)
    replaced = run("-o", "run", "--replace", *changed)
    assert replaced.returncode == 0
    assert re.match(r"replaces the run of \S+ \(8 selected of 20 read\) in run: seed was 0 and is 7\n", replaced.stderr)
    assert "replaces" not in run("-o", "run", "--replace", "--quiet").stderr


@pytest.fixture(params=["local", "store"])
def place(request, tmp_path):
    """A run's folder, of a name that no other test has."""
    if request.param == "local":
        return str(tmp_path / "run")
    return f"memory://{tmp_path.name}/run"


def content(place, name="manifest.json"):
    return filesystem.content(filesystem.join(place, name))


def fail(*_, **__):
    message = "the last pass failed"
    raise RunError(message)


def test_a_run_that_fails_before_it_writes_costs_no_earlier_one(tmp_path, place, caplog):
    config = plain(tmp_path)
    go(config, place)
    before = content(place)
    more = {"path": str(tmp_path / "more.parquet"), "source": "web"}
    (tmp_path / "more.parquet").write_bytes(b"PAR1 no Parquet at all")
    for _ in range(2):
        with pytest.raises(InputError, match=r"more\.parquet"):
            go(config | {"inputs": [*config["inputs"], more]}, place)
        assert content(place) == before
        assert content(place, "work/earlier.json") is None
        assert verify(place).ok
    assert not caplog.messages


@pytest.mark.parametrize("maximum", [3, 12])
def test_a_run_that_fails_after_it_wrote_says_what_is_left(tmp_path, place, monkeypatch, caplog, maximum):
    go(plain(tmp_path), place)
    with monkeypatch.context() as patch:
        patch.setattr("tamis.pipeline.passes.write.WriteErrors.__call__", fail)
        with pytest.raises(RunError):
            go(plain(tmp_path, maximum), place)
    assert content(place) is None
    assert re.search(r"run held a finished run.*: \d of its \d files are left, and no manifest", caplog.messages[0])
    assert len(caplog.messages) == 1
    go(plain(tmp_path, maximum), place)
    assert verify(place).ok
    assert content(place, "work/earlier.json") is None


def test_a_run_that_is_killed_costs_no_earlier_one(tmp_path, place, monkeypatch):
    """What was killed can't put the manifest back: the next run does if it fails, and replaces nothing unasked."""
    go(plain(tmp_path), place)
    before = content(place)
    with monkeypatch.context() as patch:
        patch.setattr("tamis.jobs.run.untouched._put_back", lambda *_: None)
        patch.setattr("tamis.jobs.run.execute.write_file_list", fail)
        with pytest.raises(RunError):
            go(plain(tmp_path, 3), place)
    assert content(place) is None
    other = plain(tmp_path, 3)
    plan = make_plan(parse_config(other), other)
    with pytest.raises(ConfigError, match=r'threshold":8.* and is .*threshold":3'):
        refuse_replacing(plan, place, "give --replace")
    with monkeypatch.context() as patch:
        patch.setattr("tamis.jobs.run.execute.write_file_list", fail)
        with pytest.raises(RunError):
            go(other, place)
    assert content(place) == before
    assert verify(place).ok


def test_a_job_that_goes_on_gets_no_manifest_of_an_earlier_run(tmp_path, place, monkeypatch):
    go(plain(tmp_path), place)

    def let_go(*_, **__):
        raise LetGo(RemoteJob("tamis", "1", "project", "region", "2024-01-01 00:00:00", "failure"))

    monkeypatch.setattr("tamis.jobs.run.execute.write_file_list", let_go)
    with pytest.raises(LetGo):
        go(plain(tmp_path, 3), place)
    assert content(place) is None
    assert content(place, "work/earlier.json") is not None


@pytest.mark.parametrize("output", ["data", "data/out", "run", "data/../data"])
def test_a_run_never_writes_where_it_reads(tmp_path, output):
    """Below a folder that is read a run may lie: it is left out there."""
    (tmp_path / "data").mkdir()
    config = plain(tmp_path / "data")
    config["inputs"][0]["path"] = str(tmp_path / "data")
    place = tmp_path / output
    if output in ("data/out", "run"):
        go(config, place)
        config["inputs"][0]["path"] = str(place / "selected")
    with pytest.raises(ConfigError, match="give another folder"):
        go(config, place)
    assert sorted(path.name for path in (tmp_path / "data").glob("*.jsonl")) == ["texts.jsonl"]
