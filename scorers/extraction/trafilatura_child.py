"""Extraction with trafilatura: imported in a `Sandbox`'s child alone, for it has no time limit of its own."""

import trafilatura

__all__ = ["all_text", "main_content"]


def main_content(html: str) -> str:
    """Return the text of a page's main content, without comments; empty if none is found."""
    return trafilatura.extract(html, favor_precision=True, include_comments=False) or ""


def all_text(html: str) -> str:
    """Return all text of a page."""
    return trafilatura.html2txt(html) or ""
