import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.preselect.predictive_strength import (
    concordant_pairs,
    pick_examples,
    predictive_strength,
    sample_domains,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "preselect_strength.json"


def brute_force(losses, benchmark):
    order = sorted(range(len(benchmark)), key=lambda m: benchmark[m])
    pairs = list(itertools.combinations(order, 2))
    hits = sum(benchmark[i] < benchmark[j] and losses[i] > losses[j] for i, j in pairs)
    return hits, len(pairs)


@pytest.fixture(scope="module")
def golden():
    return json.loads(GOLDEN.read_text())


@pytest.fixture(scope="module")
def matrix(golden):
    return np.array([[row.get(model, np.nan) for model in golden["models"]] for row in golden["losses"].values()])


def test_golden_strength(golden, matrix):
    benchmark = [golden["benchmark"][model] for model in golden["models"]]
    strength = predictive_strength(matrix, benchmark)
    counts, pairs = concordant_pairs(matrix, benchmark)
    assert pairs == golden["meta"]["Z"]
    for name, value, count in zip(golden["losses"], strength, counts, strict=True):
        if name in golden["S"]:
            assert value == golden["S"][name]
            assert count == golden["score_int"][name]
        else:
            assert np.isnan(value)
            assert count == -1


def test_golden_examples(golden, matrix):
    names = np.array(list(golden["losses"]))
    benchmark = [golden["benchmark"][model] for model in golden["models"]]
    examples = pick_examples(predictive_strength(matrix, benchmark))
    assert names[examples.positive].tolist() == golden["positive"]
    assert names[examples.negative].tolist() == golden["negative"]


def test_columns_come_in_any_order(golden, matrix):
    benchmark = np.array([golden["benchmark"][model] for model in golden["models"]])
    order = [3, 0, 5, 1, 4, 2]
    np.testing.assert_array_equal(
        predictive_strength(matrix[:, order], benchmark[order]), predictive_strength(matrix, benchmark)
    )


@given(st.data())
def test_equals_brute_force(data):
    n = data.draw(st.integers(2, 6))
    few = st.integers(0, 4).map(float)  # few values make many ties
    benchmark = data.draw(st.lists(few, min_size=n, max_size=n))
    losses = data.draw(st.lists(st.lists(few, min_size=n, max_size=n), max_size=5))
    strength = predictive_strength(np.array(losses).reshape(-1, n), benchmark)
    assert strength.tolist() == [hits / pairs for hits, pairs in (brute_force(row, benchmark) for row in losses)]


def test_ties_count_nothing():
    assert predictive_strength([[3.0, 2.0, 2.0]], [1, 2, 3]).tolist() == [2 / 3]
    assert predictive_strength([[3.0, 2.0, 1.0]], [1, 2, 2]).tolist() == [2 / 3]
    assert predictive_strength([[2.0, 2.0]], [1, 2]).tolist() == [0]
    assert predictive_strength([[np.inf, 2.0]], [1, 2]).tolist() == [1]
    assert predictive_strength(np.zeros((0, 2)), [1, 2]).shape == (0,)


@pytest.mark.parametrize(
    ("losses", "benchmark", "message"),
    [
        ([[1.0, 2.0]], [1], "don't fit"),
        ([1.0, 2.0], [1, 2], "don't fit"),
        ([[1.0]], [1], "at least two"),
        ([[1.0, 2.0]], [1, np.nan], "finite"),
    ],
)
def test_wrong_input(losses, benchmark, message):
    with pytest.raises(DataError, match=message):
        predictive_strength(losses, benchmark)


def test_equal_numbers_whatever_is_scarce():
    few_negatives = pick_examples([1, 1, 0.5, 1, np.nan])
    assert (few_negatives.positive.tolist(), few_negatives.negative.tolist()) == ([0], [2])
    few_positives = pick_examples([0.9, 0.1, 0.5, 1, 0.1])
    assert (few_positives.positive.tolist(), few_positives.negative.tolist()) == ([3], [1])
    limited = pick_examples([1, 0.5, 1, 0.1, 1, 0.1], limit=2)
    assert (limited.positive.tolist(), limited.negative.tolist()) == ([0, 2], [3, 5])
    for strength in ([], [0.5, 0.2], [1, 1], [np.nan]):
        with pytest.raises(DataError, match="nothing to train on"):
            pick_examples(strength)


def test_domains_are_balanced():
    strength = [1, 1, 1, 0.5, 0.2, 1, 0.0, 0.1]
    domains = ["a", "a", "b", "a", "b", "a", "c", "b"]
    examples = pick_examples(strength, domains=domains)
    assert examples.positive.tolist() == [0, 2]
    assert examples.negative.tolist() == [7, 3]
    with pytest.raises(DataError, match="domains were given"):
        pick_examples(strength, domains=["a"])


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0, np.nan]), st.sampled_from("abc")), max_size=30))
def test_balance_of_any_domains(rows):
    strength, domains = [row[0] for row in rows], [row[1] for row in rows]
    try:
        examples = pick_examples(strength, domains=domains)
    except DataError:
        assert not any(
            1.0 in values and any(v < 1 for v in values)
            for values in ([s for s, d in rows if d == name] for name in "abc")
        )
        return
    assert sorted(domains[i] for i in examples.positive) == sorted(domains[i] for i in examples.negative)
    assert all(strength[i] == 1 for i in examples.positive)
    for name in "abc":
        taken = [strength[i] for i in examples.negative if domains[i] == name]
        left = [s for i, (s, d) in enumerate(rows) if d == name and s < 1 and i not in examples.negative]
        assert not taken or not left or max(taken) <= min(left)


def test_sample_of_domains():
    rng = np.random.default_rng(0)
    ids = np.array([f"{i:032x}" for i in range(2000)])
    domains = rng.choice(["a", "b", "c", "d"], 2000, p=[0.5, 0.3, 0.19, 0.01])
    chosen = sample_domains(ids.tolist(), domains.tolist(), n_domains=3, per_domain=100, seed=3)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert {name: int((domains[chosen] == name).sum()) for name in "abcd"} == {"a": 100, "b": 100, "c": 100, "d": 0}
    shuffled = rng.permutation(2000)
    again = sample_domains(ids[shuffled].tolist(), domains[shuffled].tolist(), n_domains=3, per_domain=100, seed=3)
    assert sorted(ids[shuffled][again]) == sorted(ids[chosen])
    other = sample_domains(ids.tolist(), domains.tolist(), n_domains=3, per_domain=100, seed=4)
    assert set(other.tolist()) != set(chosen.tolist())
    everything = sample_domains(ids.tolist(), domains.tolist(), n_domains=9, per_domain=5000)
    assert everything.tolist() == list(range(2000))
    assert sample_domains([], []).tolist() == []
    with pytest.raises(ConfigError, match="at least 1"):
        sample_domains(ids.tolist(), domains.tolist(), per_domain=0)
    with pytest.raises(DataError, match="domains were given"):
        sample_domains(ids.tolist(), ["a"])
