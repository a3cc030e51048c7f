"""WARC records as bytes, one gzip member each; ids, dates and digests depend on the content alone."""

import base64
import hashlib
import struct
import uuid
import zlib
from datetime import UTC, datetime, timedelta

__all__ = ["WarcBuilder", "chunked", "gzip_member", "http_response"]

_EPOCH = datetime(2024, 3, 1, tzinfo=UTC)


def gzip_member(data: bytes) -> bytes:
    """`data` as one gzip member with no time, name or system in its header."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    body = packer.compress(data) + packer.flush()
    return (
        b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"
        + body
        + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)
    )


def chunked(body: bytes, size: int = 4096) -> bytes:
    """`body` in HTTP's chunked transfer coding."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def http_response(body: bytes, headers: list[tuple[str, str]], status: str = "200 OK") -> bytes:
    """An HTTP/1.1 response with those headers, `Content-Length` added unless the body is chunked."""
    if not any(name.lower() == "transfer-encoding" for name, _ in headers):
        headers = [*headers, ("Content-Length", str(len(body)))]
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _digest(data: bytes) -> str:
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


class WarcBuilder:
    """Collects the gzip members of one WARC file."""

    def __init__(self, name: str, description: str) -> None:
        """Starts the file with a warcinfo record that carries `description`."""
        self.name = name
        self.members: list[bytes] = []
        self.counts: dict[str, int] = {}
        fields = [
            ("software", "Tamis examples/build_corpus.py"),
            ("format", "WARC File Format 1.1"),
            ("conformsTo", "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/"),
            ("description", description),
        ]
        self.warcinfo = self.add(
            "warcinfo", "", _fields(fields), "application/warc-fields", [("WARC-Filename", name)]
        )

    def record_id(self, kind: str, url: str) -> str:
        """The id that the next record of that kind and address gets."""
        key = f"tamis-sample:{self.name}:{len(self.members)}:{kind}:{url}"
        return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, key)}>"

    def record(
        self, kind: str, url: str, block: bytes, content_type: str, extra: list[tuple[str, str]] | None = None
    ) -> tuple[str, bytes]:
        """A record's id and its bytes, neither compressed nor added."""
        identity = self.record_id(kind, url)
        headers = [
            ("WARC-Type", kind),
            ("WARC-Record-ID", identity),
            (
                "WARC-Date",
                (_EPOCH + timedelta(seconds=37 * len(self.members))).strftime("%Y-%m-%dT%H:%M:%SZ"),
            ),
        ]
        if url:
            headers.append(("WARC-Target-URI", url))
        if kind != "warcinfo":
            headers.append(("WARC-Warcinfo-ID", self.warcinfo))
        headers += extra or []
        if kind == "response":
            headers.append(("WARC-Payload-Digest", _digest(block.partition(b"\r\n\r\n")[2])))
        headers += [
            ("WARC-Block-Digest", _digest(block)),
            ("Content-Type", content_type),
            ("Content-Length", str(len(block))),
        ]
        head = "\r\n".join(["WARC/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]).encode()
        return identity, head + block + b"\r\n\r\n"

    def add(
        self, kind: str, url: str, block: bytes, content_type: str, extra: list[tuple[str, str]] | None = None
    ) -> str:
        """Adds a record and returns its id."""
        identity, data = self.record(kind, url, block, content_type, extra)
        self.add_raw(gzip_member(data))
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return identity

    def add_raw(self, member: bytes) -> None:
        """Adds bytes as they are, well formed or not."""
        self.members.append(member)

    def add_fields(
        self, kind: str, url: str, fields: list[tuple[str, str]], extra: list[tuple[str, str]] | None = None
    ) -> str:
        """Adds a record whose block is a list of named fields."""
        return self.add(kind, url, _fields(fields), "application/warc-fields", extra)

    @property
    def offset(self) -> int:
        """Where the next member starts, in bytes."""
        return sum(map(len, self.members))

    def getvalue(self) -> bytes:
        """The file."""
        return b"".join(self.members)


def _fields(fields: list[tuple[str, str]]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode()
