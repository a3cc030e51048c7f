"""The step `quad` on another runner than the local one: the same documents, the same numbers."""

import json

import pytest

import tamis
from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config
from tamis.scorers.causal.threads import one_thread
from tamis.scorers.causal.training import TrainingOptions, train_causal_model

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")


@pytest.mark.slow
def test_another_runner_selects_the_same(tmp_path):
    texts = [f"{'court judge appeal' if i % 3 else 'whale ship mast'} number {i}" for i in range(40)]
    rows = [{"id": f"d{i}", "text": text, "kind": i % 3} for i, text in enumerate(texts)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "reference.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[1:8:3]))
    with one_thread():
        options = TrainingOptions(dimensions=8, layers=1, heads=2, context=32, steps=20, batch=4, rate=1e-2)
        train_causal_model(texts, options, folder=tmp_path / "proxy")
    quad = {"reference": str(tmp_path / "reference.jsonl"), "proxy": str(tmp_path / "proxy"), "by": ["kind"]}
    quad |= {"budget": 500, "unit": "bytes", "probe": 2, "block": 3, "passes": 2, "sample": 8, "per_round": 1}
    plain = {
        "name": "engines",
        "inputs": [{"path": str(tmp_path / "a.jsonl"), "source": "web", "columns": {"kind": "int64"}}],
        "steps": [{"quad": quad}],
        "output": {"shard_mb": 0.0005},
    }
    found = []
    for name, runner in (("here", "FnApiRunner"), ("there", "BundleBasedDirectRunner")):
        folder = str(tmp_path / name)
        engine = Engine(f"{folder}/work/passes", runner=runner)
        execute(make_plan(parse_config(plain), plain), folder, engine)
        query = "SELECT doc_id, fate, quad_influence, quad_round FROM documents ORDER BY doc_id"
        found.append(tamis.open(folder).sql(query).to_pylist())
    assert found[0] == found[1]
    assert {row["fate"] for row in found[0]} == {"selected", "rejected"}
