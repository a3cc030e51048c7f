"""Proportions that are found: by n-gram models, by runs that were made, by correlations, by a driven controller."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.jobs.mix.materialise import Prepared, prepare
from tamis.pipeline.graph.engine import Engine
from tamis.schemas.base import validate
from tamis.schemas.errors import ConfigError, DataError, InputError
from tamis.schemas.mixture import MixtureConfig
from tamis.scorers.mixture.aioli import Aioli
from tamis.scorers.mixture.runs import Runs, read_runs, write_runs
from tamis.scorers.mixture.swarm import propose
from tests.jobs.mix.runs import documents, mix, run_of

SIZES = {"books": 40, "code": 12, "web": 80}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tmp_path_factory.mktemp("made") / "run", SIZES)


def planned(run: Path, work: Path, **keys: Any) -> Prepared:
    with Engine(str(work / "passes")) as engine:
        return prepare(str(run), validate(MixtureConfig, {"exhausted": "repeat", **keys}, "mixture"), engine, str(work))


def target(path: Path, numbers: dict[str, int]) -> Path:
    """Documents of the same kinds as the groups', but others."""
    rows = [{"id": i, "text": t} for i, _, t, _ in documents(numbers, seed=9)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_mixmin_finds_what_the_target_was_made_of(made: Path, tmp_path: Path) -> None:
    path = target(tmp_path / "target.jsonl", {"books": 30, "code": 30})
    found = planned(made, tmp_path / "work", estimate={"method": "mixmin", "target": {"path": str(path)}}).found
    assert found.proportions is not None
    assert found.proportions["books"] == pytest.approx(0.5, abs=0.1)
    assert found.proportions["code"] == pytest.approx(0.5, abs=0.1)
    assert found.proportions["web"] < 0.02
    assert found.figures["loss"] <= min(found.figures["losses"].values())
    books = target(tmp_path / "books.jsonl", {"books": 30})
    again = planned(made, tmp_path / "work", estimate={"method": "mixmin", "target": {"path": str(books)}}).found
    assert again.proportions is not None
    assert again.proportions["books"] > 0.95
    with pytest.raises(InputError, match="has the field 'body'"):
        planned(made, tmp_path / "w", estimate={"method": "mixmin", "target": {"path": str(books), "text": "body"}})


def test_how_much_text_mixmin_looks_at_changes_what_it_finds(made: Path, tmp_path: Path) -> None:
    path = target(tmp_path / "target.jsonl", {"books": 30, "code": 20})
    estimate = {"method": "mixmin", "target": {"path": str(path)}}
    whole = planned(made, tmp_path / "work", estimate=estimate).found
    begun = planned(made, tmp_path / "work", estimate={**estimate, "target_mb": 0.002}).found
    assert begun.figures["target_documents"] < whole.figures["target_documents"] == 50
    assert begun.proportions is not None
    assert begun.proportions["books"] > 0.9  # the target begins with books
    little = planned(made, tmp_path / "work", estimate={**estimate, "group_mb": 0.0003}).found
    assert little.figures["target_documents"] == 50
    assert little.figures["losses"] != whole.figures["losses"]  # models of a document or two
    assert little.proportions != whole.proportions


def test_a_changed_target_is_another_mixture(made: Path, tmp_path: Path) -> None:
    path = target(tmp_path / "target.jsonl", {"books": 30, "code": 30})
    keys: dict[str, Any] = {"estimate": {"method": "mixmin", "target": {"path": str(path)}}}
    first = mix(made, tmp_path / "mix", **keys).manifest
    assert mix(made, tmp_path / "mix", **keys).nothing_to_do
    assert str(tmp_path) not in json.dumps(first.config)  # files count by their content, not by their place
    target(path, {"web": 30})
    second = mix(made, tmp_path / "mix", **keys).manifest
    assert first.mixture_sha256 != second.mixture_sha256
    assert second.mixture["proportions"]["web"] > 0.95


def swarm(tmp_path: Path, groups: tuple[str, ...] = ("books", "code", "web")) -> dict[str, Any]:
    draw = np.random.default_rng(3)
    ratios = draw.dirichlet(np.ones(len(groups)) * 2, 24)
    pull = np.linspace(0.5, 3, len(groups))
    values = np.column_stack([2 + np.exp(-ratios @ pull), 1.5 + np.exp(-ratios @ pull[::-1])])
    runs = Runs(tuple(f"r{i}" for i in range(24)), groups, ratios, ("a", "b"), values)
    write_runs(runs, tmp_path / "ratios.csv", tmp_path / "metrics.csv")
    return {"ratios": str(tmp_path / "ratios.csv"), "metrics": str(tmp_path / "metrics.csv")}


def test_olmix_by_its_files(made: Path, tmp_path: Path) -> None:
    files = swarm(tmp_path)
    prepared = planned(made, tmp_path / "work", estimate={"method": "olmix", **files})
    sizes = prepared.index.totals("bytes")
    runs = read_runs(tmp_path / "ratios.csv", tmp_path / "metrics.csv")
    due = propose(runs, prior=np.array([sizes[name] for name in runs.groups], float)).shares
    assert prepared.found.proportions == pytest.approx(dict(zip(runs.groups, due.tolist(), strict=True)))
    assert prepared.found.figures["runs"] == 24
    free = planned(made, tmp_path / "work", estimate={"method": "olmix", "kl": 0.0, **files}).found
    weighted = planned(made, tmp_path / "work", estimate={"method": "olmix", "weights": {"b": 1}, **files}).found
    capped = planned(
        made, tmp_path / "work", estimate={"method": "olmix", "weights": {"b": 1}, **files}, budget=100_000
    ).found
    every = [found.proportions for found in (prepared.found, free, weighted, capped)]
    assert len({json.dumps(shares) for shares in every}) == 4  # each option changes the result
    assert capped.proportions is not None
    for name, share in capped.proportions.items():
        assert share * 100_000 <= 4 * sizes[name] * (1 + 1e-6)
    kept = planned(made, tmp_path / "work", estimate={"method": "best_run", **files}).found
    assert any("reached the best value" in note for note in kept.notes)


def test_a_mixture_is_kept_when_another_group_is_added(made: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    outer = draw.dirichlet([2, 2], 12)
    ratios = np.column_stack([outer[:, 0] * 0.25, outer[:, 0] * 0.75, outer[:, 1]])
    values = 2 + np.exp(-ratios @ [1.0, 2.0, 0.5])[:, None]
    runs = Runs(tuple(f"r{i}" for i in range(12)), ("books", "code", "web"), ratios, ("loss",), values)
    write_runs(runs, tmp_path / "ratios.csv", tmp_path / "metrics.csv")
    estimate = {
        "method": "olmix",
        "ratios": str(tmp_path / "ratios.csv"),
        "metrics": str(tmp_path / "metrics.csv"),
        "keep": {"old": {"books": 1, "code": 3}},
    }
    shares = planned(made, tmp_path / "work", estimate=estimate).found.proportions
    assert shares is not None
    assert shares["code"] == pytest.approx(3 * shares["books"])
    assert sum(shares.values()) == pytest.approx(1)


def test_runs_that_don_t_fit(made: Path, tmp_path: Path) -> None:
    files = swarm(tmp_path, ("books", "cod", "web"))
    with pytest.raises(ConfigError, match="did you mean 'code'"):
        planned(made, tmp_path / "work", estimate={"method": "olmix", **files})
    with pytest.raises(ConfigError, match=r"none\.csv"):
        planned(made, tmp_path / "work", estimate={"method": "olmix", "ratios": "none.csv", "metrics": "none.csv"})


def test_perplexity_correlations_of_a_table_of_losses(made: Path, tmp_path: Path) -> None:
    rows = []
    for source, slope in (("books", -1.0), ("web", 1.0)):
        rows += [
            {"source": source, "small": 2.0 + 0.1 * i, "mid": 2.0 + slope * 0.3, "large": 2.0 + slope * 0.6}
            for i in range(4)
        ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "losses.parquet")
    estimate = {
        "method": "perplexity_correlations",
        "losses": str(tmp_path / "losses.parquet"),
        "scores": {"small": 0.1, "mid": 0.2, "large": 0.4},
    }
    found = planned(made, tmp_path / "work", estimate=estimate, budget=20_000).found
    assert found.figures["correlations"]["books"] > found.figures["correlations"]["web"]
    assert found.proportions is not None
    assert found.proportions["books"] > found.proportions["web"]
    assert any("code has no losses" in note for note in found.notes)
    with pytest.raises(ConfigError, match="no column 'tiny'"):
        planned(made, tmp_path / "work", estimate={**estimate, "scores": {"tiny": 0.1, "mid": 0.2}}, budget=20_000)


def driven(rounds: int) -> Aioli:
    """A controller driven in a world in which code teaches all."""
    made = Aioli(
        groups=("books", "code", "web"), rounds=2, round_steps=20, sweeps=1, interval_steps=2, eta=1.0, normalise="std"
    )
    losses = np.array([4.0, 4.0, 4.0])
    while (request := made.next()) is not None and len(made.history()) <= rounds:
        losses = losses - 0.01 * request.steps * np.array([0.2, 1.0, 0.3]) @ np.diag(request.mixture) @ np.ones((3, 3))
        made.observe(losses.tolist())
    return made


def test_a_controller_that_another_program_drove(made: Path, tmp_path: Path) -> None:
    controller = driven(9)
    (tmp_path / "state.json").write_text(controller.to_json())
    estimate = {"method": "state", "file": str(tmp_path / "state.json")}
    manifest = mix(made, tmp_path / "mean", estimate=estimate, budget=2000).manifest
    assert manifest.mixture["method"] == "aioli"
    assert [row["p"] for row in manifest.mixture["rounds"]] == [row["p"] for row in controller.history()]
    assert len(manifest.mixture["rounds"][0]["A"]) == 3  # the estimated matrix of each round is kept
    rounds = mix(made, tmp_path / "rounds", estimate=estimate, budget=2000, schedule="rounds").manifest
    for number, row in enumerate(controller.history()):
        quota = rounds.mixture["stages"][number]
        due = np.array(row["p"]) * 1000
        assert np.abs(np.array([quota[name] for name in controller.groups]) - due).max() <= 5
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(DataError, match="controller"):
        planned(made, tmp_path / "work", estimate=estimate)


def test_unknown_methods_and_keys_name_the_nearest() -> None:
    for estimate, words in (
        ({"method": "olmx"}, "did you mean 'olmix'"),
        ({"method": "mixmin", "target": {"pth": "x"}}, "did you mean 'path'"),
        ({"method": "olmix", "ratios": "r"}, "metrics: this key is required"),
    ):
        with pytest.raises(ConfigError, match=words):
            validate(MixtureConfig, {"exhausted": "repeat", "estimate": estimate}, "mixture")
