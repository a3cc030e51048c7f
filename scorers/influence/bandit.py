"""The bandit that spends a budget on clusters by the influence of a few of their documents.

Zhang et al., ICLR 2025 (arXiv 2409.16986). Each cluster is an arm. Round by round, the clusters with the highest score

    CS_i = mean influence of its probes so far + alpha * sqrt(2 ln(N) / n_i),    N = sum of n

are drawn (those never drawn first, in the order of their numbers; ties to the lower number; all of a round by the
scores at its start). The next documents of a drawn cluster, in its fixed order, are its probe; if their mean influence
is above tau, what was drawn is selected: the probe itself (`block=None`, as the paper has it), or a block that begins
with it.

Clusters that were never drawn come first in the order of their numbers, which says nothing. Where each can give a
block at once, a small budget is spent before the best were seen: `first_turn="probe"` selects of a first turn no more
than its probe, so that blocks go to clusters that were compared with all others.

Nothing is computed here but decisions: all functions are pure, from a table of scores, so that alpha, tau and budget
can be changed without scoring anything again. The same table gives the same selection, to the bit, on any machine.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.kernels.portable_log import natural_log
from tamis.scorers.text.noise import DocumentIds, keyed_hash

__all__ = [
    "BanditOptions",
    "BanditState",
    "Draw",
    "FirstTurn",
    "Probe",
    "Scale",
    "ScoreTable",
    "Unit",
    "cluster_scores",
    "clusters_view",
    "first_probes",
    "next_probes",
    "order_keys",
    "play",
    "play_round",
    "rounds_view",
    "selected",
]

FirstTurn: TypeAlias = Literal["probe", "block"]
Unit: TypeAlias = Literal["documents", "bytes", "tokens"]
Stop: TypeAlias = Literal["budget", "rounds", "exhausted", "missing"]
Costs: TypeAlias = Sequence[Sequence[float]] | Sequence[npt.NDArray[np.float64]]
"""Of each cluster's documents, by rank."""


class Probe(NamedTuple):
    """Documents of a cluster that are to be scored: ranks `first` to `after - 1` in its order."""

    cluster: int
    first: int
    after: int


class Draw(NamedTuple):
    """A cluster's turn in a round.

    Attributes:
        round: from 0 on.
        cluster: which.
        first: rank of the first document drawn.
        after: rank after the last one.
        score: the cluster's score before the round; None if it had none.
        mean: mean influence of the probe.
        accepted: whether the documents are selected.
    """

    round: int
    cluster: int
    first: int
    after: int
    score: float | None
    mean: float
    accepted: bool


@dataclass(frozen=True)
class BanditOptions:
    """How the budget is spent.

    Attributes:
        budget: how much to select, in `unit`; the round in which it is reached is played to its end.
        unit: `documents`, or `bytes` or `tokens` as the table's costs have it.
        alpha: weight of exploration, in units of the scores.
        tau: a probe's mean must be above it.
        probe: documents of a cluster scored in a turn.
        block: documents selected at a turn, at least `probe`; None: the probe itself.
        per_round: clusters drawn in a round.
        rounds: most rounds.
        neighbours: clusters nearer to each other than this share what is learned of one: a neighbour at distance d is
            taught with weight 1 - d / neighbours; None: they don't.
        first_turn: what a cluster's first turn can select, its `probe` or a `block`.

    Raises:
        ConfigError: if a value is out of range.
    """

    budget: float
    unit: Unit = "documents"
    alpha: float = 0.5
    tau: float = 0.0
    probe: int = 8
    block: int | None = None
    per_round: int = 10
    rounds: int = 1_000_000
    neighbours: float | None = None
    first_turn: FirstTurn = "block"

    def __post_init__(self) -> None:
        if self.unit not in ("documents", "bytes", "tokens"):
            msg = f"unknown unit {self.unit!r} of the budget: choose 'documents', 'bytes' or 'tokens'"
            raise ConfigError(msg)
        for name, low in (("budget", 0), ("alpha", 0), ("probe", 1), ("per_round", 1), ("rounds", 0)):
            value = getattr(self, name)
            if not low <= value < math.inf:
                msg = f"{name} must be at least {low}, got {value}"
                raise ConfigError(msg)
        if not math.isfinite(self.tau):
            msg = f"tau must be a number, got {self.tau}"
            raise ConfigError(msg)
        if self.block is not None and self.block < self.probe:
            msg = f"block is {self.block}: it begins with the probe, so it must be at least probe ({self.probe})"
            raise ConfigError(msg)
        if self.first_turn not in ("probe", "block"):
            msg = f"unknown first_turn {self.first_turn!r}: choose 'probe' or 'block'"
            raise ConfigError(msg)
        if self.neighbours is not None and not 0 < self.neighbours < math.inf:
            msg = f"neighbours must be a distance above 0, got {self.neighbours}"
            raise ConfigError(msg)

    def width(self, first: int) -> int:
        """Return how many documents the turn takes that begins with rank `first`; only a first turn begins with 0."""
        if self.block is None or (first == 0 and self.first_turn == "probe"):
            return self.probe
        return self.block


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of the influence of documents drawn from the pool at random.

    With scores in these units alpha and tau mean the same for every model and reference set.
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, scores: Iterable[float]) -> "Scale":
        """Return the scale of a random sample of the pool's scores, exactly summed.

        Raises:
            DataError: if there are fewer than two, one isn't finite, or all are equal.
        """
        values = [float(score) for score in scores]
        if len(values) < 2 or not all(math.isfinite(value) for value in values):
            msg = f"the scale of influence needs two finite scores or more, got {len(values)}: score a larger sample"
            raise DataError(msg)
        mean = math.fsum(values) / len(values)
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
        if deviation == 0:
            msg = (
                "all documents of the sample have the same influence: train the proxy model, or give another reference"
            )
            raise DataError(msg)
        return cls(mean, deviation)

    @classmethod
    def of_first_probes(cls, table: "ScoreTable", options: BanditOptions) -> "Scale":
        """Return the scale by each cluster's first probe, a cluster weighing as much as it has documents.

        A cluster's order is random, so this is a stratified sample of the pool, and costs nothing beyond the first
        pass. Later scores don't change it.

        Raises:
            DataError: if a first probe isn't scored, or all scores are equal.
        """
        parts: list[tuple[float, list[float]]] = []
        for cluster, size in enumerate(table.sizes):
            ranks = range(min(size, options.probe))
            known = table.scores.get(cluster, {})
            absent = [rank for rank in ranks if rank not in known]
            if absent:
                msg = f"document {absent[0]} of cluster {cluster} isn't scored: score each cluster's first probe"
                raise DataError(msg)
            if size:
                parts.append((float(size), [known[rank] for rank in ranks]))
        whole = math.fsum(size for size, _ in parts)
        if not parts:
            msg = "there are no documents to take the scale of influence from"
            raise DataError(msg)
        mean = math.fsum(size / whole * math.fsum(own) / len(own) for size, own in parts)
        spread = math.fsum(
            size / whole * math.fsum((value - mean) ** 2 for value in own) / len(own) for size, own in parts
        )
        if spread == 0:
            msg = "all first probes have the same influence: train the proxy model, or give another reference"
            raise DataError(msg)
        return cls(mean, math.sqrt(spread))


@dataclass(frozen=True)
class ScoreTable:
    """What is known of the clusters.

    Attributes:
        sizes: documents of each cluster.
        scores: cluster to rank to influence, of the documents that were scored.
        costs: of each cluster's documents by rank, in bytes or tokens; None: every document costs 1.
        distances: float64 (clusters, clusters) between centroids, for neighbours; None: not known.

    Raises:
        DataError: if parts don't fit or a score isn't finite.
    """

    sizes: Sequence[int]
    scores: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    costs: Costs | None = None
    distances: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for cluster, ranks in self.scores.items():
            if not 0 <= cluster < len(self.sizes):
                msg = f"there are scores of cluster {cluster}, and {len(self.sizes)} clusters"
                raise DataError(msg)
            for rank, score in ranks.items():
                if not 0 <= rank < self.sizes[cluster] or not math.isfinite(score):
                    msg = (
                        f"document {rank} of cluster {cluster} has the score {score}: ranks are below the cluster's "
                        f"size {self.sizes[cluster]}, and scores finite"
                    )
                    raise DataError(msg)
        if self.costs is not None and [len(own) for own in self.costs] != list(self.sizes):
            msg = "costs must have a number for each document of each cluster"
            raise DataError(msg)
        if self.distances is not None and np.shape(self.distances) != (len(self.sizes), len(self.sizes)):
            msg = f"distances must be a square matrix of the {len(self.sizes)} clusters"
            raise DataError(msg)

    @classmethod
    def of(
        cls,
        sizes: Sequence[int],
        clusters: Sequence[int],
        ranks: Sequence[int],
        scores: Sequence[float],
        *,
        costs: Costs | None = None,
        distances: npt.NDArray[np.float64] | None = None,
    ) -> "ScoreTable":
        """Return a table from columns with a row a scored document.

        Raises:
            DataError: if parts don't fit or a score isn't finite.
        """
        table: dict[int, dict[int, float]] = {}
        for cluster, rank, score in zip(clusters, ranks, scores, strict=True):
            table.setdefault(int(cluster), {})[int(rank)] = float(score)
        return cls([int(size) for size in sizes], table, costs, distances)

    def scaled(self, scale: Scale) -> "ScoreTable":
        """Return the table with scores in standard deviations from the mean."""
        scores = {
            cluster: {rank: (score - scale.mean) / scale.deviation for rank, score in ranks.items()}
            for cluster, ranks in self.scores.items()
        }
        return replace(self, scores=scores)

    @property
    def scored(self) -> int:
        """How many documents were scored."""
        return sum(len(ranks) for ranks in self.scores.values())


@dataclass(frozen=True)
class BanditState:
    """Where the bandit stands; with the same table and options it goes on as if it had never stopped.

    Attributes:
        round: the next round.
        sums: of each cluster's probe means, weighted.
        counts: of the weights (of turns, without neighbours).
        drawn: rank of each cluster's next document.
        spent: selected so far, in the budget's unit.
        draws: all turns, in order.
        stop: why it stopped; None: it can go on.
        missing: with `stop="missing"`: probes of this round that have no scores yet.
    """

    round: int
    sums: tuple[float, ...]
    counts: tuple[float, ...]
    drawn: tuple[int, ...]
    spent: float = 0.0
    draws: tuple[Draw, ...] = ()
    stop: Stop | None = None
    missing: tuple[Probe, ...] = ()

    @classmethod
    def start(cls, clusters: int) -> "BanditState":
        """Return the state before the first round."""
        return cls(0, (0.0,) * clusters, (0.0,) * clusters, (0,) * clusters)

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values; numbers keep every bit."""
        value = asdict(self)
        value["draws"] = [list(draw) for draw in self.draws]
        value["missing"] = [list(probe) for probe in self.missing]
        return {name: list(entry) if isinstance(entry, tuple) else entry for name, entry in value.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "BanditState":
        """Return the state that `to_json` gave.

        Raises:
            DataError: if the value isn't one.
        """
        try:
            return cls(
                int(value["round"]),
                tuple(map(float, value["sums"])),
                tuple(map(float, value["counts"])),
                tuple(map(int, value["drawn"])),
                float(value["spent"]),
                tuple(Draw(*draw) for draw in value["draws"]),
                value["stop"],
                tuple(Probe(*probe) for probe in value["missing"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f"this isn't a stored state of the bandit ({error}): start it anew from the score table"
            raise DataError(msg) from error


def order_keys(seed: int, ids: DocumentIds) -> npt.NDArray[np.uint64]:
    """Return the keys (documents,) that a cluster's documents are sorted by, ties by id: its order of drawing.

    Raises:
        ConfigError: if the seed is out of range.
        DataError: if an id isn't 128 bits.
    """
    return keyed_hash(seed, "quad-order", ids)


def cluster_scores(state: BanditState, alpha: float) -> list[float | None]:
    """Return each cluster's score; None for one that nothing is known of."""
    total = math.fsum(state.counts)
    bonus = 2.0 * natural_log(total) if total > 0 else 0.0
    return [
        # With weights of neighbours the total can be below 1; then there is nothing to explore by.
        None if count == 0 else value / count + alpha * math.sqrt(max(0.0, bonus) / count)
        for value, count in zip(state.sums, state.counts, strict=True)
    ]


def _picked(table: ScoreTable, options: BanditOptions, state: BanditState) -> list[tuple[int, float | None]]:
    """Return the clusters of the next round, with their scores."""
    scores = cluster_scores(state, options.alpha)
    able = [cluster for cluster, size in enumerate(table.sizes) if state.drawn[cluster] < size]
    able.sort(key=lambda cluster: (-math.inf if (score := scores[cluster]) is None else -score, cluster))
    return [(cluster, scores[cluster]) for cluster in able[: options.per_round]]


def _probe(table: ScoreTable, options: BanditOptions, cluster: int, first: int) -> Probe:
    return Probe(cluster, first, min(first + options.probe, table.sizes[cluster]))


def _is_scored(table: ScoreTable, probe: Probe) -> bool:
    known = table.scores.get(probe.cluster, {})
    return all(rank in known for rank in range(probe.first, probe.after))


def play_round(table: ScoreTable, options: BanditOptions, state: BanditState) -> BanditState:
    """Return the state after one more round; the same state, with `stop` set, if there is none.

    Raises:
        ConfigError: if the budget's unit or neighbours need what the table lacks.
        DataError: if the state is of other clusters.
    """
    if len(state.sums) != len(table.sizes):
        msg = f"the state is of {len(state.sums)} clusters and the table of {len(table.sizes)}: start anew"
        raise DataError(msg)
    if options.unit != "documents" and table.costs is None:
        msg = f"a budget in {options.unit} needs the documents' {options.unit} in the score table"
        raise ConfigError(msg)
    if options.neighbours is not None and table.distances is None:
        msg = "neighbours need the distances between clusters in the score table"
        raise ConfigError(msg)
    state = replace(state, stop=None, missing=())
    if state.spent >= options.budget:
        return replace(state, stop="budget")
    if state.round >= options.rounds:
        return replace(state, stop="rounds")
    picked = _picked(table, options, state)
    if not picked:
        return replace(state, stop="exhausted")
    probes = [_probe(table, options, cluster, state.drawn[cluster]) for cluster, _ in picked]
    missing = tuple(probe for probe in probes if not _is_scored(table, probe))
    if missing:
        return replace(state, stop="missing", missing=missing)
    sums, counts, drawn = list(state.sums), list(state.counts), list(state.drawn)
    spent, draws = state.spent, list(state.draws)
    for (cluster, score), probe in zip(picked, probes, strict=True):
        known = table.scores[cluster]
        mean = math.fsum(known[rank] for rank in range(probe.first, probe.after)) / (probe.after - probe.first)
        after = min(probe.first + options.width(probe.first), table.sizes[cluster])
        accepted = mean > options.tau
        if accepted:
            own = None if options.unit == "documents" or table.costs is None else table.costs[cluster]
            spent += after - probe.first if own is None else math.fsum(own[probe.first : after])
        draws.append(Draw(state.round, cluster, probe.first, after, score, mean, accepted))
        drawn[cluster] = after
        for other, weight in _taught(table, options, cluster):
            sums[other] += weight * mean
            counts[other] += weight
    return BanditState(state.round + 1, tuple(sums), tuple(counts), tuple(drawn), spent, tuple(draws))


def _taught(table: ScoreTable, options: BanditOptions, cluster: int) -> list[tuple[int, float]]:
    """Return the clusters that learn from a probe, with their weights: itself, and neighbours by their distance."""
    if options.neighbours is None or table.distances is None:
        return [(cluster, 1.0)]
    near = [
        (other, 1.0 - float(distance) / options.neighbours)
        for other, distance in enumerate(table.distances[cluster])
        if other != cluster and distance < options.neighbours
    ]
    return [(cluster, 1.0), *((other, min(1.0, weight)) for other, weight in near)]


def play(table: ScoreTable, options: BanditOptions, state: BanditState | None = None) -> BanditState:
    """Play rounds until the budget is spent, the rounds are over, nothing is left, or scores are missing.

    Args:
        table: the clusters and the scores that are known.
        options: how to play.
        state: where to go on; None: from the start. With `stop="missing"`, score `next_probes`, add them to the table
            and go on.

    Raises:
        ConfigError: if the budget's unit or neighbours need what the table lacks.
        DataError: if the state is of other clusters.
    """
    current = BanditState.start(len(table.sizes)) if state is None else state
    while True:
        current = play_round(table, options, current)
        if current.stop is not None:
            return current


def first_probes(table: ScoreTable, options: BanditOptions, turns: int = 1) -> list[Probe]:
    """Return what the first pass has to score: the probes of each cluster's first turns."""
    return [
        _probe(table, options, cluster, first)
        for cluster, size in enumerate(table.sizes)
        for first in itertools.islice(_turns(options, 0, size), turns)
    ]


def _turns(options: BanditOptions, first: int, size: int) -> Iterator[int]:
    """Yield the ranks that a cluster's turns begin with, from `first` on."""
    while first < size:
        yield first
        first += options.width(first)


def next_probes(
    table: ScoreTable, options: BanditOptions, state: BanditState, documents: int | None = None
) -> list[Probe]:
    """Return what to score when scores are missing: this round's probes, and what is likely to be asked for next.

    Clusters are walked by their scores, best first, a turn of each, then a second turn of each, and so on, until
    `documents` more documents would be scored. A pass then serves many rounds.

    Args:
        table: the clusters and the scores that are known.
        options: how to play.
        state: a state that stopped for want of scores.
        documents: about how many documents to score in all; None: this round's alone.
    """
    wanted = list(state.missing)
    room = 0 if documents is None else documents - sum(probe.after - probe.first for probe in wanted)
    chosen = set(wanted)
    every = replace(options, per_round=max(1, len(table.sizes)))
    walked = [
        (cluster, _turns(options, state.drawn[cluster], table.sizes[cluster]))
        for cluster, _ in _picked(table, every, state)
    ]
    while room > 0:
        any_left = False
        for cluster, turns in walked:
            first = next(turns, None)
            if first is None:
                continue
            any_left = True
            probe = _probe(table, options, cluster, first)
            if probe not in chosen and not _is_scored(table, probe):
                chosen.add(probe)
                wanted.append(probe)
                room -= probe.after - probe.first
                if room <= 0:
                    break
        if not any_left:
            break
    return wanted


def selected(table: ScoreTable, options: BanditOptions, state: BanditState, *, cut: bool = False) -> list[Draw]:
    """Return the accepted turns, in order.

    Args:
        table: the clusters.
        options: how it was played.
        state: how it ended.
        cut: end with the document with which the budget is reached, where the bandit plays its last round to the end.
    """
    accepted = [draw for draw in state.draws if draw.accepted]
    if not cut:
        return accepted
    kept: list[Draw] = []
    spent = 0.0
    for draw in accepted:
        own = None if options.unit == "documents" or table.costs is None else table.costs[draw.cluster]
        after = draw.first
        while after < draw.after and spent < options.budget:
            spent += 1 if own is None else own[after]
            after += 1
        if after > draw.first:
            kept.append(draw._replace(after=after))
    return kept


def rounds_view(state: BanditState) -> pa.Table:
    """Return the turns as a table, for SQL."""
    schema = pa.schema(
        [
            pa.field("round", pa.int64(), nullable=False),
            pa.field("cluster", pa.int64(), nullable=False),
            pa.field("first", pa.int64(), nullable=False),
            pa.field("after", pa.int64(), nullable=False),
            pa.field("cluster_score", pa.float64()),
            pa.field("mean_influence", pa.float64(), nullable=False),
            pa.field("accepted", pa.bool_(), nullable=False),
        ]
    )
    columns = list(zip(*state.draws, strict=True)) or [()] * len(schema)
    return pa.table(
        [pa.array(column, entry.type) for column, entry in zip(columns, schema, strict=True)], schema=schema
    )


def clusters_view(
    table: ScoreTable, options: BanditOptions, state: BanditState, titles: Sequence[str] | None = None
) -> pa.Table:
    """Return what is known of each cluster as a table, for SQL: its title, size, influence, turns and selection."""
    scores = cluster_scores(state, options.alpha)
    turns, documents = [0] * len(table.sizes), [0] * len(table.sizes)
    for draw in state.draws:
        turns[draw.cluster] += 1
        documents[draw.cluster] += (draw.after - draw.first) * draw.accepted
    known = [table.scores.get(cluster, {}) for cluster in range(len(table.sizes))]
    means = [math.fsum(own.values()) / len(own) if own else None for own in known]
    shown = [f"cluster {cluster}" for cluster in range(len(table.sizes))] if titles is None else list(titles)
    return pa.table(
        {
            "cluster": pa.array(range(len(table.sizes)), pa.int64()),
            "title": pa.array(shown, pa.string()),
            "documents": pa.array(table.sizes, pa.int64()),
            "scored": pa.array([len(own) for own in known], pa.int64()),
            "mean_influence": pa.array(means, pa.float64()),
            "cluster_score": pa.array(scores, pa.float64()),
            "turns": pa.array(turns, pa.int64()),
            "selected": pa.array(documents, pa.int64()),
        }
    )
