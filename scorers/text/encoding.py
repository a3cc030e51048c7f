"""Bytes of a page to text: what the page declares is believed as far as its bytes bear it out.

Encodings are those of browsers (the WHATWG's Encoding Standard), since pages were written to be seen in one.
"""

import codecs
import re
from typing import NamedTuple

import numpy as np

from tamis.scorers.text.encoding_labels import encoding_of

__all__ = ["Decoded", "decode", "decode_as"]


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
    rb"""<meta[^>]{0,512}?charset\s*+=\s*+["']?\s*+([A-Za-z0-9_:.-]{2,40})"""
    rb"""|<\?xml[^>]{0,128}?encoding\s*=\s*["']([A-Za-z0-9_:.-]{2,40})""",
    re.IGNORECASE,
)
_HEAD = 4096
_SAMPLE = 1 << 16
_JIS = re.compile(rb"\x1b\$[@B][!-~]{2,4096}\x1b\([BJ]")
_REPLACED = re.compile(rb"\x1b\$|~\{")
_PAIRS = {"big5": "big5_tables", "euc-kr": "euc_kr_tables", "shift_jis": "shift_jis_tables"}
_MULTIBYTE = frozenset({"gbk", "gb18030", "big5", "euc-jp", "euc-kr", "shift_jis", "iso-2022-jp"})
_ASCII_RUNS = re.compile(r"[\x00-\x7f]+")
# What the library doesn't detect, and the words that texts of it are made of.
_UNDETECTED = {
    "euc-kr": re.compile("[\uac00-\ud7a3]{2,}"),
    "x-mac-cyrillic": re.compile("[\u0400-\u042f]?[\u0430-\u045f]{3,}"),
}
_SHARE = 0.7  # of all that isn't ASCII, in such words
_WIDE_MARKS = " \n\u3000\u3001\u3002\uff0c\uff0e"
_TOLERATED = 0.01  # share of characters that may be undecodable before another encoding is tried
_MOSTLY = 10  # sequences of valid UTF-8 to each invalid one that make damaged UTF-8 likelier than another encoding
_SEQUENCES = re.compile(rb"[\xc2-\xf4][\x80-\xbf]+")


def decode_as(data: bytes, encoding: str) -> str:
    """Decode bytes as a browser does; undecodable ones become U+FFFD.

    Args:
        data: the bytes, without a byte order mark.
        encoding: the standard's name of it, in lower case (see `encoding_of`).
    """
    if encoding == "utf-8":
        return data.decode("utf-8", "replace")
    if encoding in ("utf-16be", "utf-16le"):
        return data.decode(f"utf-16-{encoding[-2:]}", "replace")
    if encoding == "replacement":
        return "\ufffd" if data else ""
    from tamis.scorers.text import encoding_kernels as kernels
    from tamis.scorers.text import encoding_tables as tables

    values = np.frombuffer(data, np.uint8)
    if encoding in ("gbk", "gb18030"):
        codes = kernels.decode_gb18030(values, tables.gb18030_pairs(), *tables.four_byte_runs())
    elif encoding == "euc-jp":
        codes = kernels.decode_euc_jp(values, tables.jis0208(), tables.jis0212())
    elif encoding == "iso-2022-jp":
        codes = kernels.decode_iso_2022_jp(values, tables.jis0208())
    elif encoding in _PAIRS:
        codes = kernels.decode_pairs(values, *getattr(tables, _PAIRS[encoding])())
    else:
        return codecs.charmap_decode(data, "replace", tables.single_byte_table(encoding))[0]
    return codes.astype("<u4", copy=False).tobytes().decode("utf-32-le")


def decode(data: bytes, declared: str | None = None) -> Decoded:
    """Decode the bytes of a web page or of a plain text; undecodable bytes become U+FFFD.

    In this order: a byte order mark; ISO-2022-JP where its escapes are; UTF-8 wherever the bytes are valid UTF-8 (text
    of another encoding that happens to be is very rare, pages that are UTF-8 and say otherwise are common); the
    encoding that the HTTP header declares; the page's own declaration; statistical detection. A declaration that the
    bytes contradict is passed over.

    Args:
        data: the page.
        declared: `charset` of the HTTP header.
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return Decoded(data[len(mark) :].decode(name, "replace"), name)
    head = data[:_HEAD]
    labels = [label for label in (encoding_of(declared), _meta(head)) if label is not None]
    if b"\x1b" in data and ("iso-2022-jp" in labels or (data.isascii() and _JIS.search(data))):
        return _as(data, "iso-2022-jp")  # valid ASCII, but not what it says
    if labels[:1] == ["replacement"] and data.isascii() and _REPLACED.search(data):
        return _as(data, "replacement")
    if head.count(0) * 5 > len(head):
        return _decode_wide(data, head, labels)
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        pass
    if _damaged_utf8(data):
        return _as(data, "utf-8")
    for name in labels:
        if name.startswith("utf-16") and _is_wide(data, name):
            return _as(data, name)
        if name.startswith("utf-") or name == "replacement":  # the bytes contradict it
            continue
        found = _as(data, name)
        if name not in _MULTIBYTE or found.text.count("\ufffd") <= _TOLERATED * len(found.text):
            return found
    return _as(data, _detected(data))


def _as(data: bytes, encoding: str) -> Decoded:
    from tamis.scorers.text.encoding_tables import PYTHON_NAMES

    return Decoded(decode_as(data, encoding), PYTHON_NAMES.get(encoding, encoding))


def _meta(head: bytes) -> str | None:
    """Return the encoding that a page itself names; as in browsers, one that can't be read as ASCII isn't believed."""
    match = _DECLARED.search(head)
    name = encoding_of((match.group(1) or match.group(2)).decode("ascii")) if match else None
    return {"utf-16be": "utf-8", "utf-16le": "utf-8", "x-user-defined": "windows-1252"}.get(name or "", name)


def _is_wide(data: bytes, encoding: str) -> bool:
    """Return whether bytes without many zeros, such as Chinese, are UTF-16: no other text has its blanks."""
    try:
        text = data.decode(f"utf-16-{encoding[-2:]}")
    except UnicodeDecodeError:
        return False
    return sum(text.count(mark) for mark in _WIDE_MARKS) * 200 >= len(text)


def _decode_wide(data: bytes, head: bytes, labels: list[str]) -> Decoded:
    """Decode bytes with many zeros: UTF-16 without a mark, its order told by where the zeros are."""
    declared = next((label for label in labels if label.startswith("utf-16")), None)
    even, odd = head[0::2].count(0), head[1::2].count(0)
    name = "utf-16be" if even > odd else "utf-16le"
    if declared is None and min(even, odd) * 4 > max(even, odd):  # zeros on both sides: binary, not UTF-16
        name = "utf-8"
    return _as(data, name)


def _detected(data: bytes) -> str:
    """Return the encoding that bytes which declare none seem to be in."""
    from resiliparse.parse.encoding import detect_encoding

    from tamis.scorers.text.encoding_tables import PYTHON_NAMES

    found = detect_encoding(data) or ""
    if found != "utf-8":  # which it isn't: so the library says that it doesn't know
        ours = {python: name for name, python in PYTHON_NAMES.items()}
        return encoding_of(found) or ours.get(found) or encoding_of(found.replace("_", "-")) or "windows-1252"
    sample = data[:_SAMPLE]
    for name, letters in _UNDETECTED.items():
        text = decode_as(sample, name)
        foreign = len(text) - sum(map(len, _ASCII_RUNS.findall(text)))
        if text.count("\ufffd") <= _TOLERATED * foreign and sum(map(len, letters.findall(text))) >= _SHARE * foreign:
            return name
    return "windows-1252"


def _damaged_utf8(data: bytes) -> bool:
    """Return whether bytes that aren't valid UTF-8 are likelier UTF-8 with faults than another encoding."""
    valid = sum(1 for _ in _SEQUENCES.finditer(data))
    try:
        codecs.utf_8_decode(data, "strict", False)  # noqa: FBT003  (lets a character cut at the end pass)
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").count("\ufffd") * _MOSTLY <= valid
    return valid > 1
