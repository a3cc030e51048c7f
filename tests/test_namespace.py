"""Everything that is installed is `tamis`: a user's own modules of common names harm nothing, and aren't harmed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source_tree import ROOT

CLI = "from tamis.jobs.cli.app import main; main()"
SCRIPT = """
import tamis

run = tamis.run("config.yaml", output="run", workers=2)
print(run.manifest.selected, run.sql("SELECT count(*) AS n FROM selected").to_pylist())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with modules called as Tamis's folders are, which can't even be imported."""
    for name in ("pipeline", "schemas", "scorers", "jobs"):
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('the user's own {name}.py was imported')\n")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__init__.py").write_text("raise RuntimeError('the user's own jobs/ was imported')\n")
    lines = [json.dumps({"text": f"words about rivers and stones, number {i % 7}"}) for i in range(20)]
    for number in range(3):
        (tmp_path / f"texts{number}.jsonl").write_text("\n".join(lines))
    inputs = [{"path": f"texts{number}.jsonl", "source": f"web{number}"} for number in range(3)]
    (tmp_path / "config.yaml").write_text(json.dumps({"inputs": inputs, "steps": ["exact_dedup"]}))
    return tmp_path


def python(folder: Path, *arguments: str) -> str:
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "src"))
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("workers", ["1", "2"])
def test_modules_of_the_working_folder_are_left_alone(folder: Path, workers: str) -> None:
    told = python(folder, "-c", CLI, "run", "config.yaml", "--output", "run", "--workers", workers)
    assert "60 records read = 7 selected + 53 rejected" in told


def test_a_script_without_a_guard_can_use_workers(folder: Path) -> None:
    (folder / "script.py").write_text(SCRIPT)
    assert python(folder, "script.py") == "7 [{'n': 7}]\n"


def test_no_file_names_the_old_packages() -> None:
    old = ("schemas", "scorers", "pipeline", "jobs")
    wrong = []
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).parts
        if parts[0] in ("src", ".venv", "build") or ".git" in parts:
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            words = line.split()
            if words[:1] in (["from"], ["import"]) and len(words) > 1 and words[1].partition(".")[0] in old:
                wrong.append(f"{'/'.join(parts)}:{number}")
    assert not wrong
