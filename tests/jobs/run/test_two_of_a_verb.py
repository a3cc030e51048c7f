"""Two steps of a verb stand in one run, each with a name of its own, or the refusal says why not."""

import json
from typing import Any

import pytest

import tamis
from docs.step_pages import example_config
from tamis.jobs.run.check import check_steps
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.steps.registry import built_in, parse_config, step_class
from tamis.schemas.errors import ConfigError
from tests.source_tree import ROOT

ONCE = {"extract": "extract must be the first step|two steps are called 'extract': a run has one of that kind"}
"""Verbs of which a run has one, and how it says so."""
TORCH = {"quad"}
TWICE = sorted(set(built_in()) - set(ONCE))


def two(verb: str, *names: str | None) -> dict[str, Any]:
    """Return the example of a verb's page with its step twice, under these names."""
    config = json.loads(json.dumps(example_config(verb)))
    *before, last = config["steps"]
    options = last[verb]
    twice = [{verb: options | ({} if name is None else {"name": name})} for name in names]
    return config | {"steps": [*before, *twice], "allow_empty": True}


@pytest.mark.parametrize("verb", TWICE)
def test_two_names_are_two_steps_with_columns_of_their_own(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert "name" in step_class(verb).model_fields
    given = two(verb, "one", "two")
    config = parse_config(given)
    first, second = config.steps[-2:]
    assert first.label != second.label
    if verb != "rules":  # which has a name in place of a verb
        assert {first.label, second.label} == {f"{verb}.one", f"{verb}.two"}
    if verb in TORCH:
        return
    plan = make_plan(config, given)
    if verb == "score":
        with pytest.raises(
            ConfigError, match="column capital_share is already there, and its scorer calls it so itself"
        ):
            check_steps(plan.steps, {step.label: plan.model_paths(step.label) for step in plan.steps}, None)
        return
    schema = check_steps(plan.steps, {step.label: plan.model_paths(step.label) for step in plan.steps}, None)
    assert len(set(schema.names)) == len(schema.names)


@pytest.mark.parametrize("verb", TWICE)
def test_without_names_the_refusal_asks_for_them(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match="give each a `name` of its own, or merge them"):
        parse_config(two(verb, *([None, None] if verb != "combine" else ["same", "same"])))


@pytest.mark.parametrize("verb", ONCE)
def test_the_others_say_why_a_run_has_one(verb: str) -> None:
    with pytest.raises(ConfigError, match=ONCE[verb]):
        parse_config({"inputs": [{"path": "a", "source": "a"}], "steps": [verb, verb]})


def test_texts_are_rewritten_twice_and_drawn_twice(tmp_path: Any) -> None:
    lines = ["The river runs over bright stones.", "menu", "|", "A line of enough words without its end"]
    rows = [{"text": "\n".join([*lines, f"And this is sentence number {n} of them."])} for n in range(40)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "target.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:9]))
    draw = {"target": str(tmp_path / "target.jsonl"), "min_tokens": 1, "keep": {"documents": 20}}
    steps = [
        {"repair": {"encoding": False, "symbol_lines": "|"}},
        {"clean": {"variant": "datatrove_fineweb"}},
        {"clean": {"name": "hard"}},
        {"repair": {"encoding": False, "symbol_lines": "=", "name": "again"}},
        {"dsir": draw},
        {"dsir": draw | {"name": "narrow", "ngrams": 1, "top_k": True, "keep": {"documents": 5}}},
    ]
    run = tamis.run(
        {"inputs": [{"path": str(tmp_path / "in.jsonl"), "source": "a"}], "steps": steps}, output=tmp_path / "r"
    )
    assert run.manifest.balanced
    assert run.manifest.selected == 5
    labels = ["repair", "clean", "clean.hard", "repair.again", "dsir", "dsir.narrow"]
    assert [step.label for step in run.manifest.steps[1:]] == labels
    row = run.sql("SELECT * FROM selected LIMIT 1").to_pylist()[0]
    assert row["text"].startswith("The river runs over bright stones.\nAnd this is")
    assert row["repair_lines"] > row["again_lines"] == 0
    assert row["clean_characters"] > row["hard_characters"] == row["again_characters"] == len(row["text"])
    assert row["dsir_log_weight"] != row["narrow_log_weight"]
    assert row["dsir_tokens"] == row["narrow_tokens"]
    fell = run.sql("SELECT rule, count(*) AS rows FROM rejected GROUP BY rule ORDER BY rule").to_pylist()
    assert {one["rule"]: one["rows"] for one in fell} == {
        "dsir_log_weight_documents": 20,
        "narrow_log_weight_documents": 15,
    }


def test_dsir_of_several_targets_has_names_too(tmp_path: Any) -> None:
    for name, words in (("water", "river stones water"), ("home", "house garden window")):
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps({"text": f"{words} {n} " * 5}) + "\n" for n in range(9))
        )
    targets = {name: str(tmp_path / f"{name}.jsonl") for name in ("water", "home")}
    step = {"dsir": {"target": targets, "min_tokens": 1, "name": "which", "keep": {"documents": 6}}}
    run = tamis.run({"inputs": [{"path": [*targets.values()], "source": "a"}], "steps": [step]}, output=tmp_path / "r")
    row = run.sql("SELECT * FROM selected LIMIT 1").to_pylist()[0]
    assert {"which_log_weight_water", "which_log_weight_home", "which_tokens", "which_target"} <= set(row)
