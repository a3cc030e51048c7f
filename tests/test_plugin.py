"""A step of another distribution, and a scorer without any: installed, run, resumed, and told apart by their code."""

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.docs.inventory import blocks_of
from tests.source_tree import ROOT

CLI = "from tamis.jobs.cli.app import main; main()"
TEXTS = ["plain words about rivers", "🙂🙂🙂 hooray", "one 🙂 in a rather long sentence about nothing", "rivers again"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the distribution of `tests/plugin` is installed in."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"
    shutil.copytree(ROOT / "tests" / "plugin", source)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(folder / "installed"), str(source)], check=True, timeout=120)
    return folder / "installed"


def tamis(folder: Path, *arguments: str, site: Path | None = None, status: int = 0) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT / "src"), *([str(site)] if site is not None else [])]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths))
    command = [sys.executable, "-P", "-c", CLI, *arguments]
    options: dict[str, Any] = {"capture_output": True, "text": True, "cwd": folder, "env": environment, "timeout": 180}
    done = subprocess.run(command, check=False, **options)
    assert done.returncode == status, done.stderr
    return done


def write_config(folder: Path, *steps: object) -> None:
    lines = [json.dumps({"text": text}) for text in TEXTS]
    (folder / "texts.jsonl").write_text("\n".join(lines), "utf-8")
    config = {"name": "plug", "inputs": [{"path": "texts.jsonl", "source": "web"}], "steps": list(steps)}
    (folder / "config.yaml").write_text(json.dumps(config), "utf-8")


def shares(run: Path) -> dict[str, float]:
    tables = [pq.read_table(path, partitioning=None) for path in sorted(run.rglob("part-*.parquet"))]
    rows = [row for table in tables if "emoji_share" in table.schema.names for row in table.to_pylist()]
    return {row["text"]: row["emoji_share"] for row in rows}


def manifest(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "manifest.json").read_text("utf-8"))
    return found


def test_a_plugin_runs_resumes_and_reruns_what_its_code_changed(tmp_path: Path, site: Path) -> None:
    write_config(tmp_path, {"emoji": {"max_share": 0.1}})
    told = tamis(tmp_path, "run", "config.yaml", "-o", "run", site=site)
    run = tmp_path / "run"
    assert manifest(run)["rejected"] == 1
    assert "emoji" in told.stdout
    packages = manifest(run)["provenance"]["packages"]  # type: ignore[index]
    assert packages["emoji-share"] == "1.0"

    # Another threshold scores nothing again; with two workers it is the same.
    made = {path: path.stat().st_mtime_ns for path in run.glob("work/*-emoji-columns-*/*")}
    assert made
    replacing = ("run", "config.yaml", "-o", "run", "--set", "steps.emoji.max_share=0.0", "--replace")
    tamis(tmp_path, *replacing, "-w", "2", site=site)
    assert manifest(run)["rejected"] == 2
    assert {path: path.stat().st_mtime_ns for path in run.glob("work/*-emoji-columns-*/*")} == made

    # Changed code computes anew, and what it computes is what is written.
    before = shares(run)
    changed = tmp_path / "changed"
    shutil.copytree(site, changed)
    scorer = changed / "emoji_share" / "scorer.py"
    scorer.write_text(scorer.read_text("utf-8").replace("max(1, len(text))", "max(1, 2 * len(text))"), "utf-8")
    tamis(tmp_path, *replacing, site=changed)
    assert shares(run) == {text: share / 2 for text, share in before.items()}


def test_an_unknown_verb_names_the_nearest_of_both(tmp_path: Path, site: Path) -> None:
    write_config(tmp_path, "emojy")
    assert "did you mean 'emoji'?" in tamis(tmp_path, "plan", "config.yaml", site=site, status=2).stderr
    assert "unknown step 'emojy'" in tamis(tmp_path, "plan", "config.yaml", status=2).stderr


SCORER = """
import pyarrow as pa

class Length:
    schema = pa.schema([pa.field("characters", pa.int64(), nullable=False)])

    def __init__(self, factor=1):
        self.factor = factor

    def score(self, texts):
        values = [len(text or "") * self.factor for text in pa.array(texts).to_pylist()]
        return pa.RecordBatch.from_arrays([pa.array(values, pa.int64())], schema=self.schema)
"""


@pytest.mark.parametrize("scorer", ["my_scorers:Length", "my_scorers.py:Length"])
def test_a_scorer_without_packaging(tmp_path: Path, scorer: str) -> None:
    (tmp_path / "my_scorers.py").write_text(SCORER, "utf-8")
    step = {"scorer": scorer, "name": "length", "options": {"factor": 2}, "column": "characters", "keep": {"min": 30}}
    write_config(tmp_path, {"score": step})
    tamis(tmp_path, "run", "config.yaml", "-o", "run", "-w", "2")
    assert manifest(tmp_path / "run")["selected"] == sum(2 * len(text) >= 30 for text in TEXTS)
    (tmp_path / "my_scorers.py").write_text(SCORER.replace("self.factor for", "self.factor + 100 for"), "utf-8")
    tamis(tmp_path, "run", "config.yaml", "-o", "run", "--replace")
    assert manifest(tmp_path / "run")["selected"] == len(TEXTS)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"scorer": "nowhere:Length"}, "there is no module or file nowhere"),
        ({"scorer": "my_scorers:Width"}, "has no 'Width'"),
        ({"scorer": "my_scorers:Length", "options": {"speed": 1}}, "can't be built with {'speed': 1}"),
        ({"scorer": "my_scorers:pa"}, "can't be built with"),
        ({"scorer": "Length"}, "expected module:Class"),
        ({"scorer": "my_scorers:Length", "column": "charakters", "keep": {"min": 1}}, "did you mean 'characters'"),
        ({"scorer": "my_scorers:Length", "keep": {"min": 1}}, "`keep` needs `column`"),
    ],
)
def test_mistakes_about_a_scorer_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: dict[str, object], said: str
) -> None:
    from tamis.jobs.run.check import check_steps
    from tamis.jobs.run.plan import make_plan
    from tamis.pipeline.steps.registry import parse_config
    from tamis.schemas.errors import TamisError

    (tmp_path / "my_scorers.py").write_text(SCORER, "utf-8")
    write_config(tmp_path, {"score": step})
    monkeypatch.chdir(tmp_path)
    plain = json.loads((tmp_path / "config.yaml").read_text("utf-8"))

    def planned() -> None:
        plan = make_plan(parse_config(plain), plain)
        check_steps(plan.steps, {found.label: plan.model_paths(found.label) for found in plan.steps})

    with pytest.raises(TamisError) as caught:
        planned()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_step_that_does_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from typing import ClassVar

    from tamis.pipeline.steps import registry
    from tamis.pipeline.steps.base import Step
    from tamis.schemas.errors import ConfigError

    class Idle(Step):
        verb: ClassVar[str] = "idle"
        speed: int = 1

    monkeypatch.setattr(registry, "step_class", lambda _: Idle)
    with pytest.raises(ConfigError, match="'idle' neither computes, decides nor rewrites"):
        registry.parse_step({"idle": {}}, "steps[0]")


def test_the_step_that_is_shown_is_the_one_that_is_installed() -> None:
    """CONTRIBUTING has the class as `tests/plugin` has it, but for what documents methods."""
    name = "tests/test_plugin.py::test_the_step_that_is_shown_is_the_one_that_is_installed"
    shown = {place.block.language: place.block.text for place in blocks_of(name)}
    assert set(shown) == {"python", "toml"}
    installed = ast.parse((ROOT / "tests" / "plugin" / "src" / "emoji_share" / "step.py").read_text("utf-8"))
    (mine,) = [node for node in installed.body if isinstance(node, ast.ClassDef)]
    for method in mine.body:
        if isinstance(method, ast.FunctionDef):
            method.body = [node for node in method.body if not is_aside(node)]
    assert ast.unparse(ast.parse(shown["python"])) == ast.unparse(mine)
    project = tomllib.loads((ROOT / "tests" / "plugin" / "pyproject.toml").read_text("utf-8"))["project"]
    assert tomllib.loads(shown["toml"])["project"]["entry-points"] == project["entry-points"]


def is_aside(node: ast.stmt) -> bool:
    """Whether a statement is a docstring, or says that an argument isn't used."""
    return isinstance(node, ast.Delete) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
