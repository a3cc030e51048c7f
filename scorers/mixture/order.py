"""Which documents fill a quota, how often, and in which order they are trained on.

A group's documents stand in the order of a keyed hash of their ids (or by a quality column, best first), which no
sharding changes. A quota takes whole passes and then the first documents of one more pass, each pass in an order of its
own, and ends within half a document of the quota.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.simplex import Vector
from tamis.scorers.text.noise import DocumentIds, id_words, keyed_hash

__all__ = ["Fill", "document_order", "fill_quota", "interleave"]

Positions = npt.NDArray[np.int64]


class Fill(NamedTuple):
    """Documents that fill a quota.

    Attributes:
        documents: positions of the documents in training order, repeats included, shape (taken,).
        epochs: the pass that each belongs to, from 0, shape (taken,).
        amount: their sizes' sum.
        times_seen: how often each document of the group is taken, shape (documents,).
    """

    documents: Positions
    epochs: Positions
    amount: int
    times_seen: Positions


def document_order(ids: DocumentIds, *, seed: int, epoch: int = 0, quality: npt.ArrayLike | None = None) -> Positions:
    """Return positions of a group's documents in the order in which they are taken.

    Args:
        ids: the documents.
        seed: of the mixture.
        epoch: the pass; each has its own order.
        quality: taken from high to low, equal ones in hash order, missing (NaN) ones last; the same in each pass.

    Raises:
        ConfigError: if the seed is out of range or `quality` has another length.
        DataError: if an id isn't 128 bits.
    """
    words = id_words(ids)
    noise = keyed_hash(seed, f"mixture/order/{0 if quality is not None else epoch}", words)
    keys = [words[:, 1], words[:, 0], noise]
    if quality is not None:
        values = np.asarray(quality, np.float64)
        if len(values) != len(words):
            msg = f"{len(values)} values of quality were given for {len(words)} documents"
            raise ConfigError(msg)
        keys.append(np.where(np.isnan(values), np.inf, -values))
    return np.lexsort(keys).astype(np.int64)


def fill_quota(
    ids: DocumentIds,
    sizes: npt.ArrayLike,
    quota: int,
    *,
    seed: int,
    quality: npt.ArrayLike | None = None,
) -> Fill:
    """Return the documents that fill a quota.

    It ends at the document whose end is nearest to it (the earlier of two equally near ones).

    Args:
        ids: the group's documents.
        sizes: theirs in the quota's unit, not below 0, shape (documents,).
        quota: what is to be taken.
        seed: of the mixture.
        quality: see `document_order`.

    Raises:
        DataError: if the group has nothing to give for a quota above 0, or sizes don't fit.
        ConfigError: if the quota is below 0.
    """
    words = id_words(ids)
    lengths = np.asarray(sizes, np.int64)
    if lengths.shape != (len(words),) or (lengths < 0).any():
        msg = f"sizes must be one number not below 0 for each of {len(words)} documents"
        raise DataError(msg)
    if quota < 0:
        msg = f"a quota of {quota} can't be filled"
        raise ConfigError(msg)
    whole = int(lengths.sum())
    if quota and not whole:
        msg = f"a group without content can't give {quota}: filter less, or leave the group out"
        raise DataError(msg)
    parts: list[Positions] = []
    passes: list[Positions] = []
    if quota:
        for epoch in range((quota - 1) // whole + 1):
            order = document_order(words, seed=seed, epoch=epoch, quality=quality)
            ends = epoch * whole + np.cumsum(lengths[order])
            begins = ends - lengths[order]
            chosen = order[begins + ends <= 2 * quota]  # those whose middle lies within it
            parts.append(chosen)
            passes.append(np.full(len(chosen), epoch, np.int64))
    documents = np.concatenate([np.empty(0, np.int64), *parts])
    epochs = np.concatenate([np.empty(0, np.int64), *passes])
    seen = np.bincount(documents, minlength=len(words)).astype(np.int64)
    return Fill(documents, epochs, int(lengths[documents].sum()), seen)


def interleave(sizes: Sequence[npt.ArrayLike]) -> tuple[Positions, Positions]:
    """Return the training order of groups' documents: at every point all groups are equally far through what they give.

    A document stands where its middle lies in its group's amount, as a share; equal ones in the groups' order. So at
    any cut each group has given its share of the cut to within one document.

    Args:
        sizes: of each group's documents, in the order in which the group gives them.

    Returns:
        Group and position within the group of each document, in training order.
    """
    groups: list[Positions] = []
    places: list[Positions] = []
    points: list[Vector] = []
    for group, some in enumerate(sizes):
        lengths = np.asarray(some, np.int64)
        ends = np.cumsum(lengths)
        total = max(1, int(ends[-1]) if len(ends) else 1)
        points.append((ends - lengths / 2) / total)
        groups.append(np.full(len(lengths), group, np.int64))
        places.append(np.arange(len(lengths), dtype=np.int64))
    if not groups:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    all_groups, all_places = np.concatenate(groups), np.concatenate(places)
    order = np.lexsort((all_places, all_groups, np.concatenate(points)))
    return all_groups[order], all_places[order]
