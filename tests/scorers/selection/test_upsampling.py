"""Upsampling curves: the reference's values, quadrature, the largest wish that fits; copies and tables."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.selection.upsampling import copies, upsampling_curve
from tamis.scorers.text.identity import doc_id


def test_curves_are_the_references(golden):
    for case in json.loads((golden / "dolma3_curves.json").read_text())["cases"]:
        config = case["config"]
        for topic, wanted in case["result"].items():
            pool = [(quality, count) for quality, name, count in config["pool"] if name == topic]
            share = config["target_tokens"] * config["pstar"][topic]
            curve = upsampling_curve(
                [count for _, count in pool], share, cap=config["max_upsample"], throwaway=config["throwaway"]
            )
            factors = [wanted["upsample"][str(quality)] for quality, _ in pool]
            tokens = [wanted["tokens"][str(quality)] for quality, _ in pool]
            assert curve.power == pytest.approx(wanted["p"], abs=1e-9)
            assert curve.rate == pytest.approx(wanted["lambda"], abs=1e-4)
            assert curve.scale == pytest.approx(wanted["C"], rel=1e-4)
            assert curve.factors.tolist() == pytest.approx(factors, abs=1e-4)
            assert curve.tokens.tolist() == pytest.approx(tokens, rel=1e-4, abs=1)


POOLS = st.lists(st.integers(1, 5000), min_size=2, max_size=20)


@given(POOLS, st.floats(0.05, 4), st.floats(1, 8), st.floats(0, 0.8), st.booleans())
def test_properties(pool, ratio, cap, throwaway, continuous):
    total = sum(pool)
    try:
        curve = upsampling_curve(pool, ratio * total, cap=cap, throwaway=throwaway, continuous=continuous)
    except DataError as error:
        most = int(str(error).split("at most ")[2].split(" can")[0])
        assert most < ratio * total + 1
        if most > 1:
            upsampling_curve(pool, most * (1 - 1e-6), cap=cap, throwaway=throwaway, continuous=continuous)
        return
    assert (np.diff(curve.factors) >= -1e-9).all()  # better ranges are never seen less
    assert curve.factors[-1] <= cap + 2e-6
    assert (curve.factors * pool).sum() == pytest.approx(ratio * total, rel=1e-9)
    ends = np.cumsum(pool) / total
    assert all(factor == 0 for factor, end in zip(curve.factors, ends, strict=True) if end <= throwaway - 1e-12)
    start = max([end for end in ends if end <= throwaway], default=0.0)

    def value(x):
        return curve.scale * x**curve.power * np.exp(curve.rate * x)

    low = ends[-2]
    mean = quad(value, low - start, 1 - start)[0] / (1 - low) if low >= start else curve.factors[-1]
    assert mean == pytest.approx(curve.factors[-1], rel=1e-6)


def test_a_continuous_power_is_never_smaller():
    pool = [500] * 20
    for ratio in (1.0, 1.4, 1.9, 2.2):
        steps, smooth = (
            upsampling_curve(pool, ratio * 10_000, cap=4, throwaway=0.4, continuous=c) for c in (False, True)
        )
        assert smooth.power >= steps.power - 1e-9


def test_ranges_without_tokens():
    with_gap = upsampling_curve([0, 500, 0, 500, 0], 800, cap=7, throwaway=0.2)
    plain = upsampling_curve([500, 500], 800, cap=7, throwaway=0.2)
    assert with_gap.factors.tolist() == pytest.approx([0, plain.factors[0], 0, plain.factors[1], 0])


def test_copies():
    ids = [doc_id("x", str(i)) for i in range(4000)]
    factors = np.repeat([0.0, 0.25, 1.0, 2.75], 1000)
    taken = copies(3, factors, ids)
    assert np.array_equal(taken[::-1], copies(3, factors[::-1], ids[::-1]))
    means = taken.reshape(4, -1).mean(axis=1)
    assert means[[0, 2]].tolist() == [0, 1]
    assert means[[1, 3]].tolist() == pytest.approx([0.25, 2.75], abs=0.06)
    assert set(taken[3000:].tolist()) == {2, 3}


def test_wrong_use_is_named():
    with pytest.raises(DataError, match="raise the cap"):
        upsampling_curve([10, 10], 1000)
    with pytest.raises(DataError, match="of 0"):
        upsampling_curve([0, 0], 5)
    with pytest.raises(ConfigError, match="throwaway"):
        upsampling_curve([1], 1, throwaway=1)
    with pytest.raises(DataError, match="-1"):
        copies(0, [1, -1], [doc_id("x", "1"), doc_id("x", "2")])
