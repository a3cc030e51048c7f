"""Lists of addresses and words in URLs."""

import gzip
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, InputError
from tamis.scorers.urls.automaton import Automaton
from tamis.scorers.urls.rules import AddressRules, UrlWords, split_address


def test_addresses():
    assert split_address("HTTPS://User:pw@WWW.Example.com:8080/A/b/?q=1#top") == ("example.com", "/A/b?q=1")
    assert split_address("example.com") == ("example.com", "")
    assert split_address("example.com/x?u=http://y.z") == ("example.com", "/x?u=http://y.z")
    assert split_address("http://bücher.example/") == ("xn--bcher-kva.example", "")
    assert split_address("http://[::1/") is None
    assert split_address(None) is None
    assert split_address("no host at all") is None


def test_plain_lists():
    rules = AddressRules(
        ["# remark", "bad.com", "www.worse.org  # why", "mixed.net/page/", "https://q.io/a?b=1", "", "0.0.0.0 sink.com"]
    )
    yes = [
        "http://bad.com",
        "https://www.bad.com/x",
        "http://a.b.bad.com/",
        "worse.org",
        "http://mixed.net/page",
        "http://mixed.net/page/?q=1",
        "http://q.io/a?b=1",
        "http://sink.com",
        "http://BAD.com.",
    ]
    no = [
        "http://notbad.com",
        "http://bad.com.evil.org",
        "http://mixed.net",
        "http://mixed.net/page2",
        "http://q.io/a",
        None,
        "",
        "x",
    ]
    assert rules.matches(yes).all()
    assert not rules.matches(no).any()
    assert rules.names(["http://mixed.net/page"]) == ["url"]
    assert len(rules) == 5


def test_www_is_a_name_too():
    rules = AddressRules(["www.com", "www.org"])
    assert rules.matches(["http://www.com/", "http://a.www.com", "https://www.org/x"]).all()
    assert not rules.matches(["http://example.com", "http://www.example.com", "http://example.org"]).any()
    assert split_address("http://www.com/x") == ("www.com", "/x")
    assert not AddressRules(["||www.com^"], "adblock").matches(["http://example.com"]).any()


@given(st.from_regex(r"\A(?:[a-z0-9_-]{1,4}\.){1,3}[a-z0-9_-]{1,4}\Z"), st.sampled_from(["", "www."]))
def test_a_line_that_is_a_host_names_what_its_address_says(line, before):
    address = split_address(before + line)
    assert address is not None
    rules = AddressRules([before + line])
    assert (len(rules), rules.passed_over) == (1, 0)
    assert rules.names([f"http://{address[0]}/", f"http://sub.{address[0]}/x", f"http://x{address[0]}/"]) == [
        "host", "host", None,
    ]  # fmt: skip


def test_adblock_lists():
    rules = AddressRules(
        [
            "[Adblock Plus 2.0]",
            "! remark",
            "||ads.com^",
            "||site.org/banner/",
            "|https://start.net/x",
            "/advert/*.gif|",
            "^tracker^",
            "@@||good.ads.com^",
            "example.com##.ad",
            "/ban+er/",
            "||script.com^$third-party",
            "||page.com^$document",
            "*",
            "||a*.shop^",
        ],
        "adblock",
    )
    yes = [
        "http://ads.com/",
        "https://x.ads.com/y",
        "http://site.org/banner/1",
        "http://w.site.org/banner/",
        "https://start.net/xyz",
        "http://z.com/advert/1.gif",
        "http://z.com/tracker/1",
        "http://z.com/tracker",
        "http://page.com",
        "http://abc.shop/",
    ]
    no = [
        "http://good.ads.com/",
        "http://badads.com",
        "http://site.org/",
        "http://site.org/banners",
        "http://start.net/x",
        "http://z.com/advert/1.gif?x",
        "http://z.com/trackers",
        "http://example.com",
        "http://script.com",
        "http://banner.de",
    ]
    assert rules.matches(yes).all()
    assert not rules.matches(no).any()
    assert rules.passed_over == 4
    assert rules.names(["http://z.com/tracker/1"]) == ["part"]


def test_ut1_folders(tmp_path):
    folder = tmp_path / "adult"
    folder.mkdir()
    with pytest.raises(InputError, match="domains"):
        AddressRules.read(folder)
    (folder / "domains").write_text("bad.com\n10.1.2.3\n")
    (folder / "urls.gz").write_bytes(gzip.compress(b"half.com/bad\n\xe9.com\n"))
    rules = AddressRules.read(folder)
    assert rules.names(["http://bad.com/x", "http://10.1.2.3/", "https://half.com/bad/", "http://half.com"]) == [
        "host",
        "host",
        "url",
        None,
    ]
    (tmp_path / "list.txt").write_text("a.com\n")
    assert AddressRules.read(tmp_path / "list.txt").names(["a.com"]) == ["host"]
    with pytest.raises(InputError, match=r"none\.txt"):
        AddressRules.read(tmp_path / "none.txt")
    with pytest.raises(ConfigError, match="hosts"):
        AddressRules([], "hosts")  # type: ignore[arg-type]


PATTERNS = st.lists(st.text("ab1-", min_size=1, max_size=4), min_size=1, max_size=6, unique=True)


@given(PATTERNS, st.lists(st.text("abAB1-é", max_size=20), max_size=5), st.booleans())
def test_automaton_finds_what_a_search_finds(patterns, texts, whole):
    found = {tuple(row) for row in Automaton(patterns, [whole] * len(patterns)).find(texts).tolist()}
    wanted = set()
    for t, text in enumerate(texts):
        data = text.encode().lower()
        for p, pattern in enumerate(patterns):
            key = pattern.encode()
            for start in range(len(data) - len(key) + 1):
                end = start + len(key)
                beside = (data[start - 1 : start] if start else b"") + data[end : end + 1]
                alone = not any(chr(b).isalnum() or b >= 0x80 for b in beside)
                if data[start:end] == key and (alone or not whole):
                    wanted.add((t, p, end))
    assert found == wanted


def test_words():
    words = UrlWords(["casino"], ["free", "girls", "cam"], ["porn"])
    urls = [
        "http://x.com/casino-bonus",
        "http://x.com/casinos",
        "http://free.com/girls",
        "http://free.com/freedom",
        "http://x.com/po.rn",
        "http://freegirls.com",
        None,
        "http://CASINO.com",
        "http://x.com/webcam/free",
    ]
    assert words.matches(urls) == [
        "word:casino",
        None,
        "soft:free+girls",
        None,
        "part:porn",
        None,
        None,
        "word:casino",
        None,
    ]
    assert UrlWords().matches(["http://a.b"]) == [None]
    with pytest.raises(ConfigError, match="a-b"):
        UrlWords(["a-b"])
    with pytest.raises(ConfigError, match="empty"):
        Automaton([""], [True])


def test_many_words_and_long_urls():
    draw = random.Random(2)
    patterns = list({"".join(draw.choices("abcdefgh", k=6)) for _ in range(3000)})
    text = "".join(draw.choices("abcdefgh", k=200_000))
    known = set(patterns)
    wanted = sum(text[i : i + 6] in known for i in range(len(text) - 5))
    assert len(Automaton(patterns, [False] * len(patterns)).find([text])) == wanted > 100
