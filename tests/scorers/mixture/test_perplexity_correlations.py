from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kendalltau, spearmanr

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.perplexity_correlations import correlations, project

LOSSES = arrays(np.float64, (4, 6), elements=st.integers(0, 12).map(float))
SCORES = arrays(np.float64, 6, elements=st.integers(0, 5).map(float))


@given(LOSSES, SCORES)
def test_estimates_are_those_of_all_pairs(losses: Any, scores: Any) -> None:
    error = -scores
    pairs = [(g, k) for g in range(6) for k in range(6) if g != k]
    spearman = correlations(losses, scores)
    for d, row in enumerate(losses):
        ranks = np.array([(row < x).sum() + ((row == x).sum() + 1) / 2 for x in row]) / 6
        cdf = np.mean([np.sign(error[g] - error[k]) * (ranks[g] - ranks[k]) for g, k in pairs])
        sign = np.mean([np.sign(error[g] - error[k]) * np.sign(row[g] - row[k]) for g, k in pairs])
        assert correlations(losses, scores, estimator="sign_cdf")[d] == pytest.approx(cdf)
        assert correlations(losses, scores, estimator="sign_sign")[d] == pytest.approx(sign)
        if len(set(row)) > 1 and len(set(error)) > 1:
            assert spearman[d] == pytest.approx(spearmanr(row, error).statistic)
        else:
            assert spearman[d] == 0


def test_without_ties_sign_sign_is_kendall() -> None:
    generator = np.random.default_rng(2)
    losses, scores = generator.normal(size=(3, 9)) + 5, generator.normal(size=9)
    wanted = [kendalltau(row, -scores).statistic for row in losses]
    np.testing.assert_allclose(correlations(losses, scores, estimator="sign_sign"), wanted)
    losses[1, 2] = np.nan
    assert np.isnan(correlations(losses, scores)).tolist() == [False, True, False]


@given(arrays(np.float64, 5, elements=st.floats(-1, 1)), arrays(np.float64, 5, elements=st.floats(0.05, 1)),
       st.sampled_from(["linear", "l2"]))  # fmt: skip
def test_projections_are_the_best_points(estimate: Any, caps: Any, method: Any) -> None:
    if caps.sum() < 1:
        with pytest.raises(ConfigError, match="can't fill a mixture"):
            project(estimate, caps, method=method)
        return
    p = project(estimate, caps, method=method)
    assert p.sum() == pytest.approx(1)
    assert (p >= 0).all()
    assert (p <= caps + 1e-9).all()
    value = (lambda x: x @ estimate) if method == "linear" else (lambda x: -np.square(x - estimate).sum())
    generator = np.random.default_rng(0)
    for _ in range(50):  # no other mixture is better: move a bit between two domains
        i, j = generator.choice(5, 2, replace=False)
        step = min(p[i], caps[j] - p[j]) * generator.uniform()
        other = p.copy()
        other[i], other[j] = p[i] - step, p[j] + step
        assert value(other) <= value(p) + 1e-9


def test_unmeasured_domains_get_nothing() -> None:
    assert project([0.9, np.nan, 0.1], [0.6, 1.0, 0.7])[1] == 0
    with pytest.raises(DataError, match="at least two"):
        correlations([[1.0]], [0.5])
