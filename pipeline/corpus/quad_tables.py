"""The tables that Quad leaves beside the shards: clusters and rounds to look at, scores to play again from."""

from collections import Counter

import numpy as np
import pyarrow as pa

from tamis.pipeline.corpus.clusters import hex_ids
from tamis.pipeline.corpus.quad_clusters import Clusters
from tamis.schemas.tables import described
from tamis.scorers.embeddings.describe import ClusterWords
from tamis.scorers.influence.bandit import clusters_view, rounds_view
from tamis.scorers.influence.probe_search import Pool, ProbeSearch

__all__ = ["pool_of", "quad_tables", "scores_of"]

_WORDS = {
    "cluster": "number of the cluster",
    "label": "what the columns of `by` hold",
    "title": "its most distinctive words against the pool",
    "documents": "documents in it",
    "scored": "documents of it that were scored",
    "mean_influence": "of these, in standard deviations of the pool's",
    "cluster_score": "what the bandit gave it at the end; null if its turn never came",
    "turns": "how often its turn came",
    "selected": "documents selected",
    "round": "of the bandit, from 0",
    "first": "rank in the cluster's order of the first document whose turn it was",
    "after": "rank after the last one",
    "accepted": "whether the mean influence of the probe was above tau",
    "rank": "in the cluster's order",
    "doc_id": "the document",
    "influence": "how much a step on it would lower the reference loss, in the proxy's own units",
    "tokens": "of the document that were scored",
    "cost": "of the document, in the budget's unit",
    "other": "number of a cluster near it",
    "distance": "one minus the cosine between their centres",
}


def _described(table: pa.Table, **others: str) -> pa.Table:
    words = {**_WORDS, **others}
    fields = [described(f.name, f.type, words[f.name], nullable=f.nullable) for f in table.schema]
    return table.cast(pa.schema(fields))


def quad_tables(search: ProbeSearch, clusters: Clusters, words: ClusterWords) -> dict[str, pa.Table]:
    """Return the tables by name.

    Args:
        search: at its end.
        clusters: what it drew from.
        words: of a sample of each.
    """
    table, options, state = search.table, search.options, search.state
    titles = [words.title(number) for number in range(len(clusters.sizes))]
    taken = {(draw.round, draw.cluster): draw.after - draw.first for draw in search.selection()}
    by_cluster = Counter[int]()
    for (_, cluster), documents in taken.items():
        by_cluster[cluster] += documents
    view = clusters_view(table, options, state, titles)
    selected = pa.array([by_cluster[number] for number in range(len(clusters.sizes))], pa.int64())
    view = view.set_column(view.schema.get_field_index("selected"), "selected", selected)
    labels = pa.array(["/".join(label) for label in clusters.labels], pa.string())
    rounds = rounds_view(state)
    documents = pa.array([taken.get((draw.round, draw.cluster), 0) for draw in state.draws], pa.int64())
    rows = search.scored.rows
    scores = pa.table(
        {
            "cluster": pa.array(rows["cluster"]),
            "rank": pa.array(rows["rank"]),
            "doc_id": hex_ids(np.column_stack([rows["id_hi"], rows["id_lo"]]).astype(np.uint64)),
            "influence": pa.array(rows["influence"]),
            "tokens": pa.array(rows["tokens"]),
        }
    )
    found = {
        "quad_clusters": _described(view.add_column(1, "label", labels)),
        "quad_rounds": _described(
            rounds.append_column("selected", documents),
            cluster_score="what the bandit gave the cluster before the round",
            mean_influence="of the probe, in standard deviations of the pool's",
        ),
        "quad_scores": _described(scores),
    }
    pool = search.pool
    if pool.costs is not None:
        ranks = [np.arange(len(own)) for own in pool.costs]
        numbers = [np.full(len(own), number) for number, own in enumerate(pool.costs)]
        found["quad_costs"] = _described(
            pa.table(
                {
                    "cluster": pa.array(np.concatenate([np.zeros(0, np.int64), *numbers])),
                    "rank": pa.array(np.concatenate([np.zeros(0, np.int64), *ranks])),
                    "cost": pa.array(np.concatenate([np.zeros(0), *pool.costs])),
                }
            )
        )
    if pool.distances is not None and options.neighbours is not None:
        one, other = np.nonzero(pool.distances < options.neighbours)
        distances = pa.array(pool.distances[one, other])
        found["quad_neighbours"] = _described(
            pa.table({"cluster": pa.array(one), "other": pa.array(other), "distance": distances})
        )
    return found


def pool_of(clusters: pa.Table, costs: pa.Table | None, neighbours: pa.Table | None) -> Pool:
    """Return the pool that tables of a run tell of; distances beyond those of neighbours are infinite."""
    sizes = clusters.sort_by("cluster").column("documents").to_pylist()
    own = None
    if costs is not None:
        table = costs.sort_by([("cluster", "ascending"), ("rank", "ascending")])
        ends = np.cumsum(sizes)
        own = np.split(table.column("cost").to_numpy(), ends[:-1]) if sizes else []
    distances = None
    if neighbours is not None:
        distances = np.full((len(sizes), len(sizes)), np.inf)
        one, other = (neighbours.column(name).to_numpy() for name in ("cluster", "other"))
        distances[one, other] = neighbours.column("distance").to_numpy()
    return Pool(sizes, own, distances)


def scores_of(scores: pa.Table) -> dict[int, dict[int, float]]:
    """Return cluster to rank to influence, in the proxy's own units, from a run's table of scores."""
    found: dict[int, dict[int, float]] = {}
    columns = (scores.column(name).to_pylist() for name in ("cluster", "rank", "influence"))
    for cluster, rank, influence in zip(*columns, strict=True):
        found.setdefault(cluster, {})[rank] = influence
    return found
