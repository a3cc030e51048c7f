"""A job server that ends while Beam waits for it ends the run; one that lives, or that ended before, doesn't."""

import subprocess
import threading

import pytest

from tamis.pipeline.graph import servers
from tamis.pipeline.graph.servers import watched_servers
from tamis.schemas.errors import InputError, RunError


@pytest.fixture
def server(monkeypatch):
    """A process that Beam is made to have started."""
    process = subprocess.Popen(["sleep", "300"])
    monkeypatch.setattr(servers, "_servers", lambda: [process])
    monkeypatch.setattr(servers, "GRACE", servers.EVERY)
    yield process
    process.kill()
    process.wait()


def in_a_run(*parts):
    with watched_servers("X"):
        for part in parts:
            part()


def raising(error):
    def go():
        raise error

    return go


def test_waiting_for_one_that_ended_is_over(server):
    waited = []
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("only the main thread can be interrupted")
    with pytest.raises(RunError, match="the process of the runner X ended before the run did"):
        in_a_run(server.kill, lambda: waited.append(threading.Event().wait(60)))
    assert waited == []


def test_what_beam_raises_because_it_ended_is_told_by_its_cause(server):
    with pytest.raises(RunError, match="the process of the runner X ended"):
        in_a_run(server.kill, raising(ConnectionError("Socket closed")))


def test_other_errors_pass(server):
    with pytest.raises(InputError, match="a is empty"):
        in_a_run(raising(InputError("a is empty")))
    with pytest.raises(KeyboardInterrupt):  # Ctrl-C ends job servers too
        in_a_run(server.kill, raising(KeyboardInterrupt()))


def test_one_that_had_ended_before_is_another_runs(server):
    server.kill()
    server.wait()
    with watched_servers("X"):
        threading.Event().wait(4 * servers.EVERY)
    with pytest.raises(ConnectionError):
        in_a_run(raising(ConnectionError("Socket closed")))
