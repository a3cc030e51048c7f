"""HTTP responses as crawlers store them: headers read leniently, bodies unpacked as far as they go."""

import io
import re
import zlib
from collections.abc import Callable
from typing import NamedTuple

from tamis.pipeline.formats.compression import Fault, decompress

__all__ = ["Body", "HttpMessage", "begins_as_http", "parse_headers", "parse_http", "unpack_body"]

_STATUS_LINE = re.compile(rb"[ \t\r\n]*(?:HTTP(?:/[\d.]*)?|ICY)[ \t]+(?:([1-5]\d\d)(?!\d)|[^\n]*)", re.IGNORECASE)
_HTTP = re.compile(rb"[ \t\r\n]*HTTP/", re.IGNORECASE)
# A status line whose beginning was lost: a number and words, and a header below.
_BARE_STATUS = re.compile(rb"[ \t\r\n]*[1-5]\d\d[ \t][^\n<]{0,200}\n[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}:[ \t]")
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*:")
_STATUS = re.compile(rb"(?<!\d)[1-5]\d\d(?!\d)")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]{0,4096})?\r?\n")
_MAX_HEADER = 1 << 18
_STEP = 1 << 14
_GZIP, _ZSTD = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"


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
        block: the lines, ended by CRLF, LF or CR CR LF; a line that begins with a blank continues the one before.
        encoding: of the values; undecodable bytes become U+FFFD.
    """
    values: dict[str, list[bytes]] = {}
    name = ""
    for line in block.split(b"\n"):
        if line[:1] in (b" ", b"\t") and name:
            values[name].append(line.strip())
            continue
        key, colon, value = line.partition(b":")
        name = key.strip().lower().decode("latin-1") if colon else ""
        if name in values:
            name = ""
        elif name:
            values[name] = [value.strip()]
    return {name: b" ".join(parts).decode(encoding, "replace") for name, parts in values.items()}


def begins_as_http(block: bytes) -> bool:
    """Return whether a block begins with a status line, of whatever version or of none."""
    if _HTTP.match(block) is not None or _BARE_STATUS.match(block) is not None:
        return True
    return (match := _STATUS_LINE.match(block)) is not None and bool(match[1])


def parse_http(block: bytes) -> HttpMessage:
    """Split a response into status, headers and body; a block without status line and headers is all body.

    The headers end at a blank line, or where a line begins as markup does: some responses lack the blank line. Interim
    responses (100 Continue, 103 Early Hints) before the response are passed over.
    """
    message = _parsed(block)
    while message.status is not None and message.status // 100 == 1 and begins_as_http(message.body):
        message = _parsed(message.body)
    return message


def _parsed(block: bytes) -> HttpMessage:
    status = None
    at = 0
    if begins_as_http(block):
        at = len(block) - len(block.lstrip(b" \t\r\n"))
        end = block.find(b"\n", at)
        line = block[at : end if end >= 0 else len(block)]
        bare = line[:1].isdigit()
        found = _STATUS.search(line, 0 if bare else max(line.find(b" "), line.find(b"\t")) + 1)
        status = int(found.group()) if found else None
        at = end + 1 if end >= 0 else len(block)
    elif not _HEADER.match(block):
        return HttpMessage(None, {}, block)
    start = at
    while at < len(block) and at < _MAX_HEADER:
        end = block.find(b"\n", at)
        end = end + 1 if end >= 0 else len(block)
        line = block[at:end]
        if not line.strip(b"\r\n"):
            return HttpMessage(status, parse_headers(block[start:at], "latin-1"), block[end:])
        if line.lstrip(b"\xef\xbb\xbf").startswith(b"<"):
            break
        at = end
    if at >= _MAX_HEADER:
        return HttpMessage(status, parse_headers(block[start:at], "latin-1"), b"")
    return HttpMessage(status, parse_headers(block[start:at], "latin-1"), block[at:])


def unpack_body(message: HttpMessage, limit: int) -> Body:
    """Undo chunks and compression, as far as the bytes allow: a damaged body is cut where the damage begins.

    Headers that the bytes contradict are believed less than the bytes: many crawlers store bodies unpacked
    under the headers of packed ones, and some packed bodies without headers that say so.

    Args:
        message: the response.
        limit: the most bytes that are of interest.
    """
    data, defects = message.body, []
    transfer = _codings(message.headers.get("transfer-encoding", ""))
    if "chunked" in transfer:
        data, whole = _unchunked(data)
        if not whole:
            defects.append("transfer-encoding")
    elif _CHUNK_SIZE.match(data):
        unchunked, whole = _unchunked(data)
        data = unchunked if whole and unchunked else data
    for name, codings in (
        ("transfer-encoding", transfer),
        ("content-encoding", _codings(message.headers.get("content-encoding", ""))),
    ):
        for coding in reversed(codings):
            unpack = _UNPACKERS.get(coding)
            if unpack is None:
                continue
            unpacked, whole = unpack(data, limit + 1)
            if not whole and name not in defects:
                defects.append(name)
            other = data.lstrip().startswith(b"<") or data.startswith((_GZIP, _ZSTD))
            data = unpacked if unpacked or whole or not other else data
    for magic, unpack in ((_GZIP, _gzip), (_ZSTD, _zstd)):
        if data.startswith(magic):  # no page begins so: nobody said that it is packed
            data, whole = unpack(data, limit + 1)
            if not whole and "content-encoding" not in defects:
                defects.append("content-encoding")
    return Body(data[: limit + 1], tuple(defects))


def _codings(header: str) -> list[str]:
    return [coding.strip().lower() for coding in header.split(",")]


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


def _inflated(data: bytes, window: int, limit: int) -> tuple[bytes, bool, bytes]:
    """Inflate; on damage, all that comes before it.

    Returns:
        The bytes, whether the stream ended as it should (or the limit was reached), and what follows it.
    """
    inflater = zlib.decompressobj(window)
    parts: list[bytes] = []
    size = 0
    for at in range(0, len(data), _STEP):
        before = inflater.copy()
        step = data[at : at + _STEP]
        try:
            parts.append(inflater.decompress(step))
        except zlib.error:
            for byte in range(len(step)):
                try:
                    parts.append(before.decompress(step[byte : byte + 1]))
                except zlib.error:
                    break
            return b"".join(parts)[:limit], False, b""
        size += len(parts[-1])
        if inflater.eof or size >= limit:
            rest = inflater.unused_data + data[at + _STEP :]
            return b"".join(parts)[:limit], True, rest
    return b"".join(parts), False, b""


def _gzip(data: bytes, limit: int) -> tuple[bytes, bool]:
    """Unpack members one after another; a wrong checksum costs no byte of what it is the checksum of."""
    parts: list[bytes] = []
    size = 0
    whole = data.startswith(_GZIP[:2])
    if not whole:
        return data, False
    while data.startswith(_GZIP[:2]) and size < limit:
        start = _gzip_header(data)
        part, ended, rest = _inflated(data[start:], -15, limit - size)
        parts.append(part)
        size += len(part)
        if size >= limit:
            break
        expected = zlib.crc32(part).to_bytes(4, "little") + (len(part) & 0xFFFFFFFF).to_bytes(4, "little")
        whole = whole and ended and rest[:8] == expected
        data = rest[8:]
    return b"".join(parts), whole


def _gzip_header(data: bytes) -> int:
    """Return the length of a gzip member's header."""
    if len(data) < 10:
        return len(data)
    flags, at = data[3], 10
    if flags & 4:
        at += 2 + int.from_bytes(data[at : at + 2], "little")
    for flag in (8, 16):  # name, comment
        if flags & flag:
            end = data.find(b"\0", at)
            at = end + 1 if end >= 0 else len(data)
    return at + (2 if flags & 2 else 0)


def _deflate(data: bytes, limit: int) -> tuple[bytes, bool]:
    out, whole, _ = _inflated(data, 15, limit)
    if out or whole:
        return out, whole
    out, whole, _ = _inflated(data, -15, limit)  # many servers send the stream without its header
    return out, whole


def _brotli(data: bytes, limit: int) -> tuple[bytes, bool]:
    from fastwarc.stream_io import BrotliReader

    reader = BrotliReader(io.BytesIO(data))
    parts: list[bytes] = []
    size = 0
    try:
        while size < limit and (part := reader.read(256)):
            parts.append(part)
            size += len(part)
    except Exception:  # noqa: BLE001  (the library has no error of its own)
        return b"".join(parts), False
    return b"".join(parts)[:limit], True


def _zstd(data: bytes, limit: int) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    size = 0
    for piece in decompress(io.BytesIO(data), "zst"):
        if isinstance(piece, Fault):
            return b"".join(parts), False
        parts.append(piece.data)
        size += len(piece.data)
        if size >= limit:
            break
    return b"".join(parts)[:limit], True


_UNPACKERS: dict[str, Callable[[bytes, int], tuple[bytes, bool]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
