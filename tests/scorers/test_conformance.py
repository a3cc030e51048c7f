"""All our own scorers, held to the protocol by the suite that others can use too."""

import json
import random

import numpy as np
import pyarrow as pa
import pytest

from tamis.scorers.base import Scorer
from tamis.scorers.dedup.text_hash import TextHash
from tamis.scorers.dsir.features import NgramFeatures
from tamis.scorers.dsir.model import DsirModel, DsirScorer, ngram_counts
from tamis.scorers.fasttext.label_score import LabelScorer
from tamis.scorers.fasttext.training import FastTextOptions, train_classifier
from tamis.scorers.language.identify import LanguageIdentifier
from tamis.scorers.perplexity.perplexity import NgramPerplexity
from tamis.scorers.perplexity.training import train_lm
from tamis.scorers.statistics.columns import TEXT_COLUMNS
from tamis.scorers.statistics.text_statistics import TextStatistics
from tamis.scorers.testing import check_scorer

TEXTS = [
    "The river runs to the sea.\nThe river runs to the sea.",
    "Ein Satz auf Deutsch, mit Umlauten: für, größer, Übermut …",
    "山高水长 and some English",
    "a\n\n• one\n• two\n\nlorem ipsum { }",
    " \t\n",
    "🙂" * 40,
    " ".join(str(n) for n in range(300)),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    draw = random.Random(3)
    words = ["the", "of", "river", "stone", "bright", "window", "letter", "garden"]
    texts = [" ".join(draw.choices(words, k=8)) for _ in range(80)]
    train_lm(texts, folder / "lm", order=3, use_lmplz=False)
    labels = ["1" if "river" in text else "0" for text in texts]
    train_classifier(texts, labels, folder / "classifier", options=FastTextOptions(dim=4, bucket=2000), held_out=0)
    features = NgramFeatures(2, 1000)
    pool, target = ngram_counts(texts + TEXTS, features), ngram_counts(texts[:20], features)
    DsirModel.fit(pool, target, ngrams=2, smoothing=1.0).save(folder / "dsir")
    return folder


SCORERS = {
    "text hash": lambda folder: TextHash(),
    "text hash as it is": lambda folder: TextHash(normalize="none"),
    "statistics": lambda folder: TextStatistics(),
    "all statistics": lambda folder: TextStatistics(tuple(n for n in TEXT_COLUMNS if n != "text_bad_words")),
    "language": lambda folder: LanguageIdentifier(),
    "perplexity": lambda folder: NgramPerplexity(folder / "lm", name="quality"),
    "dsir": lambda folder: DsirScorer(DsirModel.load(folder / "dsir")),
    "classifier": lambda folder: LabelScorer(folder / "classifier", name="quality"),
}


@pytest.mark.parametrize("name", SCORERS)
def test_our_scorers_conform(models, name):
    rows = check_scorer(SCORERS[name](models), TEXTS, picklable=False)
    assert rows.num_rows == len(TEXTS)


@pytest.mark.parametrize("name", SCORERS)
def test_every_column_says_what_it_means(models, name):
    """`.schema` in SQL shows it, and data set cards do."""
    fields = list(SCORERS[name](models).schema)
    assert [field.name for field in fields if not (field.metadata or {}).get(b"description")] == []


class Honest:
    """A scorer that keeps every promise; its likes below break one each."""

    schema = pa.schema([pa.field("length", pa.int64(), nullable=False)])

    def score(self, texts):
        return self.rows([len(text or "") for text in pa.array(self.listed(texts)).to_pylist()])

    def listed(self, texts):
        return texts.to_pylist() if isinstance(texts, pa.Array | pa.ChunkedArray) else list(texts)

    def rows(self, values):
        return pa.RecordBatch.from_arrays([pa.array(values, pa.int64())], schema=self.schema)


class OfBatch(Honest):
    def score(self, texts):
        return self.rows([len(texts)] * len(texts))


class Forgetful(Honest):
    def score(self, texts):
        return self.rows([len(text or "") for text in self.listed(texts)][:-1])


class Undeclared(Honest):
    def score(self, texts):
        found = super().score(texts)
        return found.append_column("more", found.column(0))


class Counting(Honest):
    calls = 0

    def score(self, texts):
        self.calls += 1
        return self.rows([self.calls] * len(texts))


class Changing(Honest):
    def score(self, texts):
        found = super().score(texts)
        if isinstance(texts, list) and texts:
            texts[0] = "changed"
        return found


class Nulls(Honest):
    def score(self, texts):
        return self.rows([len(text) if text else None for text in self.listed(texts)])


class NullIsNothing(Honest):
    def score(self, texts):
        return self.rows([-1 if text is None else len(text) for text in self.listed(texts)])


class NoEmpty(Honest):
    def score(self, texts):
        if not len(texts):
            return pa.RecordBatch.from_pydict({})
        return super().score(texts)


class Unpicklable(Honest):
    def __init__(self):
        self.call = lambda: None


def test_an_honest_scorer_passes():
    assert isinstance(Honest(), Scorer)
    assert check_scorer(Honest(), ["a", "bb"]).to_pydict() == {"length": [1, 2]}


@pytest.mark.parametrize(
    ("scorer", "said"),
    [
        (OfBatch(), "how texts are batched"),
        (Forgetful(), "a row a text"),
        (Undeclared(), "the declared schema"),
        (Counting(), "calling it again"),
        (Changing(), "calling it again|changed"),
        (Nulls(), "declared without nulls"),
        (NullIsNothing(), "a null counts as an empty text"),
        (NoEmpty(), "no texts give no rows"),
        (object(), "a scorer has"),
    ],
)
def test_each_broken_promise_is_named(scorer, said):
    with pytest.raises(AssertionError, match=said):
        check_scorer(scorer, ["a", "bb", "a longer text"])


def test_pickling_is_asked_for():
    with pytest.raises((AttributeError, TypeError), match=r"(?i)pickle|local object"):
        check_scorer(Unpicklable(), ["a", "bb"])
    assert check_scorer(Unpicklable(), ["a", "bb"], picklable=False).num_rows == 2


def test_equal_results_may_lie_differently_in_memory():
    class Sliced(Honest):
        def rows(self, values):
            padded = pa.array([0, *values, 0], pa.int64()).slice(1, len(values))
            return pa.RecordBatch.from_arrays([padded], schema=self.schema)

    assert np.asarray(check_scorer(Sliced(), ["a", "bb"], picklable=False).column(0)).tolist() == [1, 2]
    assert json.dumps(check_scorer(Sliced(), ["a", "bb"], picklable=False).to_pydict()) == '{"length": [1, 2]}'
