"""Whole runs by a stand-in for Dataflow that executes the staged graph, all files in a storage emulator."""

import hashlib
import importlib.util
import json
import os
import signal
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml

from tamis.jobs.manifest.file import shard_path
from tamis.schemas.manifest import Manifest
from tests.engines.carriers import HERE, Child, tamis, wait_for
from tests.engines.stores import BUCKET, GOOGLE, PlainGoogle, Store, google, process

pytest.importorskip("gcp_storage_emulator", reason="pip install gcp-storage-emulator")
if importlib.util.find_spec("gcsfs") is None:
    pytest.skip("Beam's extra gcp isn't installed: pip install '.[gcp]'", allow_module_level=True)

LIMIT = 120.0
EMULATED: dict[str, str] = {**GOOGLE}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A bucket with the corpus."""
    with google(tmp_path_factory.mktemp("store")) as address:
        EMULATED["STORAGE_EMULATOR_HOST"] = address
        yield Store("gs", address, EMULATED, PlainGoogle(address))


@pytest.fixture(scope="module")
def service(store, tmp_path_factory):
    """Dataflow's stand-in: (its options, its folder)."""
    folder = tmp_path_factory.mktemp("service")
    port = folder / "port"
    command = [sys.executable, str(HERE / "dataflow_service.py"), str(port), str(folder)]
    with process(command, folder / "log", **EMULATED):
        wait_for(lambda: port.exists() and port.read_text(), 30, "service")
        yield (
            (
                "--project=tamis-test",
                "--region=europe-west1",
                f"--temp_location=gs://{BUCKET}/tmp",
                "--sdk_container_image=europe-docker.pkg.dev/tamis-test/tamis/worker:1",
                "--sdk_location=container",
                f"--dataflow_endpoint=http://localhost:{port.read_text()}",
                "--no_auth",
            ),
            folder,
        )


def jobs(folder: Path) -> int:
    return len(list(folder.glob("job-*.json")))


@pytest.fixture(scope="module")
def remote(store, tmp_path_factory):
    """The folder of a config whose inputs are in the bucket."""
    folder = tmp_path_factory.mktemp("remote")
    texts = [f"The {word} stone stood by the river, and all of the town had seen {word} things there." for word in
            ("old", "grey", "broken", "wide", "small", "old")]  # fmt: skip
    told = [f"{text} It was year {i % 5}. " * 5 for i, text in enumerate(texts * 9)]
    lines = "".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(told))
    store.write("corpus/part.jsonl", lines.encode())
    plain = {"name": "small", "steps": [{"exact_dedup": {}}, {"heuristics": {"presets": ["gopher_quality"]}}]}
    config = plain | {"inputs": [{"path": f"gs://{BUCKET}/corpus/part.jsonl", "source": "web"}]}
    (folder / "far.yaml").write_text(yaml.safe_dump(config))
    return folder


def shards(read) -> dict[str, str]:
    paths = [shard_path("", one).lstrip("/") for one in Manifest.model_validate_json(read("manifest.json")).files]
    return {path: hashlib.sha256(read(path)).hexdigest() for path in paths}


def run(folder, remote, options, output, *further, limit=LIMIT):
    return tamis(
        folder, "run", str(remote / "far.yaml"), "-o", f"gs://{BUCKET}/{output}", "--runner", "DataflowRunner",
        *further, "--", *options, limit=limit, **EMULATED,
    )  # fmt: skip


@pytest.mark.slow
def test_a_run_by_the_service_gives_the_bytes_of_a_local_one(store, service, remote, tmp_path):
    options, folder = service
    before = jobs(folder)
    ended = run(tmp_path / "far", remote, options, "followed")
    assert ended.status == 0, ended.err
    assert "https://console.cloud.google.com/dataflow/jobs/europe-west1/2026-01-01" in ended.err
    assert jobs(folder) - before == 1
    request = json.loads((folder / f"job-{before + 1}.json").read_text())
    assert request["labels"].keys() >= {"tamis-config", "tamis-run", "tamis-version"}
    assert request["name"].startswith("tamis-small-")
    near = tamis(tmp_path / "near", "run", str(remote / "far.yaml"), "-o", str(tmp_path / "run"), **EMULATED)
    assert near.status == 0, near.err
    far = shards(lambda path: store.read(f"followed/{path}"))
    local = shards(lambda path: (tmp_path / "run" / path).read_bytes())
    assert far == local
    assert len(far) >= 2
    assert not store.exists("followed/work/passes/job.json")
    again = run(tmp_path / "again", remote, options, "followed")
    assert (again.status, jobs(folder) - before) == (0, 1)
    assert "nothing to do" in again.out


@pytest.mark.slow
def test_a_job_let_go_is_found_by_the_runs_folder_and_finishes_it(store, service, remote, tmp_path):
    options, folder = service
    before = jobs(folder)
    (folder / "hold").touch()
    try:
        ended = run(tmp_path / "a", remote, options, "let-go", "--no-wait")
        assert ended.status == 0, ended.err
        assert "gcloud dataflow jobs cancel 2026-01-01" in ended.out
        told = tamis(tmp_path / "b", "status", f"gs://{BUCKET}/let-go", **EMULATED)
        assert told.status == 0, told.err
        assert "submitted" in told.out
        assert "console.cloud.google.com" in told.out
        second = run(tmp_path / "c", remote, options, "let-go")
        assert second.status == 1
        assert "still works in this folder" in second.err
        assert len(second.err.strip().splitlines()) == 1, second.err
    finally:
        (folder / "hold").unlink()
    wait_for(lambda: store.exists("let-go/manifest.json"), LIMIT, "manifest")
    assert jobs(folder) - before == 1
    told = tamis(tmp_path / "d", "status", f"gs://{BUCKET}/let-go", **EMULATED)
    assert "finished" in told.out
    assert "nothing to do" in run(tmp_path / "e", remote, options, "let-go").out


@pytest.mark.slow
def test_a_job_that_fails_is_one_sentence_and_the_next_call_goes_on(store, service, remote, tmp_path):
    options, folder = service
    (folder / "fail").touch()
    try:
        ended = run(tmp_path / "a", remote, options, "failed")
    finally:
        (folder / "fail").unlink()
    assert ended.status == 1
    assert "Traceback" not in ended.err
    assert "ended the job as failed" in ended.err
    assert run(tmp_path / "b", remote, options, "failed").status == 0


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_the_job_at_work(store, service, remote, tmp_path):
    options, folder = service
    before = jobs(folder)
    (folder / "hold").touch()
    try:
        driver = Child(
            tmp_path / "a", "run", str(remote / "far.yaml"), "-o", f"gs://{BUCKET}/killed", "--runner",
            "DataflowRunner", "--", *options, **EMULATED,
        )  # fmt: skip
        wait_for(lambda: store.exists("killed/work/passes/job.json"), LIMIT, "job")
        driver.kill()
        again = run(tmp_path / "b", remote, options, "killed")
        assert again.status == 1, again.out
    finally:
        (folder / "hold").unlink()
    wait_for(lambda: store.exists("killed/manifest.json"), LIMIT, "manifest")
    assert jobs(folder) - before == 1


def driver(folder, remote, options, output, *further):
    """Start a driver that follows its job, and wait for the job."""
    return Child(
        folder, "run", str(remote / "far.yaml"), "-o", f"gs://{BUCKET}/{output}", "--runner", "DataflowRunner",
        *further, "--", *options, **EMULATED,
    )  # fmt: skip


@pytest.mark.slow
def test_ctrl_c_leaves_a_job_at_work_and_cancels_it_on_request(store, service, remote, tmp_path):
    options, folder = service
    (folder / "hold").touch()
    try:
        for output, further, told, state in (
            ("left", (), "works on, and finishes the run by itself: `gcloud dataflow jobs cancel", "RUNNING"),
            ("ended", ("--cancel-on-stop",), "was cancelled, and what is finished is kept", "CANCELLED"),
        ):
            child = driver(tmp_path / output, remote, options, output, *further)
            wait_for(lambda output=output: store.exists(f"{output}/work/passes/job.json"), LIMIT, "job")
            job = json.loads(store.read(f"{output}/work/passes/job.json"))
            os.kill(child.process.pid, signal.SIGINT)
            ended = child.ended(LIMIT)
            assert ended.status == 130
            last = ended.err.strip().splitlines()[-1]
            assert last.startswith(f"tamis: stopped; the job {job['name']} ")
            assert told in last
            assert "Traceback" not in ended.err
            assert state_of(options, job["id"]) == f"JOB_STATE_{state}"
        command = ("cancel", f"gs://{BUCKET}/left", "--", *options)
        ended = tamis(tmp_path / "c", *command, **EMULATED)
        assert (ended.status, ended.err) == (0, ""), ended.err
        assert "was told to end" in ended.out
        again = tamis(tmp_path / "d", *command, **EMULATED)
        assert again.status == 1
        assert "is over already" in again.err
        assert len(again.err.strip().splitlines()) == 1
        nothing = tamis(tmp_path / "e", "cancel", f"gs://{BUCKET}/nothing", **EMULATED)
        assert "has no job on a service" in nothing.err
    finally:
        (folder / "hold").unlink()
    assert run(tmp_path / "f", remote, options, "ended").status == 0


def state_of(options, job: str) -> str:
    """Return what the service tells of a job."""
    endpoint = next(option for option in options if option.startswith("--dataflow_endpoint=")).partition("=")[2]
    address = f"{endpoint}/v1b3/projects/tamis-test/locations/europe-west1/jobs/{job}"
    with urllib.request.urlopen(address, timeout=30) as answer:
        return json.loads(answer.read())["currentState"]
