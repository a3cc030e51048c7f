"""Which rows a rule over the whole corpus keeps: the best so many, the best share, a percentile range.

The rule is answered exactly by `tamis.scorers.selection.order_statistics`, pass by pass:

```
selection = Selection(rule_of(keep), largest=True)
while (task := selection.next_pass()) is not None:                  # PassTask: send it to the workers
    selection.advance(Partial.merge([task.accumulate(...) ...]))
decision = selection.decision()
mask = decision.keep(values, ids, groups)                           # anywhere, batch by batch
```
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError
from tamis.schemas.keep import SHARES, Keep
from tamis.scorers.selection.groups import GroupLabel, Groups
from tamis.scorers.selection.order_kernels import at_most
from tamis.scorers.selection.order_statistics import (
    Answer,
    ByRank,
    ByWeight,
    Goal,
    Partial,
    PassTask,
    RankSearch,
    item_words,
    ordered_to_float,
)
from tamis.scorers.text.noise import DocumentIds

__all__ = [
    "Decision",
    "PercentileRange",
    "Rule",
    "Selection",
    "Threshold",
    "Ties",
    "TopAmount",
    "TopDocuments",
    "TopFraction",
    "TopRule",
    "TopWeight",
    "rule_of",
    "share_of",
]

Ties: TypeAlias = Literal["id", "all"]
"""What becomes of rows of the very value at the edge: `id` takes those of the smallest ids, so that the number is
exact; `all` takes all of them, so that the rule is a plain comparison of values."""


class TopRule(Protocol):
    """A rule that keeps the first rows in order, up to one that it asks for."""

    def goal(self, count: int, weight: int) -> Goal:
        """Return the last row to keep of `count` rows of total `weight`; beyond the last row means all."""
        ...


@dataclass(frozen=True)
class TopDocuments:
    """The best `documents` rows (of each group)."""

    documents: int

    def goal(self, count: int, weight: int) -> Goal:  # noqa: ARG002
        """Return the rank of the last row to keep."""
        return ByRank(self.documents - 1)


@dataclass(frozen=True)
class TopFraction:
    """The best `share_of(fraction, rows)` rows (of each group)."""

    fraction: float

    def goal(self, count: int, weight: int) -> Goal:  # noqa: ARG002
        """Return the rank of the last row to keep."""
        return ByRank(share_of(self.fraction, count) - 1)


@dataclass(frozen=True)
class TopWeight:
    """The best rows up to and including the first at which the running weight exceeds `fraction * total weight`.

    With characters as weights and ties kept, this is the threshold of PreSelect's published script.
    """

    fraction: float

    def goal(self, count: int, weight: int) -> Goal:  # noqa: ARG002
        """Return the weight to exceed; an integer exceeds a number when it exceeds its whole part."""
        return ByWeight(math.floor(self.fraction * weight))


@dataclass(frozen=True)
class TopAmount:
    """The best rows up to and including the first at which the running weight is at least `amount`."""

    amount: int

    def goal(self, count: int, weight: int) -> Goal:  # noqa: ARG002
        """Return the weight to exceed."""
        return ByWeight(self.amount - 1) if self.amount > 0 else ByRank(-1)


@dataclass(frozen=True)
class PercentileRange:
    """The rows whose value lies between two percentiles of their group, both included.

    The percentiles are those of `numpy.percentile` by method `linear` (between two rows in proportion) or `lower`.
    """

    low: float
    high: float
    method: Literal["linear", "lower"] = "linear"

    def goals(self, count: int, weight: int) -> Sequence[Goal]:  # noqa: ARG002
        """Return the rows that the percentiles lie between: two for each."""
        ranks = []
        for percent in (self.low, self.high):
            below = math.floor((count - 1) * (percent / 100))
            ranks += [ByRank(below), ByRank(min(below + 1, count - 1))]
        return ranks

    def bound(self, percent: float, count: int, below: float, above: float) -> float:
        """Return a percentile from the two rows that it lies between."""
        part = (count - 1) * (percent / 100) % 1
        if self.method == "lower" or below == above or part == 0:
            return below
        gap = above - below
        return below + gap * part if part < 0.5 else above - gap * (1 - part)  # as numpy rounds


Rule: TypeAlias = TopRule | PercentileRange


def share_of(fraction: float, count: int) -> int:
    """Return the whole part of `fraction * count`, the fraction taken as the decimal it is written as.

    So 0.29 of 100 is 29, not the 28 of floating point.
    """
    return math.floor(Fraction(repr(float(fraction))) * count)


def rule_of(keep: Keep) -> Rule:
    """Return the rule that a config's `keep` asks for; `by`, `min` and `max` are the caller's affair.

    Raises:
        ConfigError: if it asks for nothing that needs the corpus.
    """
    if keep.percentile is not None:
        return PercentileRange(*keep.percentile)
    if keep.documents is not None:
        return TopDocuments(keep.documents)
    if keep.bytes is not None:
        return TopAmount(keep.bytes)
    if keep.tokens is not None:
        return TopAmount(keep.tokens)
    if keep.fraction is not None:
        return TopFraction(keep.fraction) if keep.of == "documents" else TopWeight(keep.fraction)
    msg = f"`keep` has none of {', '.join(SHARES)}"
    raise ConfigError(msg)


@dataclass(frozen=True)
class Threshold:
    """What a group's rows must satisfy: `low <= value <= high`, and at the edge an id (and position) not beyond one.

    Attributes:
        low: smallest value kept, -inf for no bound.
        high: largest value kept, inf for no bound.
        edge: words of the last row kept (see `order_statistics.item_words`), where ties are settled.
        descending: the order of the words.
    """

    low: float
    high: float
    edge: tuple[int, ...] | None = None
    descending: bool = True

    @property
    def value(self) -> float:
        """The value at the edge: `low` where large values are best, else `high`."""
        return self.low if self.descending else self.high

    def keep(
        self, values: npt.ArrayLike, ids: DocumentIds | None = None, positions: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.bool_]:
        """Return which rows to keep (n,).

        Args:
            values: the column, float64 (n,).
            ids: document ids (n,), needed where ties are settled.
            positions: as in the passes.

        Raises:
            DataError: if ids are needed and absent, or a value is NaN.
        """
        column = np.asarray(values, np.float64)
        if self.edge is not None:
            if ids is None:
                msg = "ties are settled by document id: give the ids too"
                raise DataError(msg)
            words = item_words(column, ids, positions, descending=self.descending)
            mask = np.empty(len(words), np.bool_)
            at_most(words, np.array(self.edge, np.uint64), mask)
            return mask
        if np.isnan(column).any():
            msg = "a value is NaN, which no rule can decide on: leave such rows out"
            raise DataError(msg)
        return (column >= self.low) & (column <= self.high)


@dataclass(frozen=True)
class Decision:
    """The thresholds of all groups; small, and can be pickled."""

    thresholds: Mapping[GroupLabel, Threshold]

    def keep(
        self,
        values: npt.ArrayLike,
        ids: DocumentIds | None = None,
        groups: Groups | None = None,
        positions: npt.ArrayLike | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Return which rows to keep (n,); the arguments are those of the passes.

        Raises:
            DataError: if a row's group wasn't there in the passes, or as `Threshold.keep`.
        """
        column = np.asarray(values, np.float64)
        if groups is None:
            groups = Groups.one(len(column))
        mask = np.zeros(len(column), np.bool_)
        order = np.argsort(groups.codes, kind="stable")
        bounds = np.searchsorted(groups.codes[order], np.arange(len(groups.labels) + 1))
        for label, begin, end in zip(groups.labels, bounds[:-1], bounds[1:], strict=True):
            if begin == end:
                continue
            if label not in self.thresholds:
                msg = f"group {label} had no rows when the thresholds were found"
                raise DataError(msg)
            rows = order[begin:end]
            mask[rows] = self.thresholds[label].keep(
                column[rows], _take(ids, rows), None if positions is None else np.asarray(positions)[rows]
            )
        return mask


def _take(ids: DocumentIds | None, rows: npt.NDArray[np.int64]) -> DocumentIds | None:
    if ids is None:
        return None
    if isinstance(ids, np.ndarray):
        taken: DocumentIds = ids[rows]
        return taken
    if isinstance(ids, Sequence):
        return [ids[row] for row in rows]
    return ids.take(rows)


class Selection:
    """Finds a rule's thresholds pass by pass; the same whatever the division of the rows and their order.

    Args:
        rule: what to keep, see `rule_of`.
        largest: whether large values are best (scores) or small ones (perplexities); no matter for a percentile range.
        ties: see `Ties`; no matter for a percentile range, whose bounds are values.
        grouped: whether rows come with groups, each of which the rule holds for.
        passes: it is over after so many; see `RankSearch`.
    """

    def __init__(
        self, rule: Rule, *, largest: bool = True, ties: Ties = "id", grouped: bool = False, passes: int | None = None
    ) -> None:
        self.rule = rule
        self._range = isinstance(rule, PercentileRange)
        self._largest = largest and not self._range
        self._settle = ties == "id" and not self._range
        self._search = RankSearch(
            self._goals, descending=self._largest, settle_ties=self._settle, grouped=grouped, passes=passes
        )

    def _goals(self, count: int, weight: int) -> Sequence[Goal]:
        if isinstance(self.rule, PercentileRange):
            return self.rule.goals(count, weight)
        return [self.rule.goal(count, weight)]

    def next_pass(self) -> PassTask | None:
        """Return the pass to make over all rows that take part, or None when the decision is ready."""
        return self._search.next_pass()

    def advance(self, partial: Partial) -> None:
        """Take in the merged partial of that pass.

        Raises:
            RunError: if it belongs to another pass, or the rows have changed since the last one.
        """
        self._search.advance(partial)

    @property
    def totals(self) -> Mapping[GroupLabel, tuple[int, int]]:
        """Number of rows and total weight of each group, known after the first pass."""
        return self._search.totals

    def notes(self) -> list[str]:
        """Return a sentence for each group that has less than the rule asks for (all of it is kept)."""
        totals = self.totals or {(): (0, 0)}
        if isinstance(self.rule, TopDocuments):
            asked, what = self.rule.documents, "documents were"
            there = {label: count for label, (count, _) in totals.items()}
        elif isinstance(self.rule, TopAmount):
            asked, what = self.rule.amount, "was"
            there = {label: weight for label, (_, weight) in totals.items()}
        else:
            return []
        return [
            f"{asked} {what} asked for{_of_group(label)}, but there are only {found}: all of them are kept"
            for label, found in there.items()
            if found < asked
        ]

    def decision(self) -> Decision:
        """Return the thresholds.

        Raises:
            RunError: if passes are still to be made.
        """
        found = self._search.answers()
        return Decision({label: self._threshold(label, answers) for label, answers in found.items()})

    def _threshold(self, label: GroupLabel, answers: Sequence[Answer | None]) -> Threshold:
        count, weight = self.totals[label]
        if isinstance(self.rule, PercentileRange):
            rows = [ordered_to_float(answer.words[0]) for answer in answers if answer is not None]
            low = self.rule.bound(self.rule.low, count, rows[0], rows[1])
            return Threshold(low, self.rule.bound(self.rule.high, count, rows[2], rows[3]), descending=False)
        answer = answers[0]
        if answer is None:
            goal = self.rule.goal(count, weight)
            if isinstance(goal, ByRank) and goal.rank < 0:  # none
                return Threshold(math.inf, -math.inf, descending=self._largest)
            return Threshold(-math.inf, math.inf, descending=self._largest)
        value = ordered_to_float(answer.words[0], descending=self._largest)
        edge = answer.words if self._settle else None
        if self._largest:
            return Threshold(value, math.inf, edge, descending=True)
        return Threshold(-math.inf, value, edge, descending=False)


def _of_group(label: GroupLabel) -> str:
    return f" of {'/'.join(part or 'null' for part in label)}" if label else ""
