"""A corpus that grows on an object store: few requests when nothing is new, what changed is told, compacted bytes."""

import hashlib
import json

import pytest
import yaml

from tamis.jobs.manifest.file import shard_path
from tamis.schemas.manifest import Manifest
from tests.engines.carriers import tamis
from tests.engines.stores import BUCKET, SECRET, STORES

pytest.importorskip("moto", reason="pip install 'moto[server]'")

FILES = 4
NOTHING_NEW = 40
"""Requests of a pass that finds nothing new in two increments."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with STORES["s3"](tmp_path_factory.mktemp("s3")) as made:
        words = ["old", "grey", "broken", "wide", "small", "old"] * 20
        told = "The {} stone stood by the river, and all of the town had seen it there in the year {}. "
        texts = [told.format(word, i) * 5 for i, word in enumerate(words)]
        for number in range(FILES):
            lines = [json.dumps({"id": f"{number}-{i}", "text": text}) for i, text in enumerate(texts[number::3])]
            made.write(f"corpus/{number}.jsonl", "\n".join(lines).encode())
        yield made


def shards(read) -> dict[str, str]:
    paths = [shard_path("", one).lstrip("/") for one in Manifest.model_validate_json(read("manifest.json")).files]
    return {path: hashlib.sha256(read(path)).hexdigest() for path in paths}


@pytest.mark.slow
def test_a_corpus_grows_on_s3(store, tmp_path):
    given = store.given
    config = tmp_path / "grow.yaml"
    inputs = [{"path": store.url("growing/*.jsonl"), "source": "web"}]
    config.write_text(yaml.safe_dump({"name": "grown", "inputs": inputs, "steps": ["exact_dedup"]}))
    output = store.url("grown")

    def watch(number):
        ended = tamis(tmp_path / f"watch{number}", "watch", str(config), "-o", output, "--json", **given)
        assert ended.status == 0, ended.err
        return json.loads(ended.out)

    for number in range(3):
        store.direct.copy(f"{BUCKET}/corpus/{number}.jsonl", f"{BUCKET}/growing/{number}.jsonl")
        if number != 1:
            watch(number)
    store.told()
    told = watch(3)
    spent = store.told()["requests"]
    assert told["increments"] == []
    assert told["total"]["files"] == 3
    print(json.dumps({"nothing new": spent}))
    assert sum(spent.values()) <= NOTHING_NEW, spent
    store.write("growing/0.jsonl", b'{"text": "other words"}\n')
    assert watch(4)["changed"] == [f"web: {store.url('growing/0.jsonl')}"]
    ended = tamis(tmp_path / "no", "compact", output, **given)
    assert (ended.status, "changed after being read" in ended.err) == (1, True), ended.err
    store.direct.copy(f"{BUCKET}/corpus/0.jsonl", f"{BUCKET}/growing/0.jsonl")
    for command in (["compact", output], ["manifest", "verify", output], ["status", output]):
        ended = tamis(tmp_path / command[0], *command, **given)
        assert ended.status == 0, ended.err
    near = tamis(tmp_path / "near", "run", str(config), "-o", str(tmp_path / "run"), **given)
    assert near.status == 0, near.err
    local = shards(lambda path: (tmp_path / "run" / path).read_bytes())
    assert shards(lambda path: store.read(f"grown/increments/00003/{path}")) == local
    assert not store.exists("grown/increments/00001")
    for name in ("corpus.json", "manifest.json"):
        assert SECRET.encode() not in store.read(f"grown/{name}")
