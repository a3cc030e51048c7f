"""A config on every engine at hand: one pipeline, and the bytes and counts that the local engine gives."""

import hashlib
import json

import pytest
import yaml

from tests.engines.carriers import prism_arguments, tamis

SLOW = pytest.mark.slow
ELSEWHERE = ["embed", "prism", "pool", *(pytest.param(name, marks=SLOW) for name in ("two workers", "boot"))]
DEMO = ["two workers", "embed", "prism", "pool", "boot"]


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


def same(local, carrier, config, folder, **changes):
    """Run elsewhere and compare; return how it ended."""
    run = folder / "elsewhere"
    ended = tamis(folder / "told", "run", str(config), "-o", str(run), *carrier, **changes)
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
    found = {key: ended.counters.get(key, 0) for key in funnel}
    name = request.node.callspec.params["carrier"]
    if name == "two workers":
        assert found == funnel
    elif name == "embed":  # where a job's counters can be gone when it is over
        assert found == funnel or not ended.counters
    else:
        # Prism can lose what one bundle counted when two bundles of a transform end at the same time.
        assert all(0 < found[key] <= funnel[key] for key in funnel), (found, funnel)
        assert sum(found.values()) > 0.5 * sum(funnel.values())


def test_counters_are_the_funnel(local):
    run, ended = local
    assert len(ended.jobs) == 1
    funnel = told_by_counters(run)
    assert len(funnel) > 4
    assert {key: ended.counters.get(key) for key in funnel} == funnel


@pytest.fixture(scope="module")
def local_demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    ended = tamis(folder / "told", "run", "examples/demo.yaml", "-o", str(folder / "run"))
    assert (ended.status, len(ended.jobs)) == (0, 1), ended.err
    return folder / "run", ended


@pytest.mark.slow
@pytest.mark.parametrize("carrier", DEMO, indirect=True)
def test_the_demo_is_one_pipeline_with_the_same_bytes_on_every_engine(tmp_path, local_demo, carrier):
    same(local_demo[0], carrier, "examples/demo.yaml", tmp_path)


@pytest.mark.slow
def test_the_demo_on_prism_as_it_is_released(tmp_path, local_demo, prism_zip):
    home = tmp_path / "home"  # where Beam unpacks it
    home.mkdir()
    same(local_demo[0], prism_arguments(prism_zip), "examples/demo.yaml", tmp_path, HOME=str(home))
    assert list((home / ".apache_beam").rglob("prism*"))


@pytest.mark.slow
def test_counters_of_the_demo_are_its_funnel(local_demo):
    run, ended = local_demo
    funnel = told_by_counters(run)
    assert {key: ended.counters.get(key, 0) for key in funnel} == funnel
    assert not [name for name in ended.counters if "rejected" in name and name not in funnel and ended.counters[name]]


@pytest.fixture(scope="module")
def local_large(dev_data, tmp_path_factory):
    """A run over 240 MB of text by the local engine: (its config, its folder)."""
    folder = tmp_path_factory.mktemp("large")
    plain = {
        "name": "large",
        "inputs": [{"path": str(dev_data / "dev.jsonl.zst"), "source": "mixed"}],
        "steps": ["exact_dedup", {"heuristics": {"presets": ["gopher_quality"]}}, {"sample": {"fraction": 0.5}}],
        "output": {"shard_mb": 64},
    }
    (folder / "large.yaml").write_text(yaml.safe_dump(plain))
    ended = tamis(folder / "told", "run", str(folder / "large.yaml"), "-o", str(folder / "run"))
    assert ended.status == 0, ended.err
    return folder / "large.yaml", folder / "run"


@pytest.mark.slow
@pytest.mark.devdata
@pytest.mark.parametrize("carrier", ["prism", "pool", "boot"], indirect=True)
def test_two_hundred_megabytes_give_the_same_bytes_through_prism(tmp_path, local_large, carrier):
    config, run = local_large
    ended = same(run, carrier, config, tmp_path)
    assert sum(one["text_bytes"] for one in json.loads((run / "manifest.json").read_text())["shards"]) > 200e6
    print(f"{ended.seconds:.0f} s")
