"""`sample` and `limit`: documents drawn by a keyed hash, the same ones in any order."""

import json
from pathlib import Path
from typing import Any

import pytest

import tamis
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.steps.registry import parse_config, parse_step
from tamis.scorers.text.noise import uniform_noise


def plain(folder: Path, *steps: Any, **changes: Any) -> dict[str, Any]:
    for number in range(4):
        lines = [json.dumps({"id": f"{number}-{i}", "text": f"river {number} {i}"}) for i in range(50)]
        (folder / f"{number}.jsonl").write_text("\n".join(lines) + "\n")
    return {"inputs": [{"path": str(folder / "*.jsonl"), "source": "web"}], "steps": list(steps), **changes}


def ids(run: tamis.Run) -> list[str]:
    return sorted(run.selected().to_table()["doc_id"].to_pylist())


def test_a_sample_is_those_with_the_smallest_draws(tmp_path: Path) -> None:
    run = tamis.run(plain(tmp_path, {"sample": {"documents": 30}}), output=tmp_path / "a")
    table = run.sql("SELECT doc_id, fate, sample_draw FROM documents")
    draws = dict(zip(table["doc_id"].to_pylist(), table["sample_draw"].to_pylist(), strict=True))
    assert list(draws.values()) == uniform_noise(0, "sample", list(draws)).tolist()
    assert ids(run) == sorted(sorted(draws, key=lambda doc_id: draws[doc_id])[:30])
    assert run.manifest.steps[1].counts[0].rejected == {"sample_draw_documents": 170}
    smaller = tamis.run(plain(tmp_path, {"sample": {"fraction": 0.1}}), output=tmp_path / "b")
    assert len(ids(smaller)) == 20
    assert set(ids(smaller)) < set(ids(run))
    others = tamis.run(plain(tmp_path, {"sample": {"documents": 30, "seed": 1}}), output=tmp_path / "c")
    assert ids(others) != ids(run)
    two = [{"sample": {"documents": 30}}, {"sample": {"fraction": 0.5, "name": "half", "seed": 5}}]
    both = tamis.run(plain(tmp_path, *two), output=tmp_path / "d")
    assert len(ids(both)) == 15
    assert [step.label for step in both.manifest.steps] == ["extract", "sample", "sample.half"]
    assert "half_draw" in both.selected().schema.names


def test_it_wants_one_size() -> None:
    with pytest.raises(tamis.ConfigError, match="give either `documents` or `fraction`"):
        parse_step({"sample": {"documents": 3, "fraction": 0.1}}, "steps[0]")
    assert parse_step("sample", "steps[0]").kept.documents == 1000


def test_a_limit_is_a_sample_and_is_in_the_digest(tmp_path: Path) -> None:
    config = plain(tmp_path, "language", limit=10, seed=7)
    run = tamis.run(config, output=tmp_path / "run")
    assert run.manifest.selected == 10
    assert [step.label for step in run.manifest.steps] == ["extract", "sample.limit", "language"]
    assert run.manifest.steps[2].counts[0].documents == 10
    assert "limit: 4 of 4 input files are read" in run.manifest.warnings[0]
    assert run.verify().ok
    digests = {parse_config({**config, "limit": limit}).digest({}) for limit in (None, 10, 11)}
    assert len(digests) == 3
    without = plain(tmp_path, "language", seed=7)
    assert parse_config({**config, "limit": None}).digest({}) == parse_config(without).digest({})


def test_a_trial_reads_some_files_of_every_input(tmp_path: Path) -> None:
    for source in ("a", "b"):
        (tmp_path / source).mkdir()
        for number in range(30):
            (tmp_path / source / f"{number:02d}.jsonl").write_text(json.dumps({"text": "x" * 100_000}) + "\n")
    inputs = [{"path": str(tmp_path / source), "source": source} for source in ("a", "b")]
    config: dict[str, Any] = {"inputs": inputs, "steps": [], "limit": 4}
    plan = make_plan(parse_config(config), config)
    assert {source: [file.source for file in plan.files].count(source) for source in ("a", "b")} == {"a": 6, "b": 6}
    assert [file.path for file in plan.files] == sorted(file.path for file in plan.files)
    assert make_plan(parse_config(config), config).files == plan.files
    other = config | {"seed": 1}
    assert make_plan(parse_config(other), other).files != plan.files
    one = config | {"limit": 1}
    assert len(make_plan(parse_config(one), one).files) == 4
    assert "12 of 60" in plan.warnings[0]
    assert tamis.run(config, output=tmp_path / "run").manifest.selected == 4
