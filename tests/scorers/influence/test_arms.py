import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.influence.arms import arm_cuts, split_arms


@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 6)), max_size=25), st.integers(1, 4))
def test_parts_are_ordered_and_of_one_cluster(rows, parts):
    clusters, values = np.array([c for c, _ in rows], int), np.array([v for _, v in rows], float)
    arms = split_arms(clusters, values, arm_cuts(clusters, values, count=3, parts=parts))
    for i, (cluster, value) in enumerate(rows):
        assert arms[i] == -1 if cluster < 0 else arms[i] // parts == cluster
        for j, (other, more) in enumerate(rows):
            if cluster == other and value <= more:
                assert arms[i] <= arms[j]
    order = np.random.default_rng(0).permutation(len(rows))
    again = split_arms(clusters[order], values[order], arm_cuts(clusters[order], values[order], count=3, parts=parts))
    np.testing.assert_array_equal(again, arms[order])


def test_parts_of_distinct_values_are_equal():
    values = np.random.default_rng(1).permutation(12).astype(float)
    arms = split_arms(np.zeros(12, int), values, arm_cuts(np.zeros(12, int), values, count=1, parts=3))
    assert np.bincount(arms).tolist() == [4, 4, 4]
    assert sorted(values[arms == 0]) == [0, 1, 2, 3]


def test_what_cannot_be_cut():
    with pytest.raises(ConfigError):
        arm_cuts(np.zeros(1, int), np.zeros(1), count=1, parts=0)
    with pytest.raises(DataError, match="row 1 is NaN"):
        arm_cuts(np.zeros(2, int), np.array([0.0, np.nan]), count=1, parts=2)
    with pytest.raises(DataError, match="one of each a document"):
        split_arms(np.zeros(2, int), np.zeros(1), np.zeros((1, 0)))
    assert split_arms(np.array([-1]), np.array([np.nan]), np.zeros((1, 1))).tolist() == [-1]
