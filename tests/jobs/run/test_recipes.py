"""The recipes of `examples/recipes` run on the sample corpus, and each line of them does something."""

import shutil
from pathlib import Path

import pytest
import yaml

from tamis.jobs.config_file import load_config
from tamis.jobs.manifest.verify import verify
from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.graph.engine import Engine
from tests.source_tree import ROOT

RECIPES = sorted((ROOT / "examples" / "recipes").glob("*.yaml"))


def rejected(manifest, label):
    """Return rule to number of documents that fell at a step."""
    step = next(step for step in manifest.steps if step.label == label)
    found: dict[str, int] = {}
    for counts in step.counts:
        for rule, number in counts.rejected.items():
            found[rule] = found.get(rule, 0) + number
    return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return a recipe's manifest and folder."""
    folder = tmp_path_factory.mktemp("recipes")

    def go(name):
        path = str(ROOT / "examples" / "recipes" / f"{name}.yaml")
        config, plain = load_config(path)
        output = str(folder / name)
        return execute(make_plan(config, plain, path), output, Engine(output + "/work/passes")).manifest, Path(output)

    return go


def test_fineweb_2(ran):
    manifest, folder = ran("fineweb2")
    assert verify(str(folder)).ok
    assert 100 < manifest.selected < manifest.read
    assert set(rejected(manifest, "language")) == {"language", "language_score_min"}
    assert rejected(manifest, "near_dedup")
    assert all(rule.startswith("fineweb2.") for rule in rejected(manifest, "heuristics"))
    repeat = next(step for step in manifest.steps if step.label == "repeat")
    assert repeat.metrics["documents"] == manifest.selected
    assert repeat.metrics["copies"] > 0
    shutil.rmtree(folder)


def test_dolma_3(ran):
    manifest, folder = ran("dolma3")
    assert verify(str(folder)).ok
    assert manifest.selected > 100
    for label in ("heuristics", "language", "exact_dedup", "near_dedup.near", "decontaminate", "repeat"):
        assert rejected(manifest, label), label
    repeat = next(step for step in manifest.steps if step.label == "repeat")
    assert set(repeat.metrics["factors"]) == {"books", "encyclopedia", "web", "crawl"}
    assert repeat.metrics["most"] > 1
    shutil.rmtree(folder)


def test_every_step_of_a_recipe_is_documented():
    page = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    assert len(RECIPES) == 2
    for path in RECIPES:
        text = path.read_text("utf-8")
        for step in yaml.safe_load(text)["steps"]:
            (verb,) = step
            assert f"| `{verb}" in page, verb
            before = text[: text.index(f"- {verb}:")].rstrip().splitlines()
            assert before[-1].lstrip().startswith("#") or verb == "combine", f"{path.name}: {verb} has no comment"
