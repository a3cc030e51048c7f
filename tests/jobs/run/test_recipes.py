"""The recipes of `examples/recipes` run on the sample corpus, and each line of them does something."""

import shutil
from pathlib import Path

import pytest
import yaml

import tamis
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


def test_dclm(ran):
    manifest, folder = ran("dclm")
    assert verify(str(folder)).ok
    for label in ("url_filter", "language", "heuristics", "near_dedup", "preselect.quality"):
        assert rejected(manifest, label), label
    last = manifest.steps[-1]
    assert sum(counts.kept for counts in last.counts) == sum(counts.documents for counts in last.counts) // 10
    assert texts_shortened(folder) > 20
    shutil.rmtree(folder)


def test_cc_net(ran):
    manifest, folder = ran("cc_net")
    assert verify(str(folder)).ok
    assert set(rejected(manifest, "paragraph_dedup")) == {"nothing_left"}
    assert rejected(manifest, "language")
    assert set(rejected(manifest, "perplexity.quality")) == {"quality_perplexity_percentile"}
    rows = tamis.open(folder).sql("SELECT quality_bucket AS b, count(*) AS n FROM selected GROUP BY b").to_pylist()
    buckets = {row["b"]: row["n"] for row in rows}
    assert set(buckets) <= {"head", "middle", "tail"}  # what lies on the last cut is kept, and tail
    assert abs(buckets["head"] - buckets["middle"]) <= 2
    assert texts_shortened(folder) > 100
    shutil.rmtree(folder)


def test_oscar_harmful(ran):
    manifest, folder = ran("oscar_harmful")
    assert verify(str(folder)).ok
    assert rejected(manifest, "url_filter") == {}
    assert set(rejected(manifest, "perplexity.harmful")) == {"harmful_perplexity_min"}
    fates = tamis.open(folder).sql(
        "SELECT meta->>'label' AS label, avg((step IS NOT DISTINCT FROM 'perplexity.harmful')::INT) AS fell "
        "FROM documents WHERE source = 'labelled' GROUP BY label"
    )
    fell = {row["label"]: row["fell"] for row in fates.to_pylist()}
    assert fell["1"] > 0.8 > 0.1 > fell["0"]
    marked = tamis.open(folder).sql("SELECT count(*) AS n FROM documents WHERE url_lists IS NOT NULL").to_pylist()
    assert marked[0]["n"] > 0
    shutil.rmtree(folder)


def test_dsir_to_an_encyclopedia(ran):
    manifest, folder = ran("dsir_encyclopedia")
    assert verify(str(folder)).ok
    for label in ("language", "exact_dedup", "heuristics", "dsir"):
        assert rejected(manifest, label), label
    shares = {name: counts["selected"] / counts["read"] for name, counts in manifest.sources.items()}
    assert shares["held_out"] > 0.7
    assert max(share for name, share in shares.items() if name != "held_out") < 0.4
    assert shares["code"] == 0
    shutil.rmtree(folder)


def texts_shortened(folder):
    """Return how many documents a step took text out of."""
    query = "SELECT count(*) AS n FROM documents WHERE text_removed_chars > 0"
    return tamis.open(folder).sql(query).to_pylist()[0]["n"]


def test_every_step_of_a_recipe_is_documented():
    page = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    assert {path.stem for path in RECIPES} == {
        "cc_net", "dclm", "dolma3", "dsir_encyclopedia", "fineweb2", "oscar_harmful",
    }  # fmt: skip
    tests = Path(__file__).read_text("utf-8")
    assert all(f'ran("{path.stem}")' in tests and path.stem in page for path in RECIPES)
    for path in RECIPES:
        text = path.read_text("utf-8")
        for step in yaml.safe_load(text)["steps"]:
            (verb,) = step
            assert f"| `{verb}" in page, verb
            before = text[: text.index(f"- {verb}:")].rstrip().splitlines()
            assert before[-1].lstrip().startswith("#") or verb == "combine", f"{path.name}: {verb} has no comment"
