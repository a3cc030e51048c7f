"""The README holds: every block is run as a reader would, each by itself, beside a finished run of the demo."""

import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from docs.build_reference import PAGES
from tests.page_blocks import SAVED, Block, blocks, commands_in, run_block, shell
from tests.selections import decisions
from tests.source_tree import ROOT

README = (ROOT / "README.md").read_text("utf-8")
INSTALLATION = "installation, run by .ci/run"
"""Comment above the blocks that make the environment in which the others run."""
ELSEWHERE = "not run here: "
"""Begins the comment above a block that needs another machine; the rest says why."""
LANGUAGES = {"bash", "python", "sql", "text", "yaml"}
"""All are run but text, which shows something."""


BLOCKS = list(blocks(README))
NOT_RUN = [block for block in BLOCKS if block.note == INSTALLATION or block.note.startswith(ELSEWHERE)]
RUN = [block for block in BLOCKS if block not in NOT_RUN and block.language != "text"]


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tamis` and `python` of this checkout and interpreter, for the front of PATH."""
    return commands_in(tmp_path_factory.mktemp("bin"))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, commands: Path) -> Path:
    """The demo's run, made once, also where several processes share the tests out among them."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "readme-demo"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "demo" / "manifest.json").exists():
            shell(f"tamis demo --output {shlex.quote(str(shared / 'demo'))}", shared, commands)
    return shared / "demo"


@pytest.fixture
def desk(tmp_path: Path, demo: Path) -> Path:
    """A folder as the reader has it: the examples, the demo's run, and the files that the README says to save."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    shutil.copytree(demo, tmp_path / "runs" / "demo")
    for block in BLOCKS:
        if block.note.startswith(SAVED):
            (tmp_path / block.note.removeprefix(SAVED)).write_text(block.text)
    return tmp_path


@pytest.mark.parametrize("block", RUN, ids=str)
def test_block_does_what_the_reader_expects(block: Block, desk: Path, commands: Path) -> None:
    if block.language != "yaml":
        run_block(block, desk, commands, run="runs/demo")
    elif block.note.startswith(SAVED):
        if "inputs:" in block.text:  # else no config: a block after it gives it to a command
            shell(f"tamis plan {block.note.removeprefix(SAVED)}", desk, commands)
    else:
        check_steps(block.text)


def check_steps(text: str) -> None:
    """A YAML block that isn't a whole config holds steps."""
    from tamis.pipeline.steps.registry import parse_step

    steps = yaml.safe_load(text)["steps"]
    assert steps
    for position, step in enumerate(steps):
        parse_step(step, f"steps[{position}]")


@pytest.mark.parametrize("block", NOT_RUN, ids=str)
def test_block_for_another_machine_is_well_formed(block: Block, commands: Path, tmp_path: Path) -> None:
    assert block.note == INSTALLATION or len(block.note.removeprefix(ELSEWHERE).split()) > 2, "say why it isn't run"
    if block.language == "yaml":
        assert yaml.safe_load(block.text)
        return
    assert block.language == "bash"
    subprocess.run(["bash", "-n", "-c", block.text], check=True, timeout=60)
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("tamis "):
            ours = line.partition(" -- ")[0].split()
            known = shell(f"tamis {ours[1]} --help", tmp_path, commands)
            assert {word.partition("=")[0] for word in ours if word.startswith("--")} <= set(
                re.findall(r"--\w+", known)
            )


def test_every_block_says_its_language() -> None:
    assert README.count("\n```") == 2 * len(BLOCKS)
    assert {block.language for block in BLOCKS} <= LANGUAGES


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = page.read_text("utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("name", PAGES)
def test_reference_pages_are_those_of_the_code(name: str) -> None:
    committed = (ROOT / "docs" / name).read_text("utf-8")
    assert committed == PAGES[name](), f"docs/{name} is behind the code: run python docs/build_reference.py"


def test_table_of_steps_names_every_step() -> None:
    from tamis.pipeline.steps.registry import built_in

    table = README.split("## Steps", 1)[1].split("\n## ", 1)[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(built_in())


def test_demo_decides_as_it_always_did(demo: Path) -> None:
    known = json.loads((ROOT / "tests" / "golden" / "decisions.json").read_text("utf-8"))
    found = decisions(demo)
    assert found["sources"] == known["demo"]["sources"]
    assert found["thresholds"] == known["demo"]["thresholds"]
    assert found["sha256"] == known["demo"]["sha256"]


def test_demo_balances(demo: Path) -> None:
    manifest = json.loads((demo / "manifest.json").read_text("utf-8"))
    assert manifest["read"] == manifest["selected"] + manifest["rejected"] + manifest["errors"]
    assert min(manifest["selected"], manifest["rejected"], manifest["errors"]) > 0
