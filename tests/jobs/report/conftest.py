"""A run with a step for each section of the report, and a text that would like to be markup."""

import json
from pathlib import Path

import pytest

from tamis.jobs.report.facts import Facts, Room
from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.jobs.sql.views import add_run, database
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config
from tests.source_tree import ROOT

EXAMPLES = ROOT / "examples"
NASTY = "</pre></script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'> & \u202eright\x07"
QUESTION = (
    "In which year did the lighthouse keeper of the northern island first see the comet that sailors call the widow"
)


def _config(folder: Path, name: str, min_score: float) -> dict:
    corpus, models = EXAMPLES / "corpus", EXAMPLES / "models"
    items = str(folder / "items.jsonl")
    return {
        "name": name,
        "seed": 5,
        "inputs": [
            {"path": str(corpus / "encyclopedia.parquet"), "source": "encyclopedia"},
            {"path": str(corpus / "forum.csv"), "source": "forum", "timestamp": "posted"},
            {"path": str(corpus / "harmful_like.jsonl.zst"), "source": "harm"},
            {"path": str(folder / "odd.jsonl"), "source": "odd", "columns": {"nasty": "int64"}},
        ],
        "steps": [
            {"rules": {"rules": [{"column": "nasty", "op": "max", "threshold": 0, "reason": "nasty"}]}},
            {"language": {"min_score": min_score}},
            "exact_dedup",
            {"decontaminate": {"items": {"quiz": items}, "text": "question", "action": "annotate"}},
            {"heuristics": {"presets": ["gopher_quality", "gopher_repetition"]}},
            {"perplexity": {"model": str(models / "harmful"), "name": "harmful", "threshold": "model"}},
            {
                "perplexity": {
                    "model": str(models / "quality"), "name": "quality", "bucket": "corpus",
                    "keep": {"percentile": [0, 90], "by": ["source"]},
                }
            },
            {"dsir": {"target": str(corpus / "target.jsonl.zst"), "min_tokens": 20, "keep": {"fraction": 0.7}}},
            {"paragraph_dedup": {"unit": "lines", "min_characters": 600}},
            {"substring_dedup": {"min_bytes": 60, "name": "windows"}},
        ],
        "output": {"shard_mb": 4},
    }  # fmt: skip


@pytest.fixture(scope="session")
def reported(tmp_path_factory):
    """Two runs' folders: of the second, language wants to be surer."""
    folder = tmp_path_factory.mktemp("reported")
    texts = [f"{NASTY} number {i}" for i in range(3)]
    texts += [f"As everybody knows. {QUESTION}? Nobody said. {i}" for i in range(4)]
    rows = [{"id": i, "text": text, "nasty": int(i < 3)} for i, text in enumerate(texts)]
    (folder / "odd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "items.jsonl").write_text(json.dumps({"question": QUESTION}) + "\n")
    runs = []
    for name, min_score in (("first", 0.3), ("second", 0.8)):
        plain = _config(folder, name, min_score)
        output = str(folder / name)
        execute(make_plan(parse_config(plain), plain), output, Engine(output + "/work/passes"))
        runs.append(output)
    return runs


@pytest.fixture
def facts_of():
    """Return a function from a run's folder to its facts."""
    opened = []

    def make(run, **room):
        connection = database()
        opened.append(connection)
        return Facts(run, connection, add_run(connection, run), Room(**room))

    yield make
    for connection in opened:
        connection.close()
