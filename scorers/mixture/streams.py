"""The documents that a group gives, in the order of training: one stream for its whole quota, cut at stages' ends.

Without a curve the stream is what `tamis.scorers.mixture.order.fill_quota` takes. With one, the group's documents are
cut into ranges of quality with equally many documents, `tamis.scorers.selection.upsampling` says how often each range's
tokens are seen, and each range fills a quota of its own. What a range missed or overshot goes to the next, so that the
group ends within half a document of its quota all the same; at any point of the stream every range is equally far.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.order import fill_quota, interleave
from tamis.scorers.mixture.quotas import largest_remainder
from tamis.scorers.mixture.simplex import Vector
from tamis.scorers.selection.upsampling import upsampling_curve
from tamis.scorers.text.noise import DocumentIds, id_words

__all__ = ["Curve", "Stream", "cut_stream", "fill_stream", "stage_quotas", "training_order"]

Positions = npt.NDArray[np.int64]

_ROUNDS = 2000
_CLOSE = 1e-12


@dataclass(frozen=True)
class Curve:
    """How often documents of each quality are seen; see `tamis.scorers.selection.upsampling`.

    Attributes:
        ranges: ranges of equally many documents.
        cap: most times that the best range is seen.
        throwaway: share of the group, from the worst quality on, within which ranges are left out.
    """

    ranges: int = 20
    cap: float = 7.0
    throwaway: float = 0.4


class Stream(NamedTuple):
    """What a group gives.

    Attributes:
        documents: positions in the group, repeats included, in the order of training, shape (taken,).
        passes: how often each was taken before, shape (taken,).
        sizes: theirs, shape (taken,).
        stages: the stage that each belongs to, rising, shape (taken,).
        factors: of a curve's ranges, ascending with quality; None without one.
    """

    documents: Positions
    passes: Positions
    sizes: Positions
    stages: Positions
    factors: tuple[float, ...] | None = None

    @property
    def amount(self) -> int:
        """The sizes' sum."""
        return int(self.sizes.sum())

    def times_seen(self, documents: int) -> Positions:
        """Return how often each of the group's documents is taken, shape (documents,)."""
        return np.bincount(self.documents, minlength=documents).astype(np.int64)


def fill_stream(
    ids: DocumentIds,
    sizes: npt.ArrayLike,
    quotas: Sequence[int],
    *,
    seed: int,
    quality: npt.ArrayLike | None = None,
    curve: Curve | None = None,
) -> Stream:
    """Return the documents that fill a group's quotas, stage after stage.

    Args:
        ids: the group's documents.
        sizes: theirs in the quotas' unit, not below 0, shape (documents,).
        quotas: by stage.
        seed: of the mixture.
        quality: higher is better; without a curve the best come first. None: hash order.
        curve: see the module.

    Raises:
        DataError: if the group has nothing to give for a quota above 0, sizes don't fit, or no curve gives so much.
        ConfigError: if a curve has no quality.
    """
    words = id_words(ids)
    lengths = np.asarray(sizes, np.int64)
    total = int(np.sum(np.asarray(quotas, np.int64)))
    factors: tuple[float, ...] | None = None
    if curve is None:
        fill = fill_quota(words, lengths, total, seed=seed, quality=quality)
        documents, passes = fill.documents, fill.epochs
    elif total:
        if quality is None:
            msg = "an upsampling curve needs the documents' quality"
            raise ConfigError(msg)
        documents, passes, factors = _by_curve(words, lengths, total, seed, np.asarray(quality, np.float64), curve)
    else:
        documents, passes = np.empty(0, np.int64), np.empty(0, np.int64)
    taken = lengths[documents]
    return Stream(documents, passes, taken, cut_stream(taken, quotas), factors)


def cut_stream(sizes: npt.ArrayLike, quotas: Sequence[int]) -> Positions:
    """Return the stage of each document of a stream: that in which its middle lies, the last for what is beyond.

    Args:
        sizes: of the documents, in the stream's order, shape (taken,).
        quotas: by stage.
    """
    lengths = np.asarray(sizes, np.int64)
    ends = np.cumsum(lengths)
    middles = 2 * ends - lengths
    bounds = 2 * np.cumsum(np.asarray(quotas, np.int64))
    stages = np.searchsorted(bounds, middles, side="left")
    return np.minimum(stages, max(0, len(quotas) - 1)).astype(np.int64)


def _by_curve(
    words: npt.NDArray[np.uint64], lengths: Positions, total: int, seed: int, quality: Vector, curve: Curve
) -> tuple[Positions, Positions, tuple[float, ...]]:
    if not lengths.sum():
        msg = f"a group without content can't give {total}: filter less, or leave the group out"
        raise DataError(msg)
    # Ascending quality, those without one the worst; ids decide between equals.
    worth = np.where(np.isnan(quality), -np.inf, quality)
    order = np.lexsort((words[:, 1], words[:, 0], worth))
    members = [some for some in np.array_split(order, min(curve.ranges, len(order))) if len(some)]
    amounts = [int(lengths[some].sum()) for some in members]
    found = upsampling_curve(amounts, total, cap=curve.cap, throwaway=curve.throwaway)
    wanted = largest_remainder(found.factors * np.array(amounts, np.float64), total)
    parts: list[tuple[Positions, Positions]] = []
    missing = 0
    for some, amount, quota in zip(members, amounts, wanted.tolist(), strict=True):
        if not quota or not amount:
            missing += quota
            continue
        fill = fill_quota(words[some], lengths[some], max(0, quota + missing), seed=seed)
        missing += quota - fill.amount
        parts.append((some[fill.documents], fill.epochs))
    groups, places = interleave([lengths[documents] for documents, _ in parts])
    documents, passes = np.empty(len(groups), np.int64), np.empty(len(groups), np.int64)
    for number, (of_range, epochs) in enumerate(parts):
        mine = groups == number
        documents[mine], passes[mine] = of_range[places[mine]], epochs[places[mine]]
    return documents, passes, tuple(found.factors.tolist())


def stage_quotas(stages: Vector, lengths: Sequence[float], totals: Sequence[int]) -> npt.NDArray[np.int64]:
    """Divide the groups' quotas among the stages of a schedule, shape (stages, groups).

    Where no group was capped this is each stage's part of the whole by its mixture. Where one was, its part of every
    stage shrinks alike and the stage's other groups fill it: rows and columns are scaled in turn until both add up
    (iterative proportional fitting). Rounding is of running sums, so that every group gives its total exactly.

    Args:
        stages: shares of the groups by stage, rows adding to 1.
        lengths: of the stages, in any scale, above 0.
        totals: the groups' quotas.

    Raises:
        ConfigError: if shapes don't fit, or a group has a quota but no stage that wants it.
    """
    table = np.asarray(stages, np.float64)
    weight = np.asarray(lengths, np.float64)
    columns = np.asarray(totals, np.float64)
    if table.ndim != 2 or table.shape != (len(weight), len(columns)) or not (weight > 0).all():
        msg = f"a schedule of {len(weight)} stages and {len(columns)} groups doesn't fit shares of shape {table.shape}"
        raise ConfigError(msg)
    part = weight / weight.sum()
    wanted = table * part[:, None]
    if ((wanted.sum(axis=0) <= 0) & (columns > 0)).any():
        msg = "a group has a quota, but no stage of the schedule gives it a share"
        raise ConfigError(msg)
    rows = columns.sum() * part
    for _ in range(_ROUNDS):
        sums = wanted.sum(axis=0)
        wanted = wanted * np.divide(columns, sums, out=np.zeros_like(sums), where=sums > 0)
        found = wanted.sum(axis=1)
        if np.abs(found - rows).max(initial=0.0) <= _CLOSE * max(1.0, columns.sum()):
            break
        wanted = wanted * np.divide(rows, found, out=np.zeros_like(found), where=found > 0)[:, None]
    sums = wanted.sum(axis=0)
    wanted = wanted * np.divide(columns, sums, out=np.zeros_like(sums), where=sums > 0)
    running = np.rint(np.cumsum(wanted, axis=0)).astype(np.int64)
    running[-1] = np.asarray(totals, np.int64)
    running = np.minimum(np.maximum.accumulate(running, axis=0), running[-1])
    return np.asarray(np.diff(running, axis=0, prepend=0), np.int64)


def training_order(streams: Sequence[Stream]) -> tuple[Positions, Positions]:
    """Return group and place in its stream of each document, in training order: stage after stage, groups interleaved.

    Args:
        streams: by group.
    """
    groups: list[Positions] = [np.empty(0, np.int64)]
    places: list[Positions] = [np.empty(0, np.int64)]
    last = max((int(stream.stages[-1]) for stream in streams if len(stream.stages)), default=-1)
    for stage in range(last + 1):
        bounds = [np.searchsorted(stream.stages, [stage, stage + 1]) for stream in streams]
        group, place = interleave([stream.sizes[a:b] for stream, (a, b) in zip(streams, bounds, strict=True)])
        begins = np.array([a for a, _ in bounds], np.int64)
        groups.append(group)
        places.append(place + begins[group])
    return np.concatenate(groups), np.concatenate(places)
