"""What a page is: its declared media type, or where that is missing, mistyped or says nothing, what its bytes show.

Much as browsers do it (the WHATWG's MIME Sniffing Standard), with two differences: a page declared as plain text that
begins as an HTML document is one, and UTF-16 is looked into.
"""

import codecs
import re

__all__ = ["is_definite", "media_type", "page_media"]

# Nothing is tried twice (`*+`, `(?>...)`): a header or a page must not keep a search busy.
_MEDIA = re.compile(r"[\s\"']*+([!#$%&'*+.^`|~\w-]++)\s*+/\s*+([!#$%&*+.^`|~\w-]+)", re.ASCII)
_CHARSET = re.compile(r"charset\s*+=\s*+[\"']?\s*+([^\s\"';,]+)", re.IGNORECASE)
# Servers' words for what they don't know: browsers save it, and pages among it are pages all the same.
_SAVED = frozenset({
    "application/download", "application/force-download", "application/octet-stream", "application/x-download",
    "application/x-httpd-php", "binary/octet-stream", "httpd/unix-directory", "text/php", "text/x-php",
})  # fmt: skip
_GENERAL = _SAVED | {"*/*", "application/unknown", "application/x-unknown-content-type", "text/*", "unknown/unknown"}
_MEANT = {
    "application/html": "text/html",
    "application/vnd.wap.xhtml+xml": "application/xhtml+xml",
    "text/htm": "text/html",
    "text/x-html": "text/html",
}
"""Media types that nobody registered, to those that are meant."""
_XML = frozenset({"application/xml", "text/xml"})
_HEAD = 1445  # bytes that browsers look at
_ROOT_WITHIN = 1 << 14
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_HTML = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|title|meta|link|script|style|iframe|h[1-6]|div|font|table|center|a|b|br|p|img"
    rb"|ul|ol|form|span|main|article|section|nav|header|base|frameset)[\s/>]|<!--",
    re.IGNORECASE,
)
_DOCUMENT = re.compile(rb"(?>(?:<!--.{0,2000}?-->\s*+)*)<(?:!doctype\s+html|html)[\s/>]", re.IGNORECASE | re.DOTALL)
# The first element of an XML document: after its declaration, comments, instructions and document type.
_ROOT = re.compile(
    rb"(?>(?:\s+|<\?.{0,4000}?\?>|<!--.{0,4000}?-->|<!DOCTYPE\s+(?P<type>[\w:]+)[^>]{0,1000}>)*)<(?P<root>[\w:.-]+)",
    re.IGNORECASE | re.DOTALL,
)
_MAGIC = {
    b"%PDF-": "application/pdf",
    b"PK\x03\x04": "application/zip",
    b"\x89PNG\r\n": "image/png",
    b"GIF8": "image/gif",
    b"\xff\xd8\xff": "image/jpeg",
    b"RIFF": "application/octet-stream",
    b"Rar!": "application/x-rar-compressed",
}
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def media_type(content_type: str | None) -> tuple[str | None, str | None]:
    """Return media type (in lower case) and charset of a Content-Type header, None for each that isn't there."""
    if not content_type:
        return None, None
    charset = _CHARSET.search(content_type)
    media = _MEDIA.match(content_type)
    found = f"{media[1]}/{media[2]}".lower() if media else None
    return _MEANT.get(found or "", found), charset.group(1) if charset else None


def is_definite(media: str | None) -> bool:
    """Return whether a declared media type leaves nothing to be seen in the bytes."""
    return media is not None and media not in _GENERAL and media not in _XML and media != "text/plain"


def page_media(declared: str | None, identified: str | None, data: bytes) -> str:
    """Return the media type of a page.

    Args:
        declared: in its headers, as `media_type` gives it.
        identified: by the crawler, from the bytes.
        data: the page, unpacked.
    """
    if is_definite(declared):
        return declared or ""
    head = _ascii_head(data)
    if declared == "text/plain":
        return "text/html" if _DOCUMENT.match(head) else declared
    if is_definite(identified) and declared not in _XML:
        return identified or ""
    if declared in _XML or head.startswith(b"<?xml"):
        return "application/xhtml+xml" if _is_xhtml(head) else declared if declared in _XML else "text/xml"
    if _HTML.match(head):
        return "text/html"
    for magic, media in _MAGIC.items():
        if head.startswith(magic):
            return media
    if identified == "text/plain" or (declared not in _SAVED and head):
        return "application/octet-stream" if _BINARY.search(head[:_HEAD]) else "text/plain"
    return declared or "application/octet-stream"


def _ascii_head(data: bytes) -> bytes:
    """Return the beginning of a page without byte order mark and blanks, as ASCII where it is UTF-16."""
    data = data[:_ROOT_WITHIN]
    encoding = _UTF16.get(data[:2])
    if encoding is not None:
        return data[2:].decode(encoding, "replace").encode("utf-8", "replace").lstrip()
    if data[:1] == b"<" and data[1:2] == b"\0":
        return data.decode("utf-16-le", "replace").encode("utf-8", "replace").lstrip()
    if data[:2] == b"\0<":
        return data.decode("utf-16-be", "replace").encode("utf-8", "replace").lstrip()
    return data.removeprefix(codecs.BOM_UTF8).lstrip()


def _is_xhtml(head: bytes) -> bool:
    root = _ROOT.match(head)
    if root is None:
        return False
    names = (root["type"] or b"", root["root"].rpartition(b":")[2])
    return any(name.lower() == b"html" for name in names)
