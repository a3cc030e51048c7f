"""What users reported, as they met it: in runs of their configs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import tamis

RULE = {"column": "text_words", "op": "max", "threshold": 0, "reason": "any"}


def write(path: Path, *texts: str) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


def test_one_model_a_language_is_that_model(tmp_path: Path, examples: Path) -> None:
    shutil.copytree(examples / "models" / "quality", tmp_path / "m-en")
    texts = ["The river runs over the stones and into the town, as it did before.", "Der Fluss fließt über die Steine."]
    path = write(tmp_path / "x.jsonl", *texts, "Le fleuve coule sur les pierres de la ville.")

    def run(output: str, **options: Any) -> list[dict[str, Any]]:
        config = {"inputs": [{"path": path, "source": "a"}], "steps": ["language", {"perplexity": options}]}
        made = tamis.run(config, output=tmp_path / output)
        assert (made.manifest.selected, made.manifest.errors) == (3, 0)
        query = "SELECT doc_id, language, quality_perplexity AS value FROM selected ORDER BY ALL"
        return [*made.sql(query).to_pylist()]

    each = run("each", model=str(tmp_path / "m-{language}"), languages=["en"])
    one = {row["doc_id"]: row["value"] for row in run("one", model=str(tmp_path / "m-en"))}
    assert [row["language"] for row in each if row["value"] is not None] == ["en"]
    assert all(row["value"] == (one[row["doc_id"]] if row["language"] == "en" else None) for row in each)


STEPS: list[Any] = [
    "language",
    "exact_dedup",
    "near_dedup",
    {"heuristics": {"presets": ["gopher_quality", "c4"]}},
    "clean",
    {"sample": {"documents": 3}},
    {"perplexity": {"model": "MODEL", "bucket": "corpus", "bucket_by": ["source"], "keep": {"percentile": [0, 50]}}},
    {"perplexity": {"model": "MODEL", "keep": {"fraction": 0.5, "of": "tokens"}}},
    {"preselect": {"model": "CLASSIFIER", "keep": {"documents": 2}}},
    {"combine": {"columns": ["text_words"], "name": "bucket", "how": "buckets", "buckets": 4}},
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step if isinstance(step, str) else next(iter(step)))
@pytest.mark.parametrize("left", ["no record", "no document"])
def test_a_step_that_nothing_reaches_leaves_a_whole_run(step: Any, left: str, tmp_path: Path, examples: Path) -> None:
    told = json.dumps(step).replace("MODEL", str(examples / "models" / "quality"))
    step = json.loads(told.replace("CLASSIFIER", str(examples / "models" / "preselect")))
    path = write(tmp_path / "x.jsonl", *(["the river"] if left == "no document" else []))
    config = {
        "inputs": [{"path": path, "source": "a"}],
        "steps": [{"heuristics": {"rules": [RULE]}}, *([] if "heuristics" in told else [step])],
        "allow_empty": True,
    }
    run = tamis.run(config, output=tmp_path / "run")
    records = 1 if left == "no document" else 0
    assert (run.manifest.read, run.manifest.selected, run.manifest.rejected) == (records, 0, records)
    assert run.verify().ok
    assert run.selected().count_rows() == 0


def test_many_files_that_cannot_be_read_are_one_sentence(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.parquet").write_bytes(b"no Parquet")
    config = {"inputs": [{"path": str(tmp_path / "*.parquet"), "source": "a"}], "steps": []}
    with pytest.raises(tamis.InputError) as raised:
        tamis.run(config, output=tmp_path / "run")
    told = str(raised.value)
    assert "\n" not in told
    assert told.startswith("8 input files can't be read: ")
    assert "2.parquet" in told
    assert "; and 5 more; `unreadable: record`" in told


def test_a_runs_folder_is_no_input_but_its_documents_are(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", "the river", "the stones")
    tamis.run({"inputs": [{"path": path, "source": "a"}], "steps": []}, output=tmp_path / "run")

    def again(path: str) -> int:
        config = {"inputs": [{"path": f"{tmp_path}/{path}", "source": "a"}], "steps": []}
        return tamis.run(config, output=tmp_path / "again", replace=True).manifest.selected

    with pytest.raises(tamis.InputError, match=r"run is a run's folder: its documents are in .*run/selected"):
        again("run")
    for name in ("run/selected", "run/selected/**/*.parquet", "ru*/selected/a/*.parquet", "run/sel*/**/*.parquet"):
        assert again(name) == 2, name


@pytest.mark.parametrize("path", [".", "**/*.jsonl", "**/*", "in", "in/**/*.jsonl"])
def test_a_run_never_reads_what_runs_wrote(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "x.jsonl", "the river", "the stones")
    write(tmp_path / "in" / "manifest.json.jsonl", "no manifest")
    monkeypatch.chdir(tmp_path)
    config = {"inputs": [{"path": path, "source": "a"}], "steps": []}
    first = tamis.run(config, output="in/runs/one")
    assert first.manifest.selected == 3
    (tmp_path / "in" / "runs" / "one" / "copy.jsonl").write_text('{"text": "of a run"}\n')
    again = tamis.run(config, output="in/runs/two")
    assert again.manifest.selected == 3
    assert [record.path for record in again.manifest.inputs] == [record.path for record in first.manifest.inputs]
    assert "left out" in caplog.text
    shutil.rmtree(tmp_path / "in" / "runs" / "one" / "work")
    assert tamis.run(config, output="in/runs/three").manifest.selected == 3


def test_files_of_the_same_content_are_remarked_on(tmp_path: Path) -> None:
    """Whether one is named by two inputs, linked to or copied; what holds no record is nobody's copy."""
    path = write(tmp_path / "x.jsonl", "the river")
    (tmp_path / "link.jsonl").symlink_to(path)
    for name in ("e.jsonl", "f.jsonl"):
        (tmp_path / name).write_text("\n")
    write(tmp_path / "y.jsonl", "the stones")
    folder = {"path": str(tmp_path / "*.jsonl"), "source": "a"}

    def warnings(*inputs: Any) -> tuple[str, ...]:
        config = {"inputs": list(inputs), "steps": []}
        found = tamis.run(config, output=tmp_path / "run", replace=True).manifest.warnings
        return tuple(told for told in found if "doc_id" not in told)

    (told,) = warnings(folder, {"path": path, "source": "b"})
    assert told.startswith("2 input files have the content of another, such as ")
    assert "link.jsonl (source a)" in told
    assert told.endswith("its documents are there twice")
    (told,) = warnings({"path": path, "source": "a"}, {"path": path, "source": "b"})
    assert told.startswith("1 input file has the content of another")
    assert warnings({"path": path, "source": "a"}, {"path": str(tmp_path / "[efy].jsonl"), "source": "b"}) == ()
