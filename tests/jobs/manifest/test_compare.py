"""What differs between two runs is told as it is: null is a value, and what one run lacks isn't null."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tamis.jobs.cli.manifest_output import diff
from tamis.jobs.manifest.compare import Comparison, compare, independent
from tests.jobs.handmade import DOCUMENTS, edit, make_run

Change = Callable[[dict[str, Any]], None]


def with_heuristics(**options: Any) -> Change:
    """A further step of the config, its record and its model."""

    def change(manifest: dict[str, Any]) -> None:
        step = {"presets": ["c4"], "thresholds": {}, "columns": ["text_lines", "text_words"], "sha256": {"w": "0" * 64}}
        manifest["config"]["steps"].append({"heuristics": step | options})
        kept = sum(count["kept"] for count in manifest["steps"][-1]["counts"])
        counts = [{"source": "web", "documents": kept, "kept": kept, "rejected": {}, "errors": 0}]
        record = {"label": "heuristics", "verb": "heuristics", "counts": counts, "seconds": 0.1}
        manifest["steps"].append(record | {"thresholds": options.get("thresholds", {})})
        manifest["models"].append({"step": "heuristics", "option": "bad_words", "reference": "w", "sha256": "0" * 64})

    return change


@pytest.fixture
def compared(tmp_path: Path) -> Callable[..., Comparison]:
    """Compare two handmade runs, each with a change."""

    def go(first: Change, second: Change, *, documents: Any = DOCUMENTS) -> Comparison:
        make_run(tmp_path / "a")
        make_run(tmp_path / "b", documents)
        edit(tmp_path / "a", first)
        edit(tmp_path / "b", second)
        return compare(str(tmp_path / "a"), str(tmp_path / "b"))

    return go


def nothing(manifest: dict[str, Any]) -> None:
    """Change nothing."""


FEWER = [(i, s, t, None if i == "a3" else fate) for i, s, t, fate in DOCUMENTS]


def test_a_threshold_set_to_null_is_a_difference(compared: Callable[..., Comparison]) -> None:
    first = with_heuristics()
    second = with_heuristics(thresholds={"c4.min_sentences": None})
    found = compared(first, second, documents=FEWER)
    told = {d.key: (d.first, d.second, d.only) for d in found.differences if d.section == "config"}
    assert told == {"steps.heuristics.thresholds.c4.min_sentences": (None, None, "second")}
    assert found.why[-2:] == (
        "What explains it:",
        "- config steps.heuristics.thresholds.c4.min_sentences: only the second has it (null)",
    )
    assert not any("Nothing that the manifests record" in sentence for sentence in found.why)


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ({"x": None}, {"x": 3}, "null became 3"),
        ({"x": 3}, {"x": None}, "3 became null"),
        ({"x": 3}, {}, "only the first has it (3)"),
        ({"x": True}, {"x": False}, "true became false"),
        ({"x": [1, 2]}, {"x": "text"}, "[1,2] became text"),
        ({"x": {"y": 1}}, {"x": {"y": 2}}, "thresholds.x.y: 1 became 2"),
    ],
)
def test_values_are_told_as_a_config_has_them(
    compared: Callable[..., Comparison], first: Any, second: Any, sentence: str
) -> None:
    found = compared(with_heuristics(thresholds=first), with_heuristics(thresholds=second))
    causes = [line for line in found.why if line.startswith("- config")]
    assert len(causes) == 1
    assert causes[0].endswith(sentence)
    assert "None" not in " ".join(found.why)


def test_an_empty_mapping_is_no_value_beside_one_with_keys(compared: Callable[..., Comparison]) -> None:
    found = compared(with_heuristics(thresholds={}), with_heuristics(thresholds={"a": 1, "b": None}))
    config = [d for d in found.differences if d.section == "config"]
    assert {(d.key.rpartition(".")[2], d.only) for d in config} == {("a", "second"), ("b", "second")}


def test_an_empty_mapping_alone_is_a_difference(compared: Callable[..., Comparison]) -> None:
    found = compared(with_heuristics(keep={}), with_heuristics())
    assert [(d.key, d.first, d.only) for d in found.differences if d.section == "config"] == [
        ("steps.heuristics.keep", {}, "first")
    ]


@pytest.mark.parametrize("side", ["first", "second"])
def test_a_step_that_one_run_lacks_is_said_once(compared: Callable[..., Comparison], side: str) -> None:
    added = with_heuristics()
    pair = (added, nothing) if side == "first" else (nothing, added)
    found = compared(*pair, documents=FEWER)
    causes = [line for line in found.why if line.startswith("- ") and "input" not in line]
    assert causes == [f"- only the {side} has the step heuristics"]


@pytest.mark.parametrize("side", ["first", "second"])
def test_the_sources_that_one_run_lacks_are_said_once(compared: Callable[..., Comparison], side: str) -> None:
    def more(manifest: dict[str, Any]) -> None:
        one = manifest["config"]["inputs"][0]
        manifest["config"]["inputs"] += [one | {"source": f"more.{i:02d}", "path": [f"more/{i}"]} for i in range(11)]

    pair = (more, nothing) if side == "first" else (nothing, more)
    found = compared(*pair, documents=FEWER)
    causes = [line for line in found.why if line.startswith("- ")]
    named = ", ".join(f"more.{i:02d}" for i in range(8))
    assert causes == [f"- only the {side} has the sources {named} and 3 more"]
    config = [difference for difference in found.differences if difference.section == "config"]
    assert len(config) > 30
    assert independent(config, config) == []


def test_an_inserted_step_is_where_the_runs_part(compared: Callable[..., Comparison]) -> None:
    def insert(manifest: dict[str, Any]) -> None:
        with_heuristics()(manifest)
        for steps in (manifest["steps"], manifest["config"]["steps"]):
            steps.insert(1, steps.pop())

    found = compared(nothing, insert, documents=FEWER)
    assert found.why[0] == "The runs part at the step heuristics, which only the second has."
    assert "- only the second has the step heuristics" in found.why


def test_another_order_is_a_difference(compared: Callable[..., Comparison]) -> None:
    def turn(manifest: dict[str, Any]) -> None:
        for steps in (manifest["steps"], manifest["config"]["steps"]):
            steps[1:3] = steps[2:0:-1]

    causes = [line for line in compared(nothing, turn, documents=FEWER).why if "order of steps" in line]
    assert len(causes) == 1
    assert '["extract","language","exact_dedup"] became ["extract","exact_dedup","language"]' in causes[0]


def test_null_and_absent_are_printed_apart(tmp_path: Path, capsys: Any) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b")
    edit(tmp_path / "a", with_heuristics(thresholds={"x": None}))
    edit(tmp_path / "b", with_heuristics(thresholds={"y": None}))
    diff(str(tmp_path / "a"), str(tmp_path / "b"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["steps.heuristics.thresholds.x", "null", "-"] in lines
    assert ["steps.heuristics.thresholds.y", "-", "null"] in lines
    diff(str(tmp_path / "a"), str(tmp_path / "b"), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert {"section": "thresholds", "key": "heuristics.x", "first": None, "second": None, "only": "first"} in told[
        "differences"
    ]
