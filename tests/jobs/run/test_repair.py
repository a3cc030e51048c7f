"""`repair`: encodings and lines of symbols, in columns and in a run."""

import json

import pytest

from tamis.schemas.errors import ConfigError
from tests.jobs.finished_runs import digests, every_row
from tests.jobs.run.step_columns import columns_of, parsed

pytest.importorskip("ftfy")

TEXTS = ["schÃ¶n", "plain", "a\n|\n| |\nb", "|\n||", "fine é"]


def test_what_changed():
    rows = columns_of(parsed("repair", symbol_lines="|"), text=TEXTS)
    assert [row["text"] for row in rows] == ["schön", "plain", "a\nb", "", "fine é"]
    assert [row["repair_encoding"] for row in rows] == [True, False, False, False, False]
    assert [row["repair_lines"] for row in rows] == [0, 0, 2, 2, 0]
    assert [row["repair_characters"] for row in rows] == [5, 5, 3, 0, 6]
    assert columns_of(parsed("repair", encoding=False, symbol_lines="-"), text=TEXTS)[0]["text"] == TEXTS[0]
    breaks = columns_of(parsed("repair", symbol_lines="|", replacement="\n"), text=TEXTS)
    assert breaks[2]["text"] == "a\n\n\nb"
    assert [row["text"] for row in columns_of(parsed("repair"), text=TEXTS)][1:] == TEXTS[1:]


def test_later_steps_read_the_repaired_text(run, tmp_path):
    lines = [json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(TEXTS)]
    (tmp_path / "texts.jsonl").write_text("".join(lines))
    steps = [{"repair": {"symbol_lines": "|"}}, {"exact_dedup": {}}]
    config = {"inputs": [{"path": str(tmp_path / "texts.jsonl"), "source": "web"}], "steps": steps}
    manifest = run(config)
    rows = {json.loads(row["meta"])["id"]: row for row in every_row(manifest, tmp_path / "run")}
    assert {name: row["text"] for name, row in rows.items() if row["fate"] == "selected"} == {
        "0": "schön", "1": "plain", "2": "a\nb", "4": "fine é",
    }  # fmt: skip
    assert (rows["3"]["step"], rows["3"]["rule"], rows["3"]["text"]) == ("repair", "nothing_left", TEXTS[3])
    assert digests(run(config, "two", workers=2)) == digests(manifest)


def test_mistakes(monkeypatch):
    for options, told in (
        ({"encoding": False}, "nothing is repaired"),
        ({"symbol_lines": "| "}, "no white space"),
        ({"replacement": "x"}, "replacement is of `symbol_lines`"),
    ):
        with pytest.raises(ConfigError, match=told):
            parsed("repair", **options)
    monkeypatch.setitem(__import__("sys").modules, "ftfy", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[ftfy\]"):
        parsed("repair").annotator({})
