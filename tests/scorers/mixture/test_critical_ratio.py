import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.schemas.errors import DataError
from tamis.scorers.mixture.critical_ratio import Curve, critical_ratio, fit_power_law, ratio_law

CASE = json.loads((Path(__file__).resolve().parents[2] / "golden" / "mixing.json").read_text())["cmr"]
T = np.array(CASE["T"], float)


def curves(noise: float = 0.0, seed: int = 0, seeds: int = 1) -> list[Curve]:
    generator = np.random.default_rng(seed)
    result = []
    for curve in CASE["curves"]:
        general, domain = (np.tile(curve[key], (seeds, 1)) for key in ("general_change", "domain_change"))
        shape = general.shape
        result.append(Curve(curve["R"], T, general + noise * generator.normal(size=shape),
                            domain + noise * generator.normal(size=shape)))  # fmt: skip
    return result


def test_exact_world_as_the_reference() -> None:
    found = critical_ratio(curves(), tokens=CASE["T_max"], epsilon=CASE["epsilon"], draws=10)
    np.testing.assert_allclose(found.general_change, CASE["general_change_at_T_max"], atol=1e-6)
    assert [r for r, ok in zip(found.ratios, found.feasible, strict=True) if ok] == CASE["feasible"]
    assert found.ratio == pytest.approx(CASE["cmr_exact"], abs=1e-4)
    low, high = found.interval
    assert low <= found.ratio <= high
    linear = critical_ratio(curves()[::-1], tokens=CASE["T_max"], interpolation="linear", draws=0)
    assert linear.ratio == pytest.approx(CASE["cmr_interpolated"], abs=1e-6)
    assert "up to 48.1% of domain data" in found.verdict
    law = next(law for law, r in zip(found.laws, found.ratios, strict=True) if r == CASE["fit_check"]["R"])
    assert float(law.predict(100.0)) == pytest.approx(
        CASE["fit_check"]["truth_at_T_max"], abs=CASE["fit_check"]["tolerance"]
    )
    truth = CASE["curves"][0]["truth"]
    domain = fit_power_law(T, np.array(CASE["curves"][0]["domain_change"]))
    assert domain.factors[0] == pytest.approx(truth["a1"], abs=1e-5)
    assert domain.exponents[0] == pytest.approx(truth["s1"], abs=1e-5)


def test_law_of_critical_ratios_as_the_reference() -> None:
    case = CASE["cmr_by_T"]
    law = ratio_law(case["T"], case["R"])
    assert law.max_error <= 1.1 * case["max_error"]
    for t, r in zip(case["T"], case["R"], strict=True):
        assert law.predict(t) == pytest.approx(r, abs=5e-4)
    assert law.exponent == pytest.approx(case["s"], abs=1e-3)
    with pytest.raises(DataError, match="four horizons"):
        ratio_law([1, 2, 3], [0.1, 0.2, 0.3])


def test_answers_at_both_ends_in_words() -> None:
    none = critical_ratio(curves(), tokens=100, epsilon=-1.0, draws=5)
    assert none.ratio is None
    assert "below 0.1, the smallest tried" in none.verdict
    assert none.interval == (None, None)
    every = critical_ratio(curves(), tokens=100, epsilon=1.0, draws=5)
    assert every.ratio is None
    assert "above 0.6, the largest tried" in every.verdict


def test_noise_widens_the_interval_and_seeds_narrow_it() -> None:
    def width(**options: Any) -> float:
        low, high = critical_ratio(curves(**options), tokens=100, draws=100).interval
        return float(high - low)

    assert width(noise=1e-5) < width(noise=2e-3)
    assert width(noise=2e-3, seeds=16) < width(noise=2e-3)
    found = critical_ratio(curves(noise=2e-3, seed=1), tokens=100)
    assert found.interval[0] <= CASE["cmr_exact"] <= found.interval[1]
    assert found == critical_ratio(curves(noise=2e-3, seed=1), tokens=100)


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    hits = 0
    for seed in range(100):
        low, high = critical_ratio(curves(noise=2e-3, seed=seed), tokens=100).interval
        hits += (low or 0.0) <= CASE["cmr_exact"] <= (high or 1.0)
    assert hits >= 75


def test_few_points() -> None:
    law = fit_power_law(T[:6], np.array(CASE["curves"][0]["general_change"][:6]), terms=2)
    assert len(law.factors) == 1
    assert "too few for two powers" in law.note
    with pytest.raises(DataError, match="at least three points"):
        fit_power_law(T[:2], T[:2])
    with pytest.raises(DataError, match="two or more different ratios"):
        critical_ratio(curves()[:1], tokens=10)
