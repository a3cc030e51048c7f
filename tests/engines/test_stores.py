"""Runs on object stores, as emulators have them: same bytes, how many requests, and what goes wrong."""

import hashlib
import json
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from tamis.jobs.manifest.file import shard_path
from tamis.pipeline.storage import filesystem, stores
from tamis.schemas.manifest import Manifest
from tests.engines.carriers import ROOT, tamis
from tests.engines.stores import BUCKET, SECRET, STORES, Store, proxied

SOURCES = ("books", "code", "news", "web")
AGAIN = 50
"""Requests of a rerun that has nothing to do, at most, beside one for each shard."""
DRIVER = 25
"""Of these, requests of the driver before and after all tasks: at most so many (Cloud Storage's client asks twice)."""
FAULTS = (429, "cut", 500, "slow", 503, "stall")
HASTY = {"TAMIS_STORE_TIMEOUT": "3", "AWS_MAX_ATTEMPTS": "3"}
"""Silence counts as failure after so many seconds: sooner than the proxy's `stall` ends, later than its `slow`."""
FOR_EACH = 4
"""Requests for each shard and pass of a first run, at most."""


def lines(number: int) -> bytes:
    words = ["old", "grey", "broken", "wide", "small", "old"] * 20
    told = "The {} stone stood by the river, and all of the town had seen it there in the year {}. "
    texts = [told.format(word, i) * 5 for i, word in enumerate(words)]
    return "\n".join(
        json.dumps({"id": f"{number}-{i}", "text": text}) for i, text in enumerate(texts[number::3])
    ).encode()


@pytest.fixture(scope="module", params=sorted(STORES))
def store(request, tmp_path_factory):
    with STORES[request.param](tmp_path_factory.mktemp(request.param)) as made:
        for number, source in enumerate(SOURCES):
            made.write(f"corpus/{source}.jsonl", lines(number))
        yield made


PERPLEXITY = {
    "perplexity": {
        "model": str(ROOT / "examples" / "models" / "quality"), "bucket": "corpus",
        "keep": {"percentile": [0, 90], "by": ["source"]},
    }
}  # fmt: skip
"""A step with two decisions over the corpus, as configs have them."""


def config_of(folder, url, *more) -> str:
    """Write a config with a shard for each of its sources."""
    plain = {
        "name": "small",
        "inputs": [{"path": url(f"corpus/{source}.jsonl"), "source": source} for source in SOURCES],
        "steps": [{"exact_dedup": {}}, {"heuristics": {"presets": ["gopher_quality"]}}, *more],
    }
    folder.mkdir(exist_ok=True)
    (folder / "c.yaml").write_text(yaml.safe_dump(plain))
    return str(folder / "c.yaml")


def shards(read) -> dict[str, str]:
    paths = [shard_path("", one).lstrip("/") for one in Manifest.model_validate_json(read("manifest.json")).files]
    return {path: hashlib.sha256(read(path)).hexdigest() for path in paths}


def in_run(store: Store, run: str):
    return lambda name: store.read(f"{run}/{name}")


@pytest.fixture(scope="module")
def local(store, tmp_path_factory):
    """The shards of a run from the store into a folder."""
    folder = tmp_path_factory.mktemp("local")
    config = config_of(folder, store.url)
    ended = tamis(folder / "told", "run", config, "-o", str(folder / "run"), **store.given)
    assert ended.status == 0, ended.err
    found = shards(lambda name: (folder / "run" / name).read_bytes())
    assert len(found) > len(SOURCES)
    return found


def without_secrets(store: Store, run: str, ended) -> None:
    for told in (ended.out, ended.err, store.read(f"{run}/manifest.json").decode()):
        assert SECRET not in told


@pytest.mark.slow
def test_a_run_gives_the_bytes_of_a_local_one_for_few_requests(store, local, tmp_path):
    config = config_of(tmp_path / "config", store.url)
    command = ("run", config, "-o", store.url("runs/one"))
    store.told()
    ended = tamis(tmp_path / "far", *command, **store.given)
    assert ended.status == 0, ended.err
    first = store.told()["requests"]
    assert shards(in_run(store, "runs/one")) == local
    without_secrets(store, "runs/one", ended)
    store.told()
    again = tamis(tmp_path / "again", *command, **store.given)
    assert "nothing to do" in again.out, again.err
    second = store.told()["requests"]
    passes = Manifest.model_validate_json(store.read("runs/one/manifest.json")).passes
    print(json.dumps({"first": first, "again": second, "passes": len(passes)}))
    assert sum(first.values()) <= FOR_EACH * len(SOURCES) * len(passes), first
    assert sum(second.values()) <= AGAIN + len(SOURCES), second
    verified = tamis(tmp_path / "verified", "manifest", "verify", store.url("runs/one"), **store.given)
    assert verified.status == 0, verified.out + verified.err


@pytest.mark.slow
def test_each_task_by_a_process_that_remembers_nothing_asks_little_too(store, tmp_path):
    """As on a service at worst, where each task may be the first of its process."""
    config = config_of(tmp_path / "config", store.url, PERPLEXITY)
    near = tamis(tmp_path / "near", "run", config, "-o", str(tmp_path / "run"), **store.given)
    assert near.status == 0, near.err
    store.told()
    ended = tamis(tmp_path / "far", "run", config, "-o", store.url("runs/fresh"), **store.given, FORGETFUL="1")
    assert ended.status == 0, ended.err
    asked = store.told()["requests"]
    passes = len(Manifest.model_validate_json(store.read("runs/fresh/manifest.json")).passes)
    told = {"requests": asked, "tasks": ended.tasks, "shards and passes": len(SOURCES) * passes}
    print(json.dumps(told))
    assert ended.tasks > len(SOURCES) * 10
    assert sum(asked.values()) <= FOR_EACH * len(SOURCES) * passes, told
    assert sum(asked.values()) - DRIVER <= FOR_EACH * ended.tasks, told
    assert shards(in_run(store, "runs/fresh")) == shards(lambda name: (tmp_path / "run" / name).read_bytes())


@pytest.mark.slow
def test_what_goes_wrong_on_the_way_and_passes_changes_no_byte(store, local, tmp_path):
    config = config_of(tmp_path / "config", store.url)
    store.told()
    every = 17 if store.scheme == "abfs" else 7  # Azure's client waits for a quarter of a minute after each
    with store.failing(*FAULTS, every=every):
        ended = tamis(tmp_path / "far", "run", config, "-o", store.url("runs/two"), **store.given, **HASTY)
        assert ended.status == 0, ended.err
        assert store.told()["faults"] >= len(FAULTS)
    assert shards(in_run(store, "runs/two")) == local
    without_secrets(store, "runs/two", ended)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stall", 503])
def test_a_store_that_never_answers_ends_a_run_in_one_sentence(store, tmp_path, kind):
    config = config_of(tmp_path / "config", store.url)
    with store.failing(kind, every=1):
        ended = tamis(tmp_path / "far", "run", config, "-o", store.url("runs/four"), **store.given, **HASTY)
    print(f"{store.scheme}, {kind}: told after {ended.seconds:.0f} s")
    assert ended.status in (1, 2), ended.err
    (told,) = [line for line in ended.err.splitlines() if line.startswith("tamis: ")]
    assert "Traceback" not in ended.err
    assert f"{store.scheme}://{BUCKET}/" in told
    assert SECRET not in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "verify", "plan"])
def test_without_permission_one_sentence_names_the_address(store, tmp_path, command):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a few words"}) + "\n")
    plain = {"inputs": [{"path": str(tmp_path / "a.jsonl"), "source": "web"}], "steps": ["language"]}
    (tmp_path / "near.yaml").write_text(yaml.safe_dump(plain))
    commands = {
        "run": ("run", str(tmp_path / "near.yaml"), "-o", store.url("runs/three")),
        "verify": ("manifest", "verify", store.url("runs/three")),
        "plan": ("plan", config_of(tmp_path / "config", store.url)),
    }
    with store.failing(403, every=1):
        ended = tamis(tmp_path / "far", *commands[command], **store.given)
    assert ended.status in (1, 2)
    told = [line for line in ended.err.splitlines() if line.startswith("tamis: ")]
    assert len(told) == 1, ended.err
    assert "Traceback" not in ended.err
    assert "no permission" in told[0] or "no credentials" in told[0], told
    assert f"{store.scheme}://{BUCKET}/" in told[0]
    assert SECRET not in ended.err


def test_a_file_that_changes_after_it_was_listed_is_noticed(store, monkeypatch):
    if store.scheme == "gs":
        pytest.skip("gcsfs reads where its emulator is once a process")
    for name, value in store.given.items():
        monkeypatch.setenv(name, value)
    store.write("changing/a.jsonl", b"one")
    (before,) = filesystem.expand(store.url("changing/*.jsonl"))
    store.write("changing/a.jsonl", b"two, longer")
    after = filesystem.info(before.path)
    assert (before.size, after.size) == (3, 11)
    assert before.fingerprint != after.fingerprint
    with filesystem.open_binary(before.path) as stream:
        assert stream.read() == b"two, longer"


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder."""

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def web(tmp_path):
    """A folder that is served, behind the proxy: (its address there, its folder, a store to let it fail)."""
    (tmp_path / "served").mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with proxied(f"127.0.0.1:{server.server_port}", tmp_path) as proxy:
        yield proxy, tmp_path / "served", Store("http", proxy, {}, None)
    server.shutdown()
    server.server_close()


def test_files_by_http_are_read_whatever_passes_on_the_way(web, monkeypatch):
    address, folder, store = web
    monkeypatch.setattr(stores, "_WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(filesystem, "_WAIT", 0.0)
    content = bytes(range(256)) * 2_000
    (folder / "a.bin").write_bytes(content)
    for kind in (429, 500, 503, "cut"):
        with store.failing(kind, every=3):
            with filesystem.open_binary(f"{address}/a.bin") as stream:
                assert stream.read() == content
            told = filesystem.info(f"{address}/a.bin")
        assert told.size == len(content)


def test_a_file_by_http_that_changes_is_told_by_its_time(web):
    address, folder, _ = web
    (folder / "a.bin").write_bytes(b"one")
    before = filesystem.info(f"{address}/a.bin")
    (folder / "a.bin").write_bytes(b"two")
    os.utime(folder / "a.bin", (1_000_000_000, 1_000_000_000))
    after = filesystem.info(f"{address}/a.bin")
    assert filesystem.tells_changes(after.fingerprint)
    assert before.fingerprint != after.fingerprint
