"""Candidate pairs of buckets of every size, and pairs each once: against the obvious twins."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.scorers.dedup.bands import BandRows
from tamis.scorers.dedup.pairs import candidate_pairs, unique_pairs

NUMBERS = st.tuples(st.sampled_from([0, 1, 7, 2**31 - 1]), st.sampled_from([0, 1, 5, 2**32 - 1]))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=20))
def test_pairs_each_once_in_order(pairs):
    numbers = [tuple(shard << 32 | row for shard, row in pair) for pair in pairs]
    found = unique_pairs(np.array(numbers, np.uint64).reshape(-1, 2))
    assert [tuple(pair) for pair in found.tolist()] == sorted(set(numbers))


@pytest.mark.parametrize("sizes", [(1, 2, 3), (63, 64, 65), (300, 2, 70, 1)])
def test_buckets_small_and_large(sizes):
    draw = np.random.default_rng(3)
    keys = np.repeat(np.arange(len(sizes), dtype=np.uint64) << np.uint64(60), sizes)
    n = len(keys)
    documents = draw.permutation(n).astype(np.uint64)
    digests = draw.integers(0, max(2, n // 3), n).astype(np.uint64)
    order = draw.permutation(n)
    found = candidate_pairs(BandRows(keys[order], documents[order], digests[order]), every=True, neighbours=n)
    equal, unlike = set(), set()
    for key in np.unique(keys):
        kinds = {}
        for document, digest in sorted(
            zip(documents[keys == key].tolist(), digests[keys == key].tolist(), strict=True)
        ):
            kinds.setdefault(digest, []).append(document)
        equal |= {(group[0], other) for group in kinds.values() for other in group[1:]}
        unlike |= {tuple(sorted((one[0], other[0]))) for one, other in combinations(kinds.values(), 2)}
    assert {tuple(pair) for pair in found.equal.tolist()} == equal
    assert {tuple(pair) for pair in found.pairs.tolist()} == unlike


def test_a_limit_takes_fewer_neighbours():
    n = 200
    rows = BandRows(np.zeros(n, np.uint64), np.arange(n, dtype=np.uint64), np.arange(n, dtype=np.uint64))
    for limit in (1, 150, 1000, 10**6):
        found = candidate_pairs(rows, every=True, neighbours=64, limit=limit)
        assert n - 1 <= len(found.pairs) <= max(limit, n - 1)
        assert len(found.pairs) + found.left_out == n * (n - 1) // 2
