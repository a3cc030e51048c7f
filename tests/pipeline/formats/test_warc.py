"""WARC: documents from responses, and nothing but the damaged record is lost to damage."""

import datetime as dt
import gzip
import io
import json
import random
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from fastwarc.stream_io import BrotliWriter

from tamis.pipeline.formats.compression import Codec
from tamis.pipeline.formats.http_message import parse_http, unpack_body
from tamis.pipeline.formats.media_types import media_type
from tamis.pipeline.formats.options import ReadOptions, Split
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.storage import filesystem
from tamis.schemas.tables import DOCUMENT_SCHEMA, ERROR_SCHEMA, REJECTED_SCHEMA
from tamis.scorers.extraction.html import ExtractOptions
from tamis.scorers.text.identity import doc_id
from tests.pipeline.formats.warc_files import PACKERS, article, http, page_text, record, warc

CODECS: list[Codec | None] = [None, "gz", "zst"]


class Tables:
    """What a file gives, all batches together."""

    def __init__(self, path: Path, codec: Codec | None, options: ReadOptions):
        batches = list(read_split(Split(str(path), "warc", codec), "web", options))
        for batch in batches:
            assert batch.read == batch.documents.num_rows + batch.rejected.num_rows + batch.errors.num_rows
            for table in batch[:3]:
                table.validate(full=True)
        self.documents = pa.Table.from_batches([b.documents for b in batches], DOCUMENT_SCHEMA).to_pylist()
        self.rejected = pa.Table.from_batches([b.rejected for b in batches], REJECTED_SCHEMA).to_pylist()
        self.errors = pa.Table.from_batches([b.errors for b in batches], ERROR_SCHEMA).to_pylist()
        self.skipped: dict[str, int] = {}
        for batch in batches:
            for kind, count in batch.skipped.items():
                self.skipped[kind] = self.skipped.get(kind, 0) + count
        self.texts = [row["text"] for row in self.documents]
        self.rules = [row["rule"] for row in self.rejected]
        self.kinds = [row["error"] for row in self.errors]
        self.metas = [json.loads(row["meta"]) for row in self.documents]


def read(folder: Path, data: bytes, codec: Codec | None = None, **options: Any) -> Tables:
    path = folder / ("a.warc" + (f".{codec}" if codec else ""))
    path.write_bytes(data)
    return Tables(path, codec, ReadOptions(**options))


def brotli(data: bytes) -> bytes:
    sink = io.BytesIO()
    writer = BrotliWriter(sink)
    writer.write(data)
    writer.close()
    return sink.getvalue()


def packed(records: list[bytes], codec: Codec | None) -> bytes:
    return b"".join(map(PACKERS[codec], records))


def texts(names: str) -> list[str]:
    return [page_text(name) for name in names]


@pytest.mark.parametrize("codec", CODECS)
def test_a_document(tmp_path: Path, codec: Codec | None) -> None:
    first, second = warc(["a", "b"])
    tables = read(tmp_path, packed([first, second], codec), codec)
    assert tables.texts == texts("ab")
    row = tables.documents[1]
    identity = tables.metas[1]["warc_record_id"]
    assert row["doc_id"] == doc_id("web", identity)
    assert row["url"] == "http://a.example/b"
    assert row["timestamp"] == dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    assert tables.metas[1] == {
        "charset": "utf-8",
        "content_type": "text/html",
        "record": f"byte {len(PACKERS[codec](first))}",
        "status": 200,
        "warc_record_id": identity,
    }


@pytest.mark.parametrize("codec", ["gz", "zst"])
def test_one_member_for_all_records(tmp_path: Path, codec: Codec) -> None:
    records = warc(["a", "b", "c"])
    data = PACKERS[codec](b"".join(records))
    tables = read(tmp_path, data, codec)
    assert tables.texts == texts("abc")
    assert tables.metas[2]["record"] == f"byte 0+{len(records[0]) + len(records[1])}"
    halves = b"".join(records)
    cut = len(records[0]) + 100
    tables = read(tmp_path, PACKERS[codec](halves[:cut]) + PACKERS[codec](halves[cut:]), codec)
    assert tables.texts == texts("abc")  # records may reach over members
    assert tables.kinds == []


def test_kinds_of_records(tmp_path: Path) -> None:
    kinds = ["warcinfo", "request", "metadata", "revisit", "continuation", "surprise"]
    records = [record(b"x: y\r\n", kind=kind, content_type="application/warc-fields") for kind in kinds]
    records.append(record(article("r"), kind="resource", content_type="text/html"))
    records.append(record(b"plain words", kind="resource", content_type="text/plain"))
    records.append(record("Wörter\n".encode(), kind="conversion", content_type="text/plain"))
    records.append(record(b"<a>", kind="conversion", content_type="text/xml"))
    records.append(record(b"dns", kind="response", content_type="text/dns"))
    tables = read(tmp_path, b"".join(records))
    assert tables.texts == [page_text("r"), "plain words", "Wörter\n"]
    assert tables.skipped == dict.fromkeys(kinds[:-1], 1) | {"other": 1}
    assert tables.rules == ["content_type", "content_type"]
    assert tables.errors == []


def test_what_is_rejected(tmp_path: Path) -> None:
    html = "Content-Type: text/html\r\n"
    blocks = [
        http(article("x"), status="404 Not Found"),
        http(article("x"), status="301 Moved"),
        http(b""),
        http(b"\r\n \r\n"),
        http(b"%PDF-1.4 ...", "Content-Type: application/pdf\r\n"),
        http(b"%PDF-1.4 ...", html),
        http(bytes(range(256)) * 40, html),
        http(b"binary \x01\x02, no type", ""),
        http(b"<p>" + b"x" * 60_000 + b"</p>", html),
        http(b"<p></p>", html),
        http(b"<div>" * 20_000 + b"deep", html),
        http(b"<p>" + b"many words " * 20_000, html),
    ]
    options = {"extract": ExtractOptions(max_page_bytes=200_000)}
    tables = read(tmp_path, b"".join(record(block) for block in blocks), **options)
    assert tables.rules == [
        "http_status",
        "http_status",
        "empty_payload",
        "empty_payload",
        "content_type",
        "content_type",
        "gibberish",
        "content_type",
        "gibberish",
        "empty_text",
        "page_too_complex",
        "page_too_large",
    ]
    assert tables.documents == []
    assert tables.errors == []
    assert tables.rejected[0]["value"] == 404
    statuses = read(tmp_path, record(blocks[0]), statuses=(200, 404))
    assert len(statuses.documents) == 1
    types = read(tmp_path, record(http(b"<a>x</a>", "Content-Type: text/xml\r\n")), content_types=("text/xml",))
    assert len(types.documents) == 1


def test_lenient_headers(tmp_path: Path) -> None:
    body = article("x")
    records = [
        record(http(body), uri=None),
        record(http(body), uri=b"http://a.example/caf\xe9"),
        record(http(body), uri="<http://a.example/>"),
        record(http(body), line=b"\n", end=b"\n\n"),
        record(http(body).replace(b"\r\n", b"\n"), end=b"\r\n\r\n"),
        record(body),
        record(http(body, status="OK 200")),
        record(http(body, status="fine")),
        record(http(body, "")),
        record(http(body, "garbage without colon\r\nContent-Type:\r\n text/html\r\n")),
        record(http(body), version=b"WARC/1.1"),
        record(http(body), end=b""),
        record(http(body), end=b"\r\n"),
        record(http(body), extra="broken line"),
        record(http(body)).replace(b"2024-01-02T03:04:05Z", b"yesterday"),
        record(http(body)).replace(b"WARC-Type", b"warc-TYPE"),
    ]
    tables = read(tmp_path, packed(records, "gz"), "gz")
    assert tables.errors == []
    assert len(tables.documents) == len(records)
    assert [row["url"] for row in tables.documents[:3]] == [None, "http://a.example/caf\ufffd", "http://a.example/"]
    assert tables.documents[14]["timestamp"] is None
    assert all("x" in text for text in tables.texts)


def test_malformed_headers(tmp_path: Path) -> None:
    bad = [
        record(http(article("x")), kind=None),
        record(http(article("x")), version=b"WABC/1.0"),
        b"no record at all\r\n",
        b"WARC/1.0\r\nWARC-Type: response\r\n" + b"x" * 100_000,
    ]
    good = warc(["a", "b"])
    for codec in CODECS:
        for broken in bad:
            tables = read(tmp_path, packed([good[0], broken, good[1]], codec), codec)
            assert tables.texts == texts("ab")
            assert tables.kinds == ["malformed_header"]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("length", [None, "", "many", "-5", "1e3", "0x10", "9" * 30])
def test_without_a_length_a_record_ends_where_the_next_begins(
    tmp_path: Path, codec: Codec | None, length: str | None
) -> None:
    first, last = warc(["a", "c"])
    unknown = record(http(article("b")), length=length)
    for records, names in (([first, unknown, last], "abc"), ([first, unknown], "ab"), ([unknown, unknown], "bb")):
        tables = read(tmp_path, packed(records, codec), codec)
        assert tables.texts == texts(names)
        assert tables.kinds == []
        for meta, name in zip(tables.metas, names, strict=True):
            assert meta.get("defects") == (["content-length"] if name == "b" else None)
    tables = read(tmp_path, packed([first, record(http(b"x" * 90_000), length=length), last], codec), codec,
                  max_record_bytes=20_000)  # fmt: skip
    assert tables.texts == texts("ac")
    assert tables.kinds == ["record_too_large"]


def test_without_a_length_damage_is_told(tmp_path: Path) -> None:
    first, last = warc(["a", "c"])
    members = [gzip.compress(one) for one in (first, record(http(article("b")), length=None), last)]
    members[1] = members[1][: len(members[1]) // 2]
    tables = read(tmp_path, b"".join(members), "gz")
    assert tables.texts == texts("ac")
    assert len(tables.errors) == 1


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("change", [-120, -50, -1, 1, 3, 10, 300, 700, 5000])
def test_wrong_lengths(tmp_path: Path, codec: Codec | None, change: int) -> None:
    first, _, third = warc(["a", "b", "c"])
    block = http(article("b"))
    second = record(block, length=str(len(block) + change))
    tables = read(tmp_path, packed([first, second, third], codec), codec)
    assert tables.texts[0] == page_text("a")
    assert tables.texts[-1] == page_text("c")
    assert len(tables.texts) + len(tables.rejected) + len(tables.errors) == 3
    assert tables.texts == texts("abc")
    if abs(change) > 4 and len(tables.texts) == 3:
        assert tables.metas[1]["defects"] == ["content-length"]


@pytest.mark.parametrize("codec", CODECS)
def test_records_that_are_too_large(tmp_path: Path, codec: Codec | None) -> None:
    good = warc(["a", "b"])
    chance = random.Random(1).randbytes(40_000)
    for block in (http(b"x" * 200_000), http(chance)):
        tables = read(tmp_path, packed([good[0], record(block), good[1]], codec), codec, max_record_bytes=20_000)
        assert tables.texts == texts("ab")
        assert tables.kinds == ["record_too_large"]
    lying = record(http(article("x")), length="2000000000")
    tables = read(tmp_path, packed([good[0], lying, good[1]], codec), codec)
    assert tables.texts == texts("ab")
    assert tables.kinds == ["record_too_large"]


@pytest.mark.parametrize("codec", ["gz", "zst"])
def test_bombs(tmp_path: Path, codec: Codec) -> None:
    good = warc(["a", "b"])
    for bomb in (record(http(b" " * 10_000_000)), b" " * 10_000_000, record(b"", extra="x" * 5_000_000)):
        data = packed([good[0], bomb, good[1]], codec)
        tables = read(tmp_path, data, codec, max_record_bytes=50_000)
        assert tables.texts == texts("ab")
        assert tables.kinds == ["expansion"]


def test_a_bomb_inside_http(tmp_path: Path) -> None:
    for encoding, body in (("gzip", gzip.compress(b" " * 50_000_000)), ("br", brotli(b" " * 50_000_000))):
        block = http(body, f"Content-Type: text/html\r\nContent-Encoding: {encoding}\r\n")
        assert read(tmp_path, record(block)).rules == ["page_too_large"]


@pytest.mark.parametrize("codec", CODECS)
def test_every_truncation(tmp_path: Path, codec: Codec | None) -> None:
    records = warc(["a", "b", "c"])
    sizes = [len(PACKERS[codec](r)) for r in records]
    data = packed(records, codec)
    for end in range(0, len(data), 3):
        tables = read(tmp_path, data[:end], codec)
        whole = (end >= sizes[0]) + (end >= sizes[0] + sizes[1])
        assert tables.texts[:whole] == texts("abc")[:whole]
        assert len(tables.texts) <= whole + 1
        assert len(tables.errors) <= 1
        if end not in (0, sizes[0], sizes[0] + sizes[1]) and codec is not None:
            assert tables.kinds == ["truncated_file"], end


def damaged(data: bytes, chance: random.Random) -> bytes:
    """One to three bytes flipped, deleted or inserted."""
    out = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        at = chance.randrange(len(out))
        action = chance.choice(["flip", "flip", "delete", "insert"])
        if action == "flip":
            out[at] ^= 1 << chance.randrange(8)
        elif action == "delete":
            del out[at]
        else:
            out.insert(at, chance.randrange(256))
    return bytes(out)


@pytest.mark.parametrize("codec", CODECS)
def test_fuzz(tmp_path: Path, codec: Codec | None) -> None:
    chance = random.Random(11)
    records = warc(["a", "b", "c", "d"])
    members = [PACKERS[codec](r) for r in records]
    for _ in range(400):
        victim = chance.randrange(4)
        parts = [damaged(m, chance) if i == victim else m for i, m in enumerate(members)]
        tables = read(tmp_path, b"".join(parts), codec)
        rest = [page_text(name) for i, name in enumerate("abcd") if i != victim]
        found = [text for text in tables.texts if text in rest]
        assert found == rest, (victim, parts[victim])
        assert len(tables.documents) + len(tables.rejected) + len(tables.errors) <= 6


def test_whole_member_garbage(tmp_path: Path) -> None:
    good = packed(warc(["a", "b"]), "gz").split(b"\x1f\x8b")
    a, b = (b"\x1f\x8b" + part for part in good[1:3])
    for garbage in (b"\0\x01garbage\r\n" * 4, gzip.compress(b"not a record"), b"\x1f\x8b\x08" * 30):
        tables = read(tmp_path, a + garbage + b, "gz")
        assert tables.texts == texts("ab")
        assert len(tables.errors) == 1


def test_the_record_that_a_page_shows_is_no_record(tmp_path: Path) -> None:
    inner = record(http(article("inner")))
    body = b"<html><body><p>Look at this record, it is shown in a page about records:</p><pre>" + inner + b"</pre>"
    tables = read(tmp_path, packed([record(http(body)), *warc(["a"])], None))
    assert len(tables.documents) == 2


def test_bodies(tmp_path: Path) -> None:
    body = article("body")
    raw_deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = raw_deflate.compress(body) + raw_deflate.flush()
    chunks = b"".join(
        b"%x;ext=1\r\n%s\r\n" % (len(body[i : i + 40]), body[i : i + 40]) for i in range(0, len(body), 40)
    )
    html = "Content-Type: text/html\r\n"
    packed_bodies = [
        ("Content-Encoding: gzip\r\n", gzip.compress(body)),
        ("Content-Encoding: x-gzip\r\n", gzip.compress(body)),
        ("Content-Encoding: deflate\r\n", zlib.compress(body)),
        ("Content-Encoding: deflate\r\n", raw),
        ("Content-Encoding: br\r\n", brotli(body)),
        ("Content-Encoding: zstd\r\n", zstandard.compress(body)),
        ("Content-Encoding: gzip, gzip\r\n", gzip.compress(gzip.compress(body))),
        ("Content-Encoding: identity\r\n", body),
        ("Transfer-Encoding: chunked\r\n", chunks + b"0\r\n\r\n"),
        (
            "Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n",
            b"%X\n" % len(gzip.compress(body)) + gzip.compress(body) + b"\n0\n\n",
        ),
        ("Content-Encoding: gzip\r\n", body),  # unpacked already, as many crawlers leave it
        ("Content-Encoding: br\r\n", body),
        ("Content-Encoding: deflate\r\n", body),
        ("Content-Encoding: zstd\r\n", body),
        ("Transfer-Encoding: chunked\r\n", body),
        ("Content-Encoding: nonsense\r\n", body),
    ]
    for headers, data in packed_bodies:
        tables = read(tmp_path, record(http(data, html + headers)))
        assert tables.texts == [page_text("body")], headers


def test_damaged_bodies_give_what_comes_before(tmp_path: Path) -> None:
    random_words = " ".join(random.Random(2).choices(["alpha", "beta", "gamma", "delta", "omega"], k=4000))
    body = f"<html><body><p>{random_words}</p></body></html>".encode()
    html = "Content-Type: text/html\r\n"
    for coding, data in (
        ("gzip", gzip.compress(body)),
        ("deflate", zlib.compress(body)),
        ("br", brotli(body)),
    ):
        for broken in (data[: len(data) // 2], data[: len(data) // 2] + b"\xff" * 40 + data[len(data) // 2 + 40 :]):
            tables = read(tmp_path, record(http(broken, f"{html}Content-Encoding: {coding}\r\n")))
            assert tables.errors == []
            assert len(tables.documents) == 1
            assert len(tables.texts[0]) > 1000
            assert tables.metas[0]["defects"] == ["content-encoding"]
    chunked = b"100\r\n" + body[:256] + b"\r\nzz\r\n" + body[256:]
    tables = read(tmp_path, record(http(chunked, html + "Transfer-Encoding: chunked\r\n")))
    assert tables.metas[0]["defects"] == ["transfer-encoding"]


def test_http_parsing() -> None:
    message = parse_http(b"HTTP/1.1 200 OK\r\nA: 1\r\nB: x\r\n y\r\nA: 2\r\nnothing\r\n\r\nbody\r\n\r\nmore")
    assert message == (200, {"a": "1", "b": "x y"}, b"body\r\n\r\nmore")
    assert parse_http(b"HTTP/1.1 200 OK\r\nA: 1") == (200, {"a": "1"}, b"")
    assert parse_http(b"HTTP/2 404\n\nx") == (404, {}, b"x")
    assert parse_http(b"<html>") == (None, {}, b"<html>")
    assert media_type('Text/HTML ; charset="UTF-8"') == ("text/html", "UTF-8")
    assert media_type("text/html, text/html") == ("text/html", None)
    assert media_type("") == (None, None)
    assert (
        unpack_body(parse_http(b"HTTP/1.1 200\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08nonsense"), 10).data == b""
    )


def test_charsets(tmp_path: Path) -> None:
    word = "Привет, это страница на русском языке"
    for data, header, charset in (
        (word.encode("cp1251"), "; charset=windows-1251", "cp1251"),
        (b'<meta charset="koi8-r">' + word.encode("koi8-r"), "", "koi8-r"),
        (word.encode(), "; charset=utf-16", "utf-8"),
        (word.encode("utf-16"), "", "utf-16-le"),
        ((word * 4).encode("cp1251"), "", "cp1251"),
    ):
        tables = read(
            tmp_path, record(http(b"<p>" + data + b"</p>" if header else data, f"Content-Type: text/html{header}\r\n"))
        )
        assert word in tables.texts[0]
        assert tables.metas[0]["charset"] == charset


def test_wet(tmp_path: Path) -> None:
    info = record(b"x", kind="warcinfo", content_type="application/warc-fields")
    extra = "WARC-Refers-To: <urn:uuid:1>\r\nWARC-Identified-Content-Language: eng,deu"
    page = record("Zeile\nZwei ü\n".encode(), kind="conversion", content_type="text/plain", extra=extra)
    empty = record(b" \n", kind="conversion", content_type="text/plain")
    path = tmp_path / "a.warc.wet.gz"
    path.write_bytes(packed([info, page, empty], "gz"))
    splits = plan_splits(filesystem.info(str(path)), ReadOptions(), 100)
    assert [split.format for split in splits] == ["wet"]
    (batch,) = read_split(splits[0], "wet", ReadOptions())
    (row,) = batch.documents.to_pylist()
    assert row["text"] == "Zeile\nZwei ü\n"
    meta = json.loads(row["meta"])
    assert meta["refers_to"] == "<urn:uuid:1>"
    assert meta["languages"] == "eng,deu"
    assert batch.rejected.column("rule").to_pylist() == ["empty_text"]
    assert batch.skipped == {"warcinfo": 1}
