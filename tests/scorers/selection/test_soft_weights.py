"""Weights inverse to commonness: by hand, bounded, of mean 1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.selection.soft_weights import soft_weights


def test_weights_are_inverse_to_commonness():
    """Twice as common is half the weight: perplexities 10, 20, 40 are probabilities 1/10, 1/20, 1/40."""
    assert soft_weights([10, 20, 40], ratio=10).tolist() == pytest.approx([3 / 7, 6 / 7, 12 / 7])
    assert soft_weights([7.5], ratio=10).tolist() == [1]
    assert soft_weights([], ratio=10).tolist() == []


def test_the_ratio_bounds_what_is_commonest():
    assert soft_weights([1, 50, 100], ratio=4).tolist() == pytest.approx([3 / 7, 6 / 7, 12 / 7])
    assert soft_weights([1, 50, 100], ratio=1).tolist() == [1, 1, 1]
    assert np.isfinite(soft_weights([1, np.inf, 1e308, 1e308], ratio=10)).all()


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=30), st.floats(1, 100))
def test_mean_order_and_ratio(perplexities, ratio):
    found = soft_weights(sorted(perplexities), ratio=ratio)
    assert found.mean() == pytest.approx(1)
    assert (np.diff(found) >= 0).all()
    assert found.max() / found.min() <= ratio * (1 + 1e-9)


def test_wrong_values_are_named():
    with pytest.raises(DataError, match="and 0 isn't"):
        soft_weights([1, 0], ratio=10)
    with pytest.raises(DataError, match="and nan isn't"):
        soft_weights([np.nan], ratio=10)
    with pytest.raises(ConfigError, match=r"at least 1, not 0\.5"):
        soft_weights([1], ratio=0.5)
