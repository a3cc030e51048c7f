"""Extraction with resiliparse: called in a `Sandbox`'s child, since a parser's time and memory have no bound."""

import json

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLParserException, HTMLTree

__all__ = ["all_text", "main_and_all_text", "main_content"]


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
    """Return the text of the main content, and how many characters but white space it and the whole page have.

    Returns:
        A JSON list of two numbers, a line feed, and the text.
    """
    tree = _tree(html)
    text = _text(tree, main_content=True)
    everything = extract_plain_text(tree, main_content=False, alt_texts=False, comments=False, post_meta=False)
    return f"{json.dumps([len(''.join(part.split())) for part in (text, everything)])}\n{text}"
