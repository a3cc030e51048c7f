"""Links of the README and the pages in docs lead somewhere: to a file, and to a heading that it has."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.source_tree import ROOT

PAGES = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    + [path for folder in ("docs", "examples") for path in (ROOT / folder).rglob("*.md")]
)
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")


def prose(path: Path) -> str:
    return _CODE.sub("", _FENCE.sub("", path.read_text()))


def anchors(path: Path) -> set[str]:
    """The fragments by which GitHub reaches a page's headings: small letters, blanks as hyphens, numbered if again."""
    found: dict[str, int] = {}
    told = set()
    for heading in re.findall(r"^#+ +(.*?) *#*$", _FENCE.sub("", path.read_text()), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = found.get(slug, 0)
        found[slug] = number + 1
        told.add(f"{slug}-{number}" if number else slug)
    return told | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", path.read_text()))


def broken(path: Path) -> list[str]:
    wrong = []
    for link in _LINK.findall(prose(path)):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        file, _, fragment = link.partition("#")
        target = (path.parent / unquote(file)).resolve() if file else path
        if not target.exists():
            wrong.append(f"{link}: no such file")
        elif not target.is_relative_to(ROOT):
            wrong.append(f"{link}: leads out of the repository")
        elif fragment and target.suffix == ".md" and fragment not in anchors(target):
            wrong.append(f"{link}: no such heading")
    return wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    assert broken(path) == []


def test_what_is_broken_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_links.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading: `x` & more\n## Twice\n## Twice\n[a](page.md#a-heading-x--more) [b](#twice-1) [c](none.md)\n"
        "[d](#nowhere) [e](https://example.org/x) `[f](none.md)` [g](../..)\n```\n[h](none.md)\n# no heading\n```\n"
        "[i [j]](none.md 'title') ![k](none.png \"title\") [l](#no-heading)\n"
    )
    assert [told.partition(":")[0] for told in broken(page)] == [
        "none.md",
        "#nowhere",
        "../..",
        "none.png",
        "#no-heading",
    ]
