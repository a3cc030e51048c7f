"""HTML to text: boilerplate goes, limits hold, and no page crashes or hangs."""

import base64
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.scorers.extraction.html import (
    ExtractOptions,
    clean_text,
    html_to_text,
    looks_binary,
    plain_to_text,
)
from tamis.scorers.extraction.markup_kernels import name_hash, parser_steps, unprintable_share

ARTICLE = "<p>The miller ground his corn by the river, and the town bought all of his flour every week.</p>"
PAGE = f"""<!doctype html><html><head><title>Mill</title><style>p {{}}</style><script>var x = "<div>";</script></head>
<body><nav><ul><li><a href="/">Home</a></li><li><a href="/c">Contact us</a></li></ul></nav>
<main><article><h1>The mill</h1>{ARTICLE * 4}<ul><li>first</li><li>second</li></ul></article></main>
<footer>Copyright, terms of use</footer></body></html>"""


def token_f1(found: str, expected: str) -> float:
    a, b = Counter(found.split()), Counter(expected.split())
    common = sum((a & b).values())
    return 2 * common / (sum(a.values()) + sum(b.values())) if common else 0.0


@pytest.mark.parametrize("engine", ["resiliparse", "trafilatura"])
def test_main_content(engine: str) -> None:
    if engine == "trafilatura":
        pytest.importorskip("trafilatura")
    text, refusal = html_to_text(PAGE, ExtractOptions(engine=engine))  # type: ignore[arg-type]
    assert refusal is None
    assert "The miller ground" in text
    assert text.startswith("The mill\n")
    assert "terms of use" not in text
    assert "Contact us" not in text
    assert "var x" not in text


def test_all_content() -> None:
    text, _ = html_to_text(PAGE, ExtractOptions(main_content=False))
    assert "Contact us" in text
    assert "var x" not in text


@pytest.mark.parametrize("html", ["", " \n ", "<html></html>", "<script>x</script>", "<!-- <p>x</p> -->"])
def test_empty(html: str) -> None:
    text, refusal = html_to_text(html)
    assert text == ""
    assert refusal is not None
    assert refusal.rule == "empty_text"


def test_min_characters() -> None:
    refusal = html_to_text("<p>abc</p>", ExtractOptions(min_characters=4)).refusal
    assert refusal == ("empty_text", 3, 4)
    assert html_to_text("<p>abcd</p>", ExtractOptions(min_characters=4)).text == "abcd"


def test_too_large() -> None:
    refusal = html_to_text("<p>é</p>", ExtractOptions(max_page_bytes=8)).refusal
    assert refusal == ("page_too_large", 9, 8)
    assert html_to_text("<p>é</p>", ExtractOptions(max_page_bytes=9)).refusal is None


def test_gibberish() -> None:
    noise = bytes(np.random.default_rng(1).integers(0, 256, 5000, np.uint8)).decode("latin-1")
    for text in (html_to_text(noise), plain_to_text(noise), html_to_text("<p>" + "x" * 50_000 + "</p>")):
        assert text.refusal is not None
        assert text.refusal.rule == "gibberish"
    assert html_to_text("<p>" + "字" * 50_000 + "</p>").refusal is None
    assert html_to_text("<p>" + "x" * 9_000 + "</p>").refusal is None


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 100_000 + "deep",
        "<div>" * 100_000 + "deep" + "</div>" * 100_000,
        "<div " + " ".join(f"a{i}" for i in range(100_000)) + ">many",
        "<a><div>" * 100_000,
        "<DIV\tclass='>'>" * 100_000,
    ],
)
def test_quadratic_pages_are_refused_at_once(html: str) -> None:
    refusal = html_to_text(html).refusal
    assert refusal is not None
    assert refusal.rule == "page_too_complex"


@pytest.mark.parametrize(
    "html",
    [
        "<p>word " * 50_000,
        "<ul>" + "<li>word " * 50_000,
        "<table>" + "<tr><td>word" * 20_000,
        "<script>" + "<div>" * 100_000 + "</script><p>word</p>",
        "<!--" + "<div>" * 100_000 + "--><p>word</p>",
        "word<br>" * 50_000,
        "<div>word</div>" * 50_000,
        "<dl>" + "<dt>word<dd>word " * 50_000,
        "<ul>" + "<li><a href=x>word</a>" * 50_000 + "</ul><p>word",
        "<p>1 < 2 and word</p>" * 1000,
    ],
)
def test_long_but_flat_pages_are_not(html: str) -> None:
    text, refusal = html_to_text(html, ExtractOptions(main_content=False))
    assert refusal is None
    assert "word" in text
    again = html_to_text(html).refusal
    assert again is None or again.rule == "empty_text"  # a list alone is no main content


def test_timeout_of_trafilatura() -> None:
    pytest.importorskip("trafilatura")
    options = ExtractOptions(engine="trafilatura", timeout=0.02)
    slow = "<html><body>" + ARTICLE * 20_000
    assert html_to_text(slow, options).refusal == ("page_timeout", None, 0.02)
    assert html_to_text(PAGE, ExtractOptions(engine="trafilatura")).refusal is None


def test_clean_text() -> None:
    assert clean_text("\r\n a \r\nb\t\n\n\n\n c\x00d\x1be\ufeff\r\n") == "a\nb\n\n cde"
    assert clean_text("a\u2028b\x85c\x0bd") == "a\nb\nc\nd"
    assert clean_text("a\u200db\xa0c") == "a\u200db\xa0c"  # joiners are part of words


@given(st.text(max_size=300))
def test_cleaning_is_idempotent(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert "\n\n\n" not in once


@given(st.text(alphabet=st.sampled_from("<>/!-=\"' abdiv&;x\n\0é"), max_size=400))
def test_no_page_crashes(html: str) -> None:
    text, refusal = html_to_text(html)
    assert (text == "") == (refusal is not None)


def test_looks_binary() -> None:
    assert looks_binary(b"%PDF-1.4 ...")
    assert looks_binary(b"PK\x03\x04")
    assert not looks_binary(b"<html>")


def test_parser_steps() -> None:
    def hashes(*names: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        return np.array([name_hash(np.frombuffer(n, np.uint8), 0, len(n)) for n in names], np.uint64)

    def steps(html: str) -> int:
        data = np.frombuffer(html.encode(), np.uint8)
        siblings, kinds = hashes(b"li", b"dt", b"dd"), hashes(b"li", b"dt", b"dt")
        return parser_steps(
            data, hashes(b"br", b"p"), siblings, kinds, hashes(b"script"), hashes(b"svg", b"math"), 10**6
        )

    assert steps("no tags < here") == 0
    assert steps("<a>") == 0
    assert steps("<a><b><c>") == 0 + 1 + 2
    assert steps("<a><b></b></a>") == 0 + 1 + 2 + 1
    assert steps("<a><b></a><c>") == 0 + 1 + 2 + 0  # </a> closes <b>, too
    assert steps("<a></x><c>") == 0 + 1 + 1
    assert steps("<p><p><br><a>") == 0
    assert steps("<li>a<li>b<li><b>") == 0 + 1 + 1 + 1
    assert steps("<dt>a<dd>b<dt><b>") == 0 + 1 + 1 + 1
    assert steps("<li><dt><li><b>") == 0 + 1 + 2 + 3
    assert steps("<a q=1 r='>' s>") == 9 // 2
    assert steps("<script><a><b></script><c><d>") == 1  # its end tag is met at depth 0
    assert steps("<svg><script><a></svg><script><b></script>") == 0 + 1 + 2 + 3
    assert steps("<!-- <a><b> --><c><d>") == 1
    assert steps("<!-") == 0
    assert steps("<") == 0


@given(st.text(max_size=100))
def test_unprintable_share(text: str) -> None:
    def odd(c: str) -> bool:
        return (ord(c) < 32 and c not in "\t\n\x0c\r") or 127 <= ord(c) < 160 or c == "\ufffd"

    share = unprintable_share(np.frombuffer(text.encode(), np.uint8))
    assert share == pytest.approx(sum(map(odd, text)) / len(text) if text else 0.0)


@pytest.mark.devdata
def test_gold_pages(dev_data: Path) -> None:
    pages = [json.loads(line) for line in (dev_data / "dev_extraction_gold.jsonl").open()]
    scores = []
    for page in pages:
        html = base64.b64decode(page["html_b64"]).decode("utf-8", "replace")
        scores.append(token_f1(html_to_text(html).text, page["expected_text"]))
    print(f"token F1 over {len(pages)} pages: mean {np.mean(scores):.3f}, median {np.median(scores):.3f}")
    assert np.mean(scores) > 0.80
    assert np.median(scores) > 0.90
