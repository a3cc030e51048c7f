"""Small corpora and runs for the tests of jobs, and a browser."""

import json
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config

WORDS = ["the", "of", "and", "to", "in", "that", "river", "stone", "bright", "window", "letter", "garden", "winter"]
WORDS += ["music", "paper", "silver", "cloud", "table"]


def sentence(draw):
    return " ".join(draw.choices(WORDS, k=draw.randint(4, 30))).capitalize() + "."


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """Three JSONL files and a Parquet file: 400 documents, copies among them, two broken lines."""
    folder = tmp_path_factory.mktemp("corpus")
    draw = random.Random(11)
    texts = ["\n".join(sentence(draw) for _ in range(draw.randint(1, 6))) for _ in range(300)]
    texts += [draw.choice(texts) for _ in range(60)] + [t.replace(" ", "  ") for t in texts[:40]]
    draw.shuffle(texts)
    for number in range(3):
        lines = [
            json.dumps({"id": f"{number}-{i}", "text": text, "url": f"https://example.org/{number}/{i}", "n": i})
            for i, text in enumerate(texts[number * 100 : number * 100 + 100])
        ]
        if number == 1:
            lines[10:10] = ['{"text": ', '{"text": 5}']
        (folder / f"part{number}.jsonl").write_text("\n".join(lines) + "\n")
    table = pa.table({"key": [f"p{i}" for i in range(100)], "body": texts[300:]})
    pq.write_table(table, folder / "books.parquet", row_group_size=30)
    return folder


@pytest.fixture
def config_of(corpus):
    """Return a function from steps and changes to a config over the corpus."""

    def build(*steps, **changes):
        return {
            "name": "test",
            "seed": 3,
            "inputs": [
                {"path": str(corpus / "*.jsonl"), "source": "web"},
                {"path": str(corpus / "books.parquet"), "source": "books", "text": "body", "id": "key"},
            ],
            "steps": list(steps),
            "output": {"shard_mb": 0.02},
            **changes,
        }

    return build


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a config into a folder and returns the manifest."""

    def go(plain, folder="run", *, workers=1, fresh=False):
        output = str(tmp_path / folder)
        engine = Engine(output + "/work/passes", workers=workers)
        return execute(make_plan(parse_config(plain), plain), output, engine, fresh=fresh).manifest

    return go


@pytest.fixture(autouse=True)
def _no_width_of_ones_own(monkeypatch):
    """What is printed doesn't depend on the terminal that the tests run in."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium, as the system has it."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()
