"""Documents for commands that aren't runs: in batches, with every problem told to whom it concerns."""

import json
from pathlib import Path

import pytest

from tamis.jobs.documents import DocumentsRead, RecordProblem, documents, texts
from tamis.pipeline.formats.options import ReadOptions
from tamis.schemas.errors import DataError, InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, broken records in both."""
    for name in "ab":
        lines = [json.dumps({"id": f"{name}{i}", "text": f"text {i}"}) for i in range(3)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join([*lines, '{"text": ', '{"text": 5}']) + "\n")
    return tmp_path


def test_every_problem_is_observed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events: list[RecordProblem | DocumentsRead] = []
    batches = list(documents([str(folder)], ReadOptions(), observe=events.append))
    assert sum(batch.num_rows for batch in batches) == 6
    assert sum(event.number for event in events if isinstance(event, DocumentsRead)) == 6
    problems = [event for event in events if isinstance(event, RecordProblem)]
    assert [Path(problem.uri or "").name for problem in problems] == ["a.jsonl"] * 2 + ["b.jsonl"] * 2
    assert problems[0].error == "invalid_json"
    assert all(problem.record and problem.detail for problem in problems)
    assert [text for array in texts([str(folder)], ReadOptions(), "x") for text in array.to_pylist()] == [
        f"text {i}" for i in range(3)
    ] * 2
    assert capsys.readouterr() == ("", "")  # nobody asked, nothing is printed


def test_no_document_is_an_error(folder: Path) -> None:
    (folder / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"raw pool: no document in .*empty.jsonl \(the text field is 'text'\)"):
        list(texts([str(folder / "empty.jsonl")], ReadOptions(), "raw pool"))
    with pytest.raises(InputError, match="no such file"):
        list(documents([str(folder / "absent.jsonl")], ReadOptions()))
