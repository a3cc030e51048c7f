"""Tutorials and other pages hold: the blocks of each are run in order, in one folder, as a reader would."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.docs.inventory import blocks_of, pages_of
from tests.page_blocks import Block, commands_in
from tests.page_session import run_page, run_steps
from tests.source_tree import ROOT

pytestmark = pytest.mark.slow

NAME = "tests/test_tutorials.py::test_page_does_what_the_reader_expects"


def earlier_crawl(desk: Path, blocks: list[Block]) -> None:
    """The run of March, whose index the page's steps take."""
    steps = yaml.safe_load(blocks[0].text)["steps"]
    for step in steps:
        for options in step.values():
            del options["index"]
    run_steps(steps, desk, desk / "runs" / "march")


def texts_of_a_language(desk: Path, blocks: list[Block]) -> None:
    """Files of the names on the page: clean text, English text, a crawl."""
    del blocks
    corpus = ROOT / "examples" / "corpus"
    table = pq.read_table(corpus / "encyclopedia.parquet")
    for name, start in (("clean", 0), ("english", 100), ("crawl", 200)):
        rows = table.slice(start, 100).select(["text"]).to_pandas()
        rows.to_json(desk / f"{name}.jsonl", orient="records", lines=True)


def model_of_the_pool(desk: Path, blocks: list[Block]) -> None:
    """The model that the page's last steps take."""
    del blocks
    shutil.copytree(ROOT / "examples" / "models" / "quality", desk / "models" / "own")


BEFORE: Mapping[str, Callable[[Path, list[Block]], None]] = {
    "docs/duplicates.md": earlier_crawl,
    "docs/languages.md": texts_of_a_language,
    "docs/recipes.md": model_of_the_pool,
}
"""What a reader of a page has beside the examples."""


@pytest.mark.parametrize("page", pages_of(NAME))
def test_page_does_what_the_reader_expects(page: str, tmp_path: Path) -> None:
    found = [place.block for place in blocks_of(NAME) if place.page == page]
    (tmp_path / "bin").mkdir()
    desk = tmp_path / "desk"
    desk.mkdir()
    shutil.copytree(ROOT / "examples", desk / "examples")
    BEFORE.get(page, lambda *_: None)(desk, found)
    run_page(found, desk, commands_in(tmp_path / "bin"))
