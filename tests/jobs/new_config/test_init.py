"""`tamis init`: what it finds in a folder, and that a run takes what it writes."""

import gzip
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import yaml

import tamis
from tamis.jobs.cli.app import main
from tamis.jobs.new_config.found_inputs import find_inputs, place_fields
from tamis.jobs.new_config.write import new_config
from tamis.schemas.errors import InputError
from tests.source_tree import ROOT

PROSE = "The river bends below the old garden, and in winter its stones are bright with ice. "


@pytest.fixture
def command(capsys: Any, monkeypatch: Any, tmp_path: Path) -> Any:
    def run(*arguments: str, answers: str = "") -> tuple[int, str, str]:
        import io

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["tamis", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(answers))
        with pytest.raises(SystemExit) as stopped:
            main()
        told = capsys.readouterr()
        return int(stopped.value.code or 0), told.out, told.err

    return run


def lines(path: Path, *records: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_fields_are_known_by_name_and_the_text_by_its_length_too() -> None:
    assert place_fields([{"id": 1, "text": "x", "url": "u", "date": "2020"}]) == {
        "text": "text", "id": None, "url": None, "timestamp": None,
    }  # fmt: skip
    assert place_fields([{"Key": 1, "Body": "x", "meta": {"link": "u", "posted": "2020"}}]) == {
        "text": "Body", "id": "Key", "url": "meta.link", "timestamp": "meta.posted",
    }  # fmt: skip
    assert place_fields([{"a": PROSE, "b": PROSE * 2, "c": "b"}]) == {
        "text": "b", "id": None, "url": None, "timestamp": None,
    }  # fmt: skip
    assert place_fields([{"a": 1, "b": "short"}]) is None
    # An address is known by what it is, unless it may be another's, or it isn't the page's.
    page = {"text": PROSE, "seen_at": "https://x.org/1", "thumbnail": "https://x.org/1.png", "note": "https://x.org is"}
    assert (place_fields([page]) or {})["url"] == "seen_at"
    assert (place_fields([page | {"target": "http://y.org"}]) or {})["url"] is None
    assert (place_fields([page, page | {"seen_at": "yesterday"}]) or {})["url"] is None


def test_files_of_one_kind_are_one_entry(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for number in range(3):
        lines(data / "web" / f"{number}.jsonl.gz", {"text": PROSE})
        lines(data / "mixed" / f"{number}.jsonl", {"body": PROSE} if number else {"text": PROSE})
    lines(data / "pages.jsonl", {"html": f"<html><body><p>{PROSE}</p></body></html>"})
    (data / "odd names (1).csv").write_text(f'key,content\n1,"{PROSE}"\n')
    pq.write_table(pa.table({"doc_id": ["a"], "content": [PROSE]}), data / "t.parquet")
    pyarrow.feather.write_feather(pa.table({"content": [PROSE]}), data / "f.arrow")
    (data / "empty.jsonl").write_text("")
    (data / "numbers.jsonl").write_text('{"a": 1}\n')
    found = find_inputs([str(data)])
    told = {one.source: (sorted(Path(p).name for p in one.path), one.text, one.id, one.html) for one in found.inputs}
    assert told == {
        "0": (["0.jsonl"], "text", None, False),
        "f": (["f.arrow"], "content", None, False),
        "mixed": (["1.jsonl", "2.jsonl"], "body", None, False),
        "odd-names-1": (["odd names (1).csv"], "content", "key", False),
        "pages": (["pages.jsonl"], "html", None, True),
        "t": (["t.parquet"], "content", "doc_id", False),
        "web": (["*.jsonl.gz"], "text", None, False),
    }
    assert [sentence.rpartition("/")[2].split()[0] for sentence in found.left_out] == ["empty.jsonl", "numbers.jsonl"]
    with pytest.raises(tamis.InputError, match=r"no file with text .*numbers\.jsonl has no field that holds text"):
        find_inputs([str(data / "numbers.jsonl")])


@pytest.mark.parametrize(
    ("languages", "aim", "said"),
    [
        ([], "copies", "language: {}"),
        ([], "quality", "presets: [gopher_repetition]}"),
        (["en"], "quality", "presets: [gopher_repetition, gopher_quality, c4, fineweb]"),
        (["de", "en"], "quality", "presets: [fineweb2]}"),
        (["no"], "target", 'keep: ["no"]'),
    ],
)
def test_every_answer_gives_a_config_that_a_plan_takes(tmp_path: Path, languages: Any, aim: Any, said: str) -> None:
    lines(tmp_path / "data" / "a.jsonl", {"text": PROSE})
    lines(tmp_path / "wanted.jsonl", {"body": PROSE})
    target = str(tmp_path / "wanted.jsonl") if aim == "target" else None
    config = new_config([str(tmp_path / "data")], languages, aim, str(tmp_path / "c.yaml"), target=target)
    assert said in config.text
    assert ("text: body, keep: {fraction: 0.5}" in config.text) == (aim == "target")
    assert (
        max(map(len, (line for line in config.text.splitlines() if "path: " not in line and "target: " not in line)))
        <= 110
    )
    assert yaml.safe_load(config.text)["name"] == "c"


def test_flags_write_a_config_that_runs_and_nothing_is_overwritten(tmp_path: Path, command: Any) -> None:
    for name in ("books.jsonl.zst", "forum.csv"):
        (tmp_path / "data").mkdir(exist_ok=True)
        shutil.copy(ROOT / "examples" / "corpus" / name, tmp_path / "data" / name)
    status, out, err = command("init", "data", "--language", "en", "--select", "quality", "-o", "mine.yaml")
    assert (status, err) == (0, "")
    assert "mine.yaml is written" in out
    assert max(map(len, out.splitlines())) <= 80
    text = (tmp_path / "mine.yaml").read_text()
    assert '- {path: "data/books.jsonl.zst", source: books, text: body, id: key}' in text
    assert '- {path: "data/forum.csv", source: forum, timestamp: posted}' in text
    assert command("plan", "mine.yaml")[0] == 0
    assert command("run", "mine.yaml", "--quiet")[0] == 0
    manifest = tamis.open(tmp_path / "runs" / "mine").manifest
    assert manifest.balanced
    assert 0 < manifest.selected < manifest.read
    status, _, err = command("init", "data", "--language", "en", "--select", "copies", "-o", "mine.yaml")
    assert status == 2
    assert "mine.yaml is there already, and stays as it is" in err
    assert (tmp_path / "mine.yaml").read_text() == text


def test_three_questions_and_their_wrong_answers(tmp_path: Path, command: Any) -> None:
    lines(tmp_path / "data" / "a.jsonl", {"text": PROSE})
    status, _, err = command("init", answers="data\nen, de\ncopies\n")
    assert status == 0
    assert all(question in err for question in ("Where are the documents?", "Which languages?", "What is to be selec"))
    assert "keep: [en, de]" in (tmp_path / "corpus.yaml").read_text()
    assert "heuristics" not in (tmp_path / "corpus.yaml").read_text()
    wrong = {
        ("init", "data", "-o", "b.yaml"): "nobody answers: which languages? Give --language",
        ("init", "data", "-o", "no/b.yaml"): "isn't there: make it first",
        ("init", "data", "-o", "b.yaml", "--language", "xx", "--select", "copies"): "has no language 'xx'",
        ("init", "data", "-o", "b.yaml", "--language", "en", "--select", "qualit"): "did you mean 'quality'?",
        ("init", "data", "-o", "b.yaml", "--language", "all,en", "--select", "copies"): "give all, or codes",
        ("init", "data", "-o", "b.yaml", "--language", "en", "--select", "copies", "--target", "x"): "needs --target",
        ("init", "none", "-o", "b.yaml", "--language", "en", "--select", "copies"): "no such file or folder",
    }
    for arguments, said in wrong.items():
        status, _, err = command(*arguments)
        assert status in (1, 2), arguments
        assert said in err
        assert "Traceback" not in err
    assert not (tmp_path / "b.yaml").exists()


def odd_tables() -> dict[str, pa.Array]:
    """Values that Python can't hold, by name."""
    many = pa.array([0, 2**62, -(2**62)], pa.int64())
    found = {f"{unit}-{zone}".replace("/", "_"): many.cast(pa.timestamp(unit, zone)) for unit in ("s", "ms", "us", "ns")
             for zone in (None, "UTC", "Nowhere/City")}  # fmt: skip
    found |= {f"for {unit}": many.cast(pa.duration(unit)) for unit in ("s", "ms", "us", "ns")}
    found["day"] = pa.array([0, 2**31 - 1, -(2**31)], pa.int32()).cast(pa.date32())
    found["infinite"] = pa.array([float("inf"), float("nan"), 1.0])
    found["nested"] = pa.array([[2**62], None, []], pa.list_(pa.timestamp("us")))
    return found


@pytest.mark.parametrize("name", odd_tables())
@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_odd_values_beside_the_text_are_no_matter(tmp_path: Path, form: str, name: str) -> None:
    if form == "parquet" and name.startswith("s-"):
        pytest.skip("Parquet has no times in seconds")
    table = pa.table({"body": [PROSE * 3] * 3, "when": odd_tables()[name]})
    path = tmp_path / f"a.{form}"
    if form == "arrow":
        pa.feather.write_feather(table, path)
    else:
        pq.write_table(table, path)
    (found,) = find_inputs([str(path)]).inputs
    assert found.text == "body"


def test_lines_that_python_wrote_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\ufeff{"body": "%s", "v": NaN}\n' % (PROSE * 3))
    (found,) = find_inputs([str(tmp_path / "a.jsonl")]).inputs
    assert found.text == "body"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"body": 1}\n'.encode("utf-16"), "is UTF-16: convert it"),
        ("a.jsonl", b'[{"body": 1}]', "is a JSON array"),
        ("a.csv", b"body;link\n" + PROSE.replace(",", "").encode() + b";1\n", "set `delimiter: ';'`"),
        ("a.csv", "body,link\n".encode("utf-16"), "set `encoding:`"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=re.escape(said)):
        find_inputs([str(tmp_path / name)])
