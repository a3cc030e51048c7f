"""Extraction with resiliparse: called in a `Sandbox`'s child, since a parser's time and memory have no bound."""

import json

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLParserException, HTMLTree

from tamis.scorers.extraction.boilerplate import SKIPPED

__all__ = ["all_text", "main_and_all_text", "main_content"]


PROSE_LINE = 200
"""Bytes of a line that is prose rather than a menu's entry or a form's label."""
_HALF = 0.5  # of the main content, which is less than what may be left out of it by its name


def _tree(html: str) -> HTMLTree:
    try:
        return HTMLTree.parse(html)
    except HTMLParserException as error:  # there is no page that can't be parsed, but for want of memory
        raise MemoryError(str(error)) from error


def _text(tree: HTMLTree, *, main_content: bool, skipped: list[str] | None = None) -> str:
    return extract_plain_text(
        tree,
        main_content=main_content,
        alt_texts=False,
        comments=not main_content,
        post_meta=not main_content,
        skip_elements=skipped,
    )


def _size(text: str) -> int:
    """Return characters but white space."""
    return len("".join(text.split()))


def main_content(html: str) -> str:
    """Return the text of a page's main content, without comments; empty if none is found."""
    return _text(_tree(html), main_content=True)


def all_text(html: str) -> str:
    """Return all text of a page."""
    return _text(_tree(html), main_content=False)


def main_and_all_text(html: str) -> str:
    """Return the text of the main content without what is no text by its name, and what is known of the page's text.

    The names count for nothing (`boilerplate.SKIPPED`) where half of the main content would go by them. resiliparse
    takes an embedded post (`twitter-tweet`) for a button to share the page; it is a quotation in it.

    Returns:
        A JSON list of three numbers, a line feed, and the text: characters but white space of the main content, the
        same of all text of the page, and bytes (UTF-8) in lines of all text that are as long as those of prose.
    """
    tree = _tree(html.replace("twitter-tweet", "blockquote"))
    text = _text(tree, main_content=True, skipped=SKIPPED)
    everything = extract_plain_text(tree, main_content=False, alt_texts=False, comments=False, post_meta=False)
    found, all_characters = _size(text), _size(everything)
    if found < _HALF * all_characters:  # else it is half of the main content in any case
        main = _text(tree, main_content=True)
        kept, found = found, _size(main)
        text = main if kept < _HALF * found else text
    lines = [len(line.strip().encode("utf-8", "replace")) for line in everything.split("\n")]
    counts = [found, all_characters, sum(size for size in lines if size >= PROSE_LINE)]
    return f"{json.dumps(counts)}\n{text}"
