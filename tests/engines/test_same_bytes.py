"""A config on every engine at hand: one pipeline, and the bytes and counts that the local engine gives."""

import hashlib
import json

import pytest

from tests.engines.carriers import tamis

ELSEWHERE = ["two workers", "embed", "prism", "pool", "boot"]


def digests(run):
    """Return path to digest of all that a run hands over but the manifest, which says when it ran."""
    folders = ("selected", "rejected", "errors")
    files = sorted(path for folder in folders for path in (run / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def counts(run):
    """Return what the manifest counts."""
    manifest = json.loads((run / "manifest.json").read_text())
    totals = {key: manifest[key] for key in ("read", "selected", "rejected", "errors")}
    return totals | {step["label"]: step["counts"] for step in manifest["steps"]}


def told_by_counters(run):
    """Return the funnel as counters tell it: what each rule of each step rejected, what was read and written."""
    manifest = json.loads((run / "manifest.json").read_text())
    told = {"read: records": manifest["read"]}
    for step in manifest["steps"]:
        for source in step["counts"]:
            for rule, number in source["rejected"].items():
                key = f"{step['label']}: rejected by {rule}"
                told[key] = told.get(key, 0) + number
    return told | {f"{fate}: documents written": manifest[fate] for fate in ("selected", "rejected")}


def balanced(run):
    found = counts(run)
    return found["read"] == found["selected"] + found["rejected"] + found["errors"]


@pytest.fixture
def local(config, tmp_path):
    ended = tamis(tmp_path / "told-local", "run", str(config), "-o", str(tmp_path / "local"))
    assert (ended.status, len(ended.jobs)) == (0, 1), ended.err
    return tmp_path / "local", ended


def same(local, carrier, config, folder):
    """Run elsewhere and compare; return how it ended."""
    run = folder / "elsewhere"
    ended = tamis(folder / "told", "run", str(config), "-o", str(run), *carrier)
    assert ended.status == 0, ended.err
    assert len(ended.jobs) == 1
    assert len(digests(run)) > 3
    assert digests(run) == digests(local)
    assert counts(run) == counts(local)
    assert balanced(run)
    verified = tamis(folder / "verify", "manifest", "verify", str(run))
    assert verified.status == 0, verified.out + verified.err
    return ended


@pytest.mark.parametrize("carrier", ELSEWHERE, indirect=True)
def test_every_engine_gives_the_same_bytes_as_one_pipeline(config, tmp_path, local, carrier, request):
    ended = same(local[0], carrier, config, tmp_path)
    assert ended.jobs != local[1].jobs
    funnel = told_by_counters(local[0])
    name = request.node.callspec.params["carrier"]
    if name != "embed":  # whose counters end with the job
        assert {key: ended.counters.get(key) for key in funnel} == funnel


def test_counters_are_the_funnel(local):
    funnel = told_by_counters(local[0])
    assert len(funnel) > 4
    assert {key: local[1].counters.get(key) for key in funnel} == funnel
