"""What MkDocs does beside copying pages: the README is the home page, and files that pages link to come along.

A page of the repository keeps links that lead from file to file; here they are turned to where the site has the files.
"""

import json
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

__all__ = ["notebook_page", "on_files", "on_page_markdown", "place", "with_links"]

ROOT = Path(__file__).resolve().parent.parent
HOME = "README.md"
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(\]\(<?)([^)\s>#]+)(#[^)\s>]*)?(>?(?:\s+\"[^\"]*\")?\))")
_ABOUT = re.compile(r"^(?:<!-- saved as (?P<name>\S+) -->\n)?```(?P<language>\w+)[^\n]*$", re.MULTILINE)
_NOTE = re.compile(r"^<!-- [^\n]* -->\n", re.MULTILINE)


def place(path: str) -> str:
    """Return where the site has a file of the repository."""
    if path == HOME:
        return "index.md"
    if path.endswith(".ipynb"):
        path += ".md"
    return path.removeprefix("docs/")


def _origin(place_: str) -> str:
    """Return the path in the repository of what the site has there."""
    if place_ == "index.md":
        return HOME
    below = f"docs/{place_}".removesuffix(".ipynb.md") + (".ipynb" if place_.endswith(".ipynb.md") else "")
    return below if (ROOT / below).exists() else place_


def _target(page: str, link: str) -> str | None:
    """Return the file of the repository that a link of a page names; None for an address elsewhere."""
    if re.match(r"[a-z][a-z0-9+.-]*:", link):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(link)))
    if (ROOT / path).is_dir() and (ROOT / path / HOME).exists():
        path = posixpath.join(path, HOME)
    return path if (ROOT / path).is_file() else None


def _outside_fences(text: str, change: Callable[[str], str]) -> str:
    parts, at = [], 0
    for fence in _FENCED.finditer(text):
        parts += [change(text[at : fence.start()]), fence.group()]
        at = fence.end()
    return "".join([*parts, change(text[at:])])


def _links(page: str, text: str) -> Iterator[str]:
    for match in _LINK.finditer(_FENCED.sub("", text)):
        target = _target(page, match[2])
        if target is not None:
            yield target


def notebook_page(text: str) -> str:
    """Return a notebook as Markdown: its cells, and what they printed."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            told = "".join(output.get("text") or output.get("data", {}).get("text/plain", ""))
            if told:
                parts.append(f"```text\n{told.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def _content(path: str) -> str | bytes:
    if path.endswith(".ipynb"):
        return notebook_page((ROOT / path).read_text("utf-8"))
    return (ROOT / path).read_text("utf-8") if path.endswith(".md") else (ROOT / path).read_bytes()


def on_files(files: Files, config: Any) -> Files:
    """Add the home page, the notebooks, and what pages link to."""
    waiting = [
        HOME,
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        *(f"docs/{f.src_uri}" for f in files if f.src_uri.endswith(".md")),
    ]
    waiting += [f"docs/{path.relative_to(ROOT / 'docs').as_posix()}" for path in (ROOT / "docs").rglob("*.ipynb")]
    for path in [f.src_uri for f in files if f.src_uri.endswith(".ipynb")]:
        files.remove(files.get_file_from_path(path))  # type: ignore[arg-type]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        content = _content(path)
        if files.get_file_from_path(place(path)) is None:
            files.append(File.generated(config, place(path), content=content))
        if isinstance(content, str):
            fresh = set(_links(path, content)) - seen
            seen |= fresh
            waiting += sorted(fresh)
    return files


def with_links(page: str, text: str) -> str:
    """Return a page with its links turned to where the site has their targets.

    Args:
        page: its path in the repository.
        text: Markdown.
    """
    here = posixpath.dirname(place(page)) or "."

    def turned(match: re.Match[str]) -> str:
        target = _target(page, match[2])
        if target is None:
            return match.group()
        return f"{match[1]}{posixpath.relpath(place(target), here)}{match[3] or ''}{match[4]}"

    return _outside_fences(text, lambda part: _LINK.sub(turned, part))


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Turn links, and give blocks the names of the files that they are saved as."""
    del config, files
    text = with_links(_origin(page.file.src_uri), markdown)

    def fence(match: re.Match[str]) -> str:
        return f"```{match['language']}" + (f' title="{match["name"]}"' if match["name"] else "")

    return _NOTE.sub("", _ABOUT.sub(fence, text))
