"""Predictive strength: does the order of models by loss on a document agree with their order on benchmarks?

PreSelect (Shum et al. 2025), arXiv:2503.00808. Documents on which it does (strength 1) are the positive
examples of a classifier, those on which it does least the negative ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.text.noise import DocumentIds, keyed_hash

__all__ = ["Examples", "concordant_pairs", "pick_examples", "predictive_strength", "sample_domains"]


class Examples(NamedTuple):
    """Documents to train on, as int64 positions in the input.

    Attributes:
        positive: those of strength 1, in their order.
        negative: as many of the others, weakest first, equal ones in their order.
    """

    positive: npt.NDArray[np.int64]
    negative: npt.NDArray[np.int64]


def concordant_pairs(losses: npt.ArrayLike, benchmark: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], int]:
    """Count for each document the pairs of models whose losses agree with their benchmark scores.

    A pair agrees if the model with the higher score has the lower loss. Equal losses and equal scores never
    agree.

    Args:
        losses: shape (documents, models): total nats or bits per character, not per token where tokenizers
            differ. NaN: not measured.
        benchmark: shape (models,): downstream scores, higher is better.

    Returns:
        The counts, shape (documents,), -1 where a loss is NaN; and the number of pairs, N * (N - 1) / 2.

    Raises:
        DataError: if shapes don't match, there are fewer than two models, or a score isn't finite.
    """
    losses, scores = np.asarray(losses, np.float64), np.asarray(benchmark, np.float64)
    if scores.ndim != 1 or losses.ndim != 2 or losses.shape[1] != len(scores):
        msg = f"losses of shape {losses.shape} don't fit benchmark scores of shape {scores.shape}: one column a model"
        raise DataError(msg)
    n = len(scores)
    if n < 2:
        msg = f"predictive strength compares models: {n} is too few, give at least two"
        raise DataError(msg)
    if not np.isfinite(scores).all():
        msg = "a benchmark score isn't a finite number"
        raise DataError(msg)
    counts = np.zeros(len(losses), np.int64)
    for better in range(n):
        for worse in np.flatnonzero(scores < scores[better]):
            counts += losses[:, worse] > losses[:, better]
    counts[np.isnan(losses).any(axis=1)] = -1
    return counts, n * (n - 1) // 2


def predictive_strength(losses: npt.ArrayLike, benchmark: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return `S(d) = sum over i < j of 1[C_i(d) > C_j(d)] / Z` for models in rising benchmark order.

    `Z = N(N - 1) / 2`. Ties count 0, so that a pair of models with equal benchmark scores keeps every document below 1.

    Args:
        losses: shape (documents, models); NaN: not measured.
        benchmark: shape (models,), in the order of the columns.

    Returns:
        float64 of shape (documents,), from 0 to 1; NaN where a loss is NaN.

    Raises:
        DataError: if shapes don't match, there are fewer than two models, or a score isn't finite.
    """
    counts, pairs = concordant_pairs(losses, benchmark)
    return np.where(counts < 0, np.nan, counts / pairs)


def pick_examples(
    strength: npt.ArrayLike, *, domains: Sequence[str] | None = None, limit: int | None = None
) -> Examples:
    """Pick documents of strength 1 as positive examples and as many of the weakest others as negative ones.

    Where there are fewer others than positives, the first positives are taken, so that numbers are equal.

    Args:
        strength: shape (documents,); documents with NaN are left out.
        domains: the documents' domains: then each domain gives as many negatives as positives, and the
            classifier can't tell them apart by domain. None: only the totals are equal, as published.
        limit: most examples a class (the first positives, the weakest negatives). None: no limit.

    Raises:
        DataError: if no positive or no negative document is left, or `domains` has another length.
    """
    values = np.asarray(strength, np.float64)
    positive = np.flatnonzero(values == 1.0)
    order = np.argsort(values, kind="stable")
    negative = order[values[order] < 1.0]
    if domains is not None:
        if len(domains) != len(values):
            msg = f"{len(domains)} domains were given for {len(values)} documents"
            raise DataError(msg)
        _, codes = np.unique(np.asarray(domains, object).astype(str), return_inverse=True)
        sizes = [np.bincount(codes[side], minlength=len(values)) for side in (positive, negative)]
        room = np.minimum(*sizes)
        positive, negative = (side[_rank_in_group(codes[side]) < room[codes[side]]] for side in (positive, negative))
    size = min(len(positive), len(negative), len(values) if limit is None else limit)
    if size == 0:
        msg = (
            f"there is nothing to train on: {len(positive)} documents have predictive strength 1 and "
            f"{len(negative)} less; measure more documents, or models further apart"
        )
        raise DataError(msg)
    return Examples(positive[:size].astype(np.int64), negative[:size].astype(np.int64))


def sample_domains(
    ids: DocumentIds, domains: Sequence[str], *, n_domains: int = 3000, per_domain: int = 300, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Draw the documents to measure: equally many from each of the most frequent domains, at random.

    The defaults are the paper's, about 900,000 documents. The draw depends on ids and seed alone.

    Args:
        ids: the documents' ids.
        domains: their domains.
        n_domains: number of domains, the most frequent ones; of equally frequent ones those first in the
            alphabet.
        per_domain: documents from each; a domain with fewer gives all it has.
        seed: the run's seed.

    Returns:
        Positions of the documents, rising, int64.

    Raises:
        ConfigError: if a number isn't positive.
        DataError: if ids and domains differ in number.
    """
    if n_domains < 1 or per_domain < 1:
        msg = f"n_domains and per_domain must be at least 1, got {n_domains} and {per_domain}"
        raise ConfigError(msg)
    noise = keyed_hash(seed, "preselect-domains", ids)
    if len(noise) != len(domains):
        msg = f"{len(domains)} domains were given for {len(noise)} documents"
        raise DataError(msg)
    names = np.asarray(domains, object).astype(str)
    _, codes, counts = np.unique(names, return_inverse=True, return_counts=True)
    chosen = np.zeros(len(counts), bool)
    chosen[np.argsort(-counts, kind="stable")[:n_domains]] = True
    order = np.argsort(noise, kind="stable")
    order = order[chosen[codes[order]]]
    return np.sort(order[_rank_in_group(codes[order]) < per_domain]).astype(np.int64)


def _rank_in_group(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return for each element how many earlier ones are in its group."""
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)
    ranks = np.empty(len(groups), np.int64)
    ranks[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return ranks
