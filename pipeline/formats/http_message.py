"""HTTP responses as crawlers store them: headers read leniently, bodies unpacked as far as they go."""

import io
import re
import zlib
from collections.abc import Callable
from typing import NamedTuple

from tamis.pipeline.formats.compression import Fault, decompress

__all__ = ["Body", "HttpMessage", "media_type", "parse_headers", "parse_http", "unpack_body"]

_HEADER_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"(?<!\d)[1-5]\d\d(?!\d)")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]{0,4096})?\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s\"';,]+)", re.IGNORECASE)
_MAX_HEADER = 1 << 18
_STEP = 256  # bytes unpacked at once where a fault loses those before it, too


class HttpMessage(NamedTuple):
    """A response.

    Attributes:
        status: None if the status line has no number, or if there are no HTTP headers at all.
        headers: names in lower case; of repeated ones the first.
        body: as it was sent, chunks and compression included.
    """

    status: int | None
    headers: dict[str, str]
    body: bytes


class Body(NamedTuple):
    """An unpacked body.

    Attributes:
        data: at most one byte more than the limit.
        defects: headers that the bytes contradict.
    """

    data: bytes
    defects: tuple[str, ...]


def parse_headers(block: bytes, encoding: str) -> dict[str, str]:
    """Return the headers of a block of `Name: value` lines; lines that are none are passed over.

    Args:
        block: the lines, ended by CRLF or LF; a line that begins with a blank continues the one before.
        encoding: of the values; undecodable bytes become U+FFFD.
    """
    headers: dict[str, str] = {}
    name = ""
    for line in block.split(b"\n"):
        if line[:1] in (b" ", b"\t") and name:
            headers[name] += " " + line.strip().decode(encoding, "replace")
            continue
        key, colon, value = line.partition(b":")
        name = key.strip().lower().decode("latin-1") if colon else ""
        if name in headers:
            name = ""
        elif name:
            headers[name] = value.strip().decode(encoding, "replace")
    return headers


def parse_http(block: bytes) -> HttpMessage:
    """Split a response into status, headers and body; a block without a status line is all body."""
    if not block.startswith(b"HTTP/"):
        return HttpMessage(None, {}, block)
    end = _HEADER_END.search(block, 0, _MAX_HEADER)
    head, body = (block[: end.start()], block[end.end() :]) if end else (block[:_MAX_HEADER], b"")
    line, _, rest = head.partition(b"\n")
    status = _STATUS.search(line, line.find(b" ") + 1)
    return HttpMessage(int(status.group()) if status else None, parse_headers(rest, "latin-1"), body)


def media_type(content_type: str | None) -> tuple[str | None, str | None]:
    """Return media type (in lower case) and charset of a Content-Type header."""
    if not content_type:
        return None, None
    charset = _CHARSET.search(content_type)
    media = content_type.partition(";")[0].partition(",")[0].strip().lower()
    return media or None, charset.group(1) if charset else None


def unpack_body(message: HttpMessage, limit: int) -> Body:
    """Undo chunks and compression, as far as the bytes allow: a damaged body is cut where the damage begins.

    Headers that the bytes contradict are believed less than the bytes: many crawlers store bodies unpacked
    under the headers of packed ones.

    Args:
        message: the response.
        limit: the most bytes that are of interest.
    """
    data, defects = message.body, []
    if "chunked" in message.headers.get("transfer-encoding", "").lower():
        data, whole = _unchunked(data)
        if not whole:
            defects.append("transfer-encoding")
    codings = message.headers.get("content-encoding", "").lower().split(",")
    for coding in reversed([coding.strip() for coding in codings]):
        unpack = _UNPACKERS.get(coding)
        if unpack is not None:
            unpacked, whole = unpack(data, limit + 1)
            if not whole:
                defects.append("content-encoding")
            data = unpacked if unpacked or whole or not data.lstrip().startswith(b"<") else data
    return Body(data[: limit + 1], tuple(defects))


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    at = 0
    while match := _CHUNK_SIZE.match(data, at):
        size = int(match.group(1), 16)
        if size == 0:
            return b"".join(parts), True
        parts.append(data[match.end() : match.end() + size])
        at = match.end() + size
        if data.startswith(b"\r\n", at):
            at += 2
        elif data.startswith(b"\n", at):
            at += 1
        if at >= len(data):
            break
    return (b"".join(parts) if parts else data), False


def _inflated(data: bytes, window: int, limit: int) -> tuple[bytes, bool]:
    """Inflate; on damage, what comes before it."""
    inflater = zlib.decompressobj(window)
    try:
        out = inflater.decompress(data, limit)
        return out, inflater.eof or len(out) >= limit
    except zlib.error:
        inflater = zlib.decompressobj(window)
    parts: list[bytes] = []
    try:
        for at in range(0, len(data), _STEP):
            parts.append(inflater.decompress(data[at : at + _STEP]))
            if sum(map(len, parts)) >= limit:
                break
    except zlib.error:
        pass
    return b"".join(parts)[:limit], False


def _gzip(data: bytes, limit: int) -> tuple[bytes, bool]:
    if not data.startswith(b"\x1f\x8b"):
        return data, False
    return _inflated(data, 31, limit)


def _deflate(data: bytes, limit: int) -> tuple[bytes, bool]:
    with_header = _inflated(data, 15, limit)
    if with_header[0]:
        return with_header
    return _inflated(data, -15, limit)  # many servers send the stream without its header


def _brotli(data: bytes, limit: int) -> tuple[bytes, bool]:
    from fastwarc.stream_io import BrotliReader

    reader = BrotliReader(io.BytesIO(data))
    parts: list[bytes] = []
    size = 0
    try:
        while size < limit and (part := reader.read(_STEP)):
            parts.append(part)
            size += len(part)
    except Exception:  # noqa: BLE001  (the library has no error of its own)
        return b"".join(parts), False
    return b"".join(parts)[:limit], True


def _zstd(data: bytes, limit: int) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    for piece in decompress(io.BytesIO(data), "zst"):
        if isinstance(piece, Fault):
            return b"".join(parts), False
        parts.append(piece.data)
        if sum(map(len, parts)) >= limit:
            break
    return b"".join(parts)[:limit], True


_UNPACKERS: dict[str, Callable[[bytes, int], tuple[bytes, bool]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
