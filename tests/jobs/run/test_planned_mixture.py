"""`tamis plan` of a config with `mixture:`: what it would hold, by files, by a sample, of the finished run, as made."""

import json
from typing import Any

import pytest

from tamis.jobs.cli.run_and_plan import show_plan
from tamis.jobs.manifest.file import read_manifest
from tamis.jobs.run.plan import make_plan
from tamis.jobs.run.planned_mixture import group_amounts, planned_mixture
from tamis.jobs.run.sampled import run_sample
from tamis.pipeline.steps.registry import parse_config
from tamis.schemas.errors import ConfigError, DataError

MIXTURE = {"proportions": {"books": 3, "web": 1}, "exhausted": "repeat", "budget": 60_000}


@pytest.fixture
def shown(capsys: Any, monkeypatch: Any) -> Any:
    """Return a function from a config to what a plan prints of its mixture: as JSON and as text."""
    monkeypatch.setenv("COLUMNS", "80")

    def go(plain: dict[str, Any], **options: Any) -> tuple[dict[str, Any], str]:
        capsys.readouterr()
        show_plan(parse_config(plain), plain, as_json=True, **options)
        told = json.loads(capsys.readouterr().out)["mixture"]
        show_plan(parse_config(plain), plain, as_json=False, **options)
        return told, capsys.readouterr().out

    return go


def test_by_the_sizes_of_files(config_of: Any, shown: Any, tmp_path: Any) -> None:
    plain = config_of({"exact_dedup": {}}, mixture=MIXTURE)
    told, text = shown(plain, output=str(tmp_path / "run"))
    sizes = {file.source: 0 for file in make_plan(parse_config(plain), plain).files}
    for file in make_plan(parse_config(plain), plain).files:
        sizes[file.source] += file.size or 0
    assert told["known"] == "files"
    assert {group["name"]: group["size"] for group in told["groups"]} == sizes
    assert [group["quota"] for group in told["groups"]] == [45_000, 15_000]
    assert told["repetition"]["seen"] == told["total"] == 60_000
    assert told["memory"] == pytest.approx(270 * told["documents"], rel=0.3)
    assert f"in the process that plans, for {told['documents']} documents" in text
    assert "as if no document fell" in told["notes"][0]
    assert "mixture, by the sizes of files, shares: given; 60,000 bytes" in text
    assert "seen 10 times or more: 0.0 % of the bytes" in text
    laid_out = text[text.index("mixture, ") :].splitlines()
    assert [line for line in laid_out if len(line) > 80 and not line.startswith("note: ")] == []


def test_a_sample_of_everything_tells_what_the_run_and_its_mixture_do(
    config_of: Any, run: Any, shown: Any, tmp_path: Any
) -> None:
    plain = config_of({"exact_dedup": {}}, mixture=MIXTURE)
    folder = str(tmp_path / "run")
    by_sample, text = shown(plain, output=folder, sample_mb=100)
    assert by_sample["known"] == "sample"
    assert "mixture, estimated from a sample" in text
    manifest = run(plain)
    made, text = shown(plain, output=folder)
    assert made["known"] == "made"
    assert "mixture, as it was made" in text
    assert [g["quota"] for g in by_sample["groups"]] == [g["quota"] for g in made["groups"]]
    assert [g["size"] for g in by_sample["groups"]] == [g["size"] for g in made["groups"]]
    assert [g["documents"] for g in by_sample["groups"]] == [g["documents"] for g in made["groups"]]
    assert by_sample["repetition"]["unique"] == pytest.approx(made["repetition"]["unique"], rel=0.01)
    assert made["repetition"] == manifest.mixture["materialised"]["repetition"]
    assert f"{100 * made['repetition']['heavy']['lines']['share']:.1f} % of the lines" in text
    # Another mixture over the finished run: its groups are known exactly, and nothing is made.
    plain["mixture"] = {"without": "equal", "exhausted": "once"}
    other, text = shown(plain, output=folder)
    assert other["known"] == "files"  # the run counts as changed: its manifest tells of another mixture
    amounts = group_amounts(parse_config(plain).mixture, read_manifest(folder), folder)
    assert {name: amount.bytes for name, amount in amounts.items()} == manifest.mixture["bytes"]
    plan = make_plan(parse_config(plain), plain)
    exact = planned_mixture(plan, folder, finished=True)
    assert exact is not None
    assert exact["known"] == "run"
    assert [g["size"] for g in exact["groups"]] == [g["size"] for g in made["groups"]]


def test_groups_of_another_column_and_tokens(config_of: Any, shown: Any, tmp_path: Any) -> None:
    keys = {"by": "language", "without": "union", "exhausted": "once", "unit": "tokens", "tokenizer": {"path": "bytes"}}
    plain = config_of({"language": {}}, mixture=keys)
    folder = str(tmp_path / "run")
    told, text = shown(plain, output=folder)
    assert told["groups"] == []
    assert "estimate them with --sample" in text
    told, _ = shown(plain, output=folder, sample_mb=100)
    sample = run_sample(make_plan(parse_config(plain), plain), 10**9)
    assert sum(group["size"] for group in told["groups"]) == sample.selected_text_bytes + sample.selected


def test_what_repeats_often_is_told(config_of: Any, shown: Any, tmp_path: Any) -> None:
    mixture = {"proportions": {"books": 1}, "exhausted": "repeat", "max_epochs": 12, "budget": 10**8}
    told, text = shown(config_of(mixture=mixture), output=str(tmp_path / "run"))
    assert told["groups"][0]["epochs"] == 12
    assert told["repetition"]["heavy"]["share"] == 1
    assert "seen 10 times or more: 100.0 % of the bytes" in text
    assert any("the budget shrinks" in note for note in told["notes"])


def test_mistakes_are_told_before_the_run(config_of: Any, tmp_path: Any) -> None:
    def planned(mixture: dict[str, Any], sample: Any = None) -> Any:
        plain = config_of(mixture={"exhausted": "repeat", **mixture})
        plan = make_plan(parse_config(plain), plain)
        return planned_mixture(plan, str(tmp_path / "run"), finished=False, sample=sample)

    with pytest.raises(ConfigError, match="'wbe', which the data hasn't"):
        planned({"proportions": {"wbe": 1}})
    with pytest.raises(DataError, match="group 'books' has"):
        planned({"proportions": {"books": 1}, "budget": 10**9, "exhausted": "error"})
    missing = planned({"proportions": {"rare": 1, "web": 1}, "budget": 100}, group_amounts_of(web=500))
    assert missing["notes"][0] == "no document of the sample is of group rare: it counts as empty"
    found = planned({"estimate": {"method": "mixmin", "target": {"path": "target.jsonl"}}})
    assert "total" not in found
    assert found["notes"][-1].startswith("mixmin finds the shares from documents")


def group_amounts_of(**sizes: int) -> Any:
    from tamis.jobs.mix.forecast import Amounts

    return {name: Amounts(1, size) for name, size in sizes.items()}
