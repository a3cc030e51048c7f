"""MADLAD-400's rules by sentence: against the statements of the paper and plain Python."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError
from tamis.scorers.statistics.sentence_rules import CURSED, questionable, split_sentences

PIECES = st.lists(
    st.sampled_from(
        ["Word", "word", "it's", "X1", "23", "{", "}", "+/", "(", " ", "\n", ". ", "!? ", ".", "é", "É", "|"]
    ),
    max_size=40,
).map("".join)


def sentences(text):
    return [one for one in re.split(r"[.!?]+\s+", text) if one.strip()]


def twin(rule, sentence):
    words = re.findall(r"\w+", re.sub(r"(\w)['’](\w)", r"\1\2", sentence))
    if rule == "case":
        return len(words) >= 12 and sum(word[0].isupper() for word in words) > len(words) / 2
    if rule == "lengths":
        return not 20 <= len(sentence) <= 500
    if rule == "technical":
        return sum(c in "0123456789{}+/()>" for c in sentence) > 0.2 * len(sentence)
    return any(re.search(pattern, sentence) for pattern in CURSED)


@given(st.lists(PIECES, max_size=5))
def test_sentences_and_rules_are_the_twins(texts):
    found = split_sentences(texts)
    wanted = [(row, one) for row, text in enumerate(texts) for one in sentences(text)]
    assert list(zip(found.texts.tolist(), found.sentences.to_pylist(), strict=True)) == wanted
    for rule in ("case", "lengths", "technical", "cursed"):
        marks = questionable(found, rule)
        assert marks.tolist() == [twin(rule, one) for _, one in wanted]
        assert found.counted(marks, len(texts)).tolist() == [
            sum(twin(rule, one) for one in sentences(text)) for text in texts
        ]


CASES = {
    "case": [
        ("Home About Us Contact Us Products Services News Blog Careers Support Login", True),
        ("Home About Us Contact Us Products Services News Blog Careers Support", False),  # eleven words
        ("The committee met in May and agreed that nothing of this would ever be told", False),
    ],
    "lengths": [("Click here now please", False), ("Click here", True), ("x" * 500, False), ("x" * 501, True)],
    "technical": [("call 555-01-99 (24/7)", True), ("in the year of 1999 we were all much younger", False)],
    "cursed": [
        ("Lorem ipsum dolor sit amet", True),
        ("a free Download of it", True),
        ("something is here nr.", True),  # the end of a text keeps its mark
        ("a row of a table |  ", True),
        ("W O R D S in one letter each: a b c d e f g h i j", True),
        ("nothing of that sort", False),
    ],
}


@pytest.mark.parametrize("rule", CASES)
def test_statements_of_the_paper(rule):
    texts, wanted = zip(*CASES[rule], strict=True)
    assert questionable(split_sentences(list(texts)), rule).tolist() == list(wanted)


def test_own_patterns_and_mistakes():
    found = split_sentences(["one thing. another thing"])
    assert questionable(found, "cursed", cursed=["^an"]).tolist() == [False, True]
    assert questionable(found, "cursed", cursed=[]).tolist() == [False, False]
    with pytest.raises(ConfigError, match="isn't a regular expression"):
        questionable(found, "cursed", cursed=["("])
    with pytest.raises(ConfigError, match="no rule 'language' by sentences alone"):
        questionable(found, "language")
    assert len(split_sentences([])) == 0
