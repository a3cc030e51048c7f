"""The README holds: every block is run as a reader would, each by itself, beside a finished run of the demo."""

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

import tamis
from docs.build_reference import PAGES
from tests.docs.inventory import blocks_of
from tests.page_blocks import SAVED, Block, blocks, commands_in, run_block, shell
from tests.selections import decisions
from tests.source_tree import ROOT

README = (ROOT / "README.md").read_text("utf-8")
EXTRA = "takes the extra "
"""Begins the comment above a block that is run where an extra is installed."""
EXTRAS = {"papers": ("mlcroissant", "model_signing", "openlineage")}
SERVES = "serves until it is stopped"
"""The comment above a command that ends when it is told to."""

BLOCKS = list(blocks(README))
INPUTS = [{"path": "examples/corpus/forum.csv", "source": "forum", "timestamp": "posted"}]
RUN = [place.block for place in blocks_of("tests/test_readme.py::test_block_does_what_the_reader_expects")]
SHOWN = [place.block for place in blocks_of("tests/test_readme.py::test_a_run_leaves_what_is_shown")]


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


def marked(block: Block) -> Any:
    """What an extra is needed for takes its time to be imported."""
    return pytest.param(block, marks=pytest.mark.slow if block.note.startswith(EXTRA) else (), id=str(block))


@pytest.mark.parametrize("block", [marked(block) for block in RUN])
def test_block_does_what_the_reader_expects(
    block: Block, desk: Path, commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in EXTRAS.get(block.note.removeprefix(EXTRA), ()):
        pytest.importorskip(module)
    if block.note == SERVES:
        check_server(block.text, desk, commands)
    elif block.language != "yaml":
        run_block(block, desk, commands, run="runs/demo")
    elif block.note.startswith(SAVED):
        if "inputs:" in block.text:  # else no config: a block after it gives it to a command
            shell(f"tamis plan {block.note.removeprefix(SAVED)}", desk, commands)
    else:
        monkeypatch.chdir(desk)
        check_steps(block.text, desk)


def check_steps(text: str, desk: Path) -> None:
    """A YAML block that isn't a whole config holds steps, which do something to documents."""
    models = desk / "models"
    if "models/" in text:  # those that the block before trains, and a classifier
        shutil.copytree(ROOT / "examples" / "models", models)
        shutil.copy(models / "preselect" / "model.bin", models / "classifier.bin")
        target = {"target": "examples/corpus/target.jsonl.zst", "write_model": True}
        fitted = tamis.run({"inputs": INPUTS, "steps": [{"dsir": target}]}, output=desk / "fitted")
        shutil.copytree(Path(fitted.path) / "models" / "dsir", models / "dsir")
    before: list[object] = [{"language": {}}] if "by: [language" in text else []
    run = tamis.run({"inputs": INPUTS, "steps": before + yaml.safe_load(text)["steps"]}, output=desk / "fragment")
    assert 0 < run.manifest.selected < run.manifest.read


def check_server(command: str, desk: Path, commands: Path) -> None:
    """A command that serves answers, and ends when it is told to."""
    (line,) = command.splitlines()
    if "tamis mcp" in line:
        pytest.importorskip("mcp")
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "reader", "version": "1"}}
        asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})
        answer = shell(f"{line} <<< {shlex.quote(asked)}", desk, commands)
        assert json.loads(answer.splitlines()[0])["result"]["serverInfo"]
        return
    with socket.socket() as free:  # the port that is shown may be another's
        free.bind(("127.0.0.1", 0))
        line = re.sub(r"--port \d+", f"--port {free.getsockname()[1]}", line)
    environment = dict(os.environ, PATH=f"{commands}{os.pathsep}{os.environ['PATH']}", BROWSER="true")
    started = subprocess.Popen(
        ["bash", "-c", f"exec {line}"], cwd=desk, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    try:
        address = started.stdout.readline().strip()
        visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with visitor.open(address, timeout=60) as page:
            assert "<title>" in page.read().decode()
        started.send_signal(signal.SIGINT)
        started.communicate(timeout=60)
    finally:
        started.kill()
        started.wait()


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_a_run_leaves_what_is_shown(block: Block, demo: Path) -> None:
    told = [line.split()[0].removeprefix("runs/english/") for line in block.text.splitlines()]
    assert [path for path in told if not (demo / path).exists()] == []
    assert {path.name for path in demo.iterdir()} == {path.partition("/")[0] for path in told}


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
