"""What `tamis plan` tells of requests, bytes and their price."""

import json

import pytest
import yaml

from tamis.jobs.cli.run_and_plan import show_plan
from tamis.jobs.config_file import load_config
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError

FAR = "memory://requests"


@pytest.fixture(scope="module", autouse=True)
def inputs():
    for name in ("a", "b"):
        with filesystem.write_atomically(f"{FAR}/{name}.jsonl") as stream:
            for number in range(200):
                stream.write(json.dumps({"text": f"the words of {number} and some more"}).encode() + b"\n")
    yield
    filesystem.remove_tree(FAR)


def told(tmp_path, capsys, *, output=f"{FAR}/run", path=f"{FAR}/*.jsonl", **more):
    (tmp_path / "near.jsonl").write_text('{"text": "words"}\n')
    plain = {"inputs": [{"path": path, "source": "web"}], "steps": ["exact_dedup", "heuristics"], **more}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(plain))
    config, given = load_config(str(tmp_path / "c.yaml"))
    show_plan(config, given, output=output, as_json=True)
    return json.loads(capsys.readouterr().out)


def test_requests_bytes_and_price_of_a_run_on_a_store(tmp_path, capsys):
    use = told(tmp_path, capsys)["store"]
    assert use["reads"] > use["writes"] > 10
    assert use["rerun"] < 60
    assert use["bytes_written"] > 0
    assert use["price"] > 0


@pytest.mark.parametrize("name", ["reads_per_million", "writes_per_million", "moved_per_gb", "stored_per_gb_month"])
def test_each_price_of_the_config_changes_what_is_told_and_no_result(tmp_path, capsys, name):
    before = told(tmp_path, capsys)
    after = told(tmp_path, capsys, prices={name: 1000.0})
    assert after["store"]["price"] > before["store"]["price"]
    assert {k: v for k, v in after["store"].items() if k != "price"} == {
        k: v for k, v in before["store"].items() if k != "price"
    }
    assert after["config_sha256"] == before["config_sha256"]
    assert after["config"] == before["config"]


def test_more_passes_and_more_files_are_more_requests(tmp_path, capsys):
    fewer = told(tmp_path, capsys, path=f"{FAR}/a.jsonl")["store"]
    more = told(tmp_path, capsys)["store"]
    longer = told(tmp_path, capsys, steps=["exact_dedup", "heuristics", {"sample": {"fraction": 0.5}}])["store"]
    assert fewer["reads"] < more["reads"] < longer["reads"]


def test_only_what_lies_on_a_store_counts(tmp_path, capsys):
    near = str(tmp_path / "near.jsonl")
    assert told(tmp_path, capsys, path=near, output=str(tmp_path / "run"))["store"] is None
    inputs_alone = told(tmp_path, capsys, output=str(tmp_path / "run"))["store"]
    assert inputs_alone["writes"] == inputs_alone["bytes_written"] == 0
    assert inputs_alone["reads"] > 0
    assert told(tmp_path, capsys, path=near)["store"]["writes"] > 0


def test_a_person_reads_it_in_short_lines(tmp_path, capsys):
    told(tmp_path, capsys)
    config, given = load_config(str(tmp_path / "c.yaml"))
    show_plan(config, given, output=f"{FAR}/run")
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("object stores: about "))
    assert all(len(line) <= 80 for line in lines[at : at + 4])
    assert "less than $0.01, by the config's `prices`" in lines[at + 3]


def test_a_price_below_nothing_is_refused(tmp_path):
    plain = {"inputs": [{"path": "a.jsonl", "source": "web"}], "prices": {"moved_per_gb": -1}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(ConfigError, match="moved_per_gb"):
        load_config(str(tmp_path / "c.yaml"))
