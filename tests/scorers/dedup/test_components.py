"""Connected components in memory and out of core: against brute force."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tamis.scorers.dedup.components import Arcs, connected_components, contract, partition_arcs
from tests.scorers.dedup.shingle_twin import components

EDGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).filter(lambda e: e[0] != e[1]), max_size=60)
SCALE = 0x1234_5678_9ABC  # numbers as far apart as shards make them


def as_columns(edges):
    pairs = np.array(edges, np.uint64).reshape(-1, 2) * np.uint64(SCALE)
    return pairs[:, 0], pairs[:, 1]


def exchange_over(partitions):
    def exchange(parts):
        cuts = [partition_arcs(part, partitions) for part in parts]
        return [Arcs(*map(np.concatenate, zip(*mine, strict=True))) for mine in zip(*cuts, strict=True)]

    return exchange


def wanted(edges):
    vertices = {v for edge in edges for v in edge}
    return {v * SCALE: label * SCALE for v, label in components(vertices, edges).items()}


@given(EDGES)
def test_union_find(edges):
    found = connected_components(*as_columns(edges))
    assert dict(zip(found.documents.tolist(), found.labels.tolist(), strict=True)) == wanted(edges)


@given(EDGES, st.integers(1, 5))
def test_contraction_leads_each_document_to_its_smallest(edges, partitions):
    a, b = as_columns(edges)
    stars = contract(partition_arcs(Arcs(a, b), partitions), exchange_over(partitions))
    found = {int(v): int(least) for part in stars for v, least in zip(*part, strict=True)}
    assert sum(len(part.centres) for part in stars) == len(found)
    assert found == {v: label for v, label in wanted(edges).items() if v != label}


def test_a_long_path_needs_few_passes():
    """The worst case of naive label propagation: as many passes as the path is long."""
    n = 3000
    order = np.random.default_rng(1).permutation(n).astype(np.uint64)
    passes = []

    def counted(parts):
        passes.append(1)
        return exchange_over(3)(parts)

    stars = contract(partition_arcs(Arcs(order[1:], order[:-1]), 3), counted)
    assert {int(least) for part in stars for least in part.neighbours} == {0}
    assert sum(len(part.centres) for part in stars) == n - 1
    assert len(passes) < 3 * 14


def test_a_million_edges_deep_tree():
    n = 200_000
    a = np.arange(1, n, dtype=np.uint64)
    found = connected_components(a, a - np.uint64(1))
    assert not found.labels.any()
