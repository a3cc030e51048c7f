"""The statistics and decisions of the datatrove presets: against twins, and against what datatrove itself
decided."""

import json
import math

import pytest
from hypothesis import given

from tamis.scorers.selection.rules import decide
from tamis.scorers.statistics.columns import TEXT_COLUMNS
from tamis.scorers.statistics.presets import PRESETS
from tamis.scorers.statistics.text_statistics import TextStatistics, c4_clean
from tests.scorers.statistics.heuristic_texts import NASTY, TEXTS
from tests.scorers.statistics.heuristic_twins import EnglishTwin, datatrove_statistics

COLUMNS = [name for name, column in TEXT_COLUMNS.items() if column.family.startswith("datatrove")]
STATISTICS = TextStatistics(COLUMNS)
TWIN = EnglishTwin()


def assert_same(text):
    got = STATISTICS.score([text]).to_pylist()[0]
    wanted = datatrove_statistics(text, TWIN.words(text))
    wrong = {
        name: (got[name], value) for name, value in wanted.items() if not math.isclose(got[name], value, rel_tol=1e-12)
    }
    assert not wrong, text


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_nasty_texts_match_the_twin(text):
    assert_same(text)


@given(TEXTS)
def test_statistics_match_the_twin(text):
    assert_same(text)


def test_repeated_ngrams_are_compared_as_joined_strings():
    assert_same("xx a bb c d e yy " + "xxx ab b c d e zz " * 2 + "xx ab bc d e f")


@pytest.fixture(scope="module")
def documents(golden):
    return json.loads((golden / "heuristics_datatrove.json").read_text(encoding="utf-8"))["documents"]


@pytest.mark.parametrize("preset", [name for name in PRESETS if name.startswith("datatrove_")])
def test_decisions_are_those_of_datatrove(preset, documents):
    rules = PRESETS[preset]
    batch = STATISTICS.score([document["text"] for document in documents])
    got = [None if rule < 0 else rules[rule].reason for rule in decide(batch, rules).rule]
    assert got == [document["reasons"].get(preset) for document in documents]
    assert None in got
    assert len(set(got)) > 2


def test_number_of_words_is_that_of_datatrove(documents):
    batch = STATISTICS.score([document["text"] for document in documents])
    assert batch.column("text_datatrove_tokens").to_pylist() == [document["words"] for document in documents]


@pytest.mark.parametrize("variant", ["datatrove", "datatrove_fineweb"])
def test_cleaned_texts_are_those_of_datatrove(variant, documents):
    kept = [document for document in documents if variant in document["cleaned"]]
    assert len(kept) > 20
    lines = [text.split("\n") for text in c4_clean([document["text"] for document in kept], variant).to_pylist()]
    assert [[len(line) for line in text] for text in lines] == [document["cleaned"][variant] for document in kept]
