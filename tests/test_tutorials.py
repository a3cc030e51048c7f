"""The tutorials hold: the blocks of each page are run in order, in one folder, as a reader would."""

from pathlib import Path

import pytest

from tests.page_blocks import SAVED, blocks, commands_in, run_block
from tests.source_tree import ROOT

pytestmark = pytest.mark.slow

PAGES = [*sorted((ROOT / "docs" / "tutorial").glob("*.md")), ROOT / "docs" / "watch.md"]
FENCES_A_BLOCK = 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_does_what_the_reader_expects(page: Path, tmp_path: Path) -> None:
    text = page.read_text("utf-8")
    found = list(blocks(text))
    assert found
    assert text.count("\n```") == FENCES_A_BLOCK * len(found), "every block says its language"
    (tmp_path / "bin").mkdir()
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "examples").symlink_to(ROOT / "examples")
    commands = commands_in(tmp_path / "bin")
    for block in found:
        if block.note.startswith(SAVED):
            (desk / block.note.removeprefix(SAVED)).write_text(block.text)
        else:
            run_block(block, desk, commands, run="runs/none")
