"""Thresholds by each method, by hand; what a tail leaves and a quantile carries over, for any numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import DataError
from tamis.scorers.statistics.language_rules import ENGLISH_FIGURES, FIGURE_COLUMNS
from tamis.scorers.statistics.language_words import language_words
from tamis.scorers.statistics.rule_fitting import (
    FITTED,
    WordCounter,
    default_methods,
    fit_language_score,
    fit_threshold,
    fitted_figures,
)

REFERENCE = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
ENGLISH = np.array([0.0, 0.2, 0.4, 0.6, 0.8])


@pytest.mark.parametrize(
    ("method", "op", "english", "wanted"),
    [
        ("english", "max", 0.3, 0.3),
        # mean 0.2 and 0.4, deviations of the one half those of the other: 0.3 is 0.1 below, so 0.05 below.
        ("meanstd", "max", 0.3, 0.15),
        ("meanstd", "min", 0.6, 0.3),
        ("ratio", "max", 0.3, 0.15),  # medians 0.2 and 0.4
        # two of five English values are above 0.5: the threshold leaves two of the reference above it.
        ("quantile", "max", 0.5, 0.2),
        ("quantile", "max", 0.9, 0.4),
        ("quantile", "max", -0.1, 0.0),
        # one is below 0.1: one of the reference is below 0.1.
        ("quantile", "min", 0.1, 0.1),
        ("quantile", "min", 0.0, 0.0),
        ("quantile", "min", 0.9, 0.4),
        ("tail", "max", 0.3, 0.36),  # nine tenths of the way
        ("tail", "min", 0.3, 0.04),
    ],
)
def test_threshold_by_hand(method, op, english, wanted):
    assert fit_threshold(method, op, english, REFERENCE, ENGLISH, 0.1) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("method", "english", "message"),
    [
        ("meanstd", None, "compares with English text"),
        ("quantile", np.array([]), "compares with English text"),
        ("meanstd", np.array([1.0, 1.0]), "one value alone"),
        ("ratio", np.array([0.0, 0.0, 1.0]), "median of the English text is 0"),
    ],
)
def test_a_method_that_has_nothing_to_go_by_says_so(method, english, message):
    with pytest.raises(DataError, match=message):
        fit_threshold(method, "max", 0.3, REFERENCE, english, 0.1)


numbers = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(np.array)


@given(numbers, numbers, st.floats(0, 1), st.sampled_from(["min", "max"]))
def test_quantile_rejects_no_larger_share_than_of_english(reference, english, threshold, op):
    found = fit_threshold("quantile", op, threshold, reference, english, 0.1)
    falls = np.less if op == "min" else np.greater
    assert found in reference
    assert np.mean(falls(reference, found)) <= np.mean(falls(english, threshold)) + 1e-12


@given(numbers, st.floats(0, 0.5), st.sampled_from(["min", "max"]))
def test_tail_leaves_such_a_share_beyond(reference, tail, op):
    found = fit_threshold("tail", op, 0.3, reference, None, tail)
    falls = np.less if op == "min" else np.greater
    assert np.mean(falls(reference, found + (-1e-9 if op == "min" else 1e-9))) <= tail + 1 / len(reference)


def test_figures_are_rounded_and_held_within_bounds():
    columns = {FIGURE_COLUMNS[reason][0] for reasons in FITTED.values() for reason in reasons}
    reference = {column: np.array([0.123456, 0.2, 0.3]) for column in columns}
    english = {column: np.array([0.5, 0.6, 0.7]) for column in columns}
    methods = dict.fromkeys(FITTED, "meanstd")
    figures, fitted = fitted_figures(reference, english, methods, stop_words=["a", "b"], language_score=0.12345)
    assert figures.dup_line_frac == 0.0  # below 0
    assert figures.max_non_alpha_words_ratio == pytest.approx(0.208 + 0.2 / 0.08165 * 0.0723, abs=0.002)
    assert figures.language_score == 0.123
    assert figures.stopwords == ("a", "b")
    assert [one.reason for one in fitted if one.key == "top_n_grams"] == ["top_2_gram", "top_3_gram", "top_4_gram"]
    with pytest.raises(DataError, match="dup_line_frac: the method quantile compares"):
        fitted_figures(reference, None, {**methods, "dup_line_frac": "quantile"})
    flat = {column: np.array([0.5, 0.5]) for column in columns}
    _, fitted = fitted_figures(reference, flat, {})
    assert {one.method for one in fitted if one.key == "dup_n_grams"} == {"english"}  # a default that can't be used
    with pytest.raises(DataError, match="dup_n_grams: the English text has one value alone"):
        fitted_figures(reference, flat, {"dup_n_grams": "meanstd"})
    same, _ = fitted_figures(reference, None, dict.fromkeys(FITTED, "english"))
    of = {rule.reason: rule.threshold for rule in ENGLISH_FIGURES}
    fitted_reasons = {reason for reasons in FITTED.values() for reason in reasons}
    assert {r: t for r, t in same.thresholds().items() if r in fitted_reasons} == {r: of[r] for r in fitted_reasons}


def test_default_methods():
    assert set(default_methods(english=False).values()) == {"tail"}
    with_english = default_methods(english=True)
    assert with_english["dup_n_grams"] == "meanstd"
    assert with_english["new_line_ratio"] == "quantile"
    assert with_english["max_avg_word_length"] == "tail"


def test_least_score_is_median_less_deviation_held_between_bounds():
    scores = np.array([0.6, 0.7, 0.8, 0.7, 0.7])
    assert fit_language_score(scores) == pytest.approx(0.7 - np.std(scores))
    assert fit_language_score(np.array([1.0, 1.0])) == 0.9
    assert fit_language_score(np.array([0.0, 0.2])) == 0.3


def test_stop_words_are_the_frequent_words_with_a_letter():
    counter = WordCounter(language_words("de"))
    counter.add(["der die das , , , , der die der", "der Hund 12 12 12", None])
    counter.add([])
    assert counter.total == 15
    assert counter.stop_words(share=2 / 15, least=2) == ["der", "die"]
    assert counter.stop_words(share=2 / 15, least=3) == ["der", "die", "Hund"]  # of equal ones by their order
    assert counter.stop_words(share=1 / 15, least=2) == ["der", "die", "Hund", "das"]
    assert counter.stop_words(share=0.5, least=99) == ["der", "die", "Hund", "das"]
