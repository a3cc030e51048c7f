import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, ttest_1samp

from tamis.schemas.errors import DataError
from tamis.scorers.mixture.paired import compare_arms, paired_difference, proxy_note


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=9))
def test_intervals_are_students(pairs: list[tuple[float, float]]) -> None:
    a, b = ({i: pair[k] for i, pair in enumerate(pairs)} for k in (0, 1))
    values = np.array([x - y for x, y in pairs])
    found = paired_difference(a, b, confidence=0.9)
    assert found.mean == pytest.approx(values.mean(), abs=1e-12)
    if values.std() > 1e-6:
        test = ttest_1samp(values, 0)
        low, high = test.confidence_interval(0.9)
        assert (found.low, found.high) == pytest.approx((low, high))
        assert found.p_value == pytest.approx(test.pvalue)
    assert paired_difference(b, a).mean == pytest.approx(-found.mean, abs=1e-12)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        seed_effect = generator.normal(0, 5, 4)
        a = {i: x + 0.3 + generator.normal(0, 0.2) for i, x in enumerate(seed_effect)}
        b = dict(enumerate(seed_effect))
        found = paired_difference(a, b)
        hits += found.low <= 0.3 <= found.high
    assert 930 <= hits <= 970


def test_verdicts_in_words() -> None:
    base = {0: 2.0, 1: 2.5, 2: 3.0}
    results = {
        "random": {"wiki": base},
        "selected": {"wiki": {0: 1.9, 1: 2.41, 2: 2.89}},
        "shuffled": {"wiki": {0: 4.0, 1: 4.5, 2: 5.01}},
        "noise": {"wiki": {0: 2.1, 1: 2.4, 2: 3.02}},
        "same": {"wiki": dict(base)},
    }
    found = {row.arm: row for row in compare_arms(results, "random")}
    assert [found[arm].verdict for arm in ("selected", "shuffled", "noise", "same")] == [
        "better",
        "worse",
        "unclear",
        "same",
    ]
    assert found["selected"].sentence.startswith("wiki: selected minus random is -0.1 nats (95% interval")
    assert "survives its interval" in found["shuffled"].sentence
    assert "the interval includes 0" in found["noise"].sentence
    assert found["selected"].baseline_mean == pytest.approx(2.5)
    scores = {row.arm: row.verdict for row in compare_arms(results, "random", lower_is_better=False)}
    assert scores["selected"] == "worse"
    one = compare_arms({"a": {"x": {0: 1.0}}, "b": {"x": {0: 2.0, 5: 9.0}}}, "b")[0]
    assert one.verdict == "one seed"
    assert math.isinf(one.difference.low)


def test_many_comparisons_are_adjusted() -> None:
    generator = np.random.default_rng(1)
    base = dict.fromkeys(range(4), 1.0)
    results = {"base": {"x": base}}
    results |= {f"a{k}": {"x": {i: 1.0 + generator.normal(0, 0.1) for i in range(4)}} for k in range(40)}
    rows = compare_arms(results, "base")
    plain = [row.difference.p_value for row in rows]
    assert min(plain) < 0.05  # one in twenty by chance alone
    assert all(row.verdict == "unclear" for row in rows)
    assert all(row.adjusted_p >= p for row, p in zip(rows, plain, strict=True))
    assert all(row.adjusted_p >= fdr - 1e-12 for row, fdr in zip(rows, false_discovery_control(plain), strict=True))
    assert min(row.adjusted_p for row in rows) == pytest.approx(min(1.0, 40 * min(plain)))
    assert any("after adjusting" in row.sentence for row in rows)


def test_refusals_and_notes() -> None:
    with pytest.raises(DataError, match="isn't among the arms a"):
        compare_arms({"a": {}}, "b")
    with pytest.raises(DataError, match="shares no evaluation set"):
        compare_arms({"a": {"x": {0: 1.0}}, "b": {"y": {0: 1.0}}}, "b")
    with pytest.raises(DataError, match="shared seeds"):
        paired_difference({0: 1.0}, {1: 1.0})
    assert "0.73 at 1 million" in proxy_note(1e6)
    assert proxy_note(2e7) == ""
