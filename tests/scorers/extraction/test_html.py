"""HTML to text: boilerplate goes, limits hold, and no page crashes or hangs."""

import base64
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ModelError
from tamis.scorers.extraction.html import (
    ExtractOptions,
    check_engine,
    clean_text,
    extraction_seconds,
    html_to_text,
    looks_binary,
    plain_to_text,
)
from tamis.scorers.extraction.markup import estimated_steps
from tamis.scorers.extraction.markup_kernels import CLONE_STEPS, unprintable_share
from tamis.scorers.extraction.sandbox import CallFailedError

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
        "<select>" + "<option value=1>an option" * 20_000,
        "<select>" + "<option value=1>an option</option>" * 20_000,
        "<b><div>x</b>" * 20_000,
        "<font size=1><div>x</font>" * 20_000,
        "".join(f"<p><font color=#{i:06x}>word {i} " for i in range(8_000)),
        "".join(f"<div><font color=#{i:06x}>word {i} </div>" for i in range(20_000)),
        "<span><div></span>" * 20_000,
        "<table><td>" * 20_000,
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
        "<p><font size=2>word " * 10_000,
        "<table>" + "<tr><td><font size=2><b>word" * 20_000,
        ("<select>" + "<option>word" * 500 + "</select><p>word") * 20,
        "<p><b><i>word</i></b> word" * 20_000,
        "<p>" + ("x" * 9_999 + " ") * 1_000 + "word",
    ],
)
def test_long_but_flat_pages_are_not(html: str) -> None:
    text, refusal = html_to_text(html, ExtractOptions(main_content=False))
    assert refusal is None
    assert "word" in text
    again = html_to_text(html).refusal
    assert again is None or again.rule == "empty_text"  # a list alone is no main content


def test_what_no_estimate_sees_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tamis.scorers.extraction.html._too_complex", lambda data, options: None)
    slow = "<div>" * 50_000
    assert html_to_text(slow, ExtractOptions(timeout=0.3)).refusal == ("page_too_complex", None, 0.3)
    greedy = "".join(f"<p><font color=#{i:06x}>word {i} " for i in range(5_000))
    assert html_to_text(greedy, ExtractOptions(timeout=60)).refusal == ("page_too_complex", None, 60)
    assert "The miller" in html_to_text(PAGE).text


def test_timeout_of_trafilatura() -> None:
    pytest.importorskip("trafilatura")
    options = ExtractOptions(engine="trafilatura", timeout=0.02)
    slow = "<html><body>" + ARTICLE * 20_000
    assert html_to_text(slow, options).refusal == ("page_timeout", None, 0.02)
    assert html_to_text(PAGE, ExtractOptions(engine="trafilatura")).refusal is None


TEXT = "The miller ground his corn by the river, and the town bought all of his flour every week. " * 15
# A page whose words are in what resiliparse takes for a menu; all that it finds outside is one line.
MISSED = f"""<html><body><div><p>A line.</p></div><div class="sidebar"><p>{TEXT}</p></div></body></html>"""


def test_engines_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_engine(ExtractOptions())
    for engine in ("auto", "trafilatura"):
        with pytest.raises(ModelError, match=rf"{engine} needs trafilatura.*pip install trafilatura"):
            check_engine(ExtractOptions(engine=engine))  # type: ignore[arg-type]


def test_time_of_engines_is_counted() -> None:
    before = extraction_seconds()
    html_to_text("<div>" + ARTICLE * 20_000)
    assert extraction_seconds() > before


def test_auto_is_resiliparse_where_that_finds_the_text() -> None:
    auto = ExtractOptions(engine="auto")
    assert html_to_text(PAGE, auto) == html_to_text(PAGE)
    whole = ExtractOptions(engine="auto", main_content=False)
    assert html_to_text(PAGE, whole) == html_to_text(PAGE, ExtractOptions(main_content=False))


def auto_text(body: str, attributes: str = "") -> str:
    page = f"<html><body {attributes}>{body}</body></html>"
    return html_to_text(page, ExtractOptions(engine="auto")).text


@pytest.mark.parametrize(
    "element",
    [
        '<div class="author-box">Extra.</div>',
        '<p id="Cookie-Bar">Extra.</p>',
        '<ul class="list related_posts"><li>Extra.</li></ul>',
        '<div class="cta">Extra.</div>',
        '<section class="c-newsletter__text">Extra.</section>',
    ],
)
def test_auto_leaves_out_what_is_no_text_by_its_name(element: str) -> None:
    page = f"<article><p>{TEXT}</p>{element}<p>{TEXT}</p></article>"
    assert auto_text(page) == f"{TEXT.strip()}\n\n{TEXT.strip()}"
    everything = ExtractOptions(engine="auto", main_content=False)
    assert "Extra." in html_to_text(f"<html><body>{page}</body></html>", everything).text


@pytest.mark.parametrize(
    "element",
    [
        '<div class="sourceCode">Code.</div>',
        '<div class="read-along">Code.</div>',
        '<div class="post hentry tag-social-media">Code.</div>',
        '<article class="related">Code.</article>',
    ],
)
def test_names_that_hold_texts_are_no_reason_to_leave_them_out(element: str) -> None:
    page = f"<main><p>{TEXT}</p>{element}<p>{TEXT}</p></main>"
    assert "Code." in auto_text(page, 'class="has-sidebar cookie-consent"')


def test_names_count_for_nothing_where_half_of_the_text_would_go() -> None:
    page = f'<p>{TEXT}</p><div class="author-info"><p>{{}}</p></div><div class="author-box">Extra.</div>'
    assert "Extra." not in auto_text(page.format(TEXT[:-100]))
    longer = page.format(TEXT + TEXT)
    assert auto_text(longer) == html_to_text(f"<html><body>{longer}</body></html>").text


def test_embedded_posts_are_quotations() -> None:
    quoted = '<blockquote class="twitter-tweet"><p>As she wrote there.</p></blockquote>'
    assert "As she wrote there." in auto_text(f"<article><p>{TEXT}</p>{quoted}<p>{TEXT}</p></article>")


def test_lists_with_a_little_prose_are_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(html: str, options: ExtractOptions) -> str:
        asked.append(html)
        return ""

    monkeypatch.setattr("tamis.scorers.extraction.html._trafilatura", counted)
    prose = f'<div class="menu"><p>{TEXT[:700]}</p>'
    assert auto_text(f"<p>A line.</p>{prose}</div>") == "A line."
    assert len(asked) == 1
    auto_text(f"<p>A line.</p>{prose}{'<p>An entry.</p>' * 2_000}</div>")
    assert len(asked) == 1


def test_auto_is_trafilatura_where_resiliparse_misses_the_text() -> None:
    pytest.importorskip("trafilatura")
    auto, other = ExtractOptions(engine="auto"), ExtractOptions(engine="trafilatura")
    assert "miller" not in html_to_text(MISSED).text
    assert html_to_text(MISSED, other).text.count("miller") > 0
    assert html_to_text(MISSED, auto) == html_to_text(MISSED, other)


def test_auto_is_resiliparse_where_trafilatura_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(html: str, options: ExtractOptions) -> str:
        return ""

    def fails(html: str, options: ExtractOptions) -> str:
        msg = "broken"
        raise CallFailedError(msg)

    for replaced in (nothing, fails):
        monkeypatch.setattr("tamis.scorers.extraction.html._trafilatura", replaced)
        assert html_to_text(MISSED, ExtractOptions(engine="auto")) == html_to_text(MISSED)


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


def steps(html: str, limit: int = 10**6) -> int:
    return estimated_steps(np.frombuffer(html.encode(), np.uint8), limit)


def test_estimated_steps() -> None:
    assert steps("no tags < here") == 0
    assert steps("<x>") == 0
    assert steps("<x><y><z>") == 0 + 1 + 2
    assert steps("<x><y></y></x>") == 0 + 1 + 2 + 1
    assert steps("<x><y></x><z>") == 0 + 1 + 2 + 0  # </x> closes <y>, too
    assert steps("<x></w><z>") == 0 + 1 + 1
    assert steps("<p><p><br><x>") == 0
    assert steps("<li>a<li>b<li><x>") == 0 + 1 + 1 + 1
    assert steps("<dt>a<dd>b<dt><x>") == 0 + 1 + 1 + 1
    assert steps("<li><dt><li><x>") == 0 + 1 + 2 + 3
    assert steps("<x q=1 r='>' s>") == 9 // 2
    assert steps("<script><x><y></script><x><y>") == 1  # its end tag is met at depth 0
    assert steps("<svg><script><x></svg><script><x></script>") == 0 + 1 + 2 + 3
    assert steps("<!-- <x><y> --><x><y>") == 1
    assert steps("<!-") == 0
    assert steps("<") == 0


def test_estimated_steps_of_elements_that_end_within_others() -> None:
    assert steps("<span><div></span><x>") == 0 + 1 + 2 + 2  # the end tag is for nobody, beyond a div
    assert steps("<div><table></div><x>") == 0 + 1 + 2 + 2
    assert steps("<b><div></b><x>") == 0 + 1 + 2 + 8 + 1  # the div outlives the b
    assert steps("<div><b></div><x>") == 0 + 1 + 2 + 1  # the b outlives the div
    assert steps("<table><tr><td><b></td><x>") == 0 + 1 + 1 + 1 + 2 + 1  # but no cell
    assert steps("<b><b><b><b><x>") == 0 + 1 + 2 + 3 + 3  # no more than three equal ones
    assert steps("<b><b><b><b c><x>") == 0 + 1 + 2 + 3 + 4
    assert steps("<b><p>") == 0 + 1 + CLONE_STEPS
    assert steps("<b><li>") == 0 + 1 + CLONE_STEPS
    assert steps("<div></table><x>") == 0 + 1 + 1  # there is no table to end
    assert steps("<select>" + "<option>" * 3 + "</select>") == 0 + (1 + 1) + (2 + 2) + (2 + 3) + 2


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
