"""The pages about proxies and about PreSelect hold: the blocks of each are run in order, models trained as they say."""

import shutil
from pathlib import Path

import pytest

from tests.docs.inventory import blocks_of, pages_of
from tests.page_blocks import commands_in
from tests.page_session import run_page
from tests.source_tree import ROOT

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

NAME = "tests/docs/test_pages_with_models.py::test_page"


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_of(NAME))
def test_page(page: str, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    desk = tmp_path / "desk"
    desk.mkdir()
    shutil.copytree(ROOT / "examples", desk / "examples")
    run_page([place.block for place in blocks_of(NAME) if place.page == page], desk, commands_in(tmp_path / "bin"))
