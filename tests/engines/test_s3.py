"""Runs with inputs and output on S3, as moto has it: same bytes, how many requests, and what goes wrong."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress

import pytest
import yaml

from tamis.jobs.manifest.file import shard_path
from tamis.schemas.manifest import Manifest
from tests.engines.carriers import HERE, environment, tamis, wait_for

pytest.importorskip("moto", reason="pip install 'moto[server]'")
pytest.importorskip("s3fs", reason="the extra aws isn't installed: pip install '.[aws]'")
import s3fs

LIMIT = 120.0
BUCKET = "tamis-bucket"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hidden-secret", "AWS_DEFAULT_REGION": "us-east-1"}
FILES = 4


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s3")
    port = folder / "port"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "s3_service.py"), str(port)], env=environment(), stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(lambda: port.exists() and port.read_text(), 60, "S3 of moto")
        yield f"http://127.0.0.1:{port.read_text()}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def store(endpoint):
    fs = s3fs.S3FileSystem(
        key="key", secret="hidden-secret", endpoint_url=endpoint, use_listings_cache=False
    )
    fs.mkdir(BUCKET)
    words = ["old", "grey", "broken", "wide", "small", "old"] * 20
    told = "The {} stone stood by the river, and all of the town had seen it there in the year {}. "
    texts = [told.format(word, i) * 5 for i, word in enumerate(words)]
    for number in range(FILES):
        lines = [json.dumps({"id": f"{number}-{i}", "text": text}) for i, text in enumerate(texts[number::3])]
        fs.pipe_file(f"{BUCKET}/corpus/{number}.jsonl", "\n".join(lines).encode())
    return fs


@pytest.fixture(scope="module")
def config(store, tmp_path_factory):
    plain = {
        "name": "small",
        "inputs": [{"path": f"s3://{BUCKET}/corpus/*.jsonl", "source": "web"}],
        "steps": [{"exact_dedup": {}}, {"heuristics": {"presets": ["gopher_quality"]}}],
    }
    path = tmp_path_factory.mktemp("config") / "c.yaml"
    path.write_text(yaml.safe_dump(plain))
    return path


def requests(endpoint) -> dict[str, int]:
    with urllib.request.urlopen(f"{endpoint}/requests", timeout=30) as answer:
        return json.loads(answer.read())


def shards(read) -> dict[str, str]:
    paths = [shard_path("", one).lstrip("/") for one in Manifest.model_validate_json(read("manifest.json")).files]
    return {path: hashlib.sha256(read(path)).hexdigest() for path in paths}


@pytest.mark.slow
def test_a_run_on_s3_gives_the_bytes_of_a_local_one_for_few_requests(endpoint, store, config, tmp_path):
    given = {"AWS_ENDPOINT_URL_S3": endpoint, **KEYS}
    near = tamis(tmp_path / "near", "run", str(config), "-o", str(tmp_path / "run"), **given)
    assert near.status == 0, near.err
    requests(endpoint)
    output = f"s3://{BUCKET}/runs/one"
    ended = tamis(tmp_path / "far", "run", str(config), "-o", output, **given)
    assert ended.status == 0, ended.err
    first = requests(endpoint)
    local = shards(lambda path: (tmp_path / "run" / path).read_bytes())
    assert shards(lambda path: store.cat_file(f"{BUCKET}/runs/one/{path}")) == local
    assert len(local) >= 2
    requests(endpoint)
    again = tamis(tmp_path / "again", "run", str(config), "-o", output, **given)
    assert "nothing to do" in again.out, again.err
    second = requests(endpoint)
    print(json.dumps({"first": first, "again": second}))
    assert sum(second.values()) <= 50 + FILES, second
    assert sum(first.values()) <= MOST, first
    for name in ("manifest.json", "work/lock.json"):
        if store.exists(f"{BUCKET}/runs/one/{name}"):
            assert b"hidden-secret" not in store.cat_file(f"{BUCKET}/runs/one/{name}")


MOST = 220
"""Requests of the first run: 170 as measured, of which some 100 are looks before and after the passes."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "output", "told"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "s3://tamis-bucket/x", "no credentials for s3://"),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "s3://tamis-bucket/x", "can't be reached"),
        ({}, "s3://no-such-bucket/x", "there is no bucket no-such-bucket"),
    ],
)
def test_what_is_wrong_with_a_store_is_one_sentence_that_names_the_address(
    endpoint, store, config, tmp_path, changes, output, told
):
    local = tmp_path / "c.yaml"
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a few words"}) + "\n")
    near = [{"path": str(tmp_path / "a.jsonl"), "source": "web"}]
    local.write_text(yaml.safe_dump({"inputs": near, "steps": ["language"]}))
    nowhere = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path), "AWS_MAX_ATTEMPTS": "1"}
    given = {"AWS_ENDPOINT_URL_S3": endpoint} | KEYS | nowhere | changes
    far = "s3://no-such-bucket/*.jsonl" if "no-such" in output else f"s3://{BUCKET}/corpus/*.jsonl"
    inputs = "inputs=" + json.dumps([{"path": far, "source": "web"}])
    commands = [
        ["run", str(local), "-o", output],
        ["manifest", "verify", output],
        ["plan", str(config), "--set", inputs],
    ]
    for number, command in enumerate(commands):
        ended = tamis(tmp_path / str(number), *command, **given)
        assert ended.status in (1, 2), (command, ended.out)
        assert "Traceback" not in ended.err
        assert len([line for line in ended.err.strip().splitlines() if line.startswith("tamis: ")]) == 1, ended.err
        absent = "no-such" in output and command[0] == "manifest"  # a bucket that isn't there has no run, which is told
        assert (told if not absent else "holds no manifest.json") in ended.err, (command, ended.err)
        assert "s3://" in ended.err
        assert "hidden-secret" not in ended.err




@pytest.mark.slow
def test_a_corpus_grows_on_s3(endpoint, store, tmp_path):
    given = {"AWS_ENDPOINT_URL_S3": endpoint, **KEYS}
    config = tmp_path / "grow.yaml"
    inputs = [{"path": f"s3://{BUCKET}/growing/*.jsonl", "source": "web"}]
    config.write_text(yaml.safe_dump({"name": "grown", "inputs": inputs, "steps": ["exact_dedup"]}))
    output = f"s3://{BUCKET}/grown"

    def watch(number):
        ended = tamis(tmp_path / f"watch{number}", "watch", str(config), "-o", output, "--json", **given)
        assert ended.status == 0, ended.err
        return json.loads(ended.out)

    for number in range(3):
        store.copy(f"{BUCKET}/corpus/{number}.jsonl", f"{BUCKET}/growing/{number}.jsonl")
        if number != 1:
            watch(number)
    requests(endpoint)
    told = watch(3)
    spent = requests(endpoint)
    assert told["increments"] == []
    assert told["total"]["files"] == 3
    print(json.dumps({"nothing new": spent}))
    assert sum(spent.values()) <= NOTHING_NEW, spent
    store.pipe_file(f"{BUCKET}/growing/0.jsonl", b'{"text": "other words"}\n')
    assert watch(4)["changed"] == [f"web: s3://{BUCKET}/growing/0.jsonl"]
    ended = tamis(tmp_path / "no", "compact", output, **given)
    assert (ended.status, "changed after being read" in ended.err) == (1, True), ended.err
    store.copy(f"{BUCKET}/corpus/0.jsonl", f"{BUCKET}/growing/0.jsonl")
    for command in (["compact", output], ["manifest", "verify", output], ["status", output]):
        ended = tamis(tmp_path / command[0], *command, **given)
        assert ended.status == 0, ended.err
    near = tamis(tmp_path / "near", "run", str(config), "-o", str(tmp_path / "run"), **given)
    assert near.status == 0, near.err
    local = shards(lambda path: (tmp_path / "run" / path).read_bytes())
    assert shards(lambda path: store.cat_file(f"{BUCKET}/grown/increments/00003/{path}")) == local
    assert not store.exists(f"{BUCKET}/grown/increments/00001")
    for name in ("corpus.json", "manifest.json"):
        assert b"hidden-secret" not in store.cat_file(f"{BUCKET}/grown/{name}")


NOTHING_NEW = 40
"""Requests of a pass that finds nothing new in two increments: 23 as measured."""
