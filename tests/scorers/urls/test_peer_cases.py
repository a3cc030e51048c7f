"""What datatrove's test of its URLFilter holds it to, by addresses of ours: where we agree, and where not."""

import pytest

from tamis.scorers.urls.rules import AddressRules, UrlWords

LISTED = ["blocked.example", "danger.example", "bad.nice.example"]
CASES = {
    "https://blocked.example/a-page?with=stuff": True,
    "https://hey.danger.example/a-page": True,
    "http://hey.danger.example/a-page": True,
    "http://www.danger.example/a-page": True,
    "https://nice.example/a-page": False,
    "https://bad.nice.example/a-page": True,
    "https://blocke.dexample/a-page": False,
}


@pytest.mark.parametrize("url", CASES)
def test_hosts(url):
    rules = AddressRules(LISTED)
    assert (rules.names([url])[0] is not None) == CASES[url]


def test_a_listed_host_stands_for_all_below_it():
    """There, hosts below a listed one pass unless it is a registered domain; here they are listed too."""
    url = "https://below.bad.nice.example/a-page"
    assert AddressRules(LISTED).names([url])[0] is not None


def test_words():
    """Words stand alone, two soft ones are enough, parts may be anywhere: here in any case, there in small letters."""
    words = UrlWords(["casino"], ["free", "cam"], ["porn"])
    found = words.matches(["http://x.example/casino", "http://x.example/free-cam", "http://xp-o-rn.example/"])
    assert [what is not None for what in found] == [True, True, True]
    assert words.matches(["http://x.example/CASINO"]) != [None]
    assert words.matches(["http://x.example/casinos", "http://x.example/free"]) == [None, None]
