"""The fast splitter of English words: against the same rules as regular expressions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.scorers.kernels.characters import SPACE
from tamis.scorers.statistics.english_words import english_rules, exceptions
from tamis.scorers.statistics.english_words_kernels import CHARS, ENDS, EVERY, SOME, new_chunk, new_words, split_words
from tamis.scorers.text.characters import character_classes
from tests.scorers.statistics.heuristic_texts import NASTY, TEXTS
from tests.scorers.statistics.heuristic_twins import EnglishTwin

TWIN = EnglishTwin()
EXCEPTIONS = sorted(exceptions())


def split(text, with_spaces=False):
    data = np.frombuffer(text.encode(), np.uint8)
    size = len(data)
    rules, chunk, words = english_rules(), new_chunk(size), new_words(size + 1)
    buffer, hashes = np.empty(size + 1, np.uint8), np.empty(size + 1, np.uint64)
    count = split_words(
        data,
        0,
        size,
        character_classes(),
        rules.filter,
        rules.slots,
        rules.rows,
        chunk,
        buffer,
        words,
        hashes,
        with_spaces,
    )
    return words[:, :count], buffer.tobytes(), hashes[:count]


def words_of(text):
    words, buffer, _ = split(text)
    return [buffer[start:end].decode() for start, end in zip([0, *words[ENDS][:-1]], words[ENDS], strict=False)]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_nasty_texts(text):
    assert words_of(text) == TWIN.words(text)


@given(TEXTS)
def test_words_match_the_twin(text):
    assert words_of(text) == TWIN.words(text)


@settings(max_examples=300)
@given(
    st.lists(st.one_of(st.sampled_from(EXCEPTIONS), st.sampled_from([*"aB1.,:-/()'\"’ +$…"])), max_size=6).map("".join)
)
def test_exceptions_among_other_characters_match_the_twin(text):
    assert words_of(text) == TWIN.words(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 5km, isn't it?", ["It", "'s", "5", "km", ",", "is", "n't", "it", "?"]),
        (
            "(e.g., the U.S.) costs $10.50/hour...",
            ["(", "e.g.", ",", "the", "U.S.", ")", "costs", "$", "10.50", "/", "hour", "..."],
        ),
        ("well-known http://a.example.org/x-y,z", ["well", "-", "known", "http://a.example.org/x-y,z"]),
        ("on page 8). Fine :-)", ["on", "page", "8)", ".", "Fine", ":-)"]),
        ("10.0.0.1/abc 8.8.8.8/abc", ["10.0.0.1", "/", "abc", "8.8.8.8/abc"]),
    ],
)
def test_known_splits(text, words):
    assert words_of(text) == words == TWIN.words(text)


def test_every_exception_is_split_as_it_says():
    for text, pieces in exceptions().items():
        assert "".join(pieces) == text
        assert words_of(text) == list(pieces)
        assert words_of(f"before {text} after") == ["before", *pieces, "after"]


@given(TEXTS)
def test_descriptions_of_words(text):
    words, buffer, hashes = split(text)
    table = character_classes()
    start = 0
    by_hash = {}
    for i in range(words.shape[1]):
        word = buffer[start : words[ENDS, i]].decode()
        start = words[ENDS, i]
        kinds = [int(table[ord(character)]) for character in word]
        assert words[CHARS, i] == len(word)
        assert words[SOME, i] & 0xFFFFFFFF == np.bitwise_or.reduce(kinds)
        assert words[EVERY, i] & 0xFFFFFFFF == np.bitwise_and.reduce(kinds)
        assert by_hash.setdefault(int(hashes[i]), word) == word
    assert buffer[:start].decode() == "".join(text.split())


def test_white_space_beyond_one_blank_is_a_word_if_asked():
    words, _, _ = split("a  b c\n", with_spaces=True)
    assert [bool(kind & SPACE) for kind in words[EVERY]] == [False, True, False, False, True]
