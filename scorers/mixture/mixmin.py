"""MixMin: the mixture whose mixed model fits a target best, by one cheap model for each group (arXiv:2502.10510).

The best model of a mixture of groups is, for cross-entropy, the mixture of the groups' best models; so with a model p_j
of each group the mixture for a target is

    argmax over w of  mean over the target's tokens of  log sum_j w_j p_j(token | context),

a concave problem whose classic solution is expectation maximisation: `w_j <- w_j * mean(p_j / sum_k w_k p_k)`. The
largest of those means, less one, bounds what could still be gained, and is where it stops. With n-gram models it takes
seconds and no torch.

Words: all models should know the same words, or the tokens that none knows be left out (`token_probabilities` does),
since the probability of an unknown word says nothing of the group.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.mixture.simplex import Vector, normalised
from tamis.scorers.mixture.token_probability_kernels import interpolate, token_scores
from tamis.scorers.ngram.kenlm_binary import ProbingModel
from tamis.scorers.ngram.model import SentenceModel
from tamis.scorers.text.spans import Spans

__all__ = ["MixMin", "TokenScores", "mixmin", "score_tokens", "token_probabilities"]


class TokenScores(NamedTuple):
    """Scores of each token of sentences, the sentences' ends among them.

    Attributes:
        log10_prob: shape (tokens,).
        unknown: whether the model doesn't know the word, shape (tokens,).
        offsets: where each sentence's tokens begin, and the last ends, shape (sentences + 1,).
    """

    log10_prob: Vector
    unknown: npt.NDArray[np.bool_]
    offsets: npt.NDArray[np.int64]


class MixMin(NamedTuple):
    """Weights of the groups for a target.

    Attributes:
        shares: shape (groups,).
        loss: nats a token of the mixed model on the target.
        losses: nats a token of each group's model alone, shape (groups,).
        gap: most nats a token by which any other mixture can be better.
        iterations: of expectation maximisation.
    """

    shares: Vector
    loss: float
    losses: Vector
    gap: float
    iterations: int


def score_tokens(model: SentenceModel, spans: Spans) -> TokenScores:
    """Return log10 p(word | words before) of each word of each sentence, and of its end.

    Args:
        model: an n-gram model; words are split at ASCII white space and NUL.
        spans: the sentences, normalised (and cut into pieces) as the model was trained.

    Raises:
        ModelError: if the model isn't a probing binary.
    """
    if not isinstance(model, ProbingModel):
        msg = "per-token scores need a probing binary; build one from the model's ARPA file"
        raise ModelError(msg)
    ids, offsets, _ = model.word_ids(spans)
    out = np.empty(len(ids) + len(offsets) - 1)
    unknown = np.empty(len(out), np.bool_)
    cells, layout = model.tables
    token_scores(ids, offsets, cells, cells.view(np.float32), layout, out, unknown)
    return TokenScores(out, unknown, offsets + np.arange(len(offsets)))


def token_probabilities(scores: Sequence[TokenScores]) -> Vector:
    """Return the probability of each token under each model, shape (tokens, models), without those that none knows.

    Args:
        scores: of the same sentences under each model.

    Raises:
        DataError: if the numbers of tokens differ, or no token is left.
    """
    lengths = {len(score.log10_prob) for score in scores}
    if len(lengths) != 1:
        msg = f"the models must score the same tokens, but counted {sorted(lengths)}: give them the same splitting"
        raise DataError(msg)
    known = ~np.logical_and.reduce([score.unknown for score in scores])
    if not known.any():
        msg = "no token of the target is known to any model: train the groups' models on the same kind of text"
        raise DataError(msg)
    return np.column_stack([10.0 ** score.log10_prob[known] for score in scores])


def mixmin(
    probabilities: Vector,
    *,
    counts: Vector | None = None,
    start: Sequence[float] | None = None,
    tolerance: float = 1e-6,
    iterations: int = 10000,
) -> MixMin:
    """Return the weights under which the mixed model gives the target the largest likelihood.

    Args:
        probabilities: of each token (or sentence) under each group's model, shape (tokens, groups), above 0.
        counts: weight of each token; None: all equal.
        start: first weights, above 0; None: equal.
        tolerance: nats a token that may still be to gain.
        iterations: most iterations; `gap` says what was reached.

    Raises:
        DataError: if there is no token, or a probability isn't a number above 0.
        ConfigError: if `start` isn't above 0.
    """
    table = np.ascontiguousarray(probabilities, np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all() or not (table > 0).all():
        msg = f"MixMin needs probabilities above 0, one row a token and one column a group, got shape {table.shape}"
        raise DataError(msg)
    weight = np.ones(len(table)) if counts is None else np.asarray(counts, np.float64)
    if len(weight) != len(table) or not (weight >= 0).all() or not weight.any():
        msg = "counts need one number not below 0 for each token, and not all 0"
        raise DataError(msg)
    shares = normalised([1.0] * table.shape[1] if start is None else start, "start")
    if not (shares > 0).all() or len(shares) != table.shape[1]:
        msg = f"start needs {table.shape[1]} weights above 0: expectation maximisation never leaves 0"
        raise ConfigError(msg)
    loss, gap, done = 0.0, np.inf, 0
    while True:
        loss, ratios = interpolate(table, weight, shares)
        gap = max(0.0, float(ratios.max()) - 1)
        if gap <= tolerance or done == iterations:
            break
        shares = shares * ratios
        shares = shares / shares.sum()
        done += 1
    alone = -(weight @ np.log(table)) / weight.sum()
    return MixMin(shares, -float(loss), alone, gap, done)
