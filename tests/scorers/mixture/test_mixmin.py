import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.mixmin import mixmin, score_tokens, token_probabilities
from tamis.scorers.ngram.estimate import estimate
from tamis.scorers.ngram.kenlm_binary import ProbingModel, write_probing
from tamis.scorers.ngram.model import open_ngram_model
from tamis.scorers.text.spans import text_spans

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


def sentences(kind: int, number: int, seed: int = 0) -> list[str]:
    """Sentences of a small language of its own, over words that all kinds share."""
    generator = np.random.default_rng([seed, kind])
    words = [f"w{i}" for i in range(30)]
    weight = np.roll(1 / np.arange(1, 31) ** 1.5, 10 * kind)
    weight /= weight.sum()
    return [" ".join(generator.choice(words, generator.integers(3, 12), p=weight)) for _ in range(number)]


def model_of(texts: list[str], path: Path, order: int = 3) -> ProbingModel:
    write_probing(estimate([text_spans(texts)], order=order, discount_fallback=True).arpa, path)
    return ProbingModel(path)


@pytest.mark.parametrize("name", ["kenlm_small3", "kenlm_small5", "kenlm_hand3"])
def test_token_scores_add_up_to_the_sentences(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path))
    (tmp_path / "m.arpa").write_bytes(lzma.decompress((GOLDEN / f"{name}.arpa.xz").read_bytes()))
    model = open_ngram_model(tmp_path / "m.arpa")
    assert isinstance(model, ProbingModel)
    text = lzma.decompress((GOLDEN / "kenlm_train.txt.xz").read_bytes()).decode().splitlines()[:300]
    texts = [
        *text,
        "",
        "zzz unknown zzz",
        "the the the the the the the",
        *[" ".join(line.split()[::-1]) for line in text],
    ]
    scores = score_tokens(model, text_spans(texts))
    whole = model.score(text_spans(texts), exact=True)
    sums = np.add.reduceat(scores.log10_prob, scores.offsets[:-1])
    np.testing.assert_allclose(sums, whole.log10_prob, rtol=1e-12, atol=1e-9)
    np.testing.assert_array_equal(np.add.reduceat(scores.unknown, scores.offsets[:-1]), whole.oov)
    np.testing.assert_array_equal(np.diff(scores.offsets), whole.words + 1)


@given(arrays(np.float64, st.tuples(st.integers(2, 30), st.integers(2, 4)), elements=st.floats(0.01, 1)))
def test_the_likelihood_is_the_largest(table: Any) -> None:
    from scipy.optimize import minimize

    found = mixmin(table, tolerance=1e-5)
    assert found.gap <= 1e-5
    assert found.shares.sum() == pytest.approx(1)

    def loss(logits: Any) -> float:
        w = np.exp(logits - logits.max())
        return float(-np.log(table @ (w / w.sum())).mean())

    twin = minimize(loss, np.zeros(table.shape[1]), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    assert found.loss <= twin.fun + 1e-5
    assert found.loss <= found.losses.min() + 1e-5


def test_counts_are_repetitions() -> None:
    table = np.random.default_rng(0).uniform(0.01, 1, (6, 3))
    counts = np.array([1, 2, 0, 3, 1, 1])
    a = mixmin(table, counts=counts, tolerance=1e-9)
    b = mixmin(np.repeat(table, counts, axis=0), tolerance=1e-9)
    np.testing.assert_allclose(a.shares, b.shares, atol=1e-6)
    shuffled = mixmin(np.repeat(table, counts, axis=0)[::-1], tolerance=1e-9)
    np.testing.assert_allclose(b.shares, shuffled.shares, atol=1e-6)


@pytest.mark.parametrize("mix", [(0.7, 0.3, 0.0), (0.2, 0.3, 0.5)])
def test_a_known_mixture_of_the_target_is_recovered(mix: tuple[float, ...], tmp_path: Path) -> None:
    models = [model_of(sentences(kind, 3000), tmp_path / f"{kind}.bin") for kind in range(3)]
    target = [text for kind, share in enumerate(mix) for text in sentences(kind, int(2000 * share), seed=9)]
    scores = [score_tokens(model, text_spans(target)) for model in models]
    found = mixmin(token_probabilities(scores))
    np.testing.assert_allclose(found.shares, mix, atol=0.05)
    assert found.loss < found.losses.min()


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="above 0"):
        mixmin(np.array([[0.0, 1.0]]))
    with pytest.raises(ConfigError, match="never leaves 0"):
        mixmin(np.ones((2, 2)), start=[1, 0])
    model = model_of(sentences(0, 100), tmp_path / "m.bin")
    with pytest.raises(DataError, match="the same tokens"):
        token_probabilities([score_tokens(model, text_spans([t])) for t in ("a b", "a")])
    one = score_tokens(model, text_spans(["nobody"]))
    assert token_probabilities([one]).shape == (1, 1)  # the sentence's end is always known
