"""`tamis score`: every kind of column to every kind of output, documents as data, and no more work than asked for."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import tamis
import tamis.jobs.score as scoring
from tamis.jobs.cli.score import score_files
from tamis.jobs.documents import DocumentsRead, RecordProblem
from tamis.jobs.score import score_documents, write_scores
from tamis.jobs.unprintable import UNPRINTABLE
from tamis.pipeline.steps.registry import parse_config
from tamis.schemas.config import Config
from tamis.schemas.errors import ConfigError, DataError
from tamis.schemas.tables import DOCUMENT_SCHEMA

STEPS: dict[str, list[str]] = {
    "language": ["language", "language_score"],
    "exact_dedup": ["text_hash"],
    "clean": ["text", "clean_characters"],
    "{heuristics: {presets: [gopher_quality], statistics: rules}}": [],
}
FAULTS = Path(__file__).parents[2] / "golden" / "score_command"


def score(*files: Any, steps: Any = ("language",), output: Any = None, as_json: bool = False) -> None:
    paths = [str(file) for file in files]
    options = {"text": "text", "id": None, "format": None}
    out = None if output is None else str(output)
    score_files(paths, list(steps), options, output=out, limit=None, as_json=as_json)


def config_of(path: Path, *steps: Any) -> Config:
    return parse_config({"inputs": [{"path": [str(path)], "source": "files"}], "steps": list(steps)})


def jsonl(path: Path, *texts: str) -> Path:
    path.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)))
    return path


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_every_step_to_every_file(step: str, suffix: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / f"scores.{suffix}"
    score(FAULTS / "three.jsonl", steps=[step], output=path)
    assert capsys.readouterr().err == f"3 documents scored to {path}\n"
    if suffix == "parquet":
        rows = pq.read_table(path).to_pylist()
    elif suffix == "csv":
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["text"][:31] for row in rows][1] == "This is the document named b an"
    names = list(rows[0])
    assert len(set(names)) == len(names)
    assert names[: len(DOCUMENT_SCHEMA)] == DOCUMENT_SCHEMA.names
    assert set(STEPS[step]) <= set(names)
    if step == "exact_dedup":
        hashes = [row["text_hash"] for row in rows]
        plain = [value if isinstance(value, str) else value.hex() for value in hashes]
        assert [len(value) for value in plain] == [32] * 3
        assert plain[0] == plain[2] != plain[1]


@pytest.mark.parametrize("step", STEPS)
def test_no_document_leaves_a_valid_file(step: str, tmp_path: Path, capsys: Any) -> None:
    files = {suffix: tmp_path / f"empty.{suffix}" for suffix in ("parquet", "csv", "jsonl")}
    for path in files.values():
        score(FAULTS / "blank.jsonl", steps=[step], output=path)
        score(FAULTS / "three.jsonl", steps=[step], output=tmp_path / f"full{path.suffix}")
    assert "0 documents scored" in capsys.readouterr().err
    table = pq.read_table(files["parquet"])
    assert table.num_rows == 0
    assert table.schema == pq.read_schema(tmp_path / "full.parquet")
    head = files["csv"].read_text().splitlines()
    assert head == (tmp_path / "full.csv").read_text().splitlines()[:1]
    assert next(iter(csv.reader(head))) == table.schema.names
    assert files["jsonl"].read_bytes() == b""
    score(FAULTS / "blank.jsonl", steps=[step])
    assert capsys.readouterr().out == "no document in the input\n"


def test_the_cleaned_text_replaces_the_text(tmp_path: Path, capsys: Any) -> None:
    text = "A good first line is this one.\nno end\nAnd a second good line is here.\nA third good line is here.\n" * 2
    path = jsonl(tmp_path / "a.jsonl", text)
    score(path, steps=["clean", "exact_dedup"], as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert "no end" not in told["text"]
    assert told["clean_characters"] == len(told["text"])
    # The step that follows sees the text that is left.
    left = jsonl(tmp_path / "b.jsonl", told["text"])
    score(left, steps=["exact_dedup"], as_json=True)
    assert json.loads(capsys.readouterr().out)["text_hash"] == told["text_hash"]


@pytest.mark.parametrize("width", [80, 140, 50])
@pytest.mark.parametrize("step", [*STEPS, "{heuristics: {presets: [gopher_quality]}}"])
def test_the_table_is_readable(step: str, width: int, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    score(FAULTS / "three.jsonl", steps=[step])
    out = capsys.readouterr().out
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= width
    assert out.count("This is the document named b") == 1
    for name in STEPS.get(step, ["text_characters", "text_mean_word_length"]):
        assert name in out


def test_documents_are_no_markup(tmp_path: Path, capsys: Any) -> None:
    text = "[/quote] a [b]bold[/b] :smile: \x1b[31mred\x1b]0;title\x07 \x9b2J \u202egnp"
    path = jsonl(tmp_path / "[red]forum.jsonl", text)
    path.write_bytes(path.read_bytes() + b"{broken \x1b[1m\n")
    score(path)
    told = capsys.readouterr()
    assert told.out.splitlines()[2].startswith("[/quote] a [b]bold[/b] :smile: \\x1b[31m")
    assert "[red]forum.jsonl" in told.err
    assert not UNPRINTABLE.search((told.out + told.err).replace("\n", ""))
    score(path, as_json=True)
    assert not UNPRINTABLE.search(capsys.readouterr().out.replace("\n", ""))


@settings(max_examples=25)
@given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=4), width=st.integers(30, 120))
def test_any_text_can_be_shown(tmp_path_factory: Any, texts: list[str], width: int) -> None:
    path = jsonl(tmp_path_factory.mktemp("any") / "a.jsonl", *texts)
    with pytest.MonkeyPatch.context() as patch:
        stream = io.StringIO()
        patch.setenv("COLUMNS", str(width))
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        score(path, steps=["exact_dedup", "clean"])
    assert not UNPRINTABLE.search(stream.getvalue().replace("\n", ""))


def test_only_what_is_asked_for_is_scored(tmp_path: Path, monkeypatch: Any) -> None:
    path = jsonl(tmp_path / "many.jsonl", *(f"text number {i}" for i in range(50)))
    seen: list[int] = []
    real = scoring.annotate_batch

    def counting(stage: Any, batch: pa.RecordBatch, alive: Any) -> Any:
        seen.append(batch.num_rows)
        return real(stage, batch, alive)

    monkeypatch.setattr(scoring, "annotate_batch", counting)
    batches = list(score_documents(config_of(path, "exact_dedup"), limit=3).batches)
    assert [batch.num_rows for batch in batches] == [3]
    assert seen == [3]
    whole = pa.Table.from_batches(score_documents(config_of(path, "exact_dedup")).batches)
    assert whole.num_rows == 50
    assert whole.slice(0, 3).equals(pa.Table.from_batches(batches))


def test_limits_go_over_files(tmp_path: Path) -> None:
    for name in "abc":
        jsonl(tmp_path / f"{name}.jsonl", f"{name} one", f"{name} two")
    for limit in range(1, 8):
        found = pa.Table.from_batches(score_documents(config_of(tmp_path, "exact_dedup"), limit=limit).batches)
        assert found.num_rows == min(limit, 6)


def test_failures_are_told_and_leave_nulls(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    path = jsonl(tmp_path / "a.jsonl", *(f"text {i}" for i in range(14)))
    path.write_bytes(b'{"text": \n' + path.read_bytes())

    def failing(stage: Any, batch: pa.RecordBatch, alive: Any) -> Any:
        nulls = [pa.nulls(batch.num_rows, field.type) for field in stage.schema]
        return pa.RecordBatch.from_arrays(nulls, schema=stage.schema), [(0, "KeyError", "'\x1b[1m'")]

    monkeypatch.setattr(scoring, "annotate_batch", failing)
    events: list[RecordProblem | DocumentsRead] = []
    scores = score_documents(config_of(path, "exact_dedup"), limit=1, observe=events.append)
    batch = next(scores.batches)
    problems = [event for event in events if isinstance(event, RecordProblem)]
    assert batch.column("text_hash").null_count == 1
    assert [problem.error for problem in problems] == ["invalid_json", "KeyError"]
    assert problems[1].record == batch.column("doc_id")[0].as_py()
    assert problems[1].detail == "step exact_dedup: '\x1b[1m'"
    monkeypatch.undo()
    path.write_text("{broken\n" * 14 + '{"text": "whole"}\n')
    score(path, steps=["exact_dedup"])
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 11
    assert err[-1] == "14 records couldn't be read or scored, of which the first 10 are shown"


def test_the_standard_input_is_a_file(monkeypatch: Any, capsys: Any) -> None:
    raw = (FAULTS / "three.jsonl").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    score("-", steps=["exact_dedup"], as_json=True)
    piped = capsys.readouterr().out
    score(FAULTS / "three.jsonl", steps=["exact_dedup"], as_json=True)
    assert piped == capsys.readouterr().out


@pytest.mark.parametrize("verb", ["near_dedup", "paragraph_dedup", "substring_dedup"])
def test_what_only_a_run_can_look_at_is_said(tmp_path: Path, verb: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "one text of a few words, to be sure"}) + "\n")
    with pytest.raises(ConfigError, match=f"step {verb}: it looks at all documents of a run"):
        score(path, steps=[verb])
    with pytest.raises(ConfigError, match=f"step {verb}: it looks at all documents of a run"):
        tamis.score(["one text"], [verb])


def test_columns_that_only_a_decision_reads_are_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "one"}) + "\n")
    score(path, steps=["{exact_dedup: {keep: longest}}"], output=tmp_path / "out.parquet")
    assert not [name for name in pq.read_schema(tmp_path / "out.parquet").names if name.endswith("_length")]


def test_what_a_run_alone_can_score_is_said(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", "text")
    with pytest.raises(ConfigError, match=r"step dsir: it fits its model on.*tamis train dsir"):
        score_documents(config_of(path, {"dsir": {"target": str(path)}}))
    with pytest.raises(ConfigError, match=r"step cluster: what it finds follows from all documents.*`tamis run`"):
        score_documents(config_of(path, "embed", {"cluster": {"clusters": 1}}))


def test_lists_and_bytes_in_csv(tmp_path: Path) -> None:
    schema = pa.schema([("bytes", pa.binary()), ("list", pa.list_(pa.int64())), ("n", pa.float64())])
    batch = pa.RecordBatch.from_pylist([{"bytes": b"\x01", "list": [1, 2], "n": 0.5}, {}], schema=schema)
    scores = scoring.Scores(schema, tuple(schema.names), iter([batch]))
    assert write_scores(str(tmp_path / "x.csv"), scores) == 2
    assert (tmp_path / "x.csv").read_text() == '"bytes","list","n"\n"01","[1, 2]",0.5\n,,\n'


def test_a_file_that_failed_halfway_isnt_there(tmp_path: Path) -> None:
    def broken() -> Any:
        yield pa.RecordBatch.from_pylist([{"n": 1}])
        msg = "stop"
        raise DataError(msg)

    for suffix in ("csv", "parquet", "jsonl"):
        schema = pa.schema([("n", pa.int64())])
        with pytest.raises(DataError):
            write_scores(str(tmp_path / f"x.{suffix}"), scoring.Scores(schema, ("n",), broken()))
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_ones_own(tmp_path: Path, examples: Path, capsys: Any) -> None:
    step = yaml.safe_dump({"perplexity": {"model": str(examples / "models" / "quality")}})
    score(FAULTS / "three.jsonl", steps=[step])
    out = capsys.readouterr().out
    assert "perplexity" in out
    assert "documents;" not in out
