"""The visible text of an HTML page, navigation and all, as the text extracts of web crawls have it."""

import re
from html.parser import HTMLParser

__all__ = ["page_text", "page_title"]

_BLOCKS = frozenset(
    (
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "br",
        "caption",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "html",
        "li",
        "main",
        "nav",
        "ol",
        "option",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "title",
        "tr",
        "ul",
    )
)
_HIDDEN = frozenset(("script", "style", "template", "noscript"))


class _Reader(HTMLParser):
    """Collects lines: a block element starts a new one, and `pre` keeps its own."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self.title = ""
        self._line = ""
        self._hidden = 0
        self._pre = 0
        self._in_title = False

    def end_line(self) -> None:
        line = " ".join(self._line.split())
        if line:
            self.lines.append(line)
        self._line = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag in _BLOCKS:
            self.end_line()
            self._pre += tag == "pre"
            self._in_title = tag == "title"

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in _BLOCKS:
            self.end_line()
            if tag == "pre":
                self._pre = max(0, self._pre - 1)
            self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._in_title:
            self.title += data
        if self._pre:
            *ended, self._line = (self._line + data).split("\n")
            self.lines.extend(line.rstrip() for line in ended if line.strip())
        else:
            self._line += data


def _read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    reader.end_line()
    return reader


def page_text(html: str) -> str:
    """One line for each block of the page that shows text."""
    return "\n".join(_read(html).lines)


def page_title(html: str) -> str:
    """The content of the `title` element, on one line."""
    return re.sub(r"\s+", " ", _read(html).title).strip()
