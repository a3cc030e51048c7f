"""The demo translated for Dataflow: what the service would be asked, without network or credentials."""

import importlib.util
import json
import re
import subprocess
import sys

import pytest

from tests.engines.carriers import HERE, LIMIT, ROOT, environment, tamis


def installed(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


if not installed("google.cloud.dataflow_v1beta3"):
    pytest.skip("Beam's extra gcp isn't installed: pip install 'tamis[gcp]'", allow_module_level=True)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    command = [sys.executable, str(HERE / "dataflow_job.py"), "examples/demo.yaml", str(tmp_path_factory.mktemp("job"))]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_a_run_is_one_job_with_a_valid_name_and_labels(job):
    assert job["jobs"] == 1
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?", job["name"])
    assert job["name"].startswith("tamis-demo-")
    assert re.fullmatch(r"[0-9a-f]{16}", job["labels"]["tamis-config"])


def test_its_graph_is_far_below_what_the_service_refuses(job):
    assert job["bytes"] < 5_000_000  # 20 MB is refused
    # Paths of configured globs are in the graph, names of input files aren't.
    assert [path for path in job["inputs_named"] if "warc.gz" in path and "wet" not in path] == []


def test_its_console_tells_passes_and_steps(job):
    assert set(job["shown"]["pass"]) == set(job["passes"])
    assert {"extract", "language + exact_dedup", "run"} <= set(job["shown"]["step"])
    for number, name in enumerate(job["passes"]):
        label = f"passes/{number:02d} {name}"
        assert any(t == label or t.startswith((f"{label}: ", f"{label}/")) for t in job["transforms"]), label


def test_all_of_it_runs_in_the_image_given(job):
    assert job["images"] == ["europe-docker.pkg.dev/tamis-test/tamis/worker:1"]


def test_options_that_contradict_one_another_are_told_before_anything_runs(config, tmp_path):
    ended = tamis(
        tmp_path, "run", str(config), "-o", str(tmp_path / "run"), "--runner", "DataflowRunner", "--", "--project=p"
    )
    assert ended.status == 2
    assert "Traceback" not in ended.err
    assert len(ended.err.strip().splitlines()) == 1, ended.err
    assert "the runner DataflowRunner refuses its options: " in ended.err
    assert "temp_location" in ended.err
