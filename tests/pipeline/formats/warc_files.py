"""Small WARC files for tests."""

import gzip
import uuid
from collections.abc import Callable

import zstandard

from tamis.pipeline.formats.compression import Codec

__all__ = ["PACKERS", "article", "http", "page_text", "record", "warc"]

PACKERS: dict[Codec | None, Callable[[bytes], bytes]] = {
    None: bytes,
    "gz": lambda data: gzip.compress(data, mtime=0),
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def page_text(name: str) -> str:
    """The one sentence that the article `name` holds."""
    return f"This is the article called {name}, and it holds one sentence of some length."


def article(name: str) -> bytes:
    """An HTML page."""
    return f"<html><body><nav><a href='/'>Home</a></nav><p>{page_text(name)}</p></body></html>".encode()


def http(body: bytes, headers: str = "Content-Type: text/html; charset=utf-8\r\n", status: str = "200 OK") -> bytes:
    """An HTTP response."""
    return f"HTTP/1.1 {status}\r\n{headers}\r\n".encode() + body


def record(
    block: bytes,
    *,
    kind: str | None = "response",
    uri: str | bytes | None = "http://a.example/",
    name: str = "",
    length: str | None = "right",
    content_type: str = "application/http; msgtype=response",
    extra: str = "",
    end: bytes = b"\r\n\r\n",
    version: bytes = b"WARC/1.0",
    line: bytes = b"\r\n",
) -> bytes:
    """A WARC record; its id follows from `name` and the block."""
    identity = uuid.uuid5(uuid.NAMESPACE_URL, name + block.decode("latin-1"))
    lines = [version]
    if kind is not None:
        lines.append(f"WARC-Type: {kind}".encode())
    lines += [f"WARC-Record-ID: <urn:uuid:{identity}>".encode(), b"WARC-Date: 2024-01-02T03:04:05Z"]
    if uri is not None:
        lines.append(b"WARC-Target-URI: " + (uri if isinstance(uri, bytes) else uri.encode()))
    if extra:
        lines.append(extra.encode())
    lines.append(f"Content-Type: {content_type}".encode())
    if length is not None:
        lines.append(f"Content-Length: {len(block) if length == 'right' else length}".encode())
    return line.join([*lines, b"", b""]) + block + end


def warc(names: list[str]) -> list[bytes]:
    """Records of articles."""
    return [record(http(article(name)), uri=f"http://a.example/{name}", name=name) for name in names]
