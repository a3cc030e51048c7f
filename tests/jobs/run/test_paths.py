"""Paths of a config lead from its own folder, wherever a command is given and wherever workers stand."""

import json
import lzma
import os
from pathlib import Path

import pytest

import tamis
from tamis.jobs.cli.run_and_plan import run_config
from tamis.jobs.config_file import load_config
from tamis.jobs.manifest.rerun import rerun
from tamis.jobs.manifest.verify import verify
from tamis.jobs.mix.config import load_mixture
from tamis.jobs.run.execute import execute
from tamis.jobs.run.paths import led, places_of
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config
from tamis.schemas.errors import ConfigError

CONFIG = """
inputs: [{path: "data/*.jsonl", source: web}, {path: more/lang=en, source: more}]
steps:
  - heuristics: {bad_words: words.txt}
  - url_filter: {lists: {mine: "lists/hosts"}}
  - score: {scorer: "mine.py:Length"}
  - score: {scorer: "beside_it:Length", name: other}
output: {path: out/run}
"""
SCORER = """
import pyarrow as pa
class Length:
    schema = pa.schema([pa.field("COLUMN", pa.int64(), nullable=False)])
    def score(self, texts):
        lengths = [len(text or "") for text in pa.array(texts).to_pylist()]
        return pa.RecordBatch.from_arrays([pa.array(lengths, pa.int64())], schema=self.schema)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config and all that it names; the working folder is another."""
    root = tmp_path / "a=b" / "project"  # no partition of anything: it's above the config
    for name in ("data", "more/lang=en", "lists"):
        (root / name).mkdir(parents=True)
    (root / "data" / "a.jsonl").write_text('{"text": "rivers"}\n{"text": "stones", "url": "http://bad.example/x"}\n')
    (root / "more" / "lang=en" / "b.jsonl").write_text('{"text": "clouds"}\n')
    (root / "words.txt").write_text("stone\n")
    (root / "lists" / "hosts").write_text("bad.example\n")
    (root / "mine.py").write_text(SCORER.replace("COLUMN", "length"))
    (root / "beside_it.py").write_text(SCORER.replace("COLUMN", "other_length"))
    (root / "corpus.yaml").write_text(CONFIG)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return root


def rows(run: tamis.Run) -> list[dict[str, object]]:
    table = run.sql("SELECT doc_id, fate, meta, length, other_length FROM documents ORDER BY ALL")
    return [*table.to_pylist()]


def test_a_run_is_the_same_from_any_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tamis.run("../a=b/project/corpus.yaml")
    assert Path(run.path).resolve() == project / "out" / "run"
    assert (run.manifest.read, run.manifest.selected) == (3, 2)
    assert [record.path for record in run.manifest.inputs] == ["more/lang=en/b.jsonl", "data/a.jsonl"]
    assert sorted(json.loads(str(row["meta"])).get("lang", "") for row in rows(run)) == ["", "", "en"]
    assert not any("a" in json.loads(str(row["meta"])) for row in rows(run))
    references = {record.option: record.reference for record in run.manifest.models if record.step != "score"}
    assert references["bad_words"] == "words.txt"
    assert not any(str(project) in str(record) for record in run.manifest.models)
    before = rows(run)
    monkeypatch.chdir(project)
    again = tamis.run("corpus.yaml", output="again")
    assert rows(again) == before
    assert again.manifest.config_sha256 == run.manifest.config_sha256
    assert tamis.run("corpus.yaml").nothing_to_do


def test_workers_may_stand_elsewhere(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    config, plain = load_config("corpus.yaml")
    plan = make_plan(config, plain, "corpus.yaml")
    engine = Engine("here/work/passes", workers=2)
    monkeypatch.chdir(tmp_path)
    with engine:
        manifest = execute(plan, str(project / "here"), engine).manifest
    assert (manifest.selected, manifest.rejected) == (2, 1)
    assert verify(str(project / "here"), inputs=True).ok


def test_a_finished_run_knows_where_its_inputs_lie(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tamis.run(project / "corpus.yaml")
    run = project / "out" / "run"
    assert tamis.open(run).manifest.folder == "../.."
    found = verify(str(run), inputs=True)
    assert (found.failures, [note for note in found.notes if "input" in note]) == ((), [])
    assert rerun(str(run), "repeated").same
    moved = project.parent / "moved"
    project.rename(moved)
    assert verify(str(moved / "out" / "run"), inputs=True).ok
    (moved / "words.txt").write_text("stone\ncloud\n")
    (failure,) = verify(str(moved / "out" / "run"), inputs=True).failures
    assert failure.startswith("model words.txt of step heuristics was changed")


def test_what_lies_in_the_working_folder_alone_is_taken_and_told(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("data", "words.txt"):
        (project / name).rename(tmp_path / "elsewhere" / name)
    config, plain = load_config(str(project / "corpus.yaml"))
    manifest = run_config(
        config, plain, "here", config_file=str(project / "corpus.yaml"), workers=1, runner="FnApiRunner"
    )
    assert manifest.selected == 2
    told = capsys.readouterr().err
    assert "note: 2 paths, such as " in told
    assert "lead from the working folder: beside the config" in told
    assert str(project) in told


def test_home_and_variables(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project))
    monkeypatch.setenv("WHERE", str(project))
    plain = {
        "inputs": [{"path": "~/data/a.jsonl", "source": "home"}, {"path": "${WHERE}/more", "source": "there"}],
        "steps": [
            {"heuristics": {"bad_words": "~/words.txt"}},
            {"url_filter": {"lists": {"mine": "${WHERE}/lists/hosts"}}},
        ],
    }
    plan = make_plan(parse_config(plain), plain)
    assert [Path(file.path).is_file() for file in plan.files] == [True, True]
    assert plan.models["url_filter"]["lists.mine"].reference == "${WHERE}/lists/hosts"
    (tmp_path / "c.yaml").write_text(json.dumps({**plain, "output": {"path": "${WHERE}/told"}}))
    assert Path(tamis.run(tmp_path / "c.yaml").path).resolve() == project / "told"
    monkeypatch.delenv("WHERE")
    with pytest.raises(tamis.ConfigError, match=r"the environment has no variable WHERE"):
        make_plan(parse_config(plain), plain)


def test_a_missing_path_is_named_as_the_config_has_it(project: Path) -> None:
    (project / "words.txt").unlink()
    with pytest.raises(tamis.ModelError, match=r"bad_words: there is no file words.txt"):
        tamis.run(project / "corpus.yaml")
    (project / "data" / "a.jsonl").unlink()
    (project / "words.txt").touch()
    with pytest.raises(tamis.InputError, match=r"input web: no file matches data/\*.jsonl"):
        tamis.run(project / "corpus.yaml")


def test_lists_of_files_lead_from_the_configs_folder_too(project: Path) -> None:
    (project / "files.txt").write_text("data/a.jsonl\n")
    plain = {"inputs": [{"path": "@files.txt", "source": "web"}], "steps": []}
    (project / "list.yaml").write_text(json.dumps(plain))
    assert tamis.run(project / "list.yaml", output=project / "listed").manifest.read == 2


def test_places_of_a_config() -> None:
    here = os.getcwd()  # noqa: PTH109
    assert places_of(None).folders == places_of("c.yaml").folders == places_of("gs://b/c.yaml").folders == (here,)
    assert places_of("/x/c.yaml").folders == ("/x", here)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_paths_of_other_configs_lead_from_their_folder_too(tmp_path, monkeypatch, elsewhere):
    """Of trainings, experiments and merges; what only the working folder has is taken from there."""
    folder, here = tmp_path / "configs", tmp_path / "work"
    for place in (folder, here):
        (place / "lm").mkdir(parents=True)
    (here / "only").mkdir()
    monkeypatch.chdir(here if elsewhere else folder)
    monkeypatch.setenv("WHERE", "lm")
    plain = {
        "models": [{"path": "lm"}, {"path": "${WHERE}"}, {"path": "hf://a/b"}, {"path": "only"}, {"path": 3}],
        "arms": {"a": {"run": "lm", "of": "lm"}, "b": {"run": None}},
        "sets": {"x": {"path": ["lm", "none/*.jsonl"]}},
    }
    found, places = led(plain, str(folder / "c.yaml"), ("models.*.path", "arms.*.run", "sets.*.path", "no.key"), "out")
    lm = "../configs/lm" if elsewhere else "lm"
    assert [model["path"] for model in found["models"]] == [lm, lm, "hf://a/b", "only", 3]
    assert found["arms"] == {"a": {"run": lm, "of": "lm"}, "b": {"run": None}}
    assert found["sets"]["x"]["path"] == [lm, "none/*.jsonl"]
    assert found["output"] == ("../configs/out" if elsewhere else "out")
    assert bool(places.notes) == elsewhere
    with pytest.raises(ConfigError, match=r"models\[0\].path: .*no variable NOWHERE"):
        led({"models": [{"path": "${NOWHERE}/x"}]}, str(folder / "c.yaml"), ("models.*.path",), "out")
    assert led([1], str(folder / "c.yaml"), ("a",), "out")[0] == [1]


def test_paths_of_a_mixture_lead_from_its_config(tmp_path, monkeypatch, golden):
    """Of a run's own, of a file with a mixture's keys, and of a run's that is mixed again later."""
    folder, here = tmp_path / "configs", tmp_path / "work"
    folder.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    (folder / "tok.model").write_bytes(lzma.decompress((golden / "sp_small.model.xz").read_bytes()))
    lines = [json.dumps({"text": f"some words about rivers {n}"}) + "\n" for n in range(9)]
    (folder / "a.jsonl").write_text("".join(lines))
    mixture = "{without: union, exhausted: once, tokenizer: {path: tok.model}}"
    (folder / "c.yaml").write_text(
        f"inputs: [{{path: a.jsonl, source: web}}]\nsteps: []\nmixture: {mixture}\noutput: {{path: run}}\n"
    )
    (folder / "m.yaml").write_text(mixture)
    config, plain = load_config(str(folder / "c.yaml"))
    output = str(folder / "run")
    with Engine(f"{output}/work/passes") as engine:
        made = execute(make_plan(config, plain, str(folder / "c.yaml")), output, engine)
    assert made.manifest.mixture["materialised"]["tokenizer"]["name"] == "tok.model"
    for found, _ in (load_mixture(str(folder / "m.yaml")), load_mixture(None, run=output)):
        assert found.tokenizer.path == "../configs/tok.model"
    monkeypatch.chdir(folder)
    assert load_mixture(str(folder / "m.yaml"))[0].tokenizer.path == "tok.model"
