"""The documentation as a site: it builds with every link and heading checked, and a notebook does what it shows."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tamis
from docs.build_reference import python_page
from tests.source_tree import ROOT


def test_site_builds_with_all_links_checked(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "steps/dsir.html", "tutorial/first.html", "notebook.ipynb.html", "python.html"} <= pages
    home = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert 'href="steps/index.html"' in home
    api = (tmp_path / "site" / "python.html").read_text("utf-8")
    assert all(f"tamis.{name}" in api for name in tamis.__all__)
    assert ":::" not in api


def test_home_page_is_the_readme_with_its_links_turned() -> None:
    pytest.importorskip("mkdocs")
    from docs.site_hooks import place, with_links

    text = "[a](docs/config.md#keep) [b](examples/corpus/README.md) [c](LICENSE) [d](https://x.y) [e](#speed)\n"
    fenced = "```text\n[g](docs/config.md)\n```\n"
    told = with_links("README.md", text + fenced)
    assert told == (
        "[a](config.md#keep) [b](examples/corpus/README.md) [c](LICENSE) [d](https://x.y) [e](#speed)\n" + fenced
    )
    assert with_links("docs/engines.md", "[a](../deploy/dataflow/README.md)") == "[a](deploy/dataflow/README.md)"
    assert with_links("deploy/dataflow/README.md", "[a](../../docs/engines.md)") == "[a](../../engines.md)"
    assert with_links("docs/steps/quad.md", "[a](../quad.md)") == "[a](../quad.md)"
    assert [place(path) for path in ("README.md", "docs/quad.md", "LICENSE")] == ["index.md", "quad.md", "LICENSE"]


def test_a_broken_link_ends_a_strict_build(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Home\n\n[away](nowhere.md) [up](#nothing)\n")
    rules = (ROOT / "mkdocs.yml").read_text("utf-8").split("validation:")[1].split("nav:\n  - ")[0]
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\nvalidation:{rules}")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "nowhere.md" in done.stderr
    assert "#nothing" in done.stderr


def test_python_page_has_every_public_name() -> None:
    told = re.findall(r"heading: tamis\.(\w+)", python_page())
    assert sorted(told) == sorted(tamis.__all__)


def test_guarantees_name_tests_that_there_are() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
    named = re.findall(r"`(tests/[^`]+)`", page)
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []
    for section in page.split("\n## ")[1:]:
        assert "`tests/" in section, section.splitlines()[0]


@pytest.mark.slow
def test_notebook_prints_what_it_shows(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    from docs.execute_notebooks import execute

    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for path in sorted((ROOT / "docs").glob("*.ipynb")):
        kept = nbformat.read(path, as_version=4)
        done = execute(nbformat.read(path, as_version=4), tmp_path)
        assert json.loads(nbformat.writes(done))["cells"] == json.loads(nbformat.writes(kept))["cells"]
