"""No block of a page is there that nobody runs, and commands and configs within its lines are such that there are."""

import ast
import re
import shlex
import subprocess
from typing import Any

import pytest
import yaml
from typer.main import get_command

from tamis.jobs.cli.app import app
from tamis.pipeline.steps.registry import built_in, step_class
from tests.docs.inventory import PAGES, REASONS, TESTS, Place, places, text_of, ways
from tests.page_blocks import ELSEWHERE, INSTALLATION, SAVED, blocks
from tests.source_tree import ROOT

FENCES_A_BLOCK = 2
ELSEWHERE_PLACES = [place for place in places() if place.block.note.startswith((ELSEWHERE, INSTALLATION))]


def test_every_block_is_run_by_one_test_or_says_why_by_none() -> None:
    found = {str(place): ways(place) for place in places()}
    assert len(found) > 180
    assert {name: told for name, told in found.items() if len(told) != 1} == {}
    for test in TESTS:
        assert [test.name] in found.values(), f"{test.name} runs nothing"
    assert {told for (told,) in found.values()} >= set(REASONS), "a reason that nothing needs any more"


def test_every_block_is_seen_and_says_its_language() -> None:
    for page in PAGES:
        found = len(re.findall(r"^\s*(?:```|~~~)", text_of(page), re.MULTILINE))
        assert found == FENCES_A_BLOCK * len(list(blocks(text_of(page)))), page


def test_what_is_saved_is_used() -> None:
    for place in places():
        if place.block.note.startswith(SAVED):
            name = place.block.note.removeprefix(SAVED)
            used = [b.text for b in blocks(text_of(place.page)) if b.note != place.block.note]
            stem = name.removesuffix(".py")
            assert any(name in text or f"{stem}:" in text for text in used), f"{place}: {name}"


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.name)
def test_the_tests_are_there(test: Any) -> None:
    path, _, name = test.name.partition("::")
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_what_tests_the_same_is_there() -> None:
    assert [path for path in REASONS.values() if not (ROOT / path).exists()] == []


def test_what_is_installed_is_what_ci_runs() -> None:
    """Commands of CONTRIBUTING's first block are the README's, or stand in `.ci/run`."""
    told = [place.block.text for place in ELSEWHERE_PLACES if place.block.note == INSTALLATION]
    ci = (ROOT / ".ci" / "run").read_text("utf-8").replace('"', "").replace("$bin/", ".venv/bin/")
    known = ci + "".join(place.block.text for place in ELSEWHERE_PLACES if place.page == "README.md")
    for line in "".join(told).splitlines():
        command = line.partition(" #")[0].strip()
        path = re.search(r"tests/\S+", command)
        assert command in known or (path is not None and (ROOT / path[0]).exists()), command


# --- what isn't run is at least well-formed ---


@pytest.mark.parametrize("place", ELSEWHERE_PLACES, ids=str)
def test_block_for_another_machine_is_well_formed(place: Place) -> None:
    assert place.block.language == "bash"
    subprocess.run(["bash", "-n", "-c", place.block.text], check=True, timeout=60)
    for line in place.block.text.replace("\\\n", " ").splitlines():
        if line.startswith("tamis "):
            check_command(line)


def within(text: str) -> list[str]:
    """Return what stands between backticks within the lines of a page."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return [" ".join(one.split()).replace("\\|", "|") for one in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose)]


def check_command(line: str) -> None:
    """A command is one that there is, and so are its options."""
    words = shlex.split(line.partition(" -- ")[0], comments=True)[1:]
    command: Any = get_command(app)
    while words and hasattr(command, "commands"):
        if words[0] == "COMMAND" or words[0].startswith("-"):
            return
        for name in words[0].split("|"):
            assert name in command.commands, line
        command = command.commands[words.pop(0).split("|")[0]]
    options = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert given <= options | {"--help", "-h"}, line


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_lines_are_such_that_there_are(page: str) -> None:
    for told in within(text_of(page)):
        if told.startswith("tamis "):
            check_command(told.replace("[", "").replace("]", ""))


def test_commands_are_checked() -> None:
    for wrong in ("tamis ran x", "tamis run x --worker 2", "tamis mix expert", "tamis manifest show --shows x"):
        with pytest.raises(AssertionError):
            check_command(wrong)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_steps_within_lines_have_options_that_there_are(page: str) -> None:
    for told in within(text_of(page)):
        match = re.fullmatch(r"(?:# )?(?:- )?(\w+): (\{.*\})", told)
        if match is None or match[1] not in built_in():
            continue
        # What is left out stands as three dots.
        options = yaml.safe_load(re.sub(r"(?<=[{,]) ?\.\.\.(?=[,}])|, \.\.\.(?=\})", "", match[2]).replace("{,", "{"))
        known = {info.alias or name for name, info in step_class(match[1]).model_fields.items()}
        assert set(options) <= known, f"{page}: {told}"
