"""What is wrong with S3 as such, in one sentence: credentials, the endpoint, the bucket."""

import json

import pytest
import yaml

from tests.engines.carriers import tamis
from tests.engines.stores import BUCKET, SECRET, STORES

pytest.importorskip("moto", reason="pip install 'moto[server]'")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with STORES["s3"](tmp_path_factory.mktemp("s3")) as made:
        made.write("corpus/a.jsonl", b'{"text": "a few words"}\n')
        yield made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "output", "told"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, f"s3://{BUCKET}/x", "no credentials for s3://"),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, f"s3://{BUCKET}/x", "can't be reached"),
        ({}, "s3://no-such-bucket/x", "there is no bucket no-such-bucket"),
    ],
)
def test_what_is_wrong_with_a_store_is_one_sentence_that_names_the_address(store, tmp_path, changes, output, told):
    local = tmp_path / "c.yaml"
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a few words"}) + "\n")
    near = [{"path": str(tmp_path / "a.jsonl"), "source": "web"}]
    local.write_text(yaml.safe_dump({"inputs": near, "steps": ["language"]}))
    nowhere = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path), "AWS_MAX_ATTEMPTS": "1"}
    given = store.given | nowhere | changes
    far = "s3://no-such-bucket/*.jsonl" if "no-such" in output else store.url("corpus/*.jsonl")
    inputs = "inputs=" + json.dumps([{"path": far, "source": "web"}])
    commands = [
        ["run", str(local), "-o", output],
        ["manifest", "verify", output],
        ["plan", str(local), "--set", inputs],
    ]
    for number, command in enumerate(commands):
        ended = tamis(tmp_path / str(number), *command, **given)
        assert ended.status in (1, 2), (command, ended.out)
        assert "Traceback" not in ended.err
        assert len([line for line in ended.err.strip().splitlines() if line.startswith("tamis: ")]) == 1, ended.err
        assert told in ended.err, (command, ended.err)
        assert "s3://" in ended.err
        assert SECRET not in ended.err
