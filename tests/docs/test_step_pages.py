"""The page of every step: nothing on it is empty, and its example is a config that runs and that needs the step."""

import re
from pathlib import Path
from typing import Any

import pytest

import tamis
from docs.build_reference import PAGES
from docs.step_pages import COSTS, commands, example_config, example_name, guide_of
from docs.units import UNITS, unit
from tamis.pipeline.steps.registry import built_in, parse_config, step_class
from tests.page_blocks import blocks
from tests.source_tree import ROOT

STEPS = list(built_in())
HERE = [verb for verb in STEPS if not guide_of(verb).before]
"""Those whose example needs no model that has to be trained first, which `test_quad_page.py` has."""
SECTIONS = ["How", "After whom", "Columns", "Options", "What falls", "Cost", "Example"]


def page_of(verb: str) -> str:
    return (ROOT / "docs" / "steps" / f"{verb}.md").read_text("utf-8")


def test_every_step_has_a_page_and_no_page_is_left_behind() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "steps").glob("*.md")}
    assert pages == {*STEPS, "index"}
    assert {f"steps/{verb}.md" for verb in STEPS} <= set(PAGES)
    index = page_of("index")
    assert all(f"[`{verb}`]({verb}.md)" in index for verb in STEPS)


@pytest.mark.parametrize("verb", STEPS)
def test_nothing_on_a_page_is_empty(verb: str) -> None:
    page = page_of(verb)
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)
    assert parts[1::2] == SECTIONS
    assert all(len(part.split()) > 3 for part in parts[0::2][1:])
    assert len(parts[0].split()) > 12
    cells = [
        cell.strip() for row in page.splitlines() if row.startswith("|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]
    ]
    assert cells
    assert "" not in cells
    assert page.count("\n```") == 2 * len(list(blocks(page)))


@pytest.mark.parametrize("verb", STEPS)
def test_the_example_is_a_config_whose_last_step_is_the_page_s(verb: str) -> None:
    config, guide = parse_config(example_config(verb)), guide_of(verb)
    assert config.steps[-1].verb == verb
    assert all(path.strip() for path in (guide.formula, guide.follows, guide.query))
    found = list(blocks(page_of(verb)))
    named = [block for block in found if block.note]
    assert [(block.note, block.language) for block in named] == [(f"saved as {example_name(verb)}.yaml", "yaml")]
    (told,) = [block.text for block in found if block.language == "bash"]
    assert told == commands(verb)
    assert config.output.path == f"runs/{example_name(verb)}"


def test_every_unit_is_used() -> None:
    options = {info.alias or name for verb in STEPS for name, info in step_class(verb).model_fields.items()}
    assert set(UNITS) <= options
    with pytest.raises(KeyError):
        unit("clean", "new_number", "integer")


def test_every_cost_was_measured() -> None:
    import json

    measured = json.loads(COSTS.read_text("utf-8"))
    assert set(measured["steps"]) == set(STEPS)
    for row in measured["steps"].values():
        assert row["mb_a_cpu_second"] > 0
        assert row["text_mb"] > 0
        assert row["documents"] > 100
    for verb in STEPS:
        ((_, options),) = example_config(verb)["steps"][-1].items()
        assert all(str(key) in measured["steps"][verb]["options"] for key in options), f"{verb}: measured with others"


def outcome(config: dict[str, Any], folder: Path) -> tuple[tamis.Run, list[dict[str, Any]]]:
    run = tamis.run(config | {"allow_empty": True}, output=folder)
    return run, run.sql("SELECT * FROM documents ORDER BY doc_id").to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("verb", HERE)
def test_the_example_runs_and_the_step_changes_its_result(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    config = example_config(verb)
    run, rows = outcome(config, tmp_path / "with")
    assert run.manifest.balanced
    assert rows != outcome(config | {"steps": config["steps"][:-1]}, tmp_path / "without")[1]
    assert run.sql(guide_of(verb).query).num_rows > 0
    step = run.manifest.steps[-1]
    if parse_config(config).steps[-1].can_reject:
        assert sum(sum(counts.rejected.values()) for counts in step.counts) > 0 or rewritten(rows), "nothing falls"


def rewritten(rows: list[dict[str, Any]]) -> bool:
    """Whether the step took text out, masked or counted some: what it does where nothing falls."""
    names = ("text_removed_chars", "pii_findings", "copies", "clean_characters", "repair_lines", "contamination_item")
    return any(row.get(name) for row in rows for name in names)
