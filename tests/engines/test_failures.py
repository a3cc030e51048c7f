"""What a user is told when something goes wrong on an engine: one sentence within ten seconds, and the run goes on."""

import os
import signal
import time

import pytest

from tests.engines.carriers import (
    EMBEDDED,
    Child,
    external,
    prism_arguments,
    processes,
    tamis,
    wait_for,
    worker_pool,
)
from tests.engines.test_same_bytes import counts, digests

SLOW = pytest.mark.slow
SECONDS = 10.0
"""Within which a user is told; on a machine with other work to do too."""


@pytest.fixture
def fault(config):
    """The file that says what goes wrong in the scorer."""
    return config.with_name("fault")


def waiting(config, limit=120):
    """Wait until a worker is inside the scorer; return its process."""
    wait_for(lambda: list(config.parent.glob("waiting-*")), limit, "worker in the scorer")
    return int(next(config.parent.glob("waiting-*")).name.partition("-")[2])


def told(ended, sentence):
    """Check that a run failed with one line after those of its progress."""
    assert ended.status == 1, ended.err
    print(f"told after {ended.seconds:.1f} s")
    assert ended.seconds < SECONDS
    lines = ended.err.splitlines()
    assert [line for line in lines if not line.strip() or line[0].isspace()] == []
    assert not any(word in ended.err for word in ("Traceback", "Exception in", "INFO:", "WARNING:", "ERROR:", "root:"))
    assert lines[-1].startswith("tamis: ")
    assert sentence in lines[-1]
    assert sum(line.startswith("tamis: ") for line in lines) == 1
    assert ended.out == ""


def goes_on(config, run, folder, arguments, undisturbed):
    """Run again, and compare with a run that nothing disturbed."""
    config.with_name("fault").unlink(missing_ok=True)
    again = tamis(folder / "again", "run", str(config), "-o", str(run), *arguments)
    assert again.status == 0, again.err
    assert digests(run) == digests(undisturbed)
    assert counts(run) == counts(undisturbed)


@pytest.mark.parametrize(
    "carrier", ["embed", *(pytest.param(n, marks=SLOW) for n in ("local", "prism", "pool"))], indirect=True
)
def test_an_error_inside_a_worker_is_the_sentence(config, fault, tmp_path, carrier, local):
    run = tmp_path / "run"
    fault.write_text("wait")
    child = Child(tmp_path / "told", "run", str(config), "-o", str(run), *carrier)
    try:
        waiting(config)
        fault.write_text("raise")
        ended = child.ended(since=time.monotonic())
    finally:
        child.kill()
    told(ended, "MemoryError: the scorer's table doesn't fit")
    assert "heuristics + score: " in ended.err.splitlines()[-1]
    assert "documents 1 to " in ended.err.splitlines()[-1]
    if carrier and "PrismRunner" in carrier:
        goes_on(config, run, tmp_path, carrier, local[0])


@SLOW
@pytest.mark.parametrize("carrier", ["embed", "prism"], indirect=True)
def test_an_error_on_purpose_is_told_as_it_was_raised(config, fault, tmp_path, carrier):
    fault.write_text("refuse")
    ended = tamis(tmp_path / "told", "run", str(config), "-o", str(tmp_path / "run"), *carrier)
    ended.seconds = 0.0  # of the whole run
    told(ended, "tamis: letters.bin is damaged: train it again")


def test_prism_killed_is_told_and_the_run_goes_on(config, fault, prism, tmp_path, local):
    run = tmp_path / "run"
    fault.write_text("wait")
    child = Child(tmp_path / "told", "run", str(config), "-o", str(run), *prism_arguments(prism))
    try:
        waiting(config)
        (server,) = [pid for pid, line in processes(child.process.pid).items() if "--job_port" in line]
        os.kill(server, signal.SIGKILL)
        ended = child.ended(since=time.monotonic())
    finally:
        child.kill()
    told(ended, "the process of the runner PrismRunner ended before the run did, killed or out of memory; run again")
    goes_on(config, run, tmp_path, prism_arguments(prism), local[0])


@SLOW
def test_a_worker_killed_is_told_and_the_run_goes_on(config, fault, prism, tmp_path, local):
    run = tmp_path / "run"
    fault.write_text("wait")
    with worker_pool(tmp_path / "pool") as (port, pool):
        arguments = prism_arguments(prism, *external(port))
        child = Child(tmp_path / "told", "run", str(config), "-o", str(run), *arguments)
        try:
            worker = waiting(config)
            assert worker in processes(pool.pid)
            os.kill(worker, signal.SIGKILL)
            ended = child.ended(since=time.monotonic())
        finally:
            child.kill()
        told(ended, "the runner PrismRunner lost a worker process, which was killed or ran out of memory; run again")
        goes_on(config, run, tmp_path, arguments, local[0])


def test_a_job_server_that_isnt_there_is_told(config, tmp_path):
    nowhere = ("--runner", "PortableRunner", "--", "--job_endpoint=localhost:9", "--environment_type=LOOPBACK")
    ended = tamis(
        tmp_path / "told", "run", str(config), "-o", str(tmp_path / "run"), *nowhere, "--job_server_timeout=2"
    )
    ended.seconds = 0.0
    told(ended, "the runner PortableRunner can't be reached: it has ended, or its address is wrong")


@SLOW
def test_a_job_server_that_never_starts_is_told(config, tmp_path):
    broken = tmp_path / "prism"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    ended = tamis(tmp_path / "told", "run", str(config), "-o", str(tmp_path / "run"), *prism_arguments(broken))
    ended.seconds = 0.0
    told(ended, "the runner PrismRunner failed: Service failed to start up with error 3")


@pytest.mark.parametrize(
    "carrier", [*(pytest.param(n, marks=SLOW) for n in ("local", "embed")), "prism"], indirect=True
)
def test_a_terminal_shows_progress_and_nothing_of_the_runner(config, tmp_path, carrier):
    ended = tamis(tmp_path / "told", "run", str(config), "-o", str(tmp_path / "run"), *carrier)
    assert ended.status == 0, ended.err
    progress = [line for line in ended.err.splitlines() if " of " in line and line.endswith(" s")]
    assert ended.err.splitlines() == progress


@SLOW
def test_a_terminal_shows_everything_when_asked(config, fault, tmp_path):
    fault.write_text("raise")
    ended = tamis(tmp_path / "told", "run", str(config), "-o", str(tmp_path / "run"), *EMBEDDED, TAMIS_DEBUG="1")
    assert ended.status == 1, ended.err
    assert "Traceback" in ended.err
    assert "apache_beam/runners/worker/" in ended.err
