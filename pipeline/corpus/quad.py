"""Quad over the corpus: clusters in a fixed order, passes that score probes, the bandit, and what it selects.

Zhang et al., ICLR 2025 (arXiv 2409.16986). The bandit is a search of a bounded number of passes: each scores the
documents that it asks for, and all that it knows follows from the values of passes before. Scores are kept with their
shard, so a stopped run, or one with another alpha, tau or budget, computes only those that nobody asked for before.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.cluster_words import word_sample
from tamis.pipeline.corpus.context import Corpus, Decision, Outcome
from tamis.pipeline.corpus.quad_clusters import (
    RANKED,
    Clusters,
    CountClusters,
    exchange_ranks,
    join_counts,
    ranked_costs,
)
from tamis.pipeline.corpus.quad_direction import DIRECTION, Proxy, forget_proxy, influence_scorer
from tamis.pipeline.corpus.quad_tables import quad_tables
from tamis.pipeline.corpus.search import Search
from tamis.pipeline.graph.passes import Done, Node, Values
from tamis.pipeline.passes.kept import Kept
from tamis.pipeline.passes.shard_reader import ColumnReader, read_columns
from tamis.pipeline.passes.stage import Stage
from tamis.pipeline.storage.column_file import ColumnFile, intact_note, writer
from tamis.pipeline.storage.place import Place, Shard
from tamis.schemas.errors import DataError
from tamis.schemas.tables import STATE_SCHEMA, described
from tamis.scorers.causal.threads import one_thread
from tamis.scorers.embeddings.describe import ClusterWords
from tamis.scorers.embeddings.kmeans import Clustering, ClusterSums
from tamis.scorers.embeddings.vectors import unit_rows, usable_vectors
from tamis.scorers.influence.bandit import BanditOptions, FirstTurn, Probe, Unit, cluster_scores
from tamis.scorers.influence.probe_search import Pool, ProbeSearch, Scored, Wanted
from tamis.scorers.text.noise import id_words

__all__ = ["Quad", "decide_quad", "quad_schema"]

BUDGET, TAU, OUTSIDE = 1, 0, 2
"""Positions of the step's rules."""
CACHE = pa.schema([pa.field("row", pa.int64()), pa.field("influence", pa.float64()), pa.field("tokens", pa.int64())])

NO_RANKS = pa.schema([pa.field("doc_id", pa.string()), *RANKED])


@dataclass(frozen=True)
class Quad:
    """What is selected, and how.

    Attributes:
        name: begins the names of columns.
        by: columns that say a document's cluster.
        unit: of the budget.
        cost: column of what documents cost; None if each costs one.
        budget: in the unit; None: `fraction`.
        fraction: of what the pool has, in the unit.
        alpha: weight of exploration.
        tau: what a probe's mean must be above.
        probe: documents scored at a turn.
        block: documents selected at a turn; None: a hundredth of the budget, ten probes at least.
        per_round: clusters drawn in a round.
        rounds: at most.
        neighbours: distance below which clusters learn from each other.
        embedding: column of vectors, for neighbours.
        passes: at most.
        ahead: documents scored in a further pass; None: a round's.
        first_turn: what a cluster's first turn can select, its probe or a block.
    """

    name: str
    by: tuple[str, ...]
    unit: Unit
    cost: str | None
    budget: float | None
    fraction: float | None
    alpha: float
    tau: float
    probe: int
    block: int | None
    per_round: int
    rounds: int
    neighbours: float | None
    embedding: str
    passes: int
    ahead: int | None
    first_turn: FirstTurn

    def options(self, pool: Pool) -> BanditOptions:
        """Return the bandit's options for a pool."""
        documents = sum(pool.sizes)
        total = float(documents) if pool.costs is None else math.fsum(math.fsum(own) for own in pool.costs)
        budget = self.budget
        if budget is None:
            budget = (self.fraction or 0.0) * total
            budget = float(math.ceil(round(budget, 6))) if self.unit == "documents" else budget
        block = self.block
        if block is None:
            wanted = budget if total == 0 else budget * documents / total
            block = max(10 * self.probe, math.ceil(wanted / 100))
        return BanditOptions(
            budget=budget,
            unit=self.unit,
            alpha=self.alpha,
            tau=self.tau,
            probe=self.probe,
            block=block,
            per_round=self.per_round,
            rounds=self.rounds,
            neighbours=self.neighbours,
            first_turn=self.first_turn,
        )


def quad_schema(name: str) -> pa.Schema:
    """Return the columns that the decision adds."""
    told = "influence in standard deviations of the pool's: the document's own where it was scored, else that of the"
    return pa.schema(
        [
            described(f"{name}_cluster", pa.int64(), "number of the document's cluster"),
            described(f"{name}_influence", pa.float64(), f"{told} documents scored at its turn; null if it never came"),
            described(f"{name}_round", pa.int64(), "round of the bandit in which the document's turn came"),
            described(f"{name}_scored", pa.bool_(), "whether the document itself was scored"),
        ]
    )


@dataclass(frozen=True)
class _Begin:
    """The search at its beginning, from what was counted and ranked."""

    label: str
    quad: Quad
    counted: str
    ranked: str
    centres: str | None

    def clusters(self, values: Values) -> Clusters:
        return Clusters.of(values[self.counted], self.label)

    def __call__(self, values: Values) -> ProbeSearch:
        sizes = self.clusters(values).sizes
        costs = None if self.quad.cost is None else ranked_costs(values[self.ranked], sizes)
        distances = None if self.centres is None else _distances(values[self.centres], len(sizes))
        pool = Pool(sizes, costs, distances)
        options = self.quad.options(pool)
        ahead = self.quad.ahead or options.probe * options.per_round
        return _Labelled(self.label, pool, options, passes=self.quad.passes, ahead=ahead)


class _Labelled(ProbeSearch):
    """A search whose complaints name the step."""

    def __init__(self, label: str, pool: Pool, options: BanditOptions, *, passes: int, ahead: int) -> None:
        super().__init__(pool, options, passes=passes, ahead=ahead)
        self._label = label

    def advance(self, found: Scored) -> None:
        """Take what a pass scored, and play on."""
        try:
            super().advance(found)
        except DataError as error:
            msg = f"step {self._label}: {error}"
            raise DataError(msg) from None


@dataclass(frozen=True)
class _ScoreProbes:
    """Scores the documents of a shard that a pass asks for; what was scored before is found in the shard's file."""

    proxy: Proxy
    direction: Place
    ranks: ColumnReader
    text: Place
    kept: Place

    def nothing(self, task: Wanted) -> Scored:
        """Return no documents."""
        del task
        return Scored()

    def __call__(self, task: Wanted, shard: Shard) -> Scored:
        """Return the documents with their scores."""
        clusters, ranks, ids, sizes = self._shard(shard)
        rows = np.flatnonzero(task.find(clusters, ranks) >= 0)
        if not len(rows):
            return Scored()
        path = self.direction.of_corpus(shard.corpus)
        scorer, sha256 = influence_scorer(self.proxy, path)
        known = self._known(shard, sha256)
        missing = rows[~np.isin(rows, known.column("row").to_numpy())]
        if len(missing):
            texts = texts_of(shard, self.text, missing, sizes)
            with one_thread():
                found = scorer.score(texts)
            influence = found.column("quad_influence").fill_null(0.0)  # no token: neither good nor bad
            fresh = pa.Table.from_arrays([pa.array(missing), influence, found.column("quad_tokens")], schema=CACHE)
            known = pa.concat_tables([known, fresh]).sort_by("row").combine_chunks()
            with writer(self.kept.file(shard), CACHE) as out:
                for batch in known.to_batches():
                    out.write_batch(batch)
                out.note = {"direction": sha256}
        at = np.searchsorted(known.column("row").to_numpy(), rows)
        scores, tokens = (known.column(name).to_numpy()[at] for name in ("influence", "tokens"))
        return Scored.of(clusters[rows], ranks[rows], scores, tokens, id_words(ids.take(pa.array(rows))))

    def _shard(self, shard: Shard) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], pa.Array, list[int]]:
        batches = [batch for batch, _, _ in self.ranks.read(shard)]
        whole = pa.Table.from_batches(batches, None if batches else NO_RANKS)
        columns = [whole.column(name).fill_null(-1).to_numpy() for name in ("cluster", "rank")]
        return columns[0], columns[1], whole.column("doc_id").combine_chunks(), [batch.num_rows for batch in batches]

    def _known(self, shard: Shard, sha256: str) -> pa.Table:
        path = self.kept.file(shard)
        note = intact_note(path, [])
        if note is None or note["direction"] != sha256:
            return CACHE.empty_table()
        with ColumnFile(path) as file:
            return file.read()


def texts_of(shard: Shard, text: Place, rows: npt.NDArray[np.int64], sizes: Sequence[int]) -> list[str]:
    """Return the texts of some rows of a shard, rising; only their batches are read.

    Args:
        shard: which.
        text: place of the texts.
        rows: numbers in the shard.
        sizes: rows of each batch.
    """
    starts = np.cumsum([0, *sizes])
    number = np.searchsorted(starts, rows, side="right") - 1
    wanted = np.unique(number).tolist()
    found: list[str] = []
    for at, batch in zip(wanted, read_columns(shard, ["text"], {"text": text}, wanted), strict=True):
        found += batch.column("text").take(pa.array(rows[number == at] - starts[at])).to_pylist()
    return found


@dataclass(frozen=True)
class _CountWords:
    """Counts the words of each cluster's first documents: the order is random, so they are a sample."""

    ranks: ColumnReader
    text: Place
    begin: _Begin

    def __call__(self, shard: Shard, values: Values) -> bytes:
        count = len(self.begin.clusters(values).sizes)
        most = max(1, word_sample(count) // max(1, count))
        chosen: list[int] = []
        clusters: list[int] = []
        sizes: list[int] = []
        first = 0
        for batch, _, _ in self.ranks.read(shard):
            rank = batch.column("rank").fill_null(most).to_numpy()
            rows = np.flatnonzero(rank < most)
            chosen += (rows + first).tolist()
            clusters += batch.column("cluster").take(pa.array(rows)).to_pylist()
            sizes.append(batch.num_rows)
            first += batch.num_rows
        words = ClusterWords()
        if chosen:
            words.add(clusters, texts_of(shard, self.text, np.array(chosen), sizes))
        return json.dumps(words.to_json()).encode()


def _join_words(parts: Sequence[bytes]) -> bytes:
    return json.dumps(ClusterWords.merge(ClusterWords.from_json(json.loads(part)) for part in parts).to_json()).encode()


@dataclass(frozen=True)
class _SumCentres:
    """Adds up the vectors of each cluster, exactly."""

    ranks: ColumnReader
    embedding: str
    begin: _Begin

    def __call__(self, shard: Shard, values: Values) -> bytes:
        from tamis.scorers.embeddings.kmeans_kernels import add_rows

        total: ClusterSums | None = None
        count = len(self.begin.clusters(values).sizes)
        for batch, _, _ in self.ranks.read(shard):
            good, matrix = usable_vectors(batch.column(self.embedding))
            clusters = batch.column("cluster").fill_null(-1).to_numpy()
            labels = np.where(good & matrix.any(axis=1), clusters, -1).astype(np.int32)
            counts, width = np.zeros(count, np.int64), matrix.shape[1]
            high, low = np.zeros((count, width), np.int64), np.zeros((count, width), np.int64)
            add_rows(unit_rows(matrix), labels, counts, high, low)
            none = (np.zeros((0, width)), np.zeros(0), np.zeros((0, 2), np.uint64))
            sums = ClusterSums(counts, high, low, 0, *none)
            total = sums if total is None else ClusterSums.merge([total, sums])
        return b"" if total is None else total.to_bytes()


def _join_sums(parts: Sequence[bytes]) -> bytes:
    some = [ClusterSums.from_bytes(part) for part in parts if part]
    return ClusterSums.merge(some).to_bytes() if some else b""


def _distances(value: bytes, count: int) -> npt.NDArray[np.float64]:
    """Return one minus the cosine between each two clusters' centres."""
    if not value:
        return np.zeros((count, count))
    sums = ClusterSums.from_bytes(value)
    centres = np.divide(sums.sums, sums.counts[:, None], out=np.zeros_like(sums.sums), where=sums.counts[:, None] > 0)
    return Clustering(centres).cosine_distances()


@dataclass(frozen=True)
class _Apply:
    """Lets the rows of a shard fall that weren't selected, and says of all what became of them."""

    stage: Stage
    quad: Quad
    search: Search[ProbeSearch]
    ranks: ColumnReader
    columns: Place

    def __call__(self, shard: Shard, values: Values) -> Done:
        """Write the shard's columns and row states."""
        forget_proxy()
        names = self.stage.step.rule_names
        known = intact_note(self.stage.state.file(shard), [])
        reused = known is not None and intact_note(self.columns.file(shard), []) is not None
        fell = known["fell"] if known is not None and reused else self._write(shard, self.search.state(values))
        counters = {f"{self.stage.label}: rejected by {name}": number for name, number in zip(names, fell, strict=True)}
        return Done(b"", counters, reused)

    def _write(self, shard: Shard, search: ProbeSearch) -> list[int]:
        taken = _Taken.of(search)
        fell = np.zeros(3, np.int64)
        # The states are entered first, so left last: where they are, the columns are too.
        with (
            writer(self.stage.state.file(shard), STATE_SCHEMA) as states,
            writer(self.columns.file(shard), quad_schema(self.quad.name)) as columns,
        ):
            for batch, state, _ in self.ranks.read(shard):
                clusters, ranks = (batch.column(name).fill_null(-1).to_numpy() for name in ("cluster", "rank"))
                found = taken.look_up(clusters, ranks)
                outside = clusters < 0
                alive = state.mask
                index = self.stage.index
                state.fall(index, alive & outside, OUTSIDE)
                state.fall(index, state.mask & found.refused, TAU, found.mean, self.quad.tau)
                state.fall(index, state.mask & ~found.chosen, BUDGET, taken.cluster_score(clusters))
                fell += np.bincount(state.rule[alive & ~state.mask], minlength=3)[:3]
                columns.write_batch(
                    pa.RecordBatch.from_arrays(
                        [
                            pa.array(clusters, mask=outside),
                            pa.array(found.influence, mask=np.isnan(found.influence)),
                            pa.array(found.round, mask=found.round < 0),
                            pa.array(found.scored, mask=outside),
                        ],
                        schema=quad_schema(self.quad.name),
                    )
                )
                states.write_batch(state.to_batch())
            columns.note = states.note = {"fell": fell.tolist()}
        return [int(number) for number in fell]


@dataclass(frozen=True)
class _Fates:
    """What became of rows: their turn's round and mean, own influence, whether scored, refused, selected."""

    round: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    influence: npt.NDArray[np.float64]
    scored: npt.NDArray[np.bool_]
    refused: npt.NDArray[np.bool_]
    chosen: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Taken:
    """All turns and scores, sorted by cluster and rank, to look rows up."""

    turns: Wanted
    rounds: npt.NDArray[np.int64]
    means: npt.NDArray[np.float64]
    accepted: npt.NDArray[np.bool_]
    chosen: Wanted
    scored: Wanted
    scores: npt.NDArray[np.float64]
    final: npt.NDArray[np.float64]

    @classmethod
    def of(cls, search: ProbeSearch) -> "_Taken":
        draws = sorted(search.state.draws, key=lambda draw: (draw.cluster, draw.first))
        scored = search.scored.rows
        scores = scored["influence"].astype(np.float64)
        if search.scale is not None:
            scores = (scores - search.scale.mean) / search.scale.deviation
        single = [Probe(c, r, r + 1) for c, r in zip(scored["cluster"].tolist(), scored["rank"].tolist(), strict=True)]
        last = [math.nan if one is None else one for one in cluster_scores(search.state, search.options.alpha)]
        return cls(
            Wanted.of([Probe(draw.cluster, draw.first, draw.after) for draw in draws]),
            np.array([draw.round for draw in draws], np.int64),
            np.array([draw.mean for draw in draws], np.float64),
            np.array([draw.accepted for draw in draws], np.bool_),
            Wanted.of([Probe(draw.cluster, draw.first, draw.after) for draw in search.selection()]),
            Wanted.of(single),
            scores,
            np.array(last, np.float64),
        )

    def cluster_score(self, clusters: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return each row's cluster's score at the end; NaN in none."""
        scores = np.append(self.final, np.nan)
        return scores[np.where(clusters < 0, len(self.final), clusters)]

    def look_up(self, clusters: npt.NDArray[np.int64], ranks: npt.NDArray[np.int64]) -> _Fates:
        """Return what became of rows, by cluster (-1: none) and rank."""
        size = len(clusters)
        turn, own = self.turns.find(clusters, ranks), self.scored.find(clusters, ranks)
        came, scored = turn >= 0, own >= 0
        rounds, means = np.full(size, -1, np.int64), np.full(size, np.nan)
        rounds[came], means[came] = self.rounds[turn[came]], self.means[turn[came]]
        influence = means.copy()
        influence[scored] = self.scores[own[scored]]
        refused = np.zeros(size, np.bool_)
        refused[came] = ~self.accepted[turn[came]]
        return _Fates(rounds, means, influence, scored, refused, self.chosen.find(clusters, ranks) >= 0)


def decide_quad(corpus: Corpus, quad: Quad, proxy: Proxy) -> Decision:
    """Rank the documents of each cluster, score what the bandit asks for, and keep what it selects."""
    stage, label = corpus.stage, corpus.label
    ranked, columns = stage.fitted_place("ranks"), stage.place("columns")

    def reader(names: Sequence[str]) -> ColumnReader:
        return ColumnReader.of(corpus.state, {**corpus.columns, "cluster": ranked, "rank": ranked}, names)

    def plain(names: Sequence[str]) -> ColumnReader:
        return ColumnReader.of(corpus.state, corpus.columns, names)

    counted = corpus.each_shard("clusters", CountClusters(plain(quad.by), quad.by), combine=join_counts)
    order = exchange_ranks(
        label=label,
        seed=corpus.seed,
        by=quad.by,
        cost=quad.cost,
        counted=counted.name,
        place=ranked,
        folder=stage.fitted_place("exchange").folder,
        reader=plain,
        after=corpus.after,
    )
    nodes: list[Node] = [counted, order]
    ranks = reader(("cluster", "rank"))
    begin = _Begin(label, quad, counted.name, order.name, None if quad.neighbours is None else f"{label}: centres")
    reads = [counted.name, order.name]
    if begin.centres is not None:
        sums = _SumCentres(reader(("cluster", quad.embedding)), quad.embedding, begin)
        nodes.append(
            corpus.each_shard("centres", sums, combine=_join_sums, inputs=(counted.name,), after=(order.name,))
        )
        reads.append(begin.centres)
    direction = stage.models[DIRECTION]
    work = _ScoreProbes(proxy, _place(direction), ranks, corpus.columns["text"], stage.fitted_place("scores"))
    search = Search.over(corpus, "scores, pass", begin, work, quad.passes, tuple(reads), Scored)
    nodes += search.passes(corpus, small=False)
    words = corpus.each_shard(
        "titles",
        Kept(_CountWords(ranks, corpus.columns["text"], begin), stage.fitted_place("words")),
        combine=_join_words,
        inputs=(counted.name,),
        after=(order.name,),
        small=False,
    )
    apply = _Apply(stage, quad, search, ranks, columns)
    decide = corpus.each_shard("decide", apply, inputs=search.inputs, after=(words.name,))
    nodes += [words, decide]
    report = _Selected(label, quad, search, begin, words.name)
    inputs = (words.name, *search.inputs)
    return Decision(tuple(nodes), dict.fromkeys(quad_schema(quad.name).names, columns), report, inputs)


def _place(path: Any) -> Place:
    if not isinstance(path, Place):
        msg = "the direction is fitted by the run"
        raise TypeError(msg)
    return path


@dataclass(frozen=True)
class _Selected:
    """What the selection came to: figures, tables of clusters, rounds and scores, and what fell short."""

    label: str
    quad: Quad
    search: Search[ProbeSearch]
    begin: _Begin
    words: str

    def __call__(self, values: Values) -> Outcome:
        search = self.search.state(values)
        clusters = self.begin.clusters(values)
        words = ClusterWords.from_json(json.loads(values[self.words] or b"{}"))
        documents = sum(search.pool.sizes)
        scored = search.scored.rows
        options, state = search.options, search.state
        chosen = search.selection()
        told = {"missing": "passes", None: "nothing to draw from"}.get(state.stop, state.stop)
        metrics: dict[str, Any] = {
            "clusters": len(clusters.sizes),
            "documents": documents,
            "scored": len(scored),
            "scored_share": round(len(scored) / documents, 6) if documents else 0.0,
            "scored_tokens": int(scored["tokens"].sum()),
            "passes": search.passes,
            "rounds": state.round,
            "turns": len(state.draws),
            "accepted": sum(draw.accepted for draw in state.draws),
            "stop": told,
            "spent": _spent(search, chosen),
            "options": asdict(options),
            "scale_mean": None if search.scale is None else search.scale.mean,
            "scale_deviation": None if search.scale is None else search.scale.deviation,
        }
        names = self.begin.quad
        thresholds = {f"{names.name}_influence_min": options.tau, f"{names.name}_budget": options.budget}
        tables = quad_tables(search, clusters, words)
        return Outcome(thresholds, metrics, tuple(self._warnings(told, metrics)), tables)

    def _warnings(self, told: Any, metrics: Mapping[str, Any]) -> list[str]:
        spent, budget, unit = metrics["spent"], metrics["options"]["budget"], metrics["options"]["unit"]
        if not metrics["documents"]:
            return [f"step {self.label}: there is no document in any cluster to select from"]
        if spent >= budget:
            return []
        why = {
            "passes": f"after {metrics['passes']} passes scores were still missing: raise `passes` or `ahead`",
            "rounds": f"the bound of {metrics['rounds']:,} on rounds was reached: raise `rounds`",
            "exhausted": "no cluster has documents left whose turn hasn't come: lower `tau`, or select less",
        }[str(told)]
        return [f"step {self.label}: {spent:,.0f} of the {budget:,.0f} {unit} of the budget were selected: {why}"]


def _spent(search: ProbeSearch, chosen: Sequence[Any]) -> float:
    costs = search.pool.costs
    if costs is None:
        return float(sum(draw.after - draw.first for draw in chosen))
    return math.fsum(math.fsum(costs[draw.cluster][draw.first : draw.after]) for draw in chosen)
