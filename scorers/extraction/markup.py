"""How much work a page's markup makes for a parser, before it is parsed."""

import functools
from typing import Any, NamedTuple

import numpy as np

__all__ = ["estimated_steps"]

# Elements that hold nothing, or that a parser closes by itself wherever the next of their kind begins.
_VOID = """
    area base br col embed hr img input keygen link meta param source track wbr frame basefont bgsound
    p tr td th tbody thead tfoot caption colgroup html head body
"""
_CELL = "tr td th tbody thead tfoot caption colgroup"
# Elements that a parser closes when the next of their kind follows directly; `dd` counts as `dt`.
_SIBLING = "li dt option"
# Elements whose content isn't markup.
_RAW = "script style textarea title xmp iframe noembed noframes"
# Elements within which it is markup all the same.
_FOREIGN = "svg math"
_FORMATTING = "a b big code em font i nobr s small strike strong tt u"
_SPECIAL = """
    address applet article aside blockquote button center dt details dir div dl fieldset figcaption figure footer form
    frameset h1 h2 h3 h4 h5 h6 header hgroup iframe li listing main marquee menu nav noembed noframes noscript object
    ol plaintext pre script search section select style summary table template textarea title ul xmp
"""
_SCOPE = "applet marquee object table template"


class _Table(NamedTuple):
    names: "np.ndarray[Any, np.dtype[np.uint64]]"
    kinds: "np.ndarray[Any, np.dtype[np.int64]]"


@functools.cache
def _table() -> _Table:
    from tamis.scorers.extraction import markup_kernels as kernels

    lists = {
        kernels.VOID: _VOID,
        kernels.CELL: _CELL,
        kernels.SIBLING: _SIBLING,
        kernels.RAW: _RAW,
        kernels.FOREIGN: _FOREIGN,
        kernels.FORMATTING: _FORMATTING,
        kernels.SPECIAL: _SPECIAL,
        kernels.SCOPE: _SCOPE,
        kernels.PARAGRAPH: "p",
    }
    kinds: dict[int, int] = {}
    for bit, names in lists.items():
        for name in names.split():
            hashed = int(kernels.name_hash(np.frombuffer(name.encode(), np.uint8), 0, len(name)))
            kinds[hashed] = kinds.get(hashed, 0) | bit
    ordered = sorted(kinds)
    return _Table(np.array(ordered, np.uint64), np.array([kinds[name] for name in ordered], np.int64))


def estimated_steps(page: "np.ndarray[Any, np.dtype[np.uint8]]", limit: int) -> int:
    """Return the steps that parsing a page (UTF-8) takes, estimated as `parser_steps` says; counted to `limit`."""
    from tamis.scorers.extraction.markup_kernels import parser_steps

    return parser_steps(page, *_table(), limit)
