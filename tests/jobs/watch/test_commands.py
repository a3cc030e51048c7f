"""`tamis watch` and `tamis compact` as typed: what they say, how they end, and what a signal leaves."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import yaml

from tamis.jobs.cli import watch as watch_commands
from tamis.jobs.cli.app import main
from tamis.jobs.cli.signals import SENTENCE
from tamis.jobs.cli.watch import parse_interval
from tamis.jobs.quad.stored import stored_quad
from tamis.schemas.errors import ConfigError, RunError
from tests.jobs.watch.growing import Growing, texts_of
from tests.source_tree import ROOT

WAITING = """
import time
from pathlib import Path
import pyarrow as pa
HERE = Path(__file__).parent
class Share:
    schema = pa.schema([pa.field("share", pa.float64(), nullable=False)])
    def score(self, texts):
        texts = pa.array(texts).to_pylist()
        if texts and (HERE / "closed").exists():
            (HERE / "waiting").touch()
            while (HERE / "closed").exists():
                time.sleep(0.02)
        return pa.RecordBatch.from_arrays([pa.array([1.0] * len(texts))], schema=self.schema)
"""


@pytest.fixture
def growing(tmp_path, monkeypatch):
    made = Growing(tmp_path, ["exact_dedup"])
    made.put("a.jsonl", texts_of(30))
    monkeypatch.chdir(tmp_path)
    save(made)
    return made


def save(growing, **changes):
    growing.plain |= changes
    config = growing.plain | {"output": {**growing.plain["output"], "path": "corpus"}}
    (growing.root / "grow.yaml").write_text(yaml.safe_dump(config))


def tamis(capsys, *arguments):
    """Carry out a command; return its status, and what it printed and told."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tamis", *arguments])
        patch.setattr("tamis.jobs.cli.app.end_by_signals", lambda _: None)
        with pytest.raises(SystemExit) as stopped:
            main()
    told = capsys.readouterr()
    return int(stopped.value.code or 0), told.out, told.err


def test_what_a_night_says(growing, capsys):
    status, out, err = tamis(capsys, "watch", "grow.yaml")
    assert status == 0
    told = out.splitlines()
    assert told[0].startswith("increment 00001: 1 file; 30 read = ")
    assert told[1].startswith("corpus: 1 increment; 30 read = ")
    assert " of " in err
    assert tamis(capsys, "watch", "grow.yaml")[:2] == (0, f"nothing new: 1 file read before\n{told[1]}\n")
    assert tamis(capsys, "watch", "grow.yaml", "--quiet") == (0, "", "")
    growing.put("b.jsonl", texts_of(30, seed=2))
    (growing.inputs / "a.jsonl").unlink()
    status, out, err = tamis(capsys, "watch", "grow.yaml", "--quiet")
    assert (status, out) == (0, "")
    assert err == "web: in/a.jsonl was read and is gone: what was read stays\n"


def test_json_is_a_line_a_pass(growing, capsys):
    status, out, err = tamis(capsys, "watch", "grow.yaml", "--json")
    told = json.loads(out)
    assert (status, err) == (0, "")
    assert told["increments"] == [{"name": "00001"} | told["total"]]
    assert told["total"]["read"] == 30
    told = json.loads(tamis(capsys, "watch", "grow.yaml", "--json")[1])
    assert (told["increments"], told["changed"], told["gone"], told["problems"]) == ([], [], [], [])


def test_a_bad_night_ends_with_1(growing, capsys):
    (growing.inputs / "b.jsonl").write_text('{"text": \n')
    save(growing, watch={"max_files": 1})
    status, out, err = tamis(capsys, "watch", "grow.yaml")
    assert status == 1
    assert "increment 00002 doesn't join the corpus" in err
    assert "mend the input or the config" in err
    assert out.splitlines()[-1].startswith("corpus: 1 increment; 30 read")
    told = json.loads(tamis(capsys, "watch", "grow.yaml", "--json")[1])
    assert len(told["problems"]) == 1


def test_mistakes_are_a_sentence(growing, capsys):
    assert tamis(capsys, "watch", "grow.yaml", "--every", "soon")[::2] == (
        2,
        "tamis: --every soon: expected a time such as 30s, 10m, 1h or 1d\n",
    )
    save(growing, watch={"threshold": "frozen"})
    status, _, err = tamis(capsys, "watch", "grow.yaml")
    assert (status, err.count("\n")) == (2, 1)
    assert "watch.threshold: unknown key 'threshold'; did you mean 'thresholds'?" in err
    assert tamis(capsys, "compact", "nowhere")[0] == 1
    assert tamis(capsys, "compact", "in", "--thresholds", "some")[::2] == (
        2,
        "tamis: --thresholds some: expected frozen or estimate\n",
    )
    (growing.root / "file").touch()
    save(growing, watch={})
    assert "is a file; a corpus needs a folder" in tamis(capsys, "watch", "grow.yaml", "-o", "file")[2]


def test_intervals():
    assert [parse_interval(text) for text in ("30s", "10m", "1.5h", "1d", "90")] == [30, 600, 5400, 86400, 90]
    for text in ("0s", "-1m", "m", "1 week", ""):
        with pytest.raises(ConfigError):
            parse_interval(text)


def test_other_commands_open_a_corpus(growing, capsys):
    tamis(capsys, "watch", "grow.yaml", "--quiet")
    growing.put("b.jsonl", texts_of(30, seed=2))
    tamis(capsys, "watch", "grow.yaml", "--quiet")
    status, out, _ = tamis(capsys, "manifest", "show", "corpus")
    assert status == 0
    assert "increments, added up" in out
    assert "60 records read" in out
    assert tamis(capsys, "manifest", "verify", "corpus", "--inputs")[0] == 0
    assert "follows" in tamis(capsys, "manifest", "show", "corpus/increments/00002")[1]
    status, out, _ = tamis(capsys, "status", "corpus")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "corpus:",
        "state:",
        "increments:",
        "files:",
        "documents:",
    ]
    assert tamis(capsys, "sql", "corpus", "SELECT count(*) AS n FROM documents", "--json")[1] == '{"n": 60}\n'
    assert tamis(capsys, "report", "corpus")[0] == 0
    page = (growing.corpus / "report.html").read_text("utf-8")
    assert "increments/00002" in page.replace("<wbr>", "")
    assert tamis(capsys, "manifest", "rerun", "corpus", "-o", "again")[0] == 2
    assert tamis(capsys, "run", "grow.yaml")[::2] == (
        2,
        "tamis: corpus holds a corpus of tamis watch, which takes new files in: give another folder with --output\n",
    )
    with pytest.raises(RunError, match="corpus of several runs"):
        stored_quad("corpus")
    status, out, _ = tamis(capsys, "compact", "corpus")
    assert status == 0
    assert out.startswith("2 increments became 00003; 60 read")
    assert tamis(capsys, "compact", "corpus")[:2] == (0, "nothing to merge: corpus is one increment\n")
    assert tamis(capsys, "clean", "corpus")[0] == 0
    assert tamis(capsys, "watch", "grow.yaml")[1].startswith("nothing new: 2 files read before")
    growing.put("c.jsonl", texts_of(30, seed=3))
    assert tamis(capsys, "watch", "grow.yaml")[0] == 0
    (growing.corpus / "increments" / "00004" / "rejected" / "part-00000.parquet").write_bytes(b"PAR1")
    status, out, _ = tamis(capsys, "manifest", "verify", "corpus")
    assert status == 1
    assert "increment 00004: rejected/part-00000.parquet" in out
    told = json.loads((growing.corpus / "manifest.json").read_text())
    (growing.corpus / "manifest.json").write_text(json.dumps(told | {"read": 7}))
    assert "isn't the sum of its increments: read differs" in tamis(capsys, "manifest", "verify", "corpus")[1]


def test_compaction_says_what_moved(growing, capsys):
    growing.put("a.jsonl", texts_of(30)[:15] + texts_of(30)[:15])
    tamis(capsys, "watch", "grow.yaml", "--quiet")
    growing.put("b.jsonl", texts_of(30))
    tamis(capsys, "watch", "grow.yaml", "--quiet")
    status, out, _ = tamis(capsys, "compact", "corpus", "--json")
    told = json.loads(out)
    assert (status, told["increment"], told["merged"]) == (0, "00003", ["00001", "00002"])
    growing.put("c.jsonl", texts_of(30))
    tamis(capsys, "watch", "grow.yaml", "--quiet")
    out = tamis(capsys, "compact", "corpus")[1]
    assert "documents no longer selected:" in out or "the same documents" in out


# --- again and again, and signals ---


@contextlib.contextmanager
def started(growing, *arguments):
    """Start a command in a process group of its own; it is killed when the block ends."""
    code = "import sys; from tamis.jobs.cli import start; sys.argv[0] = 'tamis'; start.main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=growing.root,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def at_gate(growing):
    """Let the next increment wait while it scores."""
    (growing.root / "gate.py").write_text(WAITING)
    (growing.root / "closed").touch()


def none_left(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 2), (signal.SIGHUP, 1), (signal.SIGKILL, 1)]
)
def test_a_signal_in_an_increment(growing, capsys, number, workers):
    at_gate(growing)
    save(growing, steps=["exact_dedup", {"score": {"scorer": "gate:Share", "column": "share"}}])
    with started(growing, "watch", "grow.yaml", "--workers", str(workers)) as process:
        wait_for((growing.root / "waiting").exists)
        assert tamis(capsys, "watch", "grow.yaml")[0] == 1  # another one is refused
        status = tamis(capsys, "status", "corpus")[1]
        assert "at work" in status
        assert "00001, being made" in " ".join(status.split())
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=60)
        if number == signal.SIGKILL:
            assert process.returncode == -number
        else:
            assert process.returncode == 128 + number
            assert err.splitlines()[-1] == f"tamis: {SENTENCE}"
            wait_for(lambda: none_left(process.pid), 10)
    assert "begun, not finished" in " ".join(tamis(capsys, "status", "corpus")[1].split())
    (growing.root / "closed").unlink()
    growing.put("b.jsonl", texts_of(30, seed=2))
    status, out, _ = tamis(capsys, "watch", "grow.yaml")
    assert status == 0
    told = out.splitlines()
    assert told[0].startswith("increment 00001: 1 file; 30 read")
    assert told[1].startswith("increment 00002: 1 file; 30 read")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_again_and_again_until_it_is_stopped(growing, number):
    with started(growing, "watch", "grow.yaml", "--every", "1s") as process:
        wait_for((growing.corpus / "manifest.json").exists)
        growing.put("b.jsonl", texts_of(30, seed=2))
        wait_for(lambda: len(json.loads((growing.corpus / "manifest.json").read_text())["parents"]) == 2)
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert err.splitlines()[-1] == f"tamis: {SENTENCE}"
        assert all(line[:4].isdigit() and "Z " in line for line in out.splitlines())
        assert "increment 00002: 1 file" in out
        wait_for(lambda: none_left(process.pid), 10)


def test_a_pass_that_fails_is_tried_again(growing, capsys, monkeypatch):
    save(growing, inputs=[{"path": "in", "source": "web", "id": "id"}])
    bad = growing.inputs / "bad.jsonl.gz"
    bad.write_bytes(b"no gzip")
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt
        bad.unlink()

    monkeypatch.setattr(watch_commands, "time", SimpleNamespace(sleep=sleep))
    status, out, err = tamis(capsys, "watch", "grow.yaml", "--every", "10m")
    assert (status, slept) == (130, [600.0, 600.0])
    assert "it is tried again at the next pass" in err
    assert "increment 00001: 1 file; 30 read" in out
    assert err.splitlines()[-1] == SENTENCE
