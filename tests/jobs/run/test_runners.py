"""One small run on every runner that works offline, and on file systems that aren't local: the same bytes."""

import pytest

from tamis.jobs.manifest.verify import verify
from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config

EMBEDDED = ("--job_endpoint=embed", "--environment_type=LOOPBACK")
RUNNERS = {
    "local": {},
    "two processes": {"workers": 2},
    "older local": {"runner": "BundleBasedDirectRunner"},
    "portable": {"runner": "PortableRunner", "options": EMBEDDED},
}


def shards(config_of, output, **options):
    plain = config_of({"exact_dedup": {}}, {"heuristics": {"presets": ["gopher_quality"], "statistics": "rules"}})
    plan = make_plan(parse_config(plain), plain)
    manifest = execute(plan, output, Engine(output + "/work/passes", **options)).manifest
    return {shard.path: shard.sha256 for shard in manifest.shards}


@pytest.fixture(scope="module")
def expected(corpus, tmp_path_factory):
    def config_of(*steps):
        inputs = [
            {"path": str(corpus / "*.jsonl"), "source": "web"},
            {"path": str(corpus / "books.parquet"), "source": "books", "text": "body", "id": "key"},
        ]
        return {"name": "test", "seed": 3, "inputs": inputs, "steps": list(steps), "output": {"shard_mb": 0.02}}

    return shards(config_of, str(tmp_path_factory.mktemp("expected")))


@pytest.mark.parametrize("runner", [name for name in RUNNERS if name != "local"])
def test_every_runner_gives_the_same_bytes(config_of, tmp_path, expected, runner):
    assert shards(config_of, str(tmp_path), **RUNNERS[runner]) == expected


def test_a_run_can_lie_elsewhere(config_of, expected):
    pytest.importorskip("fsspec")
    assert shards(config_of, "memory://runs/elsewhere") == expected
    assert verify("memory://runs/elsewhere").ok
