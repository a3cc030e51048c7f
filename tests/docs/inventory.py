"""Every block of every page, and the test that runs it, or the reason why none does."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

from tests.page_blocks import ELSEWHERE, INSTALLATION, Block, blocks
from tests.source_tree import ROOT

__all__ = ["PAGES", "REASONS", "TESTS", "Place", "Test", "blocks_of", "pages_of", "places", "text_of", "ways"]

REASONS = {
    "needs Google Cloud": "tests/engines/test_dataflow_runs.py",
    "needs a Kubernetes cluster": "tests/deploy/test_files.py",
    "needs a container engine": "tests/deploy/test_files.py",
    "needs another engine": "tests/engines/test_same_bytes.py",
    "starts a server of another package": "tests/engines/test_stores.py",
    "runs until it is stopped": "tests/docs/test_site.py",
    "takes another program": "tests/jobs/sql/test_macros.py",
    "downloads a model": "tests/jobs/train/test_preselect.py",
    "is the tests themselves": ".ci/run",
    "installs an extra": ".ci/run",
}
"""Why a block may stay without a test that runs it, and what tests most of the same."""

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [
        *ROOT.glob("*.md"),
        *(p for name in ("docs", "deploy", "examples", "benchmarks") for p in (ROOT / name).rglob("*.md")),
    ]
)


@dataclass(frozen=True)
class Test:
    """A test that runs blocks.

    Attributes:
        name: its file and function.
        pages: patterns of the pages' paths.
        languages: of the blocks; all if empty.
        but: a pattern of pages that another test has.
    """

    __test__ = False

    name: str
    pages: tuple[str, ...]
    languages: frozenset[str] = frozenset()
    but: str = ""

    def takes(self, page: str, language: str) -> bool:
        """Whether it runs such a block of a page."""
        wanted = any(fnmatch(page, one) for one in self.pages) and not (self.but and fnmatch(page, self.but))
        return wanted and (not self.languages or language in self.languages)


_EXAMPLE = "test_the_example_runs_and_the_step_changes_its_result"
_CODE = frozenset({"bash", "python", "sql", "yaml"})
_SHOWN = frozenset({"text"})

TESTS = (
    Test("tests/test_readme.py::test_block_does_what_the_reader_expects", ("README.md",), _CODE),
    Test("tests/test_readme.py::test_a_run_leaves_what_is_shown", ("README.md",), _SHOWN),
    Test(
        "tests/test_tutorials.py::test_page_does_what_the_reader_expects",
        ("docs/tutorial/*.md", "docs/watch.md", "docs/duplicates.md", "docs/languages.md", "docs/recipes.md"),
    ),
    Test("tests/docs/test_pages_with_models.py::test_page", ("docs/quad.md", "examples/preselect/README.md")),
    Test(f"tests/docs/test_step_pages.py::{_EXAMPLE}", ("docs/steps/*.md",), _CODE, but="docs/steps/quad.md"),
    Test(f"tests/docs/test_quad_page.py::{_EXAMPLE}", ("docs/steps/quad.md",), _CODE),
    Test("tests/test_readme.py::test_reference_pages_are_those_of_the_code", ("docs/steps/*.md",), _SHOWN),
    Test("tests/test_plugin.py::test_the_step_that_is_shown_is_the_one_that_is_installed", ("CONTRIBUTING.md",)),
)


@dataclass(frozen=True)
class Place:
    """A block and its page."""

    page: str
    block: Block

    def __str__(self) -> str:
        return f"{self.page}-{self.block}"


@functools.cache
def text_of(page: str) -> str:
    """Return a page's text."""
    return (ROOT / page).read_text("utf-8")


def places() -> Iterator[Place]:
    """Yield all blocks of all pages."""
    for page in PAGES:
        for block in blocks(text_of(page)):
            yield Place(page, block)


def ways(place: Place) -> list[str]:
    """Return what becomes of a block: the tests that run it, or the reason why none does; it should be one."""
    note = place.block.note
    if note == INSTALLATION:
        return [".ci/run"]
    if note.startswith(ELSEWHERE):
        reason = re.split(r"[:,;] ", note.removeprefix(ELSEWHERE))[0]
        return [reason] if reason in REASONS else []
    return [test.name for test in TESTS if test.takes(place.page, place.block.language)]


def blocks_of(test: str) -> list[Place]:
    """Return the blocks that a test has to run.

    Raises:
        LookupError: if there are none.
    """
    found = [place for place in places() if test in ways(place)]
    if not found:
        raise LookupError(test)
    return found


def pages_of(test: str) -> list[str]:
    """Return the pages of whose blocks a test has to run some."""
    return sorted({place.page for place in blocks_of(test)})
