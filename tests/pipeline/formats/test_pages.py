"""Pages are found whatever wraps them: mistyped, packed, cut short or declared as nothing; what is none is counted."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tamis.pipeline.formats.http_message import begins_as_http, parse_http, unpack_body
from tamis.pipeline.formats.media_types import media_type, page_media
from tamis.pipeline.formats.options import ReadOptions, Split
from tamis.pipeline.formats.reader import read_split
from tamis.pipeline.formats.records import ReadBatch
from tests.pipeline.formats.warc_files import article, http, page_text, record, warc

PAGE = article("x")
TEXT = page_text("x")
HTML = "Content-Type: text/html\r\n"


def read(path: Path, data: bytes | None = None, **options: Any) -> ReadBatch:
    if data is not None:
        path = path / "a.warc"
        path.write_bytes(data)
    (batch,) = read_split(Split(str(path), "warc", "gz" if path.suffix == ".gz" else None), "t", ReadOptions(**options))
    return batch


def texts(batch: ReadBatch) -> list[str]:
    found: list[str] = batch.documents.column("text").to_pylist()
    return found


def test_reported_pages(golden: Path) -> None:
    batch = read(golden / "faults" / "warc" / "odd.warc.gz")
    assert batch.documents.num_rows == 33
    assert batch.rejected.num_rows == batch.errors.num_rows == 0
    for number, text in enumerate(texts(batch), 1):
        assert f"page {number} with" in text
        assert "<" not in text
    assert [json.loads(meta)["charset"] for meta in batch.documents.column("meta").to_pylist()[-2:]] == [
        "utf-16-le"
    ] * 2


def chunked(data: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (data[:50], data[50:])) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/html charset=utf-8",
        "*/*",
        "application/octet-stream",
        "unknown/unknown",
        "html",
        "text / html",
        '"text/html"',
        "text/html;;",
        "TEXT/HTML",
        "charset=utf-8",
        "text/html,text/plain",
        "application/unknown",
        "text/plain",
        "text\\html",
        ";",
        "application/xhtml+xml",
        "text/htm",
        "text/x-html; charset=utf-8",
        "application/vnd.wap.xhtml+xml",
        "application/force-download",
        "application/x-unknown-content-type",
        "httpd/unix-directory",
        "application/x-httpd-php",
    ],
)
@pytest.mark.parametrize(
    ("headers", "pack"),
    [
        ("", bytes),
        ("Content-Encoding: gzip\r\n", gzip.compress),
        ("Transfer-Encoding: chunked\r\n", chunked),
        ("Transfer-Encoding: gzip, chunked\r\n", lambda data: chunked(gzip.compress(data))),
        ("Transfer-Encoding: deflate\r\n", zlib.compress),
        ("Transfer-Encoding: gzip\r\n", gzip.compress),
        ("Content-Encoding: aws-chunked, gzip\r\n", gzip.compress),
        ("", gzip.compress),
        ("", zstandard.compress),
        ("Content-Encoding: br\r\n", gzip.compress),
        ("Content-Encoding: deflate\r\n", gzip.compress),
        ("Content-Encoding: br\r\n", zstandard.compress),
        ("Content-Encoding: br\r\n", bytes),
        ("", chunked),
        ("", lambda data: b"\xef\xbb\xbf\r\n" + data),
        ("", lambda data: data.decode().encode("utf-16")),
    ],
)
def test_a_page_is_found_whatever_wraps_it(tmp_path: Path, content_type: str | None, headers: str, pack: Any) -> None:
    typed = headers if content_type is None else f"Content-Type: {content_type}\r\n{headers}"
    batch = read(tmp_path, record(http(pack(PAGE), typed)))
    assert texts(batch) == [TEXT]


@pytest.mark.parametrize(
    ("declared", "identified", "body", "expected"),
    [
        (None, None, b"plain words", "text/plain"),
        (None, None, b"\x00\x01\x02", "application/octet-stream"),
        (None, "text/plain", b"<p>words", "text/html"),
        ("application/octet-stream", None, b"plain words", "application/octet-stream"),
        ("application/octet-stream", "text/plain", b"plain words", "text/plain"),
        ("application/octet-stream", "text/html", b"words", "text/html"),
        ("application/octet-stream", "application/pdf", b"<p>", "application/pdf"),
        ("text/html", "image/png", b"words", "text/html"),
        ("text/plain", None, b"<p>a paragraph in a text about HTML", "text/plain"),
        ("text/plain", None, b"<!-- a --> <!DOCTYPE html><p>", "text/html"),
        ("text/xml", None, b'<?xml version="1.0"?><!-- a --><!DOCTYPE html PUBLIC "x"><html>', "application/xhtml+xml"),
        ("application/xml", None, b'<html xmlns="http://www.w3.org/1999/xhtml">', "application/xhtml+xml"),
        ("application/xml", None, b'<?xml version="1.0"?><h:html xmlns:h="x">', "application/xhtml+xml"),
        ("application/xml", "text/html", b"<rss><channel>", "application/xml"),
        (None, None, b'<?xml version="1.0"?><feed>', "text/xml"),
        ("application/rss+xml", None, b"<html>", "application/rss+xml"),
        ("image/png", None, b"<html>", "image/png"),
        ("application/force-download", None, b"a,b\n1,2\n", "application/force-download"),
        ("text/php", None, b"<?php echo 1;", "text/php"),
        ("*/*", None, b"\xff\xfe<\x00h\x00t\x00m\x00l\x00>\x00", "text/html"),
        (None, None, b"", "application/octet-stream"),
    ],
)
def test_sniffing(declared: str | None, identified: str | None, body: bytes, expected: str) -> None:
    assert page_media(declared, identified, body) == expected


@given(st.none() | st.text(max_size=30), st.none() | st.text(max_size=20), st.binary(max_size=60))
def test_every_page_is_something(declared: str | None, identified: str | None, body: bytes) -> None:
    assert page_media(media_type(declared)[0], media_type(identified)[0], body)


def test_what_the_crawler_identified_is_used(tmp_path: Path) -> None:
    word = "Слово"
    body = f"<p>{word} {TEXT}</p>".encode("cp1251")
    extra = "WARC-Identified-Payload-Type: text/html; charset=windows-1251"
    batch = read(tmp_path, record(http(body, "Content-Type: application/octet-stream\r\n"), extra=extra))
    assert texts(batch) == [f"{word} {TEXT}"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n", 200),
        (b"HTTP 200\r\n", 200),
        (b"HTTP 200 OK\n", 200),
        (b"http/1.0 200 ok\r\n", 200),
        (b"ICY 200 OK\r\n", 200),
        (b"HTTP/2\t200\r\n", 200),
        (b"\r\nHTTP/1.1 200 OK\r\n", 200),
        (b" \tHTTP/1.1 200 OK\r\n", 200),
        (b"200 OK\r\n", 200),
        (b"404 Not Found\n", 404),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", 200),
        (b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 100 x\r\n\r\nHTTP/1.1 404 No\r\n", 404),
        (b"HTTP/1.1 OK\r\n", None),
        (b"", None),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r\r\n"])
def test_heads(head: bytes, status: int | None, end: bytes) -> None:
    block = head + b"Content-Type: text/html" + end + b"A: b" + end + end + PAGE + b"\r\n\r\n<p>more"
    message = parse_http(block)
    assert message.status == status
    assert message.headers == {"content-type": "text/html", "a": "b"}
    assert message.body == PAGE + b"\r\n\r\n<p>more"
    assert begins_as_http(block) == bool(head)


def test_a_head_without_end() -> None:
    message = parse_http(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + PAGE + b"\r\n\r\nA: <p>more")
    assert message == (200, {"content-type": "text/html"}, PAGE + b"\r\n\r\nA: <p>more")
    assert parse_http(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 300_000) == (200, {"a": "x" * 299_997 + "x" * 3}, b"")


def test_records_with_odd_line_ends(tmp_path: Path) -> None:
    data = b"".join(record(http(article(name)), uri=f"http://a/{name}", line=b"\r\r\n") for name in "abc")
    assert texts(read(tmp_path, data)) == [page_text(name) for name in "abc"]


# --- damage -------------------------------------------------------------------------------------------------------

LONG = (
    b"<html><body><p>" + b" ".join(b"sentence number %d of this page." % i for i in range(3000)) + b"</p></body></html>"
)


@pytest.mark.parametrize("trailer", [b"", b"\0" * 8, b"\xff" * 3, b"\xff" * 300])
@pytest.mark.parametrize("members", [1, 2])
def test_a_wrong_trailer_loses_nothing(tmp_path: Path, trailer: bytes, members: int) -> None:
    parts = [LONG] if members == 1 else [LONG[:5000], LONG[5000:]]
    data = b"".join(gzip.compress(part)[: None if i + 1 < members else -8] for i, part in enumerate(parts)) + trailer
    batch = read(tmp_path, record(http(data, HTML + "Content-Encoding: gzip\r\n")))
    assert texts(batch)[0].endswith("number 2999 of this page.")
    assert json.loads(batch.documents.column("meta")[0].as_py())["defects"] == ["content-encoding"]


def test_every_cut_of_a_packed_body_gives_its_beginning() -> None:
    words = b" ".join(b"word %d" % (i * i) for i in range(500))
    for coding, packed in (("gzip", gzip.compress(words)), ("deflate", zlib.compress(words))):
        sizes = []
        for end in range(0, len(packed), 7):
            message = parse_http(f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n".encode() + packed[:end])
            body = unpack_body(message, 1 << 20)
            assert words.startswith(body.data)
            sizes.append(len(body.data))
        assert sizes == sorted(sizes)
        assert sizes[-1] > 0.97 * len(words)


@pytest.mark.parametrize("seed", range(40))
def test_a_corrupt_body_is_no_document_of_garbage(tmp_path: Path, seed: int) -> None:
    import random

    chance = random.Random(seed)
    data = bytearray(gzip.compress(LONG))
    for _ in range(chance.choice((1, 3, 40))):
        data[chance.randrange(10, len(data))] = chance.randrange(256)
    noise = chance.randbytes(20_000)
    for body in (bytes(data), data[:10] + noise, noise):
        batch = read(tmp_path, record(http(body, HTML + "Content-Encoding: gzip\r\n")))
        assert batch.read == 1
        for text in texts(batch):
            odd = sum((ord(c) < 32 and c not in "\t\n") or c == "\ufffd" for c in text)
            assert odd <= 0.002 * len(text)


def test_a_length_too_short_extends_to_the_next_record(tmp_path: Path) -> None:
    body = b"<html><body><p>First words of the page.</p>\r\n\r\n<p>And more words of it.</p></body></html>"
    block = http(body, f"Content-Type: text/html\r\nContent-Length: {len(body)}\r\n")
    first, last = warc(["a", "b"])
    for length in range(1, len(block), 5):
        batch = read(tmp_path, first + record(block, length=str(length)) + last)
        assert texts(batch)[0] == page_text("a")
        assert texts(batch)[-1] == page_text("b")
        assert "more words of it" in texts(batch)[1], length
        batch = read(tmp_path, first + record(block, length=str(length)))
        assert "more words of it" in texts(batch)[1], length


# --- what is no page ----------------------------------------------------------------------------------------------


def test_what_is_no_page_is_skipped_and_counted(tmp_path: Path) -> None:
    block = http(PAGE)
    records = [
        record(block, uri="metadata://gnu.org/software/wget/warc/MANIFEST.txt"),
        record(block, uri="urn:X-wpull:log", kind="resource"),
        record(block, uri="<urn:uuid:1>"),
        record(block, uri="dns:example.org", kind="resource"),
        record(block, uri="https://a.example/robots.txt"),
        record(block, uri="http://a.example/ROBOTS.TXT?x=1"),
        record(block, extra="WARC-Segment-Number: 1"),
        record(block, extra="WARC-Segment-Number: 2", kind="continuation"),
        record(block, uri="http://a.example/docs/robots.txt/page"),
        record(block, uri="example.org:80/page", name="1"),
        record(block, uri="/page", name="2"),
        record(block, uri=None, name="3"),
    ]
    batch = read(tmp_path, b"".join(records))
    assert batch.skipped == {"no_page": 4, "robots_txt": 2, "segment": 1, "continuation": 1}
    assert texts(batch) == [TEXT] * 4


def test_a_rejected_page_tells_its_media_type(tmp_path: Path) -> None:
    records = [
        record(http(b"%PDF-1.4", "Content-Type: application/pdf; x=y\r\n")),
        record(http(b"%PDF-1.4", "")),
        record(http(PAGE, status="404 Not Found")),
        record(http(b"", "Content-Type: nonsense\r\n")),
    ]
    batch = read(tmp_path, b"".join(records))
    metas = [json.loads(meta) for meta in batch.rejected_meta.to_pylist()]
    assert [meta["content_type"] for meta in metas] == [
        "application/pdf",
        "application/pdf",
        "text/html",
        "nonsense",
    ]
    assert metas[2]["status"] == 404
    assert all(meta["record"].startswith("byte ") for meta in metas)


def test_no_header_and_no_page_keeps_a_search_busy(tmp_path: Path) -> None:
    spaces = " " * 60_000
    for value in (f"charset={spaces};", f"text{spaces}x", f"{spaces}/"):
        assert media_type(value) == (None, None)
    blanks = b" " * 16_000 + b"<!"
    for head in (b"<!---->" * 2_300, b"<!-- " * 3_000, b"<?a?>" * 3_000, b"<!DOCTYPE a>" * 1_300, blanks):
        assert page_media("text/plain", None, head) == "text/plain"
        assert page_media("application/xml", None, head) == "application/xml"
    continued = b"HTTP/1.1 200 OK\r\nA: 1\r\n" + b" x\n" * 80_000 + b"\r\n<p>"
    assert len(parse_http(continued).headers["a"]) == 160_001
