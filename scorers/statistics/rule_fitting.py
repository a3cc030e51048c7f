"""Fits thresholds and stop words for a language or domain from a clean reference corpus.

The methods are those that FineWeb-2 (Penedo et al. 2025, arXiv:2506.20920) tried for each statistic: the English
threshold as it is, its place in the English distribution carried over to the reference's (by mean and standard
deviation, as a quantile, by the ratio of medians), or a fixed tail of the reference.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.schemas.errors import DataError
from tamis.schemas.rule import Op
from tamis.scorers.statistics.language_rules import ENGLISH_FIGURES, FIGURE_COLUMNS, Figures
from tamis.scorers.statistics.language_words import LanguageWords
from tamis.scorers.text.texts import Texts

__all__ = [
    "FITTED",
    "METHODS",
    "Fitted",
    "Method",
    "Numbers",
    "WordCounter",
    "default_methods",
    "fit_language_score",
    "fit_threshold",
    "fitted_figures",
]

Method: TypeAlias = Literal["english", "meanstd", "quantile", "tail", "ratio"]
METHODS: tuple[Method, ...] = get_args(Method)

FITTED: dict[str, tuple[str, ...]] = {
    "dup_line_frac": ("dup_line_frac",),
    "top_n_grams": ("top_2_gram", "top_3_gram", "top_4_gram"),
    "dup_n_grams": tuple(f"duplicated_{n}_n_grams" for n in range(5, 11)),
    "line_punct_thr": ("line_punct_ratio",),
    "new_line_ratio": ("list_ratio",),
    "min_avg_word_length": ("gopher_below_avg_threshold",),
    "max_avg_word_length": ("gopher_above_avg_threshold",),
    "max_non_alpha_words_ratio": ("gopher_below_alpha_threshold",),
}
"""Key of a table to the reasons whose thresholds it holds, of those that are fitted."""

_REPETITION = ("dup_line_frac", "top_n_grams", "dup_n_grams")
_FINEWEB = ("line_punct_thr", "new_line_ratio")
_SHARES = frozenset(FITTED) - {"min_avg_word_length", "max_avg_word_length", "new_line_ratio"}
_ENGLISH = {rule.reason: rule.threshold for rule in ENGLISH_FIGURES}
_LEAST_SCORE, _MOST_SCORE = 0.3, 0.9

Numbers: TypeAlias = npt.NDArray[np.float64]


class Fitted(NamedTuple):
    """One threshold.

    Attributes:
        key: of the table.
        reason: of the rule.
        method: how it was found.
        threshold: the threshold.
    """

    key: str
    reason: str
    method: Method
    threshold: float


def default_methods(*, english: bool) -> dict[str, Method]:
    """Return key to method: what is taken unless one is asked for.

    Args:
        english: whether there is English text to compare with.
    """
    if not english:
        return dict.fromkeys(FITTED, "tail")
    found: dict[str, Method] = {}
    for key in FITTED:
        found[key] = "meanstd" if key in _REPETITION else "quantile" if key in _FINEWEB else "tail"
    return found


def fit_threshold(
    method: Method, op: Op, english: float, reference: Numbers, english_values: Numbers | None, tail: float
) -> float:
    """Return a threshold.

    Args:
        method: how.
        op: `min` or `max`: what the threshold is.
        english: the threshold for English.
        reference: the statistic's values of the reference, (n,), n > 0.
        english_values: those of English text, (m,), m > 0; `english` and `tail` need none.
        tail: the share of the reference that `tail` leaves beyond the threshold.

    Raises:
        DataError: if the method needs English text that there isn't, or that says nothing.
    """
    if method == "english":
        return english
    if method == "tail":
        return float(np.quantile(reference, tail if op == "min" else 1 - tail))
    if english_values is None or len(english_values) == 0:
        msg = f"the method {method} compares with English text: give some, or take english or tail"
        raise DataError(msg)
    if method == "quantile":
        # A value of the reference, so that as large a share of it falls as of the English text, or just less.
        ordered = np.sort(reference)
        last = len(ordered) - 1
        if op == "min":
            return float(ordered[min(last, int(np.mean(english_values < english) * len(ordered)))])
        return float(ordered[max(0, last - int(np.mean(english_values > english) * len(ordered)))])
    if method == "meanstd":
        spread = float(np.std(english_values))
        if spread == 0:
            msg = "the English text has one value alone: meanstd can't rescale by its standard deviation"
            raise DataError(msg)
        away = (english - float(np.mean(english_values))) / spread
        return float(np.mean(reference)) + away * float(np.std(reference))
    middle = float(np.median(english_values))
    if middle == 0:
        msg = "the median of the English text is 0: ratio can't divide by it"
        raise DataError(msg)
    return english * float(np.median(reference)) / middle


def fitted_figures(
    reference: Mapping[str, Numbers],
    english: Mapping[str, Numbers] | None,
    methods: Mapping[str, Method],
    *,
    tail: float = 0.1,
    stop_words: Sequence[str] = (),
    language_score: float | None = None,
) -> tuple[Figures, list[Fitted]]:
    """Return the figures of a language, and how each was found.

    Thresholds are rounded to three decimals, as those of FineWeb-2 are; shares are held between 0 and 1, others not
    below 0.

    Args:
        reference: column to values of the reference, float64 (n,); those of all rules that are fitted.
        english: the same of English text.
        methods: key to method; those of `default_methods` where it has none. Where the English text says nothing for
            such a default, the English threshold is taken as it is.
        tail: see `fit_threshold`.
        stop_words: of the language.
        language_score: the least score of the language; None: none.

    Raises:
        DataError: naming the key whose method can't be used.
    """
    found = []
    defaults = default_methods(english=english is not None)
    for key, reasons in FITTED.items():
        for reason in reasons:
            column, op = FIGURE_COLUMNS[reason]
            values = None if english is None else english[column]
            method = methods.get(key, defaults[key])
            try:
                threshold = fit_threshold(method, op, _ENGLISH[reason], reference[column], values, tail)
            except DataError as error:
                if key in methods:
                    msg = f"{key}: {error}"
                    raise DataError(msg) from None
                method, threshold = "english", _ENGLISH[reason]
            held = min(max(threshold, 0.0), 1.0 if key in _SHARES else np.inf)
            found.append(Fitted(key, reason, method, round(float(held), 3)))
    of = {fitted.reason: fitted.threshold for fitted in found}
    figures = Figures(
        language_score=None if language_score is None else round(language_score, 3),
        dup_line_frac=of["dup_line_frac"],
        top_n_grams=tuple((n, of[f"top_{n}_gram"]) for n in range(2, 5)),
        dup_n_grams=tuple((n, of[f"duplicated_{n}_n_grams"]) for n in range(5, 11)),
        line_punct_thr=of["line_punct_ratio"],
        new_line_ratio=of["list_ratio"],
        min_avg_word_length=of["gopher_below_avg_threshold"],
        max_avg_word_length=of["gopher_above_avg_threshold"],
        max_non_alpha_words_ratio=of["gopher_below_alpha_threshold"],
        stopwords=tuple(stop_words),
    )
    return figures, found


def fit_language_score(scores: Numbers) -> float:
    """Return the least score of a language: the median of its documents' less their standard deviation, 0.3 to 0.9."""
    return float(np.clip(np.median(scores) - np.std(scores), _LEAST_SCORE, _MOST_SCORE))


class WordCounter:
    """Counts the words of a reference, to find its stop words.

    Args:
        words: how the language's words are found.
    """

    def __init__(self, words: LanguageWords):
        self._words = words
        self._counts: Counter[str] = Counter()

    def add(self, texts: Texts) -> None:
        """Count the words of some texts more."""
        data, ends, _ = self._words.find(texts)
        column = pa.LargeStringArray.from_buffers(len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(data))
        for row in pc.value_counts(column).to_pylist():
            self._counts[row["values"]] += row["counts"]

    @property
    def total(self) -> int:
        """Words counted, punctuation and all."""
        return self._counts.total()

    def stop_words(self, share: float = 0.008, least: int = 8) -> list[str]:
        """Return the words that make up at least a share of all, the most frequent first; of equal ones by their order.

        Words without a letter are none.

        Args:
            share: of all words, punctuation counted.
            least: so many at least, if there are so many words.
        """
        letters = [(-n, word) for word, n in self._counts.items() if any(c.isalpha() for c in word)]
        ordered = sorted(letters)
        enough = sum(-n >= share * self.total for n, _ in ordered)
        return [word for _, word in ordered[: max(enough, least)]]
