"""Kneser-Ney estimation: against lmplz's own output, and a plain transcription of the formulas."""

import lzma
import math
import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.ngram.arpa import Arpa, read_arpa
from tamis.scorers.ngram.estimate import FALLBACK_DISCOUNTS, Estimate, estimate
from tamis.scorers.perplexity.normalize import Normalizer
from tamis.scorers.perplexity.sentence_pieces import PieceTokenizer
from tamis.scorers.text.spans import line_spans, text_spans

Ngrams = dict[tuple[str, ...], tuple[float, float]]


def ngrams(arpa: Arpa) -> Ngrams:
    names = [word.decode() for word in arpa.words.words()]
    return {
        tuple(names[i] for i in ids): (prob, backoff)
        for table in arpa.orders
        for ids, prob, backoff in zip(
            table.ids.tolist(), table.log10_prob.tolist(), table.backoff.tolist(), strict=True
        )
    }


def largest_difference(left: Ngrams, right: Ngrams) -> float:
    assert left.keys() == right.keys()
    return max(abs(a - b) for key in left for a, b in zip(left[key], right[key], strict=True))


def train(text: str, order: int, **options: object) -> Estimate:
    return estimate([line_spans([text], trailing=False)[0]], order=order, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def corpus(golden: Path) -> str:
    return lzma.decompress((golden / "kenlm_train.txt.xz").read_bytes()).decode()


@pytest.mark.parametrize(("name", "order"), [("kenlm_small3", 3), ("kenlm_small5", 5)])
def test_equals_lmplz(golden: Path, corpus: str, name: str, order: int) -> None:
    found = train(corpus, order)
    assert largest_difference(ngrams(found.arpa), ngrams(read_arpa(golden / f"{name}.arpa.xz"))) < 1e-6
    assert found.fallback == ()
    assert (found.sentences, found.tokens) == (1601, 19232)
    assert found.discounts[0] == pytest.approx((0.664234, 0.700413, 0.697324), abs=1e-6)


def test_batches_and_their_sizes_change_nothing(corpus: str) -> None:
    whole = ngrams(train(corpus, 3).arpa)
    lines = corpus.splitlines()
    parts = estimate((text_spans(lines[i : i + 7]) for i in range(0, len(lines), 7)), order=3)
    assert ngrams(parts.arpa) == whole


def twin(sentences: list[list[str]], order: int, fallback: bool) -> Ngrams | None:
    """The formulas of Chen & Goodman as lmplz has them, with dictionaries; None where discounts can't be estimated."""
    raw: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(order + 1)]
    for sentence in sentences:
        words = ["<s>", *sentence, "</s>"]
        for n in range(1, order + 1):
            for i in range(len(words) - n + 1):
                raw[n][tuple(words[i : i + n])] += 1
    adjusted: list[dict[tuple[str, ...], int]] = [{}]
    for n in range(1, order + 1):
        left: Counter[tuple[str, ...]] = Counter()
        if n < order:
            for gram in raw[n + 1]:
                left[gram[1:]] += 1
        adjusted.append({gram: raw[n][gram] if n == order or gram[0] == "<s>" else left[gram] for gram in raw[n]})
    adjusted[1] |= {("<s>",): 0, ("<unk>",): 0}
    discounts = []
    for n in range(1, order + 1):
        kinds = Counter(adjusted[n].values())
        values = FALLBACK_DISCOUNTS
        good = all(kinds[j] for j in (1, 2, 3))
        if good:
            y = np.float32(kinds[1]) / np.float32(kinds[1] + 2 * kinds[2])
            values = tuple(float(j - (j + 1) * y * np.float32(kinds[j + 1]) / np.float32(kinds[j])) for j in (1, 2, 3))
            good = all(0 <= value <= j for j, value in enumerate(values, 1))
        if not good:
            if not fallback:
                return None
            values = FALLBACK_DISCOUNTS
        discounts.append((0.0, *values))
    types = len(adjusted[1])
    result: Ngrams = {}
    lower: dict[tuple[str, ...], float] = {}
    for n in range(1, order + 1):
        total: dict[tuple[str, ...], int] = defaultdict(int)
        free: dict[tuple[str, ...], float] = defaultdict(float)
        for gram, count in adjusted[n].items():
            total[gram[:-1]] += count
            free[gram[:-1]] += discounts[n - 1][min(count, 3)]
        probs = {}
        for gram, count in adjusted[n].items():
            context = gram[:-1]
            below = 1 / (types - 1) if n == 1 else lower[gram[1:]]
            probs[gram] = (count - discounts[n - 1][min(count, 3)] + free[context] * below) / total[context]
        if n == 1:
            probs[("<s>",)] = 1.0
        for context, weight in free.items():
            if context and total[context]:
                result[context] = (result[context][0], math.log10(weight / total[context]))
        result |= {gram: (math.log10(prob), 0.0) for gram, prob in probs.items()}
        lower = probs
    return result


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
def test_equals_the_formulas_on_random_corpora(order: int) -> None:
    draw = random.Random(order)
    estimated = 0
    for size in (1, 2, 5, 30, 600):
        words = [f"w{int(draw.paretovariate(0.5)) % 400}" for _ in range(600)]
        sentences = [draw.choices(words, k=draw.randrange(8)) for _ in range(size)]
        sentences.append(["w0"])
        text = "\n".join(" ".join(sentence) for sentence in sentences)
        for fallback in (False, True):
            expected = twin(sentences, order, fallback)
            if expected is None:
                with pytest.raises(DataError, match="discount_fallback"):
                    train(text, order, discount_fallback=fallback)
                continue
            found = train(text, order, discount_fallback=fallback)
            assert largest_difference(ngrams(found.arpa), expected) < 1e-6
            assert found.sentences == size + 1
            estimated += not fallback
    assert estimated or order > 4


@pytest.mark.parametrize("order", [1, 2, 4])
def test_probabilities_of_every_history_add_up_to_one(corpus: str, order: int) -> None:
    model = ngrams(train("\n".join(corpus.splitlines()[:200]), order, discount_fallback=True).arpa)
    words = [gram[0] for gram in model if len(gram) == 1 and gram != ("<s>",)]

    def prob(history: tuple[str, ...], word: str) -> float:
        if (*history, word) in model:
            return 10 ** model[(*history, word)][0]
        return 10 ** model.get(history, (0.0, 0.0))[1] * prob(history[1:], word)

    draw = random.Random(1)
    histories = (
        [
            (),
            *draw.sample(
                sorted(gram for gram in model if len(gram) < order and "</s>" not in gram), min(20, len(model) - 1)
            ),
        ]
        if order > 1
        else [()]
    )
    for history in histories:
        assert sum(prob(history, word) for word in words) == pytest.approx(1, abs=2e-5)


def test_pieces_with_fallback_equal_lmplz(golden: Path, corpus: str, tmp_path: Path) -> None:
    (tmp_path / "sp.model").write_bytes(lzma.decompress((golden / "sp_small.model.xz").read_bytes()))
    spans = PieceTokenizer(tmp_path / "sp.model").apply(Normalizer().apply(line_spans([corpus], trailing=False)[0]))
    found = estimate([spans], order=3, discount_fallback=True)
    assert found.fallback == (1,)
    assert largest_difference(ngrams(found.arpa), ngrams(read_arpa(golden / "kenlm_pieces3.arpa.xz"))) < 1e-6


def test_own_fallback_discounts() -> None:
    found = train("a b\nb a", 2, discount_fallback=(0.1, 0.2, 0.3))
    assert found.discounts == ((0.1, 0.2, 0.3), (0.1, 0.2, 0.3))
    assert found.fallback == (1, 2)


def test_words_are_split_as_lmplz_splits() -> None:
    found = train("a\tb\rc\0d \x0b\x0c e\xa0f", 1, discount_fallback=True)
    assert found.arpa.words.words()[3:] == [b"a", b"b", b"c", b"d", b"\x0b\x0c", "e\xa0f".encode()]


def test_reserved_words_are_an_error_or_skipped() -> None:
    text = "a b\nc <s> d </s> <unk> <unkx> <s\n"
    with pytest.raises(DataError, match="sentence 2 of the training text holds <s>"):
        train(text, 2, discount_fallback=True)
    found = train(text, 2, discount_fallback=True, skip_symbols=True)
    assert found.skipped_symbols == 3
    assert found.arpa.words.words()[3:] == [b"a", b"b", b"c", b"d", b"<unkx>", b"<s"]
    assert found.tokens == 6


def test_discounts_out_of_range_are_an_error() -> None:
    with pytest.raises(DataError, match="Kneser-Ney discounts of 1-grams can't be estimated"):
        train("a a a a", 2)


@pytest.mark.parametrize("order", [0, 7])
def test_orders_out_of_range(order: int) -> None:
    with pytest.raises(ConfigError, match="1 to 6"):
        train("a", order)


def test_text_without_words_is_an_error() -> None:
    for text in ("", " \n\t\n"):
        with pytest.raises(DataError, match="no word"):
            train(text, 2, discount_fallback=True)


def test_many_words_and_long_sentences() -> None:
    words = [f"w{i}" for i in range(70_000)]
    found = train(" ".join(words) + "\n" + " ".join(words[::-1]), 2, discount_fallback=True)
    assert found.arpa.words.size == 70_003
    assert len(found.arpa.orders[1].ids) == 2 * 70_001
    assert found.arpa.words.word(69_000) == "w68997"
