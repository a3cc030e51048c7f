"""Words of one language alone, and addresses that name it: the statements of FineWeb-2's filter."""

import pyarrow as pa
import pytest

from tamis.scorers.language.word_lists import UrlEvidence, listed_share
from tamis.scorers.statistics.language_words import language_words

LISTED = pa.array(["Servus", "leb", "guad", "hom"])


def test_share_of_different_words():
    """As its `wordlist_ratio`: of the set of words, without marks; capitals count."""
    texts = ["Servus, servus! leb leb", "nothing. nothing at all", "", "... !", "guad"]
    found = listed_share(texts, language_words("bar_Latn"), LISTED)
    assert found.tolist() == pytest.approx([2 / 3, 0, 0, 0, 1])
    assert listed_share([], language_words("bar_Latn"), LISTED).tolist() == []


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://www.muenchen.bayern/rathaus", True),
        ("https://example.org/x.bayern", False),  # an ending of hosts
        ("https://bar.wikipedia.org/wiki/Minga", True),
        ("https://example.org/bars/", False),  # a part of a word
        ("https://example.org/?lang=BAR", True),
        ("https://example.org/visit-bava-ria-now", True),
        ("https://example.org/", False),
        (None, False),
    ],
)
def test_addresses_that_name_the_language(url, named):
    assert UrlEvidence("bar", [".bayern", "Bavaria"]).names([url]).tolist() == [named]
