"""The statistics that follow the papers: against brute-force twins, on nasty texts, however they are
batched."""

import math
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, InputError
from tamis.scorers.base import Scorer
from tamis.scorers.statistics.columns import DEFAULT_TEXT_COLUMNS, TEXT_COLUMNS
from tamis.scorers.statistics.text_statistics import TextStatistics
from tests.scorers.statistics.heuristic_texts import NASTY, TEXTS
from tests.scorers.statistics.heuristic_twins import c4_page, paper_sentences, paper_statistics

ALL = [name for name, column in TEXT_COLUMNS.items() if column.family != "bad_words"]
STATISTICS = TextStatistics()
EVERYTHING = TextStatistics(ALL)
PAPER = [name for name, column in TEXT_COLUMNS.items() if column.family in ("words", "ngrams", "repeats")]
READINGS = TextStatistics(PAPER)
SPACED = TextStatistics(PAPER, ellipsis="spaced")


def rows(texts, statistics=STATISTICS):
    return statistics.score(texts).to_pylist()


def assert_same(got, wanted, text):
    wrong = {
        name: (got[name], value)
        for name, value in wanted.items()
        if not math.isclose(got[name], value, rel_tol=1e-12, abs_tol=0)
    }
    assert not wrong, text


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_nasty_texts_match_the_twin(text):
    assert_same(rows([text], READINGS)[0], paper_statistics(text), text)
    assert_same(rows([text], SPACED)[0], paper_statistics(text, spaced=True), text)


@given(TEXTS)
def test_statistics_match_the_twin(text):
    assert_same(rows([text], READINGS)[0], paper_statistics(text), text)
    assert_same(rows([text], SPACED)[0], paper_statistics(text, spaced=True), text)


@given(st.text(". …\t\n\u00a0a", max_size=40))
def test_dots_with_blanks_between_match_the_twin(text):
    assert_same(rows([text], SPACED)[0], paper_statistics(text, spaced=True), text)
    assert_same(rows([text], READINGS)[0], paper_statistics(text), text)


def test_spaced_dots_are_an_ellipsis_on_request():
    text = "and so on . . .\nthe end\n. . ."
    plain, spaced = rows([text], READINGS)[0], rows([text], SPACED)[0]
    assert (plain["text_ellipsis_line_fraction"], spaced["text_ellipsis_line_fraction"]) == (0, 2 / 3)
    assert (plain["text_ellipsis_word_ratio"], spaced["text_ellipsis_word_ratio"]) == (0, 2 / 11)


def test_bullets_are_those_of_the_lists():
    for bullet in "•‣⁃⁌⁍∙○●◘◦⦾⦿-*":
        assert rows([f"{bullet} milk\nbread"])[0]["text_bullet_line_fraction"] == 0.5


def test_the_readings_of_repetition_differ_by_what_occurs_first():
    clause = "the party of the first part shall deliver the goods at once"
    got = rows([f"{clause}\none two three\n{clause}"], READINGS)[0]
    assert got["text_duplicate_line_fraction"] == 2 / 3
    assert got["text_repeat_line_fraction"] == 1 / 3
    assert got["text_duplicate_5_gram_char_fraction"] == 2 * got["text_repeat_5_gram_char_fraction"] > 0.8


@given(TEXTS)
def test_what_occurred_before_is_part_of_what_occurs_more_than_once(text):
    got = rows([text], READINGS)[0]
    for name in PAPER:
        if name.startswith("text_repeat_"):
            assert got[name] <= got[name.replace("_repeat_", "_duplicate_")]


@given(TEXTS)
def test_c4_columns_match_the_twin(text):
    got = rows([text])[0]
    kept, _ = c4_page(text, "paper")
    assert got["text_c4_lines"] == len(kept)
    assert got["text_c4_sentences"] == sum(map(paper_sentences, kept))
    ascii_lower = "".join(c.lower() if c.isascii() else c for c in text)
    assert got["text_c4_lorem_ipsum"] == ascii_lower.count("lorem ipsum")
    assert got["text_c4_curly_brackets"] == text.count("{")
    every = sum(len(line.strip()) for line in text.splitlines())
    assert got["text_c4_character_fraction"] == (sum(map(len, kept)) / every if every else 0)


@given(st.lists(TEXTS, max_size=6), st.data())
def test_results_do_not_depend_on_batches(texts, data):
    whole = EVERYTHING.score(texts)
    cut = data.draw(st.integers(0, len(texts)))
    parts = [EVERYTHING.score(texts[:cut]), EVERYTHING.score(texts[cut:])]
    assert pa.Table.from_batches([whole]).equals(pa.Table.from_batches(parts).combine_chunks())
    order = data.draw(st.permutations(range(len(texts))))
    assert EVERYTHING.score([texts[i] for i in order]).to_pylist() == [whole.to_pylist()[i] for i in order]


def test_slices_chunks_and_types_of_arrays():
    wanted = EVERYTHING.score(NASTY).to_pylist()
    padded = pa.array(["some text before", *NASTY, "some after"])
    for array in (padded, padded.cast(pa.large_string()), padded.cast(pa.string_view())):
        assert EVERYTHING.score(array.slice(1, len(NASTY))).to_pylist() == wanted
    chunks = pa.chunked_array([NASTY[:3], [], NASTY[3:]])
    assert EVERYTHING.score(chunks).to_pylist() == wanted


def test_nulls_count_as_empty_texts_and_no_texts_give_no_rows():
    assert rows([None, "a"]) == rows(["", "a"])
    empty = EVERYTHING.score([])
    assert empty.num_rows == 0
    assert empty.schema.equals(EVERYTHING.schema, check_metadata=True)


def test_schema_is_declared_and_described():
    assert isinstance(STATISTICS, Scorer)
    assert tuple(STATISTICS.schema.names) == DEFAULT_TEXT_COLUMNS
    for field in EVERYTHING.schema:
        assert field.metadata[b"description"].decode() == TEXT_COLUMNS[field.name].description
    batch = EVERYTHING.score(NASTY)
    assert batch.schema.equals(EVERYTHING.schema, check_metadata=True)
    assert batch.validate(full=True) is None


@given(st.sets(st.sampled_from(ALL), min_size=1), TEXTS)
def test_any_choice_of_columns_gives_the_same_values(columns, text):
    chosen = sorted(columns)
    batch = TextStatistics(chosen).score([text])
    assert batch.schema.names == chosen
    assert (
        batch.to_pylist()[0]
        == {name: value for name, value in rows([text], EVERYTHING)[0].items() if name in columns} | {}
    )


@given(TEXTS)
def test_shares_are_shares(text):
    got = rows([text])[0]
    for name, value in got.items():
        assert math.isfinite(value)
        assert value >= 0, name
        if name.endswith("fraction") and "uppercase" not in name:
            assert value <= 1, name


def test_one_word_of_a_megabyte_and_a_million_words_of_a_letter():
    got = rows(["x" * 1_000_000, "a " * 1_000_000], EVERYTHING)
    assert got[0]["text_words"] == 1
    assert got[0]["text_longest_word"] == 1_000_000
    assert got[1]["text_words"] == 1_000_000
    assert got[1]["text_datatrove_tokens"] == 1_000_000
    assert got[1]["text_duplicate_10_gram_char_fraction"] == 1
    assert got[1]["text_top_2_gram_char_fraction"] == 1


@pytest.mark.parametrize(
    "atom", [":)", "(", "...", ".", "a@", "[", "'s", "a.", "-", "http://", "=", "1+", "🙂", "8)", "’"]
)
def test_long_runs_without_blanks_take_linear_time(atom):
    """A chunk of 400 kB ends soon: nothing in it is looked at again and again."""
    got = rows([atom * (400_000 // len(atom))], EVERYTHING)[0]
    assert got["text_datatrove_tokens"] > 0


def test_a_text_said_twice_is_all_repetition():
    words = [f"w{i}" for i in random.Random(0).sample(range(10**6), 400)]
    once = rows([" ".join(words)])[0]
    twice = rows([" ".join(words * 2)])[0]
    assert once["text_duplicate_5_gram_char_fraction"] == 0
    assert twice["text_duplicate_10_gram_char_fraction"] == 1
    assert np.isclose(twice["text_mean_word_length"], once["text_mean_word_length"])


def test_bad_words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("rotten\nbad apple\nc++\n\n坏\n")
    texts = [
        "A rotten one",
        "rottenness",
        "BAD Apple!",
        "bad  apple",
        "in C++ too",
        "很坏的",
        "",
        None,
        "unrotten",
        "rotten",
    ]
    batch = TextStatistics(["text_bad_words"], bad_words=path).score(texts)
    assert batch.column(0).to_pylist() == [1, 0, 1, 0, 1, 1, 0, 0, 0, 1]
    assert "text_bad_words" in TextStatistics(bad_words=path).schema.names


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"text_word'.*did you mean 'text_words'"):
        TextStatistics(["text_word"])
    with pytest.raises(ConfigError, match="neither fast nor spacy"):
        TextStatistics(splitter="slow")
    with pytest.raises(ConfigError, match="neither joined nor spaced"):
        TextStatistics(ellipsis="wide")
    with pytest.raises(ConfigError, match="text_bad_words needs a file"):
        TextStatistics(["text_bad_words"])
    with pytest.raises(InputError, match="can't read"):
        TextStatistics(["text_bad_words"], bad_words=tmp_path / "missing")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(InputError, match="empty"):
        TextStatistics(["text_bad_words"], bad_words=tmp_path / "empty")
