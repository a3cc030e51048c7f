"""What trains small transformers: controllers over a run's groups, averages of units, arms of an experiment."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tamis.jobs.experiment.run import run_experiment
from tamis.jobs.mix.materialise import prepare
from tamis.jobs.mix.merge import MergeResult, merge
from tamis.pipeline.graph.engine import Engine
from tamis.schemas.base import validate
from tamis.schemas.errors import ConfigError
from tamis.schemas.experiment import ExperimentConfig
from tamis.schemas.merge import MergeConfig
from tamis.schemas.mixture import MixtureConfig
from tests.jobs.mix.runs import documents, mix, run_of

PROXY = {
    "model": {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2},
    "context": 32,
    "batch_rows": 4,
    "validation_rows": 4,
    "learning_rate": 3e-3,
    "warmup_steps": 2,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tmp_path_factory.mktemp("made") / "run", {"books": 40, "code": 30, "web": 40})


def planned(run: Path, work: Path, **keys: Any) -> Any:
    with Engine(str(work / "passes")) as engine:
        return prepare(str(run), validate(MixtureConfig, {"exhausted": "repeat", **keys}, "mixture"), engine, str(work))


def test_how_a_proxy_is_trained_changes_what_is_found(made: Path, tmp_path: Path) -> None:
    options = {"rounds": 1, "round_steps": 12, "sweeps": 1, "interval_steps": 2, "normalise": "std"}

    def losses(**changes: Any) -> Any:
        estimate = {"method": "aioli", "options": options, "proxy": {**PROXY, **changes}}
        return planned(made, tmp_path / "work", estimate=estimate, budget=6000).found.rounds[0]["loss_end"]

    every = [losses(), losses(weight_decay=0.9), losses(group_mb=0.001)]
    assert len({json.dumps(found) for found in every}) == 3
    assert losses() == every[0]


def test_aioli_over_a_run_s_groups_and_its_schedule(made: Path, tmp_path: Path) -> None:
    options = {"rounds": 2, "round_steps": 16, "sweeps": 1, "interval_steps": 2, "eta": 1.0, "normalise": "std"}
    estimate = {"method": "aioli", "options": options, "proxy": PROXY}
    keys: dict[str, Any] = {"estimate": estimate, "budget": 6000, "schedule": "rounds"}
    manifest = mix(made, tmp_path / "mix", **keys).manifest
    record = manifest.mixture
    assert record["method"] == "aioli"
    assert record["parameters"]["eta"] == 1.0
    assert len(record["rounds"]) == len(record["stages"]) == 2
    assert len(record["rounds"][0]["A"]) == 3
    assert record["figures"]["steps"] == 32
    assert mix(made, tmp_path / "mix", **keys).nothing_to_do
    checkpoint = next((tmp_path / "mix" / "work").glob("controller-*")) / "checkpoint.json"
    before = checkpoint.stat().st_mtime_ns
    again = mix(made, tmp_path / "mix", **{**keys, "budget": 5000}).manifest  # nothing is trained again
    assert checkpoint.stat().st_mtime_ns == before
    assert again.mixture["rounds"] == record["rounds"]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("doremi", {"steps": 4, "every": 2, "reference_steps": 4}),
        ("doge", {"steps": 4, "every": 2}),
        ("skill_it", {"steps": 4, "every": 2, "graph_steps": 2}),
        ("swarm", {"runs": 4, "steps": 3}),
        ("dga", {"steps": 4, "every": 2}),
    ],
)
def test_other_controllers(made: Path, tmp_path: Path, method: str, options: dict[str, Any]) -> None:
    estimate: dict[str, Any] = {"method": method, "options": options, "proxy": PROXY}
    if method == "dga":
        with pytest.raises(ConfigError, match="give `target`"):
            planned(made, tmp_path / "none", estimate=estimate)
        rows = [{"id": i, "text": t} for i, _, t, _ in documents({"code": 10}, seed=4)]
        (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        estimate["target"] = {"path": str(tmp_path / "t.jsonl")}
    found = planned(made, tmp_path / "work", estimate=estimate).found
    assert sum(found.proportions.values()) == pytest.approx(1)
    assert set(found.proportions) == {"books", "code", "web"}
    if method == "swarm":
        with pytest.raises(ConfigError, match="no rounds"):
            planned(made, tmp_path / "work", estimate=estimate, schedule="rounds")


def merged(run: Path, folder: Path, **keys: Any) -> MergeResult:
    config = {
        "run": str(run),
        "unit_tokens": 1024,
        "seed_groups": ["web"],
        "seed_steps": 10,
        "proxy": {**PROXY, "schedule": "constant", "warmup_steps": 0, "learning_rate": 1e-3},
        **keys,
    }
    with Engine(str(folder / "work" / "passes")) as engine:
        return merge(validate(MergeConfig, config, "merge"), str(folder), engine)


def test_averages_their_check_and_each_group_left_out(made: Path, tmp_path: Path) -> None:
    found = merged(made, tmp_path / "merge", check=3)
    assert set(found.candidates) == {"books", "code", "web", "books + code", "books + web", "code + web"}
    assert found.sets == ("books", "code", "web")
    assert {row.group for row in found.without} == {"books", "code", "web"}
    assert found.check is not None
    assert len(found.check.rows) == 3
    units = sum(map(len, found.units.values()))
    assert 1 + units < found.trained <= 1 + units + 3  # a checked candidate of one group may be one of its units
    again = merged(made, tmp_path / "merge", check=3)
    assert again.trained == 0
    assert again.candidates == found.candidates
    micro = merged(made, tmp_path / "merge", weights="micro")
    assert micro.trained == 0
    assert micro.candidates != found.candidates
    drawn = merged(made, tmp_path / "merge", candidates="draws", draws=4)
    assert drawn.trained == 0
    assert len(drawn.candidates) == 4
    three = merged(made, tmp_path / "merge", largest=3)
    assert "books + code + web" in three.candidates
    record = json.loads((tmp_path / "merge" / "merge.json").read_text())
    assert record["best"] == three.best
    with pytest.raises(ConfigError, match="fewer than three"):
        merged(made, tmp_path / "merge", check=2)
    with pytest.raises(ConfigError, match="one batch takes 128"):
        merged(made, tmp_path / "merge", unit_tokens=100)
    with pytest.raises(ConfigError, match="no group 'wbe'"):
        merged(made, tmp_path / "merge", seed_groups=["wbe"])


def test_a_group_that_is_added_costs_its_own_units_alone(made: Path, tmp_path: Path) -> None:
    run_of(tmp_path / "run", {"books": 40, "web": 40})
    first = merged(tmp_path / "run", tmp_path / "merge")
    second = merged(made, tmp_path / "merge")  # the same documents, and code
    assert second.trained == len(second.units["code"])
    assert second.candidates["books + web"][0] == first.candidates["books + web"][0]


def test_arms_of_transformers(made: Path, tmp_path: Path) -> None:
    config = {
        "arms": {
            "books": {"run": str(made), "where": "source = 'books'"},
            "web": {"run": str(made), "where": "source = 'web'"},
        },
        "baseline": "web",
        "tokens": 4096,
        "seeds": 2,
        "proxy": {"kind": "transformer", **PROXY},
        "evaluation": {"held": {"run": str(made), "where": "source = 'books'", "mb": 0.001}},
    }
    with Engine(str(tmp_path / "passes")) as engine:
        found = run_experiment(validate(ExperimentConfig, config, "experiment"), config, str(tmp_path / "e"), engine)
        again = run_experiment(validate(ExperimentConfig, config, "experiment"), config, str(tmp_path / "e"), engine)
    assert (found.trained, again.trained) == (4, 0)
    assert found.losses == again.losses
    assert found.tokens == 4096
    assert any("rank mixtures only roughly" in note for note in found.notes)
    assert found.comparisons[0].difference.mean < 0
