"""The bandit's search for scores: which documents to score next, pass after pass, until it can play to its end.

The first pass scores each cluster's first probe, which also gives the scale. Then the bandit plays on the table; where
it stops for want of scores, a further pass scores the round's probes and some that are likely to come next: more in
the second half of the passes, so that a bound on their number is rarely what ends the search.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tamis.scorers.influence.bandit import (
    BanditOptions,
    BanditState,
    Draw,
    Probe,
    Scale,
    ScoreTable,
    first_probes,
    next_probes,
    play,
    selected,
)

__all__ = ["Pool", "ProbeSearch", "Scored", "Wanted"]

_RANK_BITS = 40
_DTYPE = np.dtype(
    [("cluster", "<i8"), ("rank", "<i8"), ("influence", "<f8"), ("tokens", "<i8"), ("id_hi", "<u8"), ("id_lo", "<u8")]
)


@dataclass(frozen=True, eq=False)
class Scored:
    """Documents that were scored; merging is putting together.

    Attributes:
        rows: a structured array: cluster, rank, influence, tokens, and the two words of the document's id; sorted.
    """

    rows: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(0, _DTYPE))

    @classmethod
    def of(
        cls,
        clusters: npt.NDArray[np.int64],
        ranks: npt.NDArray[np.int64],
        influence: npt.NDArray[np.float64],
        tokens: npt.NDArray[np.int64],
        words: npt.NDArray[np.uint64],
    ) -> "Scored":
        """Return documents by columns (rows,), their ids as two words each (rows, 2)."""
        rows = np.zeros(len(clusters), _DTYPE)
        columns = (clusters, ranks, influence, tokens, words[:, 0], words[:, 1])
        for name, column in zip(_DTYPE.names or (), columns, strict=True):
            rows[name] = column
        return cls(rows)

    @staticmethod
    def merge(parts: "Sequence[Scored]") -> "Scored":
        """Put documents together, in the order of clusters and ranks."""
        rows = np.concatenate([np.zeros(0, _DTYPE), *(part.rows for part in parts)])
        return Scored(rows[np.lexsort((rows["rank"], rows["cluster"]))])

    def to_bytes(self) -> bytes:
        """Return the documents as bytes."""
        return b"S" + self.rows.tobytes()  # never empty: a pass that found nothing was made all the same

    @classmethod
    def from_bytes(cls, data: bytes) -> "Scored":
        """Read what `to_bytes` wrote."""
        return cls(np.frombuffer(data, _DTYPE, offset=1))


@dataclass(frozen=True)
class Wanted:
    """Documents to score: ranges of ranks, sorted, that don't overlap.

    Attributes:
        first: cluster and first rank of each, as one number; see `places`.
        after: the same of the rank after the last.
    """

    first: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]

    @classmethod
    def of(cls, probes: Sequence[Probe]) -> "Wanted":
        """Return the documents of probes."""
        table = np.array(sorted(probes), np.int64).reshape(-1, 3)
        return cls((table[:, 0] << _RANK_BITS) + table[:, 1], (table[:, 0] << _RANK_BITS) + table[:, 2])

    def find(self, clusters: npt.NDArray[np.int64], ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return which range each row lies in, -1 for none; a cluster of -1 is in none."""
        places = (clusters << _RANK_BITS) + ranks
        at = np.searchsorted(self.first, places, side="right") - 1
        found = (at >= 0) & (clusters >= 0)
        found[found] &= places[found] < self.after[at[found]]
        return np.where(found, at, -1)


@dataclass(frozen=True, eq=False)
class Pool:
    """What the bandit draws from.

    Attributes:
        sizes: documents of each cluster.
        costs: of each cluster's documents by rank; None: each costs one.
        distances: between clusters, for neighbours.
    """

    sizes: Sequence[int]
    costs: Sequence[npt.NDArray[np.float64]] | None = None
    distances: npt.NDArray[np.float64] | None = None

    def table(self, scores: Mapping[int, Mapping[int, float]]) -> ScoreTable:
        """Return the pool with scores."""
        return ScoreTable(self.sizes, scores, self.costs, self.distances)


class ProbeSearch:
    """A search at its beginning; `next_pass` and `advance` in turn carry it on.

    Attributes:
        pool: what is drawn from.
        options: how.
        state: where the bandit stands.
        scale: of influence; None before the first pass is over, and of an empty pool.
        scored: all documents scored.

    Args:
        pool: what is drawn from.
        options: how.
        passes: at most so many.
        ahead: documents scored in a further pass, about.
    """

    def __init__(self, pool: Pool, options: BanditOptions, *, passes: int, ahead: int) -> None:
        self.pool, self.options = pool, options
        self.state = BanditState.start(len(pool.sizes))
        self.scale: Scale | None = None
        self._known: dict[int, dict[int, float]] = {}
        self._parts: list[Scored] = []
        self._passes, self._ahead = passes, ahead

    @property
    def passes(self) -> int:
        """How many passes were made."""
        return len(self._parts)

    @property
    def scored(self) -> Scored:
        """All documents scored."""
        return Scored.merge(self._parts)

    @property
    def table(self) -> ScoreTable:
        """The table in standard deviations; without scores before the first pass."""
        raw = self.pool.table(self._known)
        return raw if self.scale is None else raw.scaled(self.scale)

    def next_pass(self) -> Wanted | None:
        """Return what to score next; None if the search is over."""
        if not self._parts:
            probes = first_probes(self.pool.table({}), self.options)
            return Wanted.of(probes) if probes else None
        if self.state.stop != "missing" or self.passes >= self._passes:
            return None
        documents = self._ahead << max(0, min(30, self.passes - self._passes // 2))
        return Wanted.of(next_probes(self.table, self.options, self.state, documents))

    def advance(self, found: Scored) -> None:
        """Take what a pass scored, and play on.

        Raises:
            DataError: if all first probes have the same influence, or a score isn't finite.
        """
        self._parts.append(found)
        for cluster, rank, score in zip(
            found.rows["cluster"].tolist(), found.rows["rank"].tolist(), found.rows["influence"].tolist(), strict=True
        ):
            self._known.setdefault(cluster, {})[rank] = score
        if self.scale is None:
            self.scale = Scale.of_first_probes(self.pool.table(self._known), self.options)
        self.state = play(self.table, self.options, self.state)

    def selection(self) -> list[Draw]:
        """Return the turns that select, the last cut where the budget is reached."""
        return selected(self.table, self.options, self.state, cut=True)
