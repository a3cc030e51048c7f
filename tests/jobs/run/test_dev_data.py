"""A run over real corpora: JSONL, WARC, WET and a WARC full of faults, together."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tamis.jobs.manifest.verify import verify
from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config
from tests.selections import decisions

pytestmark = pytest.mark.devdata


def config(folder, *, turned=False):
    inputs = [
        {"path": str(folder / "dev.jsonl.zst"), "source": "mixed"},
        {"path": [str(folder / "dev.warc.gz"), str(folder / "dev_malformed.warc.gz")], "source": "web"},
        {"path": str(folder / "dev.warc.wet.gz"), "source": "wet"},
    ]
    if turned:
        inputs = [
            entry | {"path": entry["path"][::-1]} if isinstance(entry["path"], list) else entry for entry in inputs
        ]
        inputs.reverse()
    return {
        "name": "dev",
        "seed": 5,
        "inputs": inputs,
        "steps": [
            {"language": {"min_score": 0.3}},
            {"exact_dedup": {}},
            {"heuristics": {"presets": ["gopher_quality", "gopher_repetition"]}},
        ],
        "output": {"shard_mb": 32},
    }


@pytest.fixture(scope="module")
def runs(dev_data, tmp_path_factory):
    """Three runs that must not differ: one worker, two workers, inputs listed in another order."""
    found = {}
    for name, workers, turned in (("one", 1, False), ("two", 2, False), ("turned", 1, True)):
        output = str(tmp_path_factory.mktemp(name))
        plain = config(dev_data, turned=turned)
        plan = make_plan(parse_config(plain), plain)
        found[name] = (execute(plan, output, Engine(output + "/work/passes", workers=workers)).manifest, output)
    return found


def test_it_balances_and_verifies(runs):
    manifest, output = runs["one"]
    assert manifest.balanced
    assert manifest.sources["mixed"]["read"] == 71_964
    assert not verify(output, inputs=True).failures


@pytest.mark.parametrize("other", ["two", "turned"])
def test_bytes_do_not_follow_workers_or_order(runs, other):
    first = {shard.path: shard.sha256 for shard in runs["one"][0].shards}
    assert {shard.path: shard.sha256 for shard in runs[other][0].shards} == first


def test_it_decides_as_it_always_did(runs):
    known = json.loads((Path(__file__).parents[2] / "golden" / "decisions.json").read_text("utf-8"))
    assert decisions(Path(runs["one"][1])) == known["dev"]


def test_good_records_between_faults_survive_and_bad_ones_are_named(runs, dev_data):
    cases = json.loads((dev_data / "dev_malformed.warc.gz.manifest.json").read_text())
    manifest, output = runs["one"]
    urls = set()
    for shard in manifest.shards:
        if shard.fate != "errors" and "web" in shard.sources:
            urls |= set(
                pq.read_table(f"{output}/{shard.path}", columns=["url"], partitioning=None).column(0).to_pylist()
            )
    assert set(cases["good_records"]) <= urls
    errors = [
        row
        for shard in manifest.shards
        if shard.fate == "errors"
        for row in pq.read_table(f"{output}/{shard.path}").to_pylist()
        if row["uri"].endswith("dev_malformed.warc.gz")
    ]
    offsets = {case["case"]: f"byte {case['offset']}" for case in cases["cases"]}
    named = {row["record"]: row["error"] for row in errors}
    assert named[offsets["no-warc-type"]] == "malformed_header"
    assert named[offsets["garbage-between-members"]] == "garbage"
    assert named[offsets["truncated-last-member"]] == "truncated_file"
    assert set(named) <= set(offsets.values())
    file = next(record for record in manifest.inputs if record.path.endswith("dev_malformed.warc.gz"))
    assert file.skipped == {"warcinfo": 1, "request": 1, "metadata": 1, "revisit": 1}
    assert file.records + sum(file.skipped.values()) == len(cases["cases"])
