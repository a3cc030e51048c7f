"""What is tried again, and what is said of a store at once."""

import socket

import pytest

from tamis.pipeline.storage import filesystem, stores
from tamis.schemas.errors import ConfigError, InputError


class Told(Exception):
    """An answer of a server."""

    def __init__(self, status):
        self.status = status
        super().__init__(f"status {status}")


class ServerDisconnectedError(Exception):
    """As aiohttp calls a connection that was cut."""


class Store:
    """Fails as it is told to, then answers."""

    protocol = "abfs"

    def __init__(self, *failures):
        self.failures = list(failures)
        self.asked = 0

    def cat_file(self, path):
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return b"content"

    def invalidate_cache(self, path):
        raise Told(503)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(stores, "_WAITS", (0.0, 0.0))
    monkeypatch.setattr(stores.time, "sleep", lambda _: None)


@pytest.mark.parametrize("failure", [Told(429), Told(500), Told(503), ServerDisconnectedError()])
def test_what_may_pass_is_tried_again(failure):
    store = Store(failure, failure)
    assert stores.patient("abfs://b/a", store).cat_file("b/a") == b"content"
    assert store.asked == 3


def test_what_stays_wrong_is_raised_after_the_last_try():
    store = Store(*[Told(503)] * 5)
    with pytest.raises(Told, match="503"):
        stores.patient("abfs://b/a", store).cat_file("b/a")
    assert store.asked == 3


@pytest.mark.parametrize("failure", [Told(403), Told(404), FileNotFoundError("b/a"), ValueError("no")])
def test_what_does_not_pass_is_not_tried_again(failure):
    store = Store(failure)
    with pytest.raises(type(failure)):
        stores.patient("abfs://b/a", store).cat_file("b/a")
    assert store.asked == 1


def test_stores_whose_clients_try_again_are_left_to_them():
    store = Store(Told(503))
    assert stores.patient("s3://b/a", store) is store
    assert stores.patient("gs://b/a", store) is store
    with pytest.raises(Told):  # nor is what asks nobody
        stores.patient("abfs://b/a", store).invalidate_cache("b/a")


def test_a_wrapped_cause_counts_too():
    outer = FileNotFoundError("http://x/a")
    outer.__cause__ = Told(503)
    store = Store(outer)
    assert stores.patient("http://x/a", store).cat_file("a") == b"content"


@pytest.fixture
def nowhere(monkeypatch):
    monkeypatch.setattr(stores, "_REACHED", set())
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as one:  # bound, and nobody listens
        one.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{one.getsockname()[1]}"
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        yield address


@pytest.mark.parametrize("ask", [filesystem.exists, filesystem.content, filesystem.info, filesystem.expand])
def test_cloud_storage_out_of_reach_is_one_sentence_at_once(nowhere, ask):
    with pytest.raises(InputError, match="can't be reached") as told:
        ask("gs://some-bucket/a.jsonl")
    assert "gs://some-bucket/a.jsonl" in str(told.value)
    assert nowhere in str(told.value)
    assert "\n" not in str(told.value)


def test_behind_a_proxy_nobody_is_asked(nowhere, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    stores.check_reach("gs://some-bucket/a.jsonl")


def test_an_endpoint_that_answered_is_not_asked_again(monkeypatch):
    monkeypatch.setattr(stores, "_REACHED", set())
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"127.0.0.1:{server.getsockname()[1]}")
        stores.check_reach("gs://some-bucket/a.jsonl")
    stores.check_reach("gs://some-bucket/a.jsonl")
    stores.check_reach("s3://some-bucket/a.jsonl")


def test_no_silence_lasts_for_ever():
    limits = stores.client_options("https://x/a")["client_kwargs"]["timeout"]
    assert (limits.sock_connect, limits.sock_read) == (15.0, 60.0)
    assert stores.client_options("gs://b/a")["requests_timeout"].sock_read == 60.0
    assert stores.client_options("s3://b/a") == {}  # its client waits for 15 seconds
    assert stores.client_options("abfs://b/a") == {"connection_timeout": 15, "read_timeout": 60}


def test_the_environment_may_say_how_long_a_store_may_be_silent(monkeypatch):
    monkeypatch.setenv("TAMIS_STORE_TIMEOUT", "2.5")
    assert stores.client_options("https://x/a")["client_kwargs"]["timeout"].sock_read == 2.5
    assert stores.client_options("gs://b/a")["requests_timeout"].sock_read == 2.5
    assert stores.client_options("s3://b/a") == {"config_kwargs": {"read_timeout": 2.5}}
    assert stores.client_options("abfs://b/a")["read_timeout"] == 3
    for wrong in ("soon", "0", "-1", "nan", "inf"):
        monkeypatch.setenv("TAMIS_STORE_TIMEOUT", wrong)
        with pytest.raises(ConfigError, match="TAMIS_STORE_TIMEOUT"):
            stores.client_options("gs://b/a")
