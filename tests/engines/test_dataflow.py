"""The demo translated for Dataflow: what the service would be asked, without network or credentials."""

import importlib.util
import json
import re
import subprocess
import sys

import pytest

from tamis.jobs.run.folder import MARKER
from tamis.jobs.run.status import run_status
from tamis.pipeline.graph.dataflow import MAX_GRAPH, check_graph, option_problems
from tamis.pipeline.graph.failures import cause
from tamis.pipeline.graph.remote_job import RemoteJob, forget_job, note_job
from tamis.pipeline.passes.stage import Fetched, Stage
from tamis.schemas.errors import ConfigError
from tests.engines.carriers import HERE, LIMIT, ROOT, environment, tamis


def installed(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


if not installed("google.cloud.dataflow_v1beta3"):
    pytest.skip("Beam's extra gcp isn't installed: pip install '.[gcp]'", allow_module_level=True)


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


def refused(tmp_path, config, *arguments, **changes):
    ended = tamis(tmp_path, "run", str(config), "--runner", "DataflowRunner", *arguments, **changes)
    assert ended.status == 2, ended.err
    assert "Traceback" not in ended.err
    (sentence,) = ended.err.strip().splitlines()
    return sentence


GIVEN = ["--project=tamis-test", "--region=europe-west1", "--temp_location=gs://bucket/tmp"]
IMAGE = "--sdk_container_image=europe-docker.pkg.dev/tamis-test/tamis/worker:1"


def test_what_workers_cant_see_is_named_before_anything_is_sent(config, corpus, tmp_path):
    told = refused(tmp_path, config, "-o", str(tmp_path / "run"), "--cache", str(tmp_path), "--", *GIVEN, IMAGE)
    assert "refuses its options" not in told
    assert f"the output {tmp_path / 'run'} is local" in told
    assert f"the cache {tmp_path} is local" in told
    assert "step letters: scorer: " in told or "step score" in told
    assert "inputs: " in told
    assert str(corpus / "part0.jsonl") in told
    assert "and 1 more are local" in told


def test_folders_of_the_image_count_as_seen_and_outputs_there_do_not(config, corpus, tmp_path):
    folders = f"{corpus}:{config.parent}:{tmp_path}"
    told = refused(tmp_path, config, "-o", str(tmp_path / "run"), "--", *GIVEN, IMAGE, TAMIS_IN_IMAGE=folders)
    assert "inputs: " not in told
    assert "step " not in told
    assert "the output" in told


@pytest.mark.parametrize(
    ("left_out", "named"),
    [
        ("--project", "project: give --project"),
        ("--region", "region: give --region"),
        ("--temp_location", "temp_location: give --temp_location=gs://"),
        ("--sdk_container_image", "sdk_container_image: give"),
    ],
)
def test_an_option_that_is_missing_is_named(left_out, named):
    options = [option for option in [*GIVEN, IMAGE] if not option.startswith(left_out)]
    (problem,) = option_problems(options)
    assert problem.startswith(named)


def test_options_in_order_are_taken():
    assert option_problems([*GIVEN, IMAGE]) == []
    assert option_problems([*GIVEN, "--setup_file=./setup.py"]) == []


def test_values_that_cannot_be_are_told_in_beams_words():
    wrong = ["--project=Tamis Test", "--region=europe-west1", "--temp_location=/tmp/here", IMAGE]
    told = "; ".join(option_problems(wrong))
    assert "Invalid Project ID (Tamis Test)" in told
    assert "Invalid GCS path (/tmp/here)" in told


def test_graphs_that_the_service_refuses_are_refused_here():
    check_graph(MAX_GRAPH - 1)
    with pytest.raises(ConfigError, match=r"the run's graph has 20.0 MB and Dataflow refuses 20 MB"):
        check_graph(MAX_GRAPH)


def test_labels_have_the_characters_of_labels(job):
    assert set(job["labels"]) == {"tamis-config", "tamis-run", "tamis-version"}
    assert all(re.fullmatch("[a-z0-9_-]{1,63}", value) for value in job["labels"].values())
    assert job["labels"]["tamis-run"].startswith("demo-")


def test_letting_go_is_for_services(config, tmp_path):
    ended = tamis(tmp_path, "run", str(config), "-o", str(tmp_path / "run"), "--no-wait")
    assert ended.status == 2
    assert "--no-wait lets go of a job on a service" in ended.err


def test_a_job_is_found_by_the_folder_of_its_run(tmp_path):
    job = RemoteJob("tamis-a-1", "2026_1", "tamis-test", "europe-west1", "2026-01-01 00:00:00", str(tmp_path / "f"))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / MARKER).touch()
    note_job(str(tmp_path / "work" / "passes"), job)
    (tmp_path / "f").write_text(json.dumps({"kind": "KeyError", "message": "x", "where": "read: a", "damaged": None}))
    status = run_status(str(tmp_path))
    assert (status.state, status.job, status.error) == ("submitted", job, "read: a: KeyError: x")
    assert status.job.cancel == "gcloud dataflow jobs cancel 2026_1 --region=europe-west1 --project=tamis-test"
    forget_job(str(tmp_path / "work" / "passes"))
    assert run_status(str(tmp_path)).state == "stopped"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("Dataflow pipeline failed. State: FAILED, Error:\nWorkflow failed: a quota", "as failed: Workflow"),
        ("Dataflow pipeline failed. State: CANCELLED, Error:\nNone", "ended the job as cancelled: look at"),
        ("Dataflow pipeline failed. State: FAILED, Error:\nTraceback\nValueError: x", "as failed: ValueError: x"),
    ],
)
def test_what_the_service_says_of_a_job_that_ended_is_one_line(error, told):
    assert told in str(cause("DataflowRunner", RuntimeError(error)))


def test_models_fetched_from_elsewhere_are_fetched_again_where_they_are_missing(tmp_path):
    model = tmp_path / "model"
    model.write_text("a")
    far = Fetched(model.as_uri(), "/nowhere/model")
    assert far.here() == str(model)
    assert Stage(0, None, {"model": far}).model_paths("") == {"model": str(model)}
    assert Fetched("gs://not/asked", str(model)).here() == str(model)
