"""Turns sections into one HTML file: scripts and data inside, nothing fetched, no text taken for markup."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from tamis.jobs.report.blocks import Block, Document, Documents, Group, Plot, Section, Table, Words
from tamis.jobs.text import figure, harmless

__all__ = ["LIBRARIES", "NARROW", "library", "page"]

LIBRARIES = ("vega.min.js", "vega-lite.min.js")
"""The libraries that are embedded, in the order they need; `assets/README.md` says what they are."""
NARROW = 46
"""Characters of a table that fit a phone."""
_ASSETS = Path(__file__).parent / "assets"
_SOURCE_MAP = re.compile(r"\n?//# sourceMappingURL=\S+\s*$")


def page(
    title: str, lead: str, sections: Sequence[Section], *, tiles: Mapping[str, str], warnings: Sequence[str]
) -> str:
    """Return the whole report.

    Args:
        title: of the page.
        lead: a sentence below it.
        sections: in order.
        tiles: name to value of what comes first.
        warnings: of the run.
    """
    plots: list[Plot] = []
    body = "".join(_section(section, plots) for section in sections)
    scripts = [*(library(name) for name in LIBRARIES), _asset("report.js")]
    # Scripts run by their digests alone: whatever a document holds, it can't run. Vega makes functions of expressions.
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    links = "".join(f'<li><a href="#{section.key}">{_text(section.title)}</a></li>' for section in sections)
    shown = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in tiles.items())
    told = "".join(f'<p class="warning">{_text(warning)}</p>' for warning in warnings)
    data = json.dumps([_data(plot) for plot in plots], separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        '<link rel="icon" href="data:,">',
        f"<title>{_text(title)}</title>",
        f"<style>{_asset('report.css')}</style>",
        "</head>",
        "<body>",
        '<a class="skip" href="#main">To the report</a>',
        '<div class="layout">',
        f'<nav aria-label="Contents"><details open><summary>Contents</summary><ul>{links}</ul></details></nav>',
        '<main id="main">',
        f"<h1>{_text(title)}</h1>",
        f"<p>{_text(lead)}</p>",
        '<p class="tools"><button id="veil" aria-pressed="false">Blur all texts</button></p>',
        "<noscript><p>The plots need JavaScript, which is part of this file; tables and texts don't.</p></noscript>",
        f'<dl class="tiles">{shown}</dl>',
        told,
        body,
        "</main>",
        "</div>",
        f'<script type="application/json" id="plots">{_inert(data)}</script>',
        *(f"<script>{script}</script>" for script in scripts),
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


# --- assets ---


@cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text("utf-8")


@cache
def library(name: str) -> str:
    """Return a library's script, as it can stand within a page."""
    return _SOURCE_MAP.sub("", _asset(name)).replace("</script", "<\\/script")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


# --- text ---


def _text(value: object, *, lines: bool = False) -> str:
    """Return a text as HTML shows it: characters that hide or reorder are escaped visibly, and markup is none."""
    return html.escape(harmless(value, lines=lines))


def _name(value: object) -> str:
    """Return a text that may hold long names: on a narrow screen they are broken between their words."""
    return re.sub(r"(?<=[\w])([_./+-])(?=\w)", r"\1<wbr>", _text(value))


def _inert(data: str) -> str:
    """Return JSON that ends no script element, and holds no character that hides or reorders."""
    return data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


# --- blocks ---


def _section(section: Section, plots: list[Plot]) -> str:
    inner = "".join(_blocks(section.blocks, plots))
    search = ""
    if section.searchable:
        label = f"Search in {section.title.lower()}"
        search = (
            f'<p><label>{_text(label)} <input type="search" data-searches="{section.key}" '
            f'placeholder="a column or rule"></label></p>'
        )
    head = f'<h2 id="{section.key}-head">{_text(section.title)}</h2>'
    return f'<section id="{section.key}" aria-labelledby="{section.key}-head">{head}{search}{inner}</section>\n'


def _blocks(blocks: Sequence[Block], plots: list[Plot]) -> Iterator[str]:
    """Yield the HTML of blocks; plots that follow one another stand side by side where there is room."""
    place = 0
    while place < len(blocks):
        block = blocks[place]
        if isinstance(block, Plot):
            end = place
            while end < len(blocks) and isinstance(blocks[end], Plot):
                end += 1
            run = [found for found in blocks[place:end] if isinstance(found, Plot)]
            inner = "".join(_plot(found, plots) for found in run)
            yield f'<div class="plots">{inner}</div>' if len(run) > 1 else inner
            place = end
            continue
        yield _block(block, plots)
        place += 1


def _block(block: Block, plots: list[Plot]) -> str:
    match block:
        case Words():
            return f"<p>{_text(block.text)}</p>"
        case Table():
            return _table(block)
        case Plot():
            return _plot(block, plots)
        case Documents():
            return _documents(block)
        case Group():
            inner = "".join(_blocks(block.blocks, plots))
            return f'<details class="group"><summary>{_text(block.title)}</summary>{inner}</details>'


def _table(table: Table) -> str:
    numbers = [
        any(isinstance(row[i], int | float) for row in table.rows)
        and all(row[i] is None or isinstance(row[i], int | float) for row in table.rows)
        for i in range(len(table.heads))
    ]
    heads = "".join(
        f'<th scope="col"{_class("number" if number else "")}>{_text(head)}</th>'
        for head, number in zip(table.heads, numbers, strict=True)
    )
    # On a narrow screen the rows of a wide table become blocks, each value with its head.
    columns = zip(table.heads, *table.rows, strict=True)
    wide = sum(max(len("" if value is None else str(value)) for value in column) + 2 for column in columns) > NARROW
    rows = []
    for row in table.rows:
        cells = []
        for head, value, number in zip(table.heads, row, numbers, strict=True):
            told = "" if value is None else _text(figure(value)) if number else _name(value)
            kind = "number" if number else "long" if len(str(value)) > 40 else ""
            named = f' data-head="{_text(head)}"' if wide else ""
            cells.append(f"<td{_class(kind)}{named}>{told}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    label = _text(table.caption)
    kind = _class("wide-rows" if wide else "")
    whole = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table{kind}><caption>{label}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
    return f"<details><summary>{label}</summary>{whole}</details>" if table.folded else whole


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _plot(plot: Plot, plots: list[Plot]) -> str:
    number = len(plots)
    plots.append(plot)
    tools = ""
    title = _text(plot.title)
    if len(plot.variants) > 1:
        options = "".join(f"<option>{_text(variant.name)}</option>" for variant in plot.variants)
        tools += f'<label>by <select aria-label="{title}: what the colours are">{options}</select></label>'
    if plot.zoom is not None:
        moves = {"in": ("+", "zoom in"), "out": ("−", "zoom out"), "left": ("←", "to the left")}
        moves |= {"right": ("→", "to the right"), "all": ("all", "show all")}
        tools += "".join(
            f'<button data-move="{move}" aria-label="{title}: {told}" title="{told}">{sign}</button>'
            for move, (sign, told) in moves.items()
        )
    note = f"<figcaption>{_text(plot.note)}</figcaption>" if plot.note else ""
    words = _text(f"{plot.title} {plot.words}".lower())
    return (
        f'<figure data-plot="{number}" data-words="{words}"><h3>{title}</h3>'
        f'<div class="tools">{tools}</div><div class="wide"><div class="picture"></div></div>{note}'
        f'<details class="numbers"><summary>The numbers</summary>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}: the numbers"></div></details></figure>'
    )


def _data(plot: Plot) -> dict[str, Any]:
    return {"spec": plot.spec, "variants": [asdict(variant) for variant in plot.variants], "zoom": plot.zoom}


def _documents(block: Documents) -> str:
    inner = "".join(_document(document, block.heads) for document in block.documents)
    note = f'<p class="note">{_text(block.note)}</p>' if block.note else ""
    shown = f" ({len(block.documents)} shown)" if block.counted else ""
    return f'<details class="group"><summary>{_name(block.title + shown)}</summary>{note}{inner}</details>'


def _document(document: Document, heads: tuple[str, str]) -> str:
    hidden = ' aria-hidden="true" inert' if document.blurred else ""
    text = f"<pre{hidden}>{_text(document.text, lines=True)}</pre>"
    if document.beside is not None:
        other = f"<pre{hidden}>{_text(document.beside, lines=True)}</pre>"
        one, two = (f"<h4>{_text(head)}</h4>" for head in heads)
        text = f'<div class="beside"><div>{one}{text}</div><div>{two}{other}</div></div>'
    if document.blurred:
        show, hide = "Show this text, which may be harmful", "Blur this text again"
        button = f'<button aria-expanded="false" data-show="{show}" data-hide="{hide}">{show}</button>'
        text = f'<div class="blurred">{button}{text}</div>'
    return f'<details class="document"><summary>{_name(document.facts)}</summary>{text}</details>'
