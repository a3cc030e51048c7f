"""The command line as a person meets it: exit statuses, sentences instead of tracebacks, output for scripts."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tamis.pipeline.steps.registry import verbs as known_verbs

ROOT = Path(__file__).resolve().parents[3]


def tamis(*arguments, cwd=None, stdin=""):
    command = [sys.executable, "-c", "from tamis.jobs.cli.app import main; main()", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, input=stdin, check=False)


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """A run made by the command line: its config, its folder, and what was printed."""
    folder = tmp_path_factory.mktemp("cli")
    config = folder / "config.yaml"
    plain = {
        "name": "small",
        "inputs": [{"path": str(corpus / "*.jsonl"), "source": "web"}],
        "steps": ["exact_dedup", {"heuristics": {"presets": ["gopher_quality"]}}],
    }
    config.write_text(yaml.safe_dump(plain))
    done = tamis("run", config, "-o", folder / "run")
    assert done.returncode == 0, done.stderr
    return config, folder / "run", done


def test_run_tells_what_became_of_the_documents(finished):
    _, folder, done = finished
    assert "302 records read =" in done.stdout
    assert "rejected + 2 errors\n" in done.stdout
    assert re.search(
        r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \d+/\d+ read: \d+ of \d+ in \d+\.\d s$", done.stderr, re.MULTILINE
    )
    assert "apitools" not in done.stderr
    assert json.loads((folder / "manifest.json").read_text())["read"] == 302


def test_run_as_json_and_two_workers_give_the_same(finished, tmp_path):
    config, folder, _ = finished
    done = tamis("run", config, "-o", tmp_path / "again", "--workers", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert "INFO" not in done.stderr
    shards = json.loads(done.stdout)["shards"]
    assert shards == json.loads((folder / "manifest.json").read_text())["shards"]


def test_a_rerun_says_that_there_is_nothing_to_do_and_quiet_says_nothing(finished):
    config, folder, done = finished
    again = tamis("run", config, "-o", folder)
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("nothing to do: the run is finished")
    assert again.stdout.splitlines()[1:] == done.stdout.splitlines()
    quiet = tamis("run", config, "-o", folder, "--quiet", "--fresh")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_sql(finished):
    _, folder, _ = finished
    done = tamis("sql", folder, "SELECT step, count(*) AS n FROM rejected GROUP BY ALL ORDER BY ALL", "--json")
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["step"] for line in done.stdout.splitlines()} == {"exact_dedup", "heuristics"}
    long = "SELECT 1;\n" * 60 + "SELECT count(*) AS n FROM documents WHERE url LIKE '%/%' OR true"
    assert '{"n": 300}' in tamis("sql", folder, long, "--json").stdout
    typed = tamis("sql", folder, stdin="SELECT count(*) FROM documents;\n")
    assert "300" in typed.stdout


def test_manifest_commands(finished, tmp_path):
    _, folder, _ = finished
    assert tamis("manifest", "verify", folder).returncode == 0
    assert "exact_dedup" in tamis("manifest", "show", folder).stdout
    again = tamis("manifest", "rerun", folder, "-o", tmp_path / "rerun")
    assert again.returncode == 0, again.stderr
    assert tamis("manifest", "diff", folder, tmp_path / "rerun").returncode == 0
    shard = next((tmp_path / "rerun" / "selected").rglob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    broken = tamis("manifest", "verify", tmp_path / "rerun")
    assert broken.returncode == 1
    assert shard.name in broken.stdout + broken.stderr


def test_plan_runs_nothing(finished, tmp_path):
    config, _, _ = finished
    told = tamis("plan", config, "--json", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    plan = json.loads(told.stdout)
    assert len(plan["inputs"]) == 3
    assert "dup_cluster" in plan["columns"]
    assert plan["memory"]["worker"] > 0
    assert not list(tmp_path.iterdir())
    assert "memory: about" in tamis("plan", config).stdout
    schema = json.loads(tamis("plan", "--schema").stdout)
    verbs = [next(iter(b["properties"])) for b in schema["properties"]["steps"]["items"]["anyOf"] if "properties" in b]
    assert sorted(verbs) == sorted(known_verbs())


def test_plan_draws_the_graph(finished):
    config, _, _ = finished
    tree = tamis("plan", config, "--graph")
    assert tree.returncode == 0, tree.stderr
    assert all(f"─ {step}" in tree.stdout for step in ("exact_dedup", "heuristics"))
    assert tamis("plan", config, "--graph", "--format", "mermaid").stdout.startswith("flowchart")
    assert tamis("plan", config, "--graph", "--format", "dot").stdout.startswith("digraph")
    wrong = tamis("plan", config, "--graph", "--format", "dott")
    assert wrong.returncode == 2
    assert "did you mean 'dot'?" in wrong.stderr


def test_score_prints_and_writes(corpus, tmp_path):
    shown = tamis("score", corpus / "part0.jsonl", "--step", "{language: {}}", "--limit", "3")
    assert shown.returncode == 0, shown.stderr
    assert "language_score" in shown.stdout
    lines = tamis("score", corpus / "part0.jsonl", "--step", "language", "--json").stdout.splitlines()
    assert len(lines) == 100
    assert {"doc_id", "language"} <= json.loads(lines[0]).keys()
    for name in ("x.parquet", "x.csv", "x.jsonl"):
        done = tamis("score", corpus / "part0.jsonl", "--step", "{heuristics: {}}", "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name).stat().st_size > 1000


MISTAKES = [
    (("run", "absent.yaml"), 2, "absent.yaml: there is no such file"),
    (("sql", "absent", "SELECT 1"), 1, "no manifest.json"),
    (("score", "absent.jsonl", "--step", "language"), 1, "absent.jsonl: there is no such file"),
    (("score", "absent.jsonl", "--step", "langauge"), 2, "did you mean 'language'"),
    (("score", "absent.jsonl", "--step", "language", "-o", "x.doc"), 2, ".parquet, .csv or .jsonl"),
    (("plan",), 2, "needs a config file"),
    (("train", "lm", "absent.jsonl", "-o", "m"), 1, "absent.jsonl"),
    (("train", "lm", "absent.jsonl", "-o", "m", "--harmful"), 2, "--label FIELD, or --url-list"),
    (("train", "dsir", "--raw", "a", "--target", "x=b", "--target", "c", "-o", "m"), 2, "every target a name"),
    (("rnu",), 2, "No such command"),
]


@pytest.mark.parametrize(("arguments", "status", "said"), MISTAKES)
def test_mistakes_are_sentences(tmp_path, arguments, status, said):
    done = tamis(*arguments, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_runners_are_refused_with_a_reason(finished):
    config, _, _ = finished
    done = tamis("run", config, "-o", "x", "--runner", "DaskRunner")
    assert done.returncode == 2
    assert "silently drops" in done.stderr


def test_mistakes_in_steps_fail_before_work(finished, tmp_path):
    config, _, _ = finished
    done = tamis("run", config, "-o", tmp_path / "x", "--set", "steps.heuristics.presets=[gopher_qualty]")
    assert done.returncode == 2
    assert "gopher_quality" in done.stderr
    assert not (tmp_path / "x").exists()


def test_help_is_quick_and_light():
    code = (
        "import sys, tamis.jobs.cli.app\n"
        "print([m for m in ('apache_beam', 'pyarrow', 'numba', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "src", check=True)
    assert done.stdout.strip() == "[]"
    assert "sql" in tamis("--help").stdout
