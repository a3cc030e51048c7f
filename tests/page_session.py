"""The blocks of a page in order, as one reader in one folder runs them."""

from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import yaml

import tamis
from tests.page_blocks import SAVED, Block, run_block, same_shape

__all__ = ["run_page", "run_steps"]


def run_page(blocks: Sequence[Block], desk: Path, commands: Path) -> None:
    """Run blocks in order; what stands in a `text` block must be what the block before it printed."""
    printed, fragments = "", 0
    for block in blocks:
        if block.note.startswith(SAVED):
            (desk / block.note.removeprefix(SAVED)).write_text(block.text)
        elif block.language == "yaml":
            fragments += 1
            run_steps(yaml.safe_load(block.text)["steps"], desk, desk / "runs" / f"steps-{fragments}")
        elif block.language == "text":
            told = f"line {block.line} shows\n{block.text}\nand this is printed:\n{printed}"
            assert same_shape(block.text, printed), told
        else:
            printed = run_block(block, desk, commands, run="runs/none")


def run_steps(steps: list[dict[str, Any]], desk: Path, output: Path) -> tamis.Run:
    """Run steps without inputs of their own over a sample; each document must come to an end."""
    inputs = [
        {"path": "examples/corpus/encyclopedia.parquet", "source": "encyclopedia"},
        {"path": "examples/corpus/forum.csv", "source": "forum", "timestamp": "posted"},
    ]
    with chdir(desk):
        run = tamis.run({"inputs": inputs, "steps": steps, "allow_empty": True}, output=output)
    assert run.manifest.read == run.manifest.selected + run.manifest.rejected + run.manifest.errors > 0
    return run
