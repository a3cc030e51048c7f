"""Exact ranks and quantiles of a column that lies in many shards, in a few passes with bounded memory.

A search asks for items by their rank, or by the weight up to them, in one total order: by value, ties by document id,
then by position. Each pass, workers turn their rows into a small `Partial`; partials are merged in any order and any
grouping; the driver narrows each question to the bin it lies in, until few enough items are left to be looked at one by
one. Typically that is two passes: a histogram, then the items of the edge bins.

```
search = RankSearch(questions)
while (task := search.next_pass()) is not None:
    search.advance(Partial.merge(task.accumulate(values, ids, ...) for each batch of each shard))
search.answers()
```

Values are mapped to 64-bit words that sort as they do, so a bin is a range of words and nothing is ever rounded. All
sums are of integers. The result is the same for any division of the rows among shards and batches, in any order.
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import DataError, RunError
from tamis.scorers.selection.groups import GroupLabel, Groups
from tamis.scorers.selection.order_kernels import match_intervals, order_words, tally
from tamis.scorers.text.noise import DocumentIds, id_words

__all__ = [
    "Answer",
    "ByRank",
    "ByWeight",
    "Goal",
    "Partial",
    "PassTask",
    "RankSearch",
    "float_to_ordered",
    "item_words",
    "ordered_to_float",
]


_ALL = np.uint64(2**64 - 1)
_WORDS = 4  # value, id (two words), position
_FIRST_BITS, _FIRST_BITS_GROUPED = 20, 16
_LEAST_BITS, _MOST_BITS = 8, 22
_KEY_BITS = _MOST_BITS + 1  # a bin's number in its interval
_COLLECT = 1 << 20
_HELD = 1 << 22  # bins


def float_to_ordered(values: npt.ArrayLike, *, descending: bool = False) -> npt.NDArray[np.uint64]:
    """Map float64 values to 64-bit words that compare as the values do (or in reverse); -0.0 and 0.0 map to one word.

    Raises:
        DataError: if a value is NaN, which has no place in an order.
    """
    column = np.ascontiguousarray(values, np.float64)
    out = np.empty(len(column), np.uint64)
    nan = order_words(column, column.view(np.uint64), descending, out)
    if nan >= 0:
        msg = f"row {nan} has the value NaN, which can't be ranked: leave such rows out"
        raise DataError(msg)
    return out


def ordered_to_float(word: int, *, descending: bool = False) -> float:
    """Return the value that `float_to_ordered` maps to `word`."""
    bits = ~word & (2**64 - 1) if descending else word
    bits = bits ^ 2**63 if bits >> 63 else ~bits & (2**64 - 1)
    return float(np.uint64(bits).view(np.float64))


def item_words(
    values: npt.ArrayLike,
    ids: DocumentIds | None,
    positions: npt.ArrayLike | None = None,
    *,
    descending: bool = False,
) -> npt.NDArray[np.uint64]:
    """Return each item's place in the total order as words compared from the left: (n, 4), or (n, 1) without ids.

    Args:
        values: the column ranked by, float64.
        ids: 128-bit document ids, see `tamis.scorers.text.noise.id_words`; None if ties needn't be settled.
        positions: numbers that tell rows of one id apart (say, shard << 40 | row); 0 if absent.
        descending: whether large values come first. Ids and positions always ascend.

    Raises:
        DataError: if a value is NaN, an id isn't 128 bits, or the columns differ in length.
    """
    order = float_to_ordered(values, descending=descending)
    if ids is None:
        return order[:, None]
    words = np.zeros((len(order), _WORDS), np.uint64)
    names = id_words(ids)
    if len(names) != len(order):
        msg = f"{len(order)} values came with {len(names)} document ids"
        raise DataError(msg)
    words[:, 0] = order
    words[:, 1:3] = names
    if positions is not None:
        words[:, 3] = np.asarray(positions, np.uint64)
    return words


class ByRank(NamedTuple):
    """The item with this many items before it."""

    rank: int


class ByWeight(NamedTuple):
    """The first item at which the running weight, itself included, exceeds this."""

    weight: int


Goal: TypeAlias = ByRank | ByWeight


class Answer(NamedTuple):
    """An item found: its words (`item_words`), one alone where ties needn't be settled."""

    words: tuple[int, ...]


class _Interval(NamedTuple):
    """A range of items that a goal lies in: those whose words are `prefix`, then one between `low` and `high`."""

    label: GroupLabel
    stage: int
    prefix: tuple[int, ...]
    low: int
    high: int


class _Bins(NamedTuple):
    """Sums by interval and bin, sorted by key: `interval << _KEY_BITS | bin`."""

    keys: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    weights: npt.NDArray[np.int64]
    lowest: npt.NDArray[np.uint64]
    highest: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, keys: npt.NDArray[np.int64], words: npt.NDArray[np.uint64], weights: npt.NDArray[np.int64]) -> "_Bins":
        if not len(keys):
            return cls(keys, keys, weights, words, words)
        base = int(keys.min())
        size = int(keys.max()) - base + 1
        if size > 4 * len(keys) + 65536:
            return cls(keys, np.ones(len(keys), np.int64), weights, words, words).reduced()
        counts, sums = np.zeros((2, size), np.int64)
        lowest, highest = np.full(size, _ALL), np.zeros(size, np.uint64)
        tally(keys, base, words, weights, counts, sums, lowest, highest)
        at = np.flatnonzero(counts)
        return cls(at + base, counts[at], sums[at], lowest[at], highest[at])

    def part(self, begin: int, end: int) -> "_Bins":
        """Return some entries."""
        at = slice(begin, end)
        return _Bins(self.keys[at], self.counts[at], self.weights[at], self.lowest[at], self.highest[at])

    def reduced(self) -> "_Bins":
        """Add up entries of equal key."""
        if not len(self.keys):
            return self
        order = np.argsort(self.keys)
        keys = self.keys[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        return _Bins(
            keys[starts],
            np.add.reduceat(self.counts[order], starts),
            np.add.reduceat(self.weights[order], starts),
            np.minimum.reduceat(self.lowest[order], starts),
            np.maximum.reduceat(self.highest[order], starts),
        )


class _Items(NamedTuple):
    """Items one by one: the interval of each, its words (n, 1 or 4) and its weight."""

    slots: npt.NDArray[np.int64]
    words: npt.NDArray[np.uint64]
    weights: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Partial:
    """What a pass found out about some of the rows; partials of the same pass add up in any order.

    Attributes:
        number: the pass it belongs to.
        labels: the groups met, in the first pass.
    """

    number: int
    labels: tuple[GroupLabel, ...]
    bins: _Bins
    items: _Items

    @staticmethod
    def merge(partials: "Iterable[Partial]") -> "Partial":
        """Return the sum of at least one partial; of an iterator, few are held at a time.

        Raises:
            RunError: if there is none, or if they belong to different passes.
        """
        held: list[Partial] = []
        entries = 0
        for partial in partials:
            held.append(partial)
            entries += len(partial.bins.keys)
            if entries > _HELD:
                held = [_add_up(held)]
                entries = len(held[0].bins.keys)
        return _add_up(held)

    def to_bytes(self) -> bytes:
        """Return the partial as the bytes of an `.npz` archive without pickles."""
        about = json.dumps({"number": self.number, "labels": self.labels}).encode()
        stream = io.BytesIO()
        arrays = {**self.bins._asdict(), **{f"item_{name}": array for name, array in self.items._asdict().items()}}
        np.savez(stream, about=np.frombuffer(about, np.uint8), **arrays)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Partial":
        """Read what `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            about = json.loads(archive["about"].tobytes())
            bins = _Bins(*(archive[name] for name in _Bins._fields))
            items = _Items(*(archive[f"item_{name}"] for name in _Items._fields))
        return cls(about["number"], tuple(tuple(label) for label in about["labels"]), bins, items)


def _add_up(partials: Sequence[Partial]) -> Partial:
    if len({partial.number for partial in partials}) != 1:
        msg = "partials of one pass are wanted, at least one, to be merged"
        raise RunError(msg)
    labels = sorted({label for partial in partials for label in partial.labels}, key=_label_order)
    place = {label: i for i, label in enumerate(labels)}
    keys = []
    for partial in partials:
        slots = partial.bins.keys >> _KEY_BITS
        if partial.labels and len(slots):
            slots = np.array([place[label] for label in partial.labels], np.int64)[slots]
        keys.append(slots << _KEY_BITS | partial.bins.keys & (1 << _KEY_BITS) - 1)
    rest = [np.concatenate(columns) for columns in zip(*(partial.bins[1:] for partial in partials), strict=True)]
    items = [np.concatenate(columns) for columns in zip(*(partial.items for partial in partials), strict=True)]
    return Partial(partials[0].number, tuple(labels), _Bins(np.concatenate(keys), *rest).reduced(), _Items(*items))


def _label_order(label: GroupLabel) -> tuple[tuple[bool, str], ...]:
    return tuple((part is not None, part or "") for part in label)


@dataclass(frozen=True)
class PassTask:
    """What a worker does in one pass; small, and can be pickled."""

    number: int
    descending: bool
    settle_ties: bool
    bits: int
    intervals: tuple[_Interval, ...] = ()
    collect: tuple[bool, ...] = ()
    _begins: Mapping[GroupLabel, tuple[int, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        begins: dict[GroupLabel, tuple[int, int]] = {}
        for i, interval in enumerate(self.intervals):  # those of one group stand together
            begins[interval.label] = (begins.get(interval.label, (i, i))[0], i + 1)
        object.__setattr__(self, "_begins", begins)

    @property
    def needs_ids(self) -> bool:
        """Whether this pass looks at document ids and positions: the first never does."""
        return self.number > 1 and self.settle_ties

    def accumulate(
        self,
        values: npt.ArrayLike,
        ids: DocumentIds | None = None,
        weights: npt.ArrayLike | None = None,
        groups: Groups | None = None,
        positions: npt.ArrayLike | None = None,
    ) -> Partial:
        """Return the partial of some rows; rows that don't take part must be left out beforehand.

        Args:
            values: the column ranked by, float64 (n,).
            ids: document ids (n,); may be absent where `needs_ids` is false.
            weights: what `ByWeight` goals add up, whole numbers not below 0 (n,); 1 each if absent.
            groups: the rows' groups; one group `()` if absent.
            positions: see `item_words`.

        Raises:
            DataError: if a value is NaN, a weight is negative or no whole number, or ids are needed and absent.
        """
        if self.needs_ids and ids is None:
            msg = "ties are settled by document id: give the ids too"
            raise DataError(msg)
        words = item_words(values, ids if self.needs_ids else None, positions, descending=self.descending)
        mass = _weights(weights, len(words))
        codes, labels = groups if groups is not None else (np.zeros(len(words), np.int64), [()])
        if self.number == 1:
            word = words[:, 0]
            keys = codes << _KEY_BITS | (word >> np.uint64(64 - self.bits)).astype(np.int64)
            return Partial(1, tuple(labels), _Bins.of(keys, word, mass), _no_items(words.shape[1]))
        slots = np.empty(len(words), np.int64)
        spans = np.array([self._begins.get(label, (0, 0)) for label in labels], np.int64).reshape(-1, 2)
        prefixes = np.zeros((len(self.intervals), _WORDS), np.uint64)
        for row, interval in zip(prefixes, self.intervals, strict=True):
            row[: interval.stage] = interval.prefix
        stages = np.array([interval.stage for interval in self.intervals], np.int64)
        lows = np.array([interval.low for interval in self.intervals], np.uint64)
        highs = np.array([interval.high for interval in self.intervals], np.uint64)
        match_intervals(words, codes, spans[:, 0].copy(), spans[:, 1].copy(), stages, prefixes, lows, highs, slots)
        inside = np.flatnonzero(slots >= 0)
        words, mass, slots = words[inside], mass[inside], slots[inside]
        collect = np.array(self.collect, np.bool_)[slots]
        items = _Items(slots[collect], words[collect], mass[collect])
        words, mass, slots = words[~collect], mass[~collect], slots[~collect]
        word = words[np.arange(len(words)), stages[slots]]
        shifts = np.array([_shift(interval, self.bits) for interval in self.intervals], np.uint64)
        bins = ((word - lows[slots]) >> shifts[slots]).astype(np.int64)
        return Partial(self.number, (), _Bins.of(slots << _KEY_BITS | bins, word, mass), items)


def _shift(interval: _Interval, bits: int) -> int:
    """Return how far to shift words of an interval down so that its bins have numbers of at most `bits` bits."""
    return max(0, (interval.high - interval.low).bit_length() - bits)


def _no_items(width: int) -> _Items:
    return _Items(np.zeros(0, np.int64), np.zeros((0, width), np.uint64), np.zeros(0, np.int64))


def _weights(weights: npt.ArrayLike | None, size: int) -> npt.NDArray[np.int64]:
    if weights is None:
        return np.ones(size, np.int64)
    column = np.asarray(weights)
    if column.shape != (size,) or (size and (column.dtype.kind not in "iu" or int(column.min()) < 0)):
        msg = f"weights must be {size} whole numbers not below 0"
        raise DataError(msg)
    return column.astype(np.int64, copy=False)


@dataclass
class _Pursuit:
    """A goal on its way: what is left of it in the interval it lies in, and how many items that has."""

    place: int
    goal: Goal
    interval: _Interval
    size: int

    def step(self, counts: npt.NDArray[np.int64], weights: npt.NDArray[np.int64]) -> int:
        """Return which of consecutive bins (or items) holds the goal, and take off what lies before it."""
        mass = counts if isinstance(self.goal, ByRank) else weights
        running = np.cumsum(mass)
        at = int(np.searchsorted(running, self.goal[0], side="right"))
        before = int(running[at] - mass[at])
        self.goal = type(self.goal)(self.goal[0] - before)
        return at


class RankSearch:
    """Finds items by rank or running weight in each group, driven pass by pass.

    Args:
        questions: the goals of a group of so many items and so much weight, (count, weight) -> goals.
        descending: whether large values come first in the order.
        settle_ties: whether items of equal value are told apart, by id and position. If not, only values are found.
        collect: at most about so many items are looked at one by one at a time.
        passes: the search is over after so many, at least two: in the last one, what is left is looked at one by one,
            however many items that are. As many as it takes if None.
    """

    def __init__(
        self,
        questions: Callable[[int, int], Sequence[Goal]],
        *,
        descending: bool = False,
        settle_ties: bool = True,
        grouped: bool = False,
        collect: int = _COLLECT,
        passes: int | None = None,
    ) -> None:
        self._questions = questions
        self._collect = collect
        self._passes = passes
        first_bits = _FIRST_BITS_GROUPED if grouped else _FIRST_BITS
        self._task: PassTask | None = PassTask(1, descending, settle_ties, first_bits)
        self._pursuits: list[_Pursuit] = []
        self._answers: dict[GroupLabel, list[Answer | None]] = {}
        self._totals: dict[GroupLabel, tuple[int, int]] = {}

    def next_pass(self) -> PassTask | None:
        """Return the pass to make over all rows, or None when all is found."""
        return self._task

    @property
    def totals(self) -> Mapping[GroupLabel, tuple[int, int]]:
        """Number of items and total weight of each group, known after the first pass."""
        return self._totals

    def answers(self) -> Mapping[GroupLabel, Sequence[Answer | None]]:
        """Return for each group the items found, one a goal; None where no item satisfies it (beyond the last).

        Raises:
            RunError: if passes are still to be made.
        """
        if self._task is not None:
            msg = f"pass {self._task.number} of the search is still to be made"
            raise RunError(msg)
        return self._answers

    def advance(self, partial: Partial) -> None:
        """Take in the merged partial of the pass that `next_pass` gave.

        Raises:
            RunError: if the partial belongs to another pass, or the rows have changed since the last one.
        """
        task = self._task
        if task is None or partial.number != task.number:
            msg = f"got pass {partial.number} of a search that wants pass {task.number if task else 'none'}"
            raise RunError(msg)
        pursuits, self._pursuits = self._pursuits, []
        slots = partial.bins.keys >> _KEY_BITS
        if task.number == 1:
            for slot, label in enumerate(partial.labels):
                begin, end = np.searchsorted(slots, [slot, slot + 1])
                self._begin(label, partial.bins.part(begin, end), task.settle_ties)
        order = np.lexsort((*partial.items.words.T[::-1], partial.items.slots))
        items = _Items(partial.items.slots[order], partial.items.words[order], partial.items.weights[order])
        place = {interval: slot for slot, interval in enumerate(task.intervals)}
        for pursuit in pursuits:
            slot = place[pursuit.interval]
            if task.collect[slot]:
                begin, end = np.searchsorted(items.slots, [slot, slot + 1])
                found = int(end - begin)
            else:
                begin, end = np.searchsorted(slots, [slot, slot + 1])
                found = int(partial.bins.counts[begin:end].sum())
            if found != pursuit.size:
                msg = f"the rows changed during the search: pass {task.number} met {found} instead of {pursuit.size}"
                raise RunError(msg)
            if task.collect[slot]:
                at = begin + pursuit.step(np.ones(found, np.int64), items.weights[begin:end])
                words = tuple(int(word) for word in items.words[at])
                self._answers[pursuit.interval.label][pursuit.place] = Answer(words)
            else:
                self._narrow(pursuit, partial.bins.part(begin, end), task.settle_ties)
        self._plan(task)

    def _begin(self, label: GroupLabel, bins: _Bins, settle_ties: bool) -> None:
        if not len(bins.keys):
            return
        self._totals[label] = count, weight = int(bins.counts.sum()), int(bins.weights.sum())
        goals = self._questions(count, weight)
        self._answers[label] = [None] * len(goals)
        everything = _Interval(label, 0, (), 0, 2**64 - 1)
        for place, goal in enumerate(goals):
            if 0 <= goal[0] < (count if isinstance(goal, ByRank) else weight):
                pursuit = _Pursuit(place, goal, everything, count)
                self._narrow(pursuit, bins, settle_ties)

    def _narrow(self, pursuit: _Pursuit, bins: _Bins, settle_ties: bool) -> None:
        """Go from an interval to the bin that holds the goal."""
        at = pursuit.step(bins.counts, bins.weights)
        label, stage, prefix, _, _ = pursuit.interval
        low, high = int(bins.lowest[at]), int(bins.highest[at])
        if low == high:  # this word is settled
            prefix = (*prefix, low)
            if not settle_ties or len(prefix) == _WORDS:
                self._answers[label][pursuit.place] = Answer(prefix)
                return
            stage, low, high = stage + 1, 0, 2**64 - 1
        pursuit.interval = _Interval(label, stage, prefix, low, high)
        pursuit.size = int(bins.counts[at])
        self._pursuits.append(pursuit)

    def _plan(self, task: PassTask) -> None:
        """Set the next pass: the items of the smallest intervals one by one, histograms of the others."""
        sizes = {pursuit.interval: pursuit.size for pursuit in self._pursuits}
        room = self._collect
        collected = set()
        for interval in sorted(sizes, key=lambda i: (sizes[i], _label_order(i.label), i[1:])):
            room -= sizes[interval]
            if room < 0 and task.number + 1 != self._passes:
                break
            collected.add(interval)
        intervals = sorted(sizes, key=lambda i: (_label_order(i.label), i[1:]))
        bits = max(_LEAST_BITS, _MOST_BITS - (len(sizes) - len(collected)).bit_length())
        self._task = (
            PassTask(
                task.number + 1, task.descending, task.settle_ties, bits, tuple(intervals),
                tuple(interval in collected for interval in intervals),
            ) if intervals else None
        )  # fmt: skip
