"""Drawing documents by their DSIR weights: Gumbel top-k with noise that is a function of the document.

Adding standard Gumbel noise to log weights and taking the k largest sums draws k documents without replacement, each
next one with probability proportional to its weight among those left (Xie et al. 2023, section 3). With groups that
holds within each, of which the same share or number is drawn. With several
targets each takes its share in turn from what the earlier ones left, as the reference does, so no document is taken
twice.

The passes are driven as in `tamis.scorers.selection.selection`:

```
sampling = DsirSampling(TopFraction(0.5), seed=7)
while (task := sampling.next_pass()) is not None:                   # DsirPass: send it to the workers
    sampling.advance(Partial.merge([task.accumulate(log_weights, ids, tokens) ...]))
chosen = sampling.decision().choose(log_weights, ids, tokens)       # anywhere, batch by batch
```
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, RunError
from tamis.scorers.selection.groups import GroupLabel, Groups
from tamis.scorers.selection.order_statistics import ByRank, Goal, Partial, PassTask
from tamis.scorers.selection.selection import (
    Decision,
    Selection,
    Threshold,
    TopAmount,
    TopDocuments,
    TopFraction,
    TopWeight,
    share_of,
)
from tamis.scorers.text.noise import DocumentIds, gumbel_noise, id_words

__all__ = ["DsirDecision", "DsirDraw", "DsirPass", "DsirSampling", "shares"]


def shares(total: int, proportions: Sequence[float]) -> list[int]:
    """Divide `total` by proportions: the whole part of each, what is left goes to the last (as the reference does).

    Raises:
        ConfigError: if a proportion is negative or not finite, or all are 0.
    """
    if not all(math.isfinite(p) and p >= 0 for p in proportions) or not sum(proportions) > 0:
        msg = f"proportions must be numbers not below 0 and not all 0, got {list(proportions)}"
        raise ConfigError(msg)
    whole = sum(proportions)
    sizes = [int(total * (p / whole)) for p in proportions]
    sizes[-1] += total - sum(sizes)
    return sizes


@dataclass(frozen=True)
class DsirDraw:
    """What decides which document comes first: the weight plus keyed noise, or the weight alone.

    Attributes:
        seed: the run's seed.
        purpose: what the noise is for: two steps of one run should differ in it. Target i > 0 uses `<purpose>/<i>`.
        top_k: leave the noise out: take the largest weights.
        min_tokens: documents of fewer tokens take no part (100 in the reference).
    """

    seed: int
    purpose: str = "dsir"
    top_k: bool = False
    min_tokens: int = 100

    def keys(self, log_weights: npt.NDArray[np.float64], ids: DocumentIds, target: int = 0) -> npt.NDArray[np.float64]:
        """Return the sampling keys of documents with these log weights (n,) towards a target; the largest are drawn."""
        if self.top_k:
            return log_weights
        return log_weights + gumbel_noise(self.seed, f"{self.purpose}/{target}" if target else self.purpose, ids)


@dataclass(frozen=True)
class DsirDecision:
    """Who is drawn: the threshold of each target in turn, or of each group; small, and can be pickled.

    Attributes:
        draw: see `DsirDraw`.
        thresholds: by target number; a target that draws nothing has none. Empty if there are groups.
        groups: by group, for one target; None without groups.
    """

    draw: DsirDraw
    thresholds: Mapping[int, Threshold]
    groups: Mapping[GroupLabel, Threshold] | None = None

    def choose(
        self,
        log_weights: npt.ArrayLike,
        ids: DocumentIds,
        tokens: npt.ArrayLike | None = None,
        positions: npt.ArrayLike | None = None,
        groups: Groups | None = None,
    ) -> npt.NDArray[np.int16]:
        """Return the number of the target that draws each document, or -1 (n,).

        Args:
            log_weights: float64 (n,) or (n, targets).
            ids: document ids (n,).
            tokens: lengths (n,); without them no document is too short.
            positions: see `tamis.scorers.selection.order_statistics.item_words`.
            groups: the documents' groups, where each is drawn from apart.

        Raises:
            DataError: if a weight is NaN, an id isn't 128 bits, or a group had no document when it was drawn.
        """
        weights = np.asarray(log_weights, np.float64)
        weights = weights[:, None] if weights.ndim == 1 else weights
        names = id_words(ids)
        places = None if positions is None else np.asarray(positions, np.uint64)
        chosen = np.full(len(weights), -1, np.int16)
        free = np.arange(len(weights))
        if tokens is not None:
            free = np.flatnonzero(np.asarray(tokens) >= self.draw.min_tokens)
        if self.groups is not None:
            keys = self.draw.keys(weights[free, 0], names[free])
            some = None if places is None else places[free]
            drawn = Decision(self.groups).keep(keys, names[free], _rows_of(groups, free), some)
            chosen[free[drawn]] = 0
        for target, threshold in self.thresholds.items():
            keys = self.draw.keys(weights[free, target], names[free], target)
            drawn = threshold.keep(keys, names[free], None if places is None else places[free])
            chosen[free[drawn]] = target
            free = free[~drawn]
        return chosen


def _rows_of(groups: Groups | None, rows: npt.NDArray[np.int64]) -> Groups | None:
    return None if groups is None else Groups(groups.codes[rows], groups.labels)


@dataclass(frozen=True)
class DsirPass:
    """What a worker does in one pass; small, and can be pickled."""

    target: int
    before: DsirDecision
    task: PassTask

    def accumulate(
        self,
        log_weights: npt.ArrayLike,
        ids: DocumentIds,
        tokens: npt.ArrayLike | None = None,
        units: npt.ArrayLike | None = None,
        positions: npt.ArrayLike | None = None,
        groups: Groups | None = None,
    ) -> Partial:
        """Return the partial of some documents.

        Args:
            log_weights: float64 (n,) or (n, targets).
            ids: document ids (n,).
            tokens: lengths (n,); without them no document is too short.
            units: what a `TopWeight` rule measures, whole numbers (n,).
            positions: see `tamis.scorers.selection.order_statistics.item_words`.
            groups: the documents' groups, where each is drawn from apart.

        Raises:
            DataError: if a weight is NaN, or an id isn't 128 bits.
        """
        weights = np.asarray(log_weights, np.float64)
        weights = weights[:, None] if weights.ndim == 1 else weights
        names = id_words(ids)
        free = self.before.choose(weights, names, tokens, positions) < 0
        if tokens is not None:
            free &= np.asarray(tokens) >= self.before.draw.min_tokens
        names = names[free]
        return self.task.accumulate(
            self.before.draw.keys(weights[free, self.target], names, self.target),
            names,
            None if units is None else np.asarray(units)[free],
            _rows_of(groups, np.flatnonzero(free)),
            positions=None if positions is None else np.asarray(positions, np.uint64)[free],
        )


class DsirSampling:
    """Draws documents by their weights, pass by pass; the same whatever the division of the documents and their order.

    Args:
        rule: `TopDocuments`, `TopFraction` (of the documents long enough) or `TopWeight` (of their characters, ...).
        seed: the run's seed.
        proportions: of several targets; one target if absent.
        purpose: see `DsirDraw`.
        top_k: see `DsirDraw`.
        min_tokens: see `DsirDraw`.
        passes: each target's share is found in at most so many; see `RankSearch`.
        grouped: whether documents come with groups, each of which the rule holds for; one target alone.

    Raises:
        ConfigError: if the proportions aren't proportions, or several targets come with `TopWeight` or groups.
    """

    def __init__(
        self,
        rule: TopDocuments | TopFraction | TopWeight | TopAmount,
        *,
        seed: int,
        proportions: Sequence[float] | None = None,
        purpose: str = "dsir",
        top_k: bool = False,
        min_tokens: int = 100,
        passes: int | None = None,
        grouped: bool = False,
    ) -> None:
        self._rule = rule
        self._grouped = grouped
        self._groups: Mapping[GroupLabel, Threshold] | None = None
        self._counts: Mapping[GroupLabel, int] = {}
        self._passes = passes
        self._proportions = list(proportions) if proportions is not None else [1.0]
        shares(0, self._proportions)
        if isinstance(rule, TopWeight | TopAmount) and len(self._proportions) > 1:
            msg = "several targets share out documents: give `documents` or a `fraction` of documents"
            raise ConfigError(msg)
        if grouped and len(self._proportions) > 1:
            msg = "several targets share out all documents: groups can be drawn from for one target alone"
            raise ConfigError(msg)
        self._draw = DsirDraw(seed, purpose, top_k, min_tokens)
        self._found: dict[int, Threshold] = {}
        self._candidates: int | None = None
        self._target = 0
        self._sizes: list[int] = []
        first = rule if isinstance(rule, TopWeight | TopAmount) else _FirstShare(rule, self._proportions)
        self._selection: Selection | None = Selection(first, passes=passes, grouped=grouped)

    @property
    def candidates(self) -> int | None:
        """How many documents are long enough, known after the first pass."""
        return self._candidates

    @property
    def sizes(self) -> list[int]:
        """How many documents each target is to draw, known after the first pass; empty for a `TopWeight` rule."""
        return self._sizes

    def next_pass(self) -> DsirPass | None:
        """Return the pass to make over all documents, or None when the decision is ready."""
        task = self._selection.next_pass() if self._selection is not None else None
        return None if task is None else DsirPass(self._target, self.decision(), task)

    def advance(self, partial: Partial) -> None:
        """Take in the merged partial of that pass.

        Raises:
            RunError: if the partial belongs to another pass, or the documents have changed since the last one.
        """
        if self._selection is None:
            msg = "the sampling is done: it wants no further pass"
            raise RunError(msg)
        self._selection.advance(partial)
        if self._candidates is None:
            self._counts = {label: count for label, (count, _) in self._selection.totals.items()}
            self._candidates = sum(self._counts.values())
            if not self._candidates:  # nothing is drawn, and the decision is ready
                self._selection = None
                self._groups = {} if self._grouped else None
                return
            if not isinstance(self._rule, TopWeight | TopAmount) and not self._grouped:
                self._sizes = shares(_asked(self._rule, self._candidates), self._proportions)
        if self._selection.next_pass() is not None:
            return
        if self._grouped:
            self._groups = self._selection.decision().thresholds
        found = self._selection.decision().thresholds.get(())
        if found is not None:
            self._found[self._target] = found
        self._selection = None
        for target in range(self._target + 1, len(self._sizes)):
            if self._sizes[target]:
                self._target = target
                self._selection = Selection(TopDocuments(self._sizes[target]), passes=self._passes)
                return

    def decision(self) -> DsirDecision:
        """Return the thresholds found so far: all of them once `next_pass` returns None."""
        return DsirDecision(self._draw, dict(self._found), self._groups)

    def notes(self) -> list[str]:
        """Return a sentence if fewer documents take part than are asked for: all of them are drawn."""
        if self._candidates == 0:
            least = self._draw.min_tokens
            told = f"has {least} tokens or more: lower min_tokens, or" if least else "is left to draw from:"
            return [f"no document {told} look at what the steps before it rejected"]
        if self._grouped and isinstance(self._rule, TopDocuments):
            asked = self._rule.documents
            return [
                f"dsir was asked for {asked} documents of {'/'.join(part or 'null' for part in label)}, but only "
                f"{count} have at least {self._draw.min_tokens} tokens: all of them are kept"
                for label, count in self._counts.items()
                if count < asked
            ]
        if self._candidates is None or sum(self._sizes) <= self._candidates:
            return []
        return [
            f"dsir was asked for {sum(self._sizes)} documents, but only {self._candidates} have at least "
            f"{self._draw.min_tokens} tokens: all of them are kept"
        ]


def _asked(rule: TopDocuments | TopFraction, candidates: int) -> int:
    return rule.documents if isinstance(rule, TopDocuments) else share_of(rule.fraction, candidates)


@dataclass(frozen=True)
class _FirstShare:
    """What the first of several targets draws, once the number of candidates is known."""

    rule: TopDocuments | TopFraction
    proportions: Sequence[float]

    def goal(self, count: int, weight: int) -> Goal:  # noqa: ARG002
        return ByRank(shares(_asked(self.rule, count), self.proportions)[0] - 1)
