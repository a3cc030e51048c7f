"""Per-token probabilities under a KenLM probing model, and the loops of the interpolation weights.

`tamis.scorers.ngram.query_kernels.score_ids` adds a sentence's words up at once, which is what perplexity wants; mixing
models wants each word.
"""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import kernel
from tamis.scorers.kernels.word_hash import extend_hash, signed
from tamis.scorers.ngram.query_kernels import BOS, EOS, TABLES, UNIGRAMS

__all__ = ["interpolate", "token_scores"]


@kernel
def _find(cells: npt.NDArray[np.uint32], base: int, buckets: int, width: int, key: np.uint64) -> int:
    """Return the cell of the probability of an n-gram, or -1."""
    bucket = signed(key % np.uint64(buckets))
    while True:
        at = base + width * bucket
        found = np.uint64(cells[at]) | np.uint64(cells[at + 1]) << np.uint64(32)
        if found == key:
            return at + 2
        if found == 0:
            return -1
        bucket += 1
        if bucket == buckets:
            bucket = 0


@kernel
def token_scores(
    ids: npt.NDArray[np.uint32],
    offsets: npt.NDArray[np.int64],
    cells: npt.NDArray[np.uint32],
    floats: npt.NDArray[np.float32],
    layout: npt.NDArray[np.int64],
    out: npt.NDArray[np.float64],
    unknown: npt.NDArray[np.bool_],
) -> None:
    """Write log10 p of each word and of each sentence's end, one after another: a sentence of n words gives n + 1.

    A word's log-probability is that of the longest stored n-gram that ends in it, plus the back-offs of the histories
    that are longer.
    """
    order = layout[0]
    unigrams = layout[UNIGRAMS]
    backoffs = np.zeros(order + 1, np.float32)  # of the n-grams that end in the word before, by length
    fresh = np.zeros(order + 1, np.float32)
    done = 0
    for sentence in range(len(offsets) - 1):
        start = offsets[sentence]
        length = offsets[sentence + 1] - start
        backoffs[1] = floats[unigrams + 2 * layout[BOS] + 1]
        known = 1  # longest n-gram that ends in the word before
        for position in range(length + 1):
            word = np.uint32(layout[EOS]) if position == length else ids[start + position]
            at = unigrams + 2 * signed(word)
            prob = -abs(floats[at])
            fresh[1] = floats[at + 1]
            longest = 1
            node = np.uint64(word)
            for n in range(2, order + 1):
                if n - 1 > known:
                    break
                before = position - n + 1
                context = np.uint32(layout[BOS]) if before < 0 else ids[start + before]
                node = extend_hash(node, context)  # type: ignore[arg-type]
                width = 3 if n == order else 4
                at = _find(cells, layout[TABLES + 2 * (n - 2)], layout[TABLES + 2 * (n - 2) + 1], width, node)
                if at < 0:
                    break
                prob = -abs(floats[at])
                longest = n
                if n < order:
                    fresh[n] = floats[at + 1]
            for n in range(longest, min(known, order - 1) + 1):
                prob += backoffs[n]
            out[done] = np.float64(prob)
            unknown[done] = position < length and word == 0
            done += 1
            known = min(longest, order - 1)
            for n in range(1, known + 1):
                backoffs[n] = fresh[n]


@kernel
def interpolate(
    probabilities: npt.NDArray[np.float64], counts: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> tuple[float, npt.NDArray[np.float64]]:
    """Return the mean log likelihood of a mixture and, for each model, the mean of its probability over the mixture's.

    Args:
        probabilities: shape (tokens, models), above 0.
        counts: weight of each token.
        weights: of the models.
    """
    n, m = probabilities.shape
    ratios = np.zeros(m)
    loss = 0.0
    total = 0.0
    for i in range(n):
        mixed = 0.0
        for j in range(m):
            mixed += weights[j] * probabilities[i, j]
        loss += counts[i] * np.log(mixed)
        total += counts[i]
        for j in range(m):
            ratios[j] += counts[i] * probabilities[i, j] / mixed
    return loss / total, ratios / total
