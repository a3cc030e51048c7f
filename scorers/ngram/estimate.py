"""Estimates n-gram language models: interpolated modified Kneser-Ney smoothing, as KenLM's lmplz computes it.

Chen & Goodman 1999, "An empirical study of smoothing techniques for language modeling"; Heafield et al. 2013, "Scalable
modified Kneser-Ney language model estimation". Counts are held in memory, about 60 bytes an n-gram: above some
hundred megabytes of text let lmplz do it, which sorts on disk (`tamis.scorers.ngram.lmplz`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.ngram.arpa import Arpa, NgramTable, Vocabulary
from tamis.scorers.ngram.count_kernels import BOS, add_sentences, expand_ngrams, number_ngrams, rehash
from tamis.scorers.ngram.kneser_ney_kernels import context_sums, interpolate
from tamis.scorers.ngram.word_table_kernels import enter_keys
from tamis.scorers.text.spans import Spans, slices_by_size

__all__ = ["FALLBACK_DISCOUNTS", "Estimate", "estimate"]

MAX_ORDER = 6
"""The largest order; KenLM reads no larger one unless it is built for it."""

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""lmplz's discounts of the counts 1, 2 and 3 or more where the corpus doesn't give any."""

_SPECIAL_WORDS = (b"<unk>", b"<s>", b"</s>")
_SLICE_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated model and what went into it.

    Attributes:
        arpa: the model; `<unk>`, `<s>`, `</s>` are words 0, 1, 2, the others follow in the order of first sight.
        discounts: D1, D2, D3+ of each order.
        fallback: the orders that got the fallback discounts.
        sentences: sentences counted.
        tokens: words counted, without `<s>` and `</s>`.
        skipped_symbols: how often `<s>`, `</s>` or `<unk>` stood in the text and was left out.
    """

    arpa: Arpa
    discounts: tuple[tuple[float, float, float], ...]
    fallback: tuple[int, ...]
    sentences: int
    tokens: int
    skipped_symbols: int


def estimate(
    sentences: Iterable[Spans],
    *,
    order: int = 5,
    discount_fallback: bool | tuple[float, float, float] = False,
    skip_symbols: bool = False,
) -> Estimate:
    """Estimate a model from sentences, equal to `lmplz -o ORDER` within 1e-6 of each log10 value.

    Args:
        sentences: batches of sentences, each a span; words are split at blank, tab, line break and NUL. An empty span
            is an empty sentence.
        order: the longest n-grams, 1 to 6.
        discount_fallback: discounts for orders whose counts give none (too small or artificial a corpus): True for
            lmplz's 0.5, 1, 1.5, or the three numbers; False makes that an error.
        skip_symbols: leave `<s>`, `</s>` and `<unk>` in the text out, as `lmplz --skip_symbols` does, instead of an
            error.

    Raises:
        ConfigError: if `order` isn't 1 to 6.
        DataError: if there is no word, if a reserved word stands in the text, or if discounts can't be estimated.
    """
    if not 1 <= order <= MAX_ORDER:
        msg = f"the order of a language model is 1 to {MAX_ORDER}, not {order}"
        raise ConfigError(msg)
    corpus = _Corpus(skip_symbols)
    for batch in sentences:
        corpus.add(batch)
    stream = corpus.stream()
    if corpus.words == len(_SPECIAL_WORDS):
        msg = "the training text holds no word; give documents with text"
        raise DataError(msg)
    counts = _count(stream, corpus.words, order)
    discounts, fallback = _discounts([level.counts for level in counts], discount_fallback)
    arpa = Arpa(corpus.vocabulary(), _smooth(counts, discounts), has_unknown=True)
    tokens = len(stream) - 2 * corpus.sentences
    return Estimate(arpa, discounts, fallback, corpus.sentences, tokens, corpus.specials)


class _Corpus:
    """Sentences as one stream of word numbers, `<s>` and `</s>` around each."""

    def __init__(self, skip_symbols: bool) -> None:
        self.words, self.sentences, self.specials = len(_SPECIAL_WORDS), 0, 0
        self._skip_symbols = skip_symbols
        self._streams: list[npt.NDArray[np.uint32]] = []
        self._pieces: list[bytes] = list(_SPECIAL_WORDS)
        self._keys, self._values = np.zeros(1 << 16, np.uint64), np.full(1 << 16, -1, np.int64)

    def add(self, spans: Spans) -> None:
        """Add the sentences of a batch, a slice of some megabytes at a time to bound the table's growth."""
        for some in slices_by_size(spans, _SLICE_BYTES):
            self._add(Spans(spans.data, spans.starts[some], spans.ends[some]))

    def _add(self, spans: Spans) -> None:
        most = int((spans.ends - spans.starts + 1).sum()) // 2 + len(spans.starts)
        self._reserve(self.words + most)
        stream = np.empty(most + 2 * len(spans.starts), np.uint32)
        starts, ends = np.empty(most, np.int64), np.empty(most, np.int64)
        used, new, specials, special_at = add_sentences(
            *spans, self._keys, self._values, self.words, stream, starts, ends
        )
        if specials and not self._skip_symbols:
            msg = (
                f"sentence {self.sentences + special_at + 1:,} of the training text holds <s>, </s> or <unk>, "
                "which are reserved;"
                " remove them, or let them be skipped"
            )
            raise DataError(msg)
        self._streams.append(stream[:used].copy())
        self._pieces += [
            spans.data[a:b].tobytes() for a, b in zip(starts[:new].tolist(), ends[:new].tolist(), strict=True)
        ]
        self.words += new
        self.sentences += len(spans.starts)
        self.specials += specials

    def _reserve(self, words: int) -> None:
        """Grow the word table so that `words` fill at most half of it."""
        size = len(self._keys)
        while size < 2 * words:
            size *= 2
        if size == len(self._keys):
            return
        full = self._values >= 0
        old_keys, old_values = self._keys[full], self._values[full]
        self._keys, self._values = np.zeros(size, np.uint64), np.full(size, -1, np.int64)
        enter_keys(old_keys, old_values, self._keys, self._values)

    def stream(self) -> npt.NDArray[np.uint32]:
        """Return all of it."""
        return np.concatenate(self._streams) if self._streams else np.zeros(0, np.uint32)

    def vocabulary(self) -> Vocabulary:
        """Return the words by number."""
        offsets = np.zeros(len(self._pieces) + 1, np.int64)
        np.cumsum([len(piece) for piece in self._pieces], out=offsets[1:])
        return Vocabulary(np.frombuffer(b"".join(self._pieces), np.uint8), offsets)


@dataclass(slots=True)
class _Level:
    """The n-grams of one order; counts are adjusted once the next order is counted."""

    contexts: npt.NDArray[np.int32]
    suffixes: npt.NDArray[np.int32]
    words: npt.NDArray[np.uint32]
    begins: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]


def _count(stream: npt.NDArray[np.uint32], words: int, order: int) -> list[_Level]:
    """Count n-grams of all orders.

    Adjusted counts: of the highest order and of n-grams that begin with `<s>` how often they were seen, of the others
    how many different words stand to their left.
    """
    unigrams = _Level(
        contexts=np.zeros(words, np.int32),
        suffixes=np.zeros(words, np.int32),
        words=np.arange(words, dtype=np.uint32),
        begins=np.arange(words) == BOS,
        counts=np.bincount(stream, minlength=words) if order == 1 else np.zeros(words, np.int64),
    )
    unigrams.counts[BOS] = 0
    levels = [unigrams]
    previous = stream.astype(np.int32)
    for n in range(2, order + 1):
        level, previous = _count_order(stream, previous, levels[-1], highest=n == order)
        left = np.bincount(level.suffixes, minlength=len(levels[-1].counts))
        below = levels[-1]
        below.counts = np.where(below.begins & (n > 2), below.counts, left)
        levels.append(level)
    unigrams.counts[BOS] = 0
    return levels


def _count_order(
    stream: npt.NDArray[np.uint32], previous: npt.NDArray[np.int32], below: _Level, *, highest: bool
) -> tuple[_Level, npt.NDArray[np.int32]]:
    size = 1 << 16
    table = np.full(size, -1, np.int32)
    level = _resized(None, size // 2)
    current = np.empty(len(stream), np.int32)
    place = used = 0
    while True:
        place, used = number_ngrams(
            stream,
            previous,
            current,
            place,
            table,
            below.begins,
            level.contexts,
            level.suffixes,
            level.words,
            level.begins,
            level.counts,
            used,
            highest,
        )
        if place == len(stream):
            return _resized(level, used), current
        size *= 2
        table = np.full(size, -1, np.int32)
        level = _resized(level, size // 2)
        rehash(table, level.contexts, level.words, used)


def _resized(level: _Level | None, size: int) -> _Level:
    kinds = {"contexts": np.int32, "suffixes": np.int32, "words": np.uint32, "begins": np.bool_, "counts": np.int64}
    fields = {}
    for name, kind in kinds.items():
        new: npt.NDArray[Any] = np.zeros(size, kind)
        if level is not None:
            old = getattr(level, name)[:size]
            new[: len(old)] = old
        fields[name] = new
    return _Level(**fields)


def _discounts(
    counts: list[npt.NDArray[np.int64]], fallback: bool | tuple[float, float, float]
) -> tuple[tuple[tuple[float, float, float], ...], tuple[int, ...]]:
    """Return D1, D2, D3+ of each order (Chen & Goodman's equation 26), and the orders that got the fallback."""
    discounts, fallen = [], []
    for n, level in enumerate(counts, 1):
        # In float32, as in lmplz: a small discount is a difference of larger numbers, and would show.
        n1, n2, n3, n4 = (np.float32((level == j).sum()) for j in range(1, 5))
        wrong = ""
        if n1 and n2 and n3:
            y = n1 / (n1 + 2 * n2)
            values = (float(1 - 2 * y * n2 / n1), float(2 - 3 * y * n3 / n2), float(3 - 4 * y * n4 / n3))
            for j, value in enumerate(values, 1):
                if not 0 <= value <= j:
                    wrong = wrong or f"the discount of count {j} would be {value:.3g}"
        else:
            values = FALLBACK_DISCOUNTS
            missing = 1 if not n1 else 2 if not n2 else 3
            wrong = f"no {n}-gram has the adjusted count {missing}"
        if wrong:
            if fallback is False:
                msg = (
                    f"Kneser-Ney discounts of {n}-grams can't be estimated: {wrong}. The text is too small or "
                    "repetitive: "
                    "give more of it, remove duplicates, or allow the fallback discounts (discount_fallback)"
                )
                raise DataError(msg)
            values = FALLBACK_DISCOUNTS if fallback is True else fallback
            fallen.append(n)
        discounts.append(values)
    return tuple(discounts), tuple(fallen)


def _smooth(levels: list[_Level], discounts: tuple[tuple[float, float, float], ...]) -> tuple[NgramTable, ...]:
    """Return probabilities and back-offs of all n-grams."""
    tables: list[NgramTable] = []
    types = len(levels[0].counts)
    lower = np.full(1, 1 / (types - 1))  # the uniform distribution below the unigrams; <s> is never predicted
    ids = np.zeros((1, 0), np.uint32)
    for n, (level, discount) in enumerate(zip(levels, discounts, strict=True), 1):
        taken = np.array([0.0, *discount])
        totals, weights = np.zeros(len(ids), np.int64), np.zeros(len(ids))
        context_sums(level.counts, level.contexts, taken, totals, weights)
        probs = np.empty(len(level.counts))
        interpolate(level.counts, level.contexts, level.suffixes, taken, totals, weights, lower, probs)
        if n == 1:
            probs[BOS] = 1.0
        else:
            tables[-1] = tables[-1]._replace(backoff=_log10(np.where(totals > 0, weights, 1.0)))
        ids = expand_ngrams(level.contexts, level.words, ids)
        tables.append(NgramTable(ids, _log10(probs), np.zeros(len(ids), np.float32)))
        lower = probs
    return tuple(tables)


def _log10(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return np.log10(values).astype(np.float32)
