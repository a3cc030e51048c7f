"""What Beam says stays out of a terminal; what others say doesn't."""

import logging
import threading

import pytest

from tamis.pipeline.graph.quiet import silence_beam, silence_workers


@pytest.fixture
def shown():
    """What a handler on the root logger is given."""
    silence_beam()
    records = []

    class Handler(logging.Handler):
        def emit(self, record):
            records.append((record.name, record.getMessage()))

    handler = Handler()
    logging.getLogger().addHandler(handler)
    yield records
    logging.getLogger().removeHandler(handler)


def logged_at(path, logger, text):
    logger = logging.getLogger(logger)
    record = logger.makeRecord(logger.name, logging.ERROR, path, 1, text, (), None)
    logger.handle(record)


def test_beams_records_are_dropped_and_others_pass(shown):
    package = "/opt/lib/apache_beam/"
    logged_at(f"{package}typehints/decorators.py", None, "This output type hint will be ignored")
    logged_at(f"{package}runners/portability/portable_runner.py", None, "a message of the job")
    logged_at(f"{package}utils/subprocess_server.py", "PrismJobServer", '{"level": "INFO"}')
    logged_at("/home/me/apache_beam_notes/mine.py", None, "kept")
    logged_at("/home/me/mine.py", "mine", "kept too")
    assert shown == [("root", "kept"), ("mine", "kept too")]


def test_tamis_debug_shows_them(shown, monkeypatch):
    monkeypatch.setenv("TAMIS_DEBUG", "1")
    logged_at("/opt/lib/apache_beam/pipeline.py", None, "a note")
    logged_at("/opt/lib/apache_beam/io/gcp.py", None, "apitools not found, and so on")
    assert shown == [("root", "a note")]


@pytest.fixture
def ended(monkeypatch):
    """The exceptions that ended threads, as a hook set before ours is told them."""
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_value))
    silence_workers()
    return seen


def in_a_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_a_lost_connection_of_beam_is_silent_and_other_errors_are_not(ended):
    lost = type("RpcError", (Exception,), {"__module__": "grpc"})

    def raising(error, path):
        names = {"error": error, "__name__": "somewhere"}
        exec(compile("def run():\n    raise error\n", path, "exec"), names)
        return names["run"]

    in_a_thread(raising(lost("gone"), "/opt/lib/grpc/_channel.py"))
    assert ended == []
    in_a_thread(raising(KeyError("mine"), "/opt/lib/grpc/_channel.py"))
    in_a_thread(raising(lost("elsewhere"), "/home/me/mine.py"))
    assert [type(error).__name__ for error in ended] == ["KeyError", "RpcError"]
