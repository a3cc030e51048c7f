"""Bytes of a page to text: what the page declares is believed as far as its bytes bear it out."""

import codecs
import re
from typing import NamedTuple

__all__ = ["Decoded", "decode"]


class Decoded(NamedTuple):
    """Text, and the name of the encoding that was used (Python's)."""

    text: str
    encoding: str


_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark begins it
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(
    rb"""<meta[^>]{0,512}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{2,40})"""
    rb"""|<\?xml[^>]{0,128}?encoding\s*=\s*["']([A-Za-z0-9_:.-]{2,40})""",
    re.IGNORECASE,
)
_HEAD = 4096
# Encodings that hold a label's text and more: undecodable bytes are fewer with them.
_WIDER = {"gbk": "gb18030", "gb2312": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs"}
_MULTIBYTE = frozenset({"gb18030", "cp932", "cp949", "big5hkscs", "euc_jp", "iso2022_jp"})
_TOLERATED = 0.01  # share of characters that may be undecodable before another encoding is tried
_MOSTLY = 10  # sequences of valid UTF-8 to each invalid one that make damaged UTF-8 likelier than another encoding
_SEQUENCES = re.compile(rb"[\xc2-\xf4][\x80-\xbf]+")


def decode(data: bytes, declared: str | None = None) -> Decoded:
    """Decode the bytes of a web page or of a plain text; undecodable bytes become U+FFFD.

    In this order: a byte order mark; UTF-8 wherever the bytes are valid UTF-8 (text of another encoding that
    happens to be is very rare, pages that are UTF-8 and say otherwise are common); the encoding that the HTTP
    header declares; the page's own declaration; statistical detection. A declaration that the bytes
    contradict is passed over.

    Args:
        data: the page.
        declared: `charset` of the HTTP header.
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return Decoded(data[len(mark) :].decode(name, "replace"), name)
    head = data[:_HEAD]
    labels = [label for label in (_python_name(declared), _meta(head)) if label is not None]
    if "iso2022_jp" in labels and b"\x1b" in data:  # valid ASCII, but not what it says
        return Decoded(data.decode("iso2022_jp", "replace"), "iso2022_jp")
    zeros = head.count(0)
    if zeros * 5 > len(head):
        return _decode_wide(data, head, labels)
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        pass
    if _damaged_utf8(data):
        return Decoded(data.decode("utf-8", "replace"), "utf-8")
    for name in labels:
        if name.startswith(("utf-16", "utf-32", "utf-8")):  # the bytes contradict it
            continue
        text = data.decode(name, "replace")
        if name not in _MULTIBYTE or text.count("\ufffd") <= _TOLERATED * len(text):
            return Decoded(text, name)
    from resiliparse.parse.encoding import detect_encoding

    name = _python_name(detect_encoding(data)) or "cp1252"
    if name == "utf-8":
        name = "cp1252"
    return Decoded(data.decode(name, "replace"), name)


def _python_name(label: str | None) -> str | None:
    """Return Python's name for a label of the WHATWG encoding standard; None for one it doesn't know."""
    if not label:
        return None
    from resiliparse.parse.encoding import map_encoding_to_html5

    name = map_encoding_to_html5(label.strip().strip("\"'").lower(), False)  # noqa: FBT003  (no keyword for it)
    if name is None:
        return None
    name = _WIDER.get(name, name)
    try:
        codecs.lookup(name)
    except LookupError:
        return None
    return name


def _meta(head: bytes) -> str | None:
    match = _DECLARED.search(head)
    return _python_name((match.group(1) or match.group(2)).decode("ascii")) if match else None


def _decode_wide(data: bytes, head: bytes, labels: list[str]) -> Decoded:
    """Decode bytes with many zeros: UTF-16 without a mark, its order told by where the zeros are."""
    declared = next((label for label in labels if label.startswith(("utf-16", "utf-32"))), None)
    even, odd = head[0::2].count(0), head[1::2].count(0)
    name = "utf-16-be" if even > odd else "utf-16-le"
    if declared is None and min(even, odd) * 4 > max(even, odd):  # zeros on both sides: binary, not UTF-16
        return Decoded(data.decode("utf-8", "replace"), "utf-8")
    return Decoded(data.decode(name, "replace"), name)


def _damaged_utf8(data: bytes) -> bool:
    """Return whether bytes that aren't valid UTF-8 are likelier UTF-8 with faults than another encoding."""
    valid = sum(1 for _ in _SEQUENCES.finditer(data))
    try:
        codecs.utf_8_decode(data, "strict", False)  # noqa: FBT003  (lets a character cut at the end pass)
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").count("\ufffd") * _MOSTLY <= valid
    return valid > 1
