"""What sections of a report are made of; plain values, which `page` turns into HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["Block", "Document", "Documents", "Group", "Plot", "Section", "Table", "Variant", "Words"]


@dataclass(frozen=True)
class Words:
    """A paragraph.

    Attributes:
        text: plain text; it is escaped.
    """

    text: str


@dataclass(frozen=True)
class Table:
    """Rows.

    Attributes:
        heads: the columns' names.
        rows: a text or number a column; numbers stand to the right.
        caption: what it shows.
        folded: shown when it is opened.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str
    folded: bool = False


@dataclass(frozen=True)
class Variant:
    """One way to draw a plot.

    Attributes:
        name: as the reader chooses it.
        fields: names of the rows' values.
        rows: what is drawn.
        parts: the values of `part`, in the order of their colours.
    """

    name: str
    fields: Sequence[str]
    rows: Sequence[Sequence[Any]]
    parts: Sequence[str] = ()


@dataclass(frozen=True)
class Plot:
    """A picture by Vega-Lite.

    Attributes:
        title: what it shows.
        spec: Vega-Lite without data; the script gives it the rows of the chosen variant.
        variants: the data, one way or several.
        note: a sentence below.
        zoom: the horizontal axis can be zoomed: its ends, and whether it is logarithmic.
        words: which a search among plots finds it by.
    """

    title: str
    spec: Mapping[str, Any]
    variants: Sequence[Variant]
    note: str = ""
    zoom: tuple[float, float, bool] | None = None
    words: str = ""


@dataclass(frozen=True)
class Document:
    """A document's text, as it is shown.

    Attributes:
        facts: what is told of it, in a line.
        text: its beginning, or all of it.
        blurred: it may be harmful, and is shown on request.
        beside: a second text to hold it against.
    """

    facts: str
    text: str
    blurred: bool = False
    beside: str | None = None


@dataclass(frozen=True)
class Documents:
    """Documents that belong together.

    Attributes:
        title: what they have in common.
        documents: folded, one below the other.
        note: a sentence above.
        heads: what text and second text are called, where there are two.
        counted: say behind the title how many are shown.
    """

    title: str
    documents: Sequence[Document]
    note: str = ""
    heads: tuple[str, str] = ("text", "")
    counted: bool = True


@dataclass(frozen=True)
class Group:
    """Blocks under one title that is opened for them.

    Attributes:
        title: plain text.
        blocks: shown when it is opened.
    """

    title: str
    blocks: "Sequence[Block]"


Block: TypeAlias = Words | Table | Plot | Documents | Group


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        key: its anchor.
        title: its heading.
        blocks: what it holds.
        searchable: its plots can be searched by their words.
    """

    key: str
    title: str
    blocks: Sequence[Block]
    searchable: bool = field(default=False)
