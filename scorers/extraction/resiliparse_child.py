"""Extraction with resiliparse: called in a `Sandbox`'s child, since a parser's time and memory have no bound."""

import json

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLParserException, HTMLTree

__all__ = ["PROSE_LINE", "all_text", "main_and_all_text", "main_content"]


PROSE_LINE = 200
"""Bytes of a line that is prose rather than a menu's entry or a form's label."""


def _tree(html: str) -> HTMLTree:
    try:
        return HTMLTree.parse(html)
    except HTMLParserException as error:  # there is no page that can't be parsed, but for want of memory
        raise MemoryError(str(error)) from error


def _text(tree: HTMLTree, *, main_content: bool) -> str:
    return extract_plain_text(
        tree, main_content=main_content, alt_texts=False, comments=not main_content, post_meta=not main_content
    )


def main_content(html: str) -> str:
    """Return the text of a page's main content, without comments; empty if none is found."""
    return _text(_tree(html), main_content=True)


def all_text(html: str) -> str:
    """Return all text of a page."""
    return _text(_tree(html), main_content=False)


def main_and_all_text(html: str) -> str:
    """Return the text of the main content, and what is known of all text of the page.

    Returns:
        A JSON list of three numbers, a line feed, and the text: characters but white space of the text, the same of
        all text of the page, and bytes (UTF-8) in lines of all text that are as long as those of prose.
    """
    tree = _tree(html)
    text = _text(tree, main_content=True)
    everything = extract_plain_text(tree, main_content=False, alt_texts=False, comments=False, post_meta=False)
    lines = [len(line.strip().encode("utf-8", "replace")) for line in everything.split("\n")]
    counts = [len("".join(part.split())) for part in (text, everything)]
    counts.append(sum(size for size in lines if size >= PROSE_LINE))
    return f"{json.dumps(counts)}\n{text}"
