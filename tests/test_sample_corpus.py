"""The bundled sample corpus is what its provenance says, and readable by the ordinary tools."""

import csv
import gzip
import hashlib
import io
import json
import re
import zlib
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest
import zstandard
from fastwarc.warc import ArchiveIterator, WarcRecordType
from hypothesis import given
from hypothesis import strategies as st

from examples.corpus_builder.draw import Draw, ranked
from examples.corpus_builder.htmltext import page_text
from examples.corpus_builder.packages import PACKAGES
from examples.corpus_builder.provenance import content_digest, readme
from examples.corpus_builder.synthetic import JUNK_KINDS, SPAM_KINDS, honest_post, junk, spam
from examples.corpus_builder.tables import forum
from examples.corpus_builder.variants import chunks, near_copy, near_copy_html
from examples.corpus_builder.warcfile import chunked, gzip_member

CORPUS = Path(__file__).parents[1] / "examples" / "corpus"
RECORD: dict[str, Any] = json.loads((CORPUS / "provenance.json").read_text("utf-8"))
FILES: dict[str, Any] = RECORD["files"]
RESERVED = (".example", ".example.com", ".example.net", ".example.org", ".example.edu")


def jsonl(name: str) -> list[dict[str, Any]]:
    data = (CORPUS / name).read_bytes()
    return [json.loads(line) for line in zstandard.ZstdDecompressor().decompress(data).splitlines()]


def warc(name: str) -> list[tuple[Any, dict[str, str], bytes]]:
    with (CORPUS / name).open("rb") as stream:
        return [
            (record.record_type, dict(record.headers.items()), record.reader.read())
            for record in ArchiveIterator(stream, parse_http=False)
        ]


def article_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(CORPUS / "encyclopedia.parquet").to_pylist()
    return rows


def test_every_file_is_in_the_provenance_and_the_other_way_round() -> None:
    present = {path.name for path in CORPUS.iterdir() if path.is_file()}
    assert present == set(FILES) | {"provenance.json", "README.md"}


@pytest.mark.parametrize("name", sorted(FILES))
def test_bytes_and_digests_are_those_of_the_provenance(name: str) -> None:
    data = (CORPUS / name).read_bytes()
    assert len(data) == FILES[name]["bytes"]
    assert hashlib.sha256(data).hexdigest() == FILES[name]["sha256"]
    assert content_digest(name, data) == FILES[name]["content_sha256"]


def test_the_folder_stays_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 4_000_000


def test_readme_has_the_figures_of_the_provenance() -> None:
    assert (CORPUS / "README.md").read_text("utf-8") == readme(RECORD)


def test_every_package_is_pinned_licensed_and_used() -> None:
    used = {package for file in FILES.values() for package in file["documents_from"]}
    assert used == set(RECORD["packages"]) | {"made by this script"}
    notices = {path.name for path in (CORPUS / "LICENSES").iterdir()}
    for package in PACKAGES:
        assert RECORD["packages"][package.key]["sha256"] == package.sha256
        assert re.fullmatch(r"[0-9a-f]{64}", package.sha256)
        assert f"{package.ecosystem}-{package.name.lstrip('@').replace('/', '-')}.txt" in notices
    assert all("CC-BY-SA" not in licence for name in set(FILES) - {"web.warc.gz", "crawl.warc.wet.gz"}
               for licence in FILES[name]["licences"])  # fmt: skip


def test_web_warc_has_its_records_at_reserved_addresses() -> None:
    records = warc("web.warc.gz")
    assert len(records) == FILES["web.warc.gz"]["records"]
    kinds = Counter(headers["WARC-Type"] for _, headers, _ in records)
    assert kinds == FILES["web.warc.gz"]["record_types"]
    ids = [headers["WARC-Record-ID"] for _, headers, _ in records]
    assert len(set(ids)) == len(ids)
    for _, headers, block in records:
        assert int(headers["Content-Length"]) == len(block)
        if "WARC-Target-URI" in headers:
            host = urlsplit(headers["WARC-Target-URI"]).hostname or ""
            assert f".{host}".endswith(RESERVED)


def test_web_warc_pages_are_multilingual_mostly_english_html() -> None:
    languages = FILES["web.warc.gz"]["languages"]
    assert len(languages) >= 8
    assert 0.5 < languages["en"] / sum(languages.values()) < 0.7
    responses = [block for kind, _, block in warc("web.warc.gz") if kind == WarcRecordType.response]
    heads = [block.partition(b"\r\n\r\n")[0].decode() for block in responses]
    statuses = Counter(head.split()[1] for head in heads)
    assert statuses["200"] > 450
    assert {"301", "404", "500"} <= set(statuses)
    assert sum("application/pdf" in head for head in heads) == 1
    documentation = [head for head in heads if 'rel="license"' in head]
    assert len(documentation) >= sum(languages.values()) - FILES["web.warc.gz"]["synthetic_spam_pages"]


def test_web_warc_bodies_decode_as_declared() -> None:
    known = FILES["web.warc.gz"]["encodings"] | FILES["web.warc.gz"]["transfers"]
    assert len(set(FILES["web.warc.gz"]["encodings"].values())) == 6
    seen = set()
    for kind, headers, block in warc("web.warc.gz"):
        url = headers.get("WARC-Target-URI", "")
        if kind != WarcRecordType.response or url not in known:
            continue
        seen.add(url)
        how, body = known[url], block.partition(b"\r\n\r\n")[2]
        if "chunked" in how:
            parts = []
            while size := int(body[: body.index(b"\r\n")], 16):
                start = body.index(b"\r\n") + 2
                parts.append(body[start : start + size])
                body = body[start + size + 2 :]
            body = b"".join(parts)
        if "gzip" in how:
            body = gzip.decompress(body)
        encoding = "utf-8" if "gzip" in how or "chunked" in how else how
        assert "<body" in body.decode(encoding)
    assert seen == set(known)


def test_wet_has_its_extracts() -> None:
    conversions = [item for item in warc("crawl.warc.wet.gz") if item[0] == WarcRecordType.conversion]
    assert len(conversions) == FILES["crawl.warc.wet.gz"]["record_types"]["conversion"]
    texts = Counter(block for _, _, block in conversions)
    assert sum(count - 1 for count in texts.values()) == FILES["crawl.warc.wet.gz"]["exact_copies"]
    assert len({headers["WARC-Identified-Content-Language"] for _, headers, _ in conversions}) >= 8
    pages = {headers.get("WARC-Target-URI") for _, headers, _ in warc("web.warc.gz")}
    shared = sum(headers["WARC-Target-URI"] in pages for _, headers, _ in conversions)
    assert shared >= FILES["crawl.warc.wet.gz"]["also_in_web.warc.gz"]


def test_damaged_warc_is_damaged_where_it_says_and_good_elsewhere() -> None:
    data = (CORPUS / "damaged.warc.gz").read_bytes()
    broken = FILES["damaged.warc.gz"]["broken_members"]
    good = []
    position = 0
    for item in [*broken, {"offset": len(data), "bytes": 0}]:
        good.append(gzip.decompress(data[position : item["offset"]]))
        position = item["offset"] + item["bytes"]
    assert b"".join(good).count(b"WARC-Type: response") == len(FILES["damaged.warc.gz"]["good_pages"])
    first, second, third = (data[item["offset"] : item["offset"] + item["bytes"]] for item in broken)
    with pytest.raises((gzip.BadGzipFile, zlib.error)):
        gzip.decompress(first)
    assert not gzip.decompress(second).startswith(b"WARC/")
    with pytest.raises(EOFError):
        gzip.decompress(third)


def test_code_lines_are_broken_where_the_provenance_says() -> None:
    lines = gzip.decompress((CORPUS / "code.jsonl.gz").read_bytes()).split(b"\n")[:-1]
    found: dict[str, list[int]] = {"invalid_json": [], "invalid_utf8": []}
    good = []
    for number, line in enumerate(lines, 1):
        try:
            good.append(json.loads(line.decode()))
        except UnicodeDecodeError:
            found["invalid_utf8"].append(number)
        except json.JSONDecodeError:
            found["invalid_json"].append(number)
    broken = FILES["code.jsonl.gz"]["broken_lines"]
    assert found == {key: broken[key] for key in found}
    assert len(good) == FILES["code.jsonl.gz"]["records"]
    assert all(list(row) == FILES["code.jsonl.gz"]["fields"] for row in good)
    assert {row["code_language"] for row in good} == {"go", "python"}


@pytest.mark.parametrize("name", ["books.jsonl.zst", "target.jsonl.zst", "harmful_like.jsonl.zst"])
def test_jsonl_files_have_their_rows_and_fields(name: str) -> None:
    rows = jsonl(name)
    assert len(rows) == FILES[name]["records"]
    assert all(list(row) == FILES[name]["fields"] for row in rows)
    key = FILES[name]["fields"][0]
    assert len({row[key] for row in rows}) == len(rows)


def test_encyclopedia_and_books_hold_exact_copies() -> None:
    articles = article_rows()
    assert len(articles) == FILES["encyclopedia.parquet"]["records"]
    assert list(articles[0]) == FILES["encyclopedia.parquet"]["fields"]
    for texts, name in (
        ([row["text"] for row in articles], "encyclopedia.parquet"),
        ([row["body"] for row in jsonl("books.jsonl.zst")], "books.jsonl.zst"),
    ):
        assert len(texts) - len(set(texts)) == FILES[name]["exact_copies"]


def test_target_is_held_out() -> None:
    taken = {row["body"] for row in jsonl("books.jsonl.zst")} | {row["text"] for row in article_rows()}
    rows = jsonl("target.jsonl.zst")
    assert not taken & {row["text"] for row in rows}
    assert all(len(row["text"]) >= 500 for row in rows)


def test_labelled_documents_cover_both_labels_on_several_hosts() -> None:
    rows = jsonl("harmful_like.jsonl.zst")
    counts = Counter(str(row["label"]) for row in rows)
    assert counts == FILES["harmful_like.jsonl.zst"]["labels"]
    assert min(counts.values()) > 150
    mixed = {row["host"] for row in rows if row["label"]} & {row["host"] for row in rows if not row["label"]}
    assert len(mixed) >= 3
    assert len({row["host"] for row in rows}) >= 10
    assert all(f".{row['host']}".endswith(RESERVED) for row in rows)


def test_forum_is_csv_and_rebuilds_to_the_same_bytes() -> None:
    data = (CORPUS / "forum.csv").read_bytes()
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert len(rows) == FILES["forum.csv"]["records"] == sum(FILES["forum.csv"]["kinds"].values())
    assert list(rows[0]) == FILES["forum.csv"]["fields"]
    assert forum().data == data


# The parts that the files are made with.


@given(st.lists(st.text(max_size=8), unique=True, max_size=30), st.text(max_size=5))
def test_ranked_does_not_depend_on_the_order_given(items: list[str], seed: str) -> None:
    order = ranked(seed, items, lambda item: item)
    assert order == ranked(seed, reversed(items), lambda item: item)
    assert sorted(order) == sorted(items)


@given(st.integers(0, 40), st.integers(1, 30), st.text(max_size=5))
def test_draw_takes_different_positions(count: int, size: int, seed: str) -> None:
    taken = Draw(seed).some(range(size), count)
    assert len(set(taken)) == len(taken) == min(count, size)
    assert taken == Draw(seed).some(range(size), count)
    assert all(2 <= Draw(f"{seed}{i}").integer(2, 4) <= 4 for i in range(5))


@given(st.text("abcdefg xyz\n", min_size=1, max_size=400), st.text(max_size=4))
def test_near_copy_changes_words_for_words(text: str, seed: str) -> None:
    text = f"alpha {text} omega"
    changed, share = near_copy(text, Draw(seed))
    old, new = text.split(), changed.split()
    assert len(old) == len(new)
    assert re.sub(r"\S+", "", text) == re.sub(r"\S+", "", changed)
    assert set(re.findall(r"[a-z]{3,}", changed)) <= set(re.findall(r"[a-z]{3,}", text))
    words = len(re.findall(r"[a-z]{3,}", text))
    assert sum(a != b for a, b in zip(old, new, strict=True)) <= share * words + 1e-9


def test_near_copy_of_html_leaves_markup_and_code() -> None:
    words = " ".join(f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(200))
    html = f"<head><title>one two three</title></head><body class='red'><p>{words}</p><pre>x = yes</pre></body>"
    changed, share = near_copy_html(html, Draw("seed"))
    assert re.findall(r"<[^>]*>", changed) == re.findall(r"<[^>]*>", html)
    assert "<title>one two three</title>" in changed
    assert "<pre>x = yes</pre>" in changed
    old, new = page_text(html).split(), page_text(changed).split()
    assert 0 < share <= 0.085
    assert sum(a != b for a, b in zip(old, new, strict=True)) == round(share * 200)


def test_chunks_keep_every_paragraph_in_order() -> None:
    paragraphs = [f"paragraph {i} " * 20 for i in range(40)]
    documents = chunks(paragraphs, 1000, 2000, Draw("chunks"))
    assert "\n\n".join(documents).split("\n\n") == paragraphs[: sum(d.count("\n\n") + 1 for d in documents)]
    assert all(len(document) >= 500 for document in documents)


def test_page_text_shows_what_a_reader_sees() -> None:
    html = (
        "<html><head><title>T &amp; U</title><style>p{}</style></head>"
        "<body><nav><a href='/'>Home</a> | <a>Next</a></nav>"
        "<p>One\n two<br>three <b>bold</b></p><script>no()</script><pre>a\n  b\n</pre></body></html>"
    )
    assert page_text(html) == "T & U\nHome | Next\nOne two\nthree bold\na\n  b"


@given(st.binary(max_size=3000), st.integers(1, 999))
def test_transfer_and_content_codings_round_trip(data: bytes, size: int) -> None:
    assert gzip.decompress(gzip_member(data)) == data
    coded, rest = chunked(data, size), b""
    while length := int(coded[: coded.index(b"\r\n")], 16):
        start = coded.index(b"\r\n") + 2
        rest, coded = rest + coded[start : start + length], coded[start + length + 2 :]
    assert rest == data
    assert coded == b"0\r\n\r\n"


def test_made_up_text_is_filled_in_and_repeatable() -> None:
    for kind in SPAM_KINDS:
        text = spam(kind, "spam.example", Draw(kind))
        assert text == spam(kind, "spam.example", Draw(kind))
        assert not re.search(r"\{[a-z]+\}", text)
    for kind in JUNK_KINDS:
        assert junk(kind, Draw(kind)) == junk(kind, Draw(kind))
    assert not re.search(r"\{[a-z]+\}", honest_post(Draw("post"), near_spam=True))
