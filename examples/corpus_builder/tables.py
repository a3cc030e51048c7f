"""The files that aren't WARCs: prose, articles, code, forum posts, the target and the labelled junk."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from .draw import Draw, ranked
from .output import MADE_HERE, Output
from .sources import Article, Passage, Source
from .synthetic import JUNK_KINDS, SPAM_HOSTS, SPAM_KINDS, honest_post, junk, spam
from .variants import near_copy
from .warcfile import gzip_member

__all__ = ["books", "code", "encyclopedia", "forum", "harmful_like", "target"]

_BOOKS = {"novel": 110, "speech": 150, "play": 80, "essay": 14}
_TARGET = {"novel": 20, "speech": 80}
_ARTICLES, _TARGET_ARTICLES = 560, 100
_CODE = {"go": 100, "python": 40}


def _lines(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=19, write_checksum=True, write_content_size=True).compress(data)


def _with_copies(
    rows: list[dict[str, object]], key: str, text: str, exact: int, near: int
) -> tuple[list[dict[str, object]], dict[str, object]]:
    """`rows` with copies of some of them mixed in, under keys of their own."""
    chosen = ranked("copies", rows, lambda row: str(row[key]))
    added = [row | {key: f"{row[key]}-again"} for row in chosen[:exact]]
    shares = []
    for row in chosen[exact : exact + near]:
        changed, share = near_copy(str(row[text]), Draw(f"near {row[key]}"))
        shares.append(share)
        added.append(row | {key: f"{row[key]}-variant", text: changed})
    details: dict[str, object] = {
        "exact_copies": exact,
        "near_copies": {"documents": near, "words_changed": [round(min(shares), 4), round(max(shares), 4)]},
    }
    return ranked("rows", rows + added, lambda row: str(row[key])), details


def books(passages: dict[str, list[Passage]]) -> Output:
    """Public-domain prose, plays and speeches."""
    out = Output("books.jsonl.zst", b"", ["key", "body", "title", "author", "year", "kind"], 0)
    taken = [passage for kind, count in _BOOKS.items() for passage in passages[kind][:count]]
    rows: list[dict[str, object]] = []
    for passage in taken:
        rows.append(
            {
                "key": passage.key,
                "body": passage.text,
                "title": passage.title,
                "author": passage.author,
                "year": passage.year,
                "kind": passage.kind,
            }
        )
        out.count(passage.package)
    rows, out.details = _with_copies(rows, "key", "body", 18, 18)
    out.details["kinds"] = {kind: len(passages[kind][:count]) for kind, count in _BOOKS.items()}
    out.data, out.records = _zstd(_lines(rows)), len(rows)
    return out


def encyclopedia(articles: list[Article]) -> Output:
    """Articles about countries and oceans, as Parquet."""
    out = Output("encyclopedia.parquet", b"", ["id", "text", "url", "label"], 0)
    rows: list[dict[str, object]] = []
    for article in articles[:_ARTICLES]:
        rows.append({"id": article.key, "text": article.text, "url": article.url, "label": article.topic})
        out.count(article.package)
    rows, out.details = _with_copies(rows, "id", "text", 28, 28)
    schema = pa.schema([(name, pa.string()) for name in out.fields])
    sink = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, sink, compression="zstd", compression_level=19, row_group_size=256)
    out.data, out.records = sink.getvalue(), len(rows)
    return out


def code(files: dict[str, list[Source]]) -> Output:
    """Source files as JSON lines, with lines among them that aren't JSON or aren't UTF-8."""
    out = Output("code.jsonl.gz", b"", ["id", "text", "path", "code_language", "license"], 0)
    rows: list[dict[str, object]] = []
    for language, count in _CODE.items():
        for file in files[language][:count]:
            rows.append(
                {
                    "id": f"{language}:{file.path}",
                    "text": file.text,
                    "path": file.path,
                    "code_language": language,
                    "license": file.licence,
                }
            )
            out.count(file.package)
    rows, out.details = _with_copies(rows, "id", "text", 7, 7)
    lines = _lines(rows).splitlines(keepends=True)
    broken = {
        20: b'{"id": "broken:1", "text": "the closing quote and brace are missing\n',
        45: b'\xff\xfe{"id": "broken:2", "text": "a byte order mark of another encoding"}\n',
        70: b"this line is not JSON at all\n",
        90: '{"id": "broken:4", "text": "na\xefve caf\xe9 in latin-1"}\n'.encode("latin-1"),
        115: b'{"id": "broken:5", "text": "two objects on a line"} {"id": "broken:6"}\n',
        140: b'{"id": "broken:7", "text": "cut inside a character \xe6\x97"}\n',
    }
    for number, line in broken.items():
        lines.insert(number, line)
    out.details["broken_lines"] = {
        "invalid_json": [21, 71, 116],
        "invalid_utf8": [46, 91, 141],
        "note": "line numbers count from 1",
    }
    out.data, out.records = gzip_member(b"".join(lines)), len(rows)
    return out


def forum() -> Output:
    """Short posts, junk and spam as CSV, all made up."""
    out = Output("forum.csv", b"", ["id", "thread", "author", "posted", "text"], 0)
    draw = Draw("forum")
    texts: list[tuple[str, str]] = [("post", honest_post(draw, 2, 9)) for _ in range(56)]
    texts += [("near-spam post", honest_post(draw, 2, 5, near_spam=True)) for _ in range(8)]
    for number in range(10 * len(JUNK_KINDS)):
        kind = JUNK_KINDS[number % len(JUNK_KINDS)]
        if kind != "blank" or number < len(JUNK_KINDS) * 2:
            texts.append((kind, junk(kind, draw)))
    texts += [("spam", spam(SPAM_KINDS[n % len(SPAM_KINDS)], "forum.example.org", draw)) for n in range(20)]
    posts = [text for kind, text in texts if kind == "post"]
    texts += [("exact copy", text) for text in posts[:10]]
    texts += [("near copy", near_copy(text, draw)[0]) for text in posts[10:20]]
    kinds: dict[str, int] = {}
    for kind, _ in texts:
        kinds[kind] = kinds.get(kind, 0) + 1
    shuffled = ranked("forum", list(enumerate(texts)), lambda item: str(item[0]))
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(out.fields)
    authors = ("heron", "wagtail", "lapwing", "plover", "siskin", "dunlin", "martlet")
    for number, (_, (_, text)) in enumerate(shuffled, 1):
        posted = f"2024-02-{1 + number % 28:02d}T{number % 24:02d}:00:00Z"
        writer.writerow([f"post-{number:04d}", f"thread-{1 + number // 9}", draw.one(authors), posted, text])
        out.count(MADE_HERE)
    out.details = {"kinds": kinds}
    out.data, out.records = sink.getvalue().encode(), len(texts)
    return out


def target(passages: dict[str, list[Passage]], articles: list[Article]) -> Output:
    """Good English prose that no other file has: the target that selection steers towards."""
    out = Output("target.jsonl.zst", b"", ["id", "text", "source"], 0)
    rows: list[dict[str, object]] = []
    for kind, count in _TARGET.items():
        start = _BOOKS[kind]
        for passage in passages[kind][start : start + count]:
            rows.append({"id": passage.key, "text": passage.text, "source": kind})
            out.count(passage.package)
    for article in articles[_ARTICLES : _ARTICLES + _TARGET_ARTICLES]:
        rows.append({"id": article.key, "text": article.text, "source": "encyclopedia"})
        out.count(article.package)
    rows = ranked("target", rows, lambda row: str(row["id"]))
    out.data, out.records = _zstd(_lines(rows)), len(rows)
    return out


def harmful_like(passages: dict[str, list[Passage]], articles: list[Article]) -> Output:
    """Labelled documents: 1 is made-up spam, 0 is prose or an honest post; hosts hold one kind or both."""
    out = Output("harmful_like.jsonl.zst", b"", ["id", "text", "label", "host", "kind"], 0)
    rows: list[dict[str, object]] = []

    def add(text: str, label: int, host: str, kind: str, package: str) -> None:
        rows.append(
            {"id": f"{kind}-{len(rows):03d}", "text": text, "label": label, "host": host, "kind": kind}
        )
        out.count(package)

    mixed = ("forum.example.org", "classifieds.example.com", "blog.example.net")
    for number in range(180):
        kind = SPAM_KINDS[number % len(SPAM_KINDS)]
        draw = Draw(f"harmful {number}")
        host = draw.one(mixed) if number % 4 == 3 else draw.one(SPAM_HOSTS[kind])
        add(spam(kind, host, draw), 1, host, kind, MADE_HERE)
    for number in range(60):
        draw = Draw(f"near spam {number}")
        host = draw.one((*mixed, "village.example.org"))
        add(honest_post(draw, 2, 5, near_spam=True), 0, host, "near-spam post", MADE_HERE)
    for number in range(50):
        draw = Draw(f"post {number}")
        add(honest_post(draw, 4, 9), 0, draw.one((*mixed, "hobby.example.org")), "post", MADE_HERE)
    start = _BOOKS["speech"] + _TARGET["speech"]
    for passage in passages["speech"][start : start + 70]:
        add(passage.text.partition("\n\n")[0], 0, "library.example.edu", "speech", passage.package)
    for article in articles[_ARTICLES + _TARGET_ARTICLES :][:50]:
        add(
            article.text.partition("\n\n")[2][:900], 0, "encyclopedia.example.org", "article", article.package
        )
    labels = [row["label"] for row in rows]
    rows = ranked("harmful", rows, lambda row: str(row["id"]))
    out.details = {"labels": {"0": labels.count(0), "1": labels.count(1)}}
    out.data, out.records = _zstd(_lines(rows)), len(rows)
    return out
