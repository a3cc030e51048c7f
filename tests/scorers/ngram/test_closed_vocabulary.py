from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tamis.scorers.mixture.mixmin import score_tokens
from tamis.scorers.ngram.closed_vocabulary import ClosedVocabulary
from tamis.scorers.ngram.estimate import estimate
from tamis.scorers.ngram.kenlm_binary import ProbingModel, write_probing
from tamis.scorers.text.spans import text_spans


def test_frequent_words_are_tokens_and_others_are_spelled() -> None:
    texts = ["the cat the dog", "the cat\tsat <s> <s> ⟨x ⟨x"]
    vocabulary = ClosedVocabulary.of(texts, coverage=1)
    assert vocabulary.words == {"the", "cat"}
    assert list(vocabulary.sentences(["the hat\n\n \ncat é <s>"])) == [
        "the ⟨68⟩ ⟨61⟩ ⟨74⟩",
        "cat ⟨c3⟩ ⟨a9⟩ ⟨3c⟩ ⟨73⟩ ⟨3e⟩",
    ]
    assert ClosedVocabulary.of(["a a b b c c"], most=2).words == {"a", "b"}
    assert ClosedVocabulary.of(["a a b"], least=1, coverage=1).words == {"a", "b"}
    assert ClosedVocabulary.of(texts, coverage=0.3).words == {"the"}  # 3 of 11 words; the next would be 5


@given(st.text())
def test_every_text_is_tokens_of_the_primer(text: str) -> None:
    vocabulary = ClosedVocabulary(frozenset({"a", "the"}))
    known = set(vocabulary.primer().split(" "))
    assert len(known) == 258
    for sentence in vocabulary.sentences([text]):
        assert set(sentence.split(" ")) <= known


def test_no_model_meets_an_unknown_word(tmp_path: Path) -> None:
    vocabulary = ClosedVocabulary.of(["one two one two", "three three"], coverage=1)
    text = text_spans(list(vocabulary.sentences(["one three never seen ☃"])))
    for number, learned in enumerate((["one two one two"], ["three three"])):
        lines = text_spans([vocabulary.primer(), *vocabulary.sentences(learned)])
        write_probing(estimate([lines], order=2, discount_fallback=True).arpa, tmp_path / str(number))
        scores = score_tokens(ProbingModel(tmp_path / str(number)), text)
        assert not scores.unknown.any()
        assert np.isfinite(scores.log10_prob).all()


def test_a_word_weighs_one_however_it_is_spelled() -> None:
    vocabulary = ClosedVocabulary(frozenset({"the", "river"}))
    texts = ["the river  für\n\nthe", "", "x"]
    weights = list(vocabulary.weights(texts))
    assert weights == [1, 1, *[1 / 4] * 4, 1, 1, 1, 1, 1]
    sentences = list(vocabulary.sentences(texts))
    assert len(weights) == sum(len(sentence.split(" ")) + 1 for sentence in sentences)
