"""A run that reads nothing, or of which nothing is left, is whole whatever its steps are: 0 = 0 + 0 + 0."""

import json

import pytest

from docs.step_pages import example_config, guide_of
from tamis.jobs.manifest.verify import verify
from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import built_in, parse_config
from tests.source_tree import ROOT

CORPUS, MODELS = ROOT / "examples/corpus", ROOT / "examples/models"
TARGET = str(CORPUS / "target.jsonl.zst")
SHORT = {"heuristics": {"rules": [{"column": "text_words", "op": "min", "threshold": 100, "reason": "short"}]}}
QUALITY, CLASSIFIER = str(MODELS / "quality"), str(MODELS / "preselect")
TWO = {"a": TARGET, "b": str(CORPUS / "encyclopedia.parquet")}
STEPS = {
    "shares": [
        {"perplexity": {"model": QUALITY, "keep": {"percentile": [0, 50]}}},
        {"preselect": {"model": CLASSIFIER, "keep": {"fraction": 0.5, "by": ["source"]}}},
        {"sample": {"documents": 3}},
    ],
    "draw a share": [{"dsir": {"target": TARGET, "buckets": 64, "keep": {"fraction": 0.5}}}],
    "draw for two": [{"dsir": {"target": TWO, "buckets": 64, "keep": {"documents": 5}}}],
    "draw tokens": [{"dsir": {"target": TARGET, "buckets": 64, "keep": {"tokens": 500, "by": ["source"]}}}],
    "draw of any length": [{"dsir": {"target": TARGET, "buckets": 64, "min_tokens": 0, "keep": {"documents": 2}}}],
    "copies": [
        {"exact_dedup": {}},
        {"near_dedup": {"name": "near"}},
        {"paragraph_dedup": {"name": "lines"}},
        {"substring_dedup": {"name": "parts"}},
    ],
    "columns": [
        {"language": {}},
        {"combine": {"name": "q", "columns": ["text_words"], "how": "buckets", "buckets": 3}},
        {"repeat": {"column": "text_words"}},
        {"decontaminate": {"items": {"target": TARGET}}},
        {"pii": {}},
        {"clean": {}},
    ],
    "vectors": [{"embed": {"dimensions": 16}}, {"cluster": {"clusters": 3}}],
}


VERBS = [verb for verb in built_in() if not guide_of(verb).before]
"""All steps but `quad`, whose tests train its proxy."""


def ran(folder, steps, allow_empty=True):
    plain = {
        "inputs": [{"path": str(folder / "in.jsonl"), "source": "web"}],
        "steps": [SHORT, *steps],
        "allow_empty": allow_empty,
    }
    with Engine(f"{folder}/run/work/passes") as engine:
        return execute(make_plan(parse_config(plain), plain), str(folder / "run"), engine)


@pytest.mark.parametrize("documents", [0, 3])
@pytest.mark.parametrize("kind", STEPS)
def test_nothing_is_left(tmp_path, kind, documents):
    lines = [json.dumps({"text": f"Too few words for document {i}."}) + "\n" for i in range(documents)]
    (tmp_path / "in.jsonl").write_text("".join(lines))
    found = ran(tmp_path, STEPS[kind])
    manifest = found.manifest
    assert (manifest.read, manifest.selected, manifest.rejected, manifest.errors) == (documents, 0, documents, 0)
    assert found.problems == ()
    assert verify(str(tmp_path / "run")).ok
    assert ran(tmp_path, STEPS[kind]).nothing_to_do
    told = " ".join(manifest.warnings)
    assert ("no document is left to draw from" in told) == (kind == "draw of any length")
    assert ("no document has 100 tokens or more" in told) == (kind.startswith("draw") and "any" not in kind)
    assert ("there was nothing to cluster" in told) == (kind == "vectors")


def test_a_run_that_selects_nothing_is_whole_and_fails(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "Too few words."}\n')
    found = ran(tmp_path, STEPS["draw a share"], allow_empty=False)
    assert found.problems == ("no document was selected of 1 record read (`allow_empty: true` allows it)",)
    assert verify(str(tmp_path / "run")).ok


@pytest.mark.parametrize("documents", [0, 2])
@pytest.mark.parametrize("verb", VERBS)
def test_each_step_takes_an_empty_pool(tmp_path, monkeypatch, verb, documents):
    """Its example without a document, and with documents that all fell before it: whole, told of, and not begun again.

    Only `extract` must be the first step, and has those that fall after it.
    """
    monkeypatch.chdir(ROOT)
    plain = example_config(verb)
    (tmp_path / "in.jsonl").write_text('{"text": "Two words."}\n' * documents)
    plain["inputs"] = [{"path": str(tmp_path / "in.jsonl"), "source": one["source"]} for one in plain["inputs"]]
    every = {"name": "all", "rules": [{"column": "all_words", "op": "max", "threshold": -1, "reason": "all"}]}
    plain["steps"].insert(len(plain["steps"]) - (verb != "extract"), {"heuristics": every})
    folder = str(tmp_path / "run")

    def run():
        with Engine(f"{folder}/work/passes") as engine:
            return execute(make_plan(parse_config(plain), plain), folder, engine)

    found = run()
    manifest = found.manifest
    read = documents * len(plain["inputs"])
    assert (manifest.read, manifest.selected, manifest.rejected + manifest.errors) == (read, 0, read)
    assert len(found.problems) == 1
    assert verify(folder).ok
    assert run().nothing_to_do
    plain["allow_empty"] = True
    assert run().problems == ()
