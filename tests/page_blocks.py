"""The blocks of a page of documentation, and how a reader's shell runs them."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.source_tree import ROOT

__all__ = [
    "ELSEWHERE",
    "ENDS",
    "INSTALLATION",
    "SAVED",
    "Block",
    "blocks",
    "commands_in",
    "run_block",
    "same_shape",
    "shell",
]

FENCE = re.compile(
    r"^(?:<!-- (?P<note>[^\n]*?) -->\n)?```(?P<language>\w+)(?: (?P<about>[^\n]+))?\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
SAVED = "saved as "
"""Begins the comment above a block that other blocks read under the name that follows."""
ENDS = "ends with "
"""Begins the comment above a command that ends with another status than 0."""
INSTALLATION = "installation, run by .ci/run"
"""The comment above what makes the environment in which the other blocks run."""
ELSEWHERE = "not run here: "
"""Begins the comment above a block that needs another machine; a reason of `tests.docs.inventory.REASONS` follows."""


@dataclass(frozen=True)
class Block:
    """A block: where it begins, the comment above it, its language and what follows that, and its text."""

    line: int
    note: str
    language: str
    about: str
    text: str

    def __str__(self) -> str:
        return f"line-{self.line}-{self.language}"


def blocks(page: str) -> Iterator[Block]:
    """Yield the blocks of a page, in order."""
    for match in FENCE.finditer(page):
        line = page.count("\n", 0, match.start("language")) + 1
        yield Block(line, match["note"] or "", match["language"], match["about"] or "", match["text"])


def commands_in(folder: Path) -> Path:
    """Write `tamis` and `python` of this checkout and interpreter to a folder, for the front of PATH."""
    scripts = {
        "python": '"$@"',
        "tamis": '-c \'import sys; from tamis.jobs.cli.app import main; sys.argv[0] = "tamis"; main()\' "$@"',
    }
    for name, arguments in scripts.items():
        start = f"export PYTHONPATH={shlex.quote(str(ROOT / 'src'))}\nexec {shlex.quote(sys.executable)}"
        (folder / name).write_text(f"#!/bin/bash\n{start} {arguments}\n")
        (folder / name).chmod(0o755)
    return folder


def shell(command: str, folder: Path, bin_folder: Path, *, status: int = 0) -> str:
    """Run a command as a reader would, and return what it prints; it must end with the status."""
    environment = dict(os.environ, PATH=f"{bin_folder}{os.pathsep}{os.environ['PATH']}", COLUMNS="120")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def same_shape(shown: str, printed: str) -> bool:
    """Whether two outputs have the same words in the same order: numbers, blanks and the lines of tables may differ."""
    return _words(shown) == _words(printed)


def _words(text: str) -> list[str]:
    return re.sub(r"[\d.,]*\d", "N", re.sub(r"[\u2500-\u257f\s-]+", " ", text)).split()


def run_block(block: Block, folder: Path, bin_folder: Path, *, run: str) -> str:
    """Run a block that isn't YAML, and return what it prints.

    A query is about the run that stands beside its language, else about `run`.
    """
    status = int(block.note.removeprefix(ENDS)) if block.note.startswith(ENDS) else 0
    match block.language:
        case "bash":
            return shell(block.text, folder, bin_folder, status=status)
        case "python":
            (folder / "block.py").write_text(block.text)
            return shell("python block.py", folder, bin_folder, status=status)
        case "sql":
            return shell(f"tamis sql {block.about or run} {shlex.quote(block.text)}", folder, bin_folder, status=status)
        case other:
            raise AssertionError(other)
