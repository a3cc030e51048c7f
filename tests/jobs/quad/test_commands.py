"""`tamis quad replay` and `plot` as a person sees them; `tamis train proxy`."""

import json
import random
import sys
from dataclasses import dataclass

import pytest

from tamis.jobs.cli.app import main
from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.jobs.train.proxy import train_proxy
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config
from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.causal.models import load_causal_model
from tamis.scorers.causal.training import TrainingOptions
from tamis.scorers.models.folder import read_model_folder, write_model_folder

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

SMALL = TrainingOptions(dimensions=16, layers=1, heads=2, context=32, steps=30, batch=8, rate=1e-2)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    draw = random.Random(2)
    kinds = {"law": ["court", "judge", "appeal", "jury"], "sea": ["whale", "ship", "wave", "mast\x1b[31m"]}
    rows = []
    for i in range(60):
        kind = draw.choice(list(kinds))
        rows.append({"id": f"{i}", "text": " ".join(draw.choices(kinds[kind], k=12)), "kind": kind})
    for name, part in (("a", rows[:30]), ("b", rows[30:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    law = [row for row in rows if row["kind"] == "law"][:5]
    (folder / "reference.json.jsonl").write_text("".join(json.dumps(row) + "\n" for row in law))
    return folder


@pytest.fixture(scope="module")
def proxy(files):
    return train_proxy([str(files / "a.jsonl"), str(files / "b.jsonl")], files / "proxy", SMALL)


@pytest.fixture(scope="module")
def run(files, proxy):
    plain = {
        "name": "small",
        "inputs": [{"path": str(files / "?.jsonl"), "source": "web", "columns": {"kind": "string"}}],
        "steps": [
            {
                "quad": {
                    "reference": str(files / "reference.json.jsonl"),
                    "proxy": str(files / "proxy"),
                    "by": ["kind"],
                    "budget": 12,
                    "probe": 2,
                    "block": 4,
                    "passes": 3,
                    "sample": 8,
                }
            }
        ],
        "output": {"shard_mb": 1},
    }
    folder = files / "run"
    execute(make_plan(parse_config(plain), plain), str(folder), Engine(f"{folder}/work/passes"))
    return folder


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def tamis(monkeypatch, capsys):
    """Return a function that runs a command in this process."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["tamis", *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Done(status, *capsys.readouterr())

    return call


def test_replay_prints_what_would_be_picked(run, tamis):
    done = tamis("quad", "replay", run, "--tau", "0.1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "quad: alpha 0.5, tau 0.1, budget 12 documents, blocks of 4"
    assert lines[1].startswith("12 documents in 4 accepted turns of ")
    assert all(len(line) <= 80 for line in lines)
    assert "\x1b" not in done.stdout
    told = json.loads(tamis("quad", "replay", run, "--json").stdout)
    assert (told["documents"], told["missing"], told["stop"]) == (12, 0, "budget")
    assert sum(one["after"] - one["first"] for one in told["selection"]) == 12
    assert all(one["selected"] == one["before"] for one in told["clusters"])
    short = tamis("quad", "replay", run, "--limit", "1", "--budget", "1000", "--alpha", "0", "--rounds", "50")
    assert "1 more cluster: --limit 0 shows all" in short.stdout
    assert "documents scored: run the config with these options" in short.stdout
    blocks = tamis("quad", "replay", run, "--tau", "0.1", "--first-turn", "block")
    assert blocks.stdout.splitlines()[1].endswith("it ends as scores are missing")  # second turns begin elsewhere
    done = tamis("quad", "replay", run, "--first-turn", "all")
    assert (done.returncode, done.stderr) == (2, "tamis: unknown first_turn 'all': choose 'probe' or 'block'\n")
    done = tamis("quad", "replay", run, "--alpha", "-2")
    assert (done.returncode, done.stderr) == (2, "tamis: alpha must be at least 0, got -2.0\n")


def test_plot_writes_a_picture(run, tmp_path, tamis, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = tamis("quad", "plot", run)
    assert (done.returncode, done.stdout) == (0, "quad.svg: 2 clusters\n"), done.stderr
    first = (tmp_path / "quad.svg").read_bytes()
    assert b"court" in first
    assert tamis("quad", "plot", run).returncode == 0
    assert (tmp_path / "quad.svg").read_bytes() == first
    assert tamis("quad", "plot", run, "-o", tmp_path / "x.png").returncode == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    done = tamis("quad", "plot", run, "-o", tmp_path / "x.pdf")
    assert (done.returncode, done.stderr) == (2, f"tamis: {tmp_path / 'x.pdf'}: a plot is written as .png or .svg\n")
    done = tamis("quad", "plot", run, "-o", tmp_path / "no" / "x.png")
    assert done.returncode == 2
    assert "there is no folder" in done.stderr


def test_proxy_is_the_same_for_any_order_of_files(files, proxy, tmp_path):
    assert proxy.documents == 54
    assert proxy.loss is not None
    again = train_proxy([str(files / "b.jsonl"), str(files / "a.jsonl")], tmp_path / "again", SMALL)
    assert again.folder.digest == proxy.folder.digest
    assert again.loss == proxy.loss
    told = read_model_folder(tmp_path / "again", kind="proxy")
    assert [file["name"] for file in told.provenance["files"]] == ["a.jsonl", "b.jsonl"]
    assert str(files) not in json.dumps(dict(told.provenance))
    assert load_causal_model(tmp_path / "again").model.config.hidden_size == 16


def test_proxy_learns(files, proxy, tmp_path):
    untrained = train_proxy([str(files / "a.jsonl")], tmp_path / "p", TrainingOptions(**{**vars(SMALL), "steps": 0}))
    assert proxy.loss < untrained.loss - 0.5


@pytest.mark.parametrize(
    "change", [{"dimensions": 8}, {"layers": 2}, {"context": 16}, {"vocabulary": 270}, {"seed": 1}, {"rate": 1e-3}]
)
def test_each_option_changes_the_proxy(files, proxy, tmp_path, change):
    options = TrainingOptions(**{**vars(SMALL), "steps": 2, **change})
    base = train_proxy([str(files / "a.jsonl")], tmp_path / "base", TrainingOptions(**{**vars(SMALL), "steps": 2}))
    other = train_proxy([str(files / "a.jsonl")], tmp_path / "other", options)
    assert other.folder.files["model.safetensors"] != base.folder.files["model.safetensors"]


def test_fewer_documents_are_drawn(files, tmp_path):
    options = TrainingOptions(**{**vars(SMALL), "steps": 1})
    assert train_proxy([str(files / "a.jsonl")], tmp_path / "p", options, most=20).documents == 18


def test_mistakes_of_training(files, tmp_path):
    (tmp_path / "empty.jsonl").write_text('{"text": ""}\n')
    with pytest.raises(DataError, match="no document with a text"):
        train_proxy([str(tmp_path / "empty.jsonl")], tmp_path / "p", SMALL)
    with pytest.raises(DataError, match="less than a row"):
        train_proxy(
            [str(files / "a.jsonl")], tmp_path / "p", TrainingOptions(**{**vars(SMALL), "context": 512}), most=1
        )
    with pytest.raises(ConfigError, match="multiple of twice the heads"):
        TrainingOptions(dimensions=10, heads=4)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("x")
    write_model_folder(tmp_path / "other", kind="dsir", files=["x"], settings={}, provenance={})
    with pytest.raises(ModelError, match="a model of kind 'dsir' where one of kind 'proxy' is needed"):
        train_proxy([str(files / "a.jsonl")], tmp_path / "other", SMALL)


def test_train_proxy_command(files, tmp_path, tamis):
    model = ["--dimensions", 16, "--layers", 1, "--heads", 2, "--context", 32, "--steps", 2, "--vocabulary", 260]
    done = tamis("train", "proxy", files / "a.jsonl", "-o", tmp_path / "proxy", *model, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = tamis("train", "proxy", files / "a.jsonl", "-o", tmp_path / "proxy", *model, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["documents"], told["unreadable"]) == (27, 0)
    assert "shards" not in done.stderr
    done = tamis("train", "proxy", tmp_path / "none.jsonl", "-o", tmp_path / "proxy")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
