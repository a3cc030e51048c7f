"""C4's line rules and the text they leave: against the twin, for each variant."""

import pyarrow as pa
import pytest
from hypothesis import given

from tamis.scorers.statistics.text_statistics import TextStatistics, c4_clean
from tests.scorers.statistics.heuristic_texts import NASTY, TEXTS
from tests.scorers.statistics.heuristic_twins import EnglishTwin, c4_page

VARIANTS = ("paper", "datatrove", "datatrove_fineweb")
TWIN = EnglishTwin()
DATATROVE = TextStatistics(
    [
        f"text_{family}_{name}"
        for family in ("datatrove_c4", "datatrove_c4_fineweb")
        for name in ("lorem_ipsum", "curly_bracket", "sentences")
    ]
)


def twin_clean(text, variant):
    return "\n".join(c4_page(text, variant)[0]).strip()


@pytest.mark.parametrize("variant", VARIANTS)
def test_nasty_texts(variant):
    assert c4_clean(NASTY, variant).to_pylist() == [twin_clean(text, variant) for text in NASTY]


@given(TEXTS)
def test_clean_text_matches_the_twin(text):
    for variant in VARIANTS:
        assert c4_clean([text, text], variant).to_pylist() == [twin_clean(text, variant)] * 2


@given(TEXTS)
def test_datatrove_columns_match_the_twin(text):
    got = DATATROVE.score([text]).to_pylist()[0]
    for family, variant in (("datatrove_c4", "datatrove"), ("datatrove_c4_fineweb", "datatrove_fineweb")):
        kept, first = c4_page(text, variant)
        assert got[f"text_{family}_lorem_ipsum"] == (first == "lorem_ipsum")
        assert got[f"text_{family}_curly_bracket"] == (first == "curly_bracket")
        assert got[f"text_{family}_sentences"] == sum(map(TWIN.sentences, kept))


def test_what_each_rule_does():
    page = "\n".join([
        "A line of five words.",
        "Only four words here.",
        "No mark at the end of this line",
        "This one trails off into nothing...",
        "Please enable JavaScript to see this page.",
        "Read our Privacy Policy before you go on.",
        "The first king [1] of the land died [citation needed].",
        "He asked: “And who are you?”",
    ])  # fmt: skip
    assert c4_clean([page]).to_pylist() == [
        "A line of five words.\nThe first king  of the land died .\nHe asked: “And who are you?”"
    ]
    row = TextStatistics(["text_c4_lines", "text_c4_sentences"]).score([page]).to_pylist()[0]
    assert row == {"text_c4_lines": 3, "text_c4_sentences": 3}


def test_arrow_in_and_out():
    array = pa.array(["x", None, "These are five short words.", "y"])
    assert c4_clean(array.slice(1, 2)).to_pylist() == ["", "These are five short words."]
    assert c4_clean([]).type == pa.large_string()
    assert c4_clean(array).type == pa.large_string()


def test_sentences_of_kept_lines():
    def sentences(line):
        return TextStatistics(["text_c4_sentences"]).score([line]).column(0).to_pylist()[0]

    assert sentences("One here now. Two here now! Three?") == 3
    assert sentences('He said "stop." Then he really left.') == 2
    assert sentences("It costs 3.50 in v1.2.3 of a.b.c.") == 1
    assert sentences("一。二。三。四。 a b c d e.") == 5
    assert sentences("Wait?! What do you mean?!") == 2
