"""Decisions by rules: against a loop over rows and rules."""

import math
import operator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError
from tamis.schemas.rule import Rule
from tamis.scorers.selection.rules import decide

HOLDS = {"min": operator.ge, "max": operator.le, "above": operator.gt, "below": operator.lt}
NUMBERS = st.one_of(st.none(), st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, math.nan, math.inf, -math.inf]))
RULES = st.lists(
    st.builds(
        Rule,
        column=st.sampled_from(["a", "b"]),
        op=st.sampled_from(sorted(HOLDS)),
        threshold=st.sampled_from([-1, 0, 0.5, 1, 2]),
        reason=st.just("r"),
    ),
    max_size=5,
)


def twin(row, rules):
    for position, rule in enumerate(rules):
        value = row[rule.column]
        if value is not None and not math.isnan(value) and not HOLDS[rule.op](value, rule.threshold):
            return position, value
    return -1, math.nan


@given(st.lists(st.fixed_dictionaries({"a": NUMBERS, "b": NUMBERS}), max_size=8), RULES)
def test_first_broken_rule_decides(rows, rules):
    batch = pa.RecordBatch.from_pylist(rows, pa.schema([("a", pa.float64()), ("b", pa.float64())]))
    wanted = [twin(row, rules) for row in rows]
    columns = {name: [row[name] for row in rows] for name in "ab"}
    for given_columns in (
        batch,
        pa.Table.from_batches([batch]),
        columns,
        {k: np.array(v, float) for k, v in columns.items()},
    ):
        decision = decide(given_columns, rules)
        assert decision.rule.dtype == np.int16
        assert decision.value.dtype == np.float64
        assert decision.rule.tolist() == [rule for rule, _ in wanted]
        assert np.array_equal(decision.value, [value for _, value in wanted], equal_nan=True)


def test_bounds_are_inclusive_or_strict():
    values = {"x": [0.9, 1.0, 1.1]}
    fallen = {op: decide(values, [Rule(column="x", op=op, threshold=1, reason="r")]).rule.tolist() for op in HOLDS}
    assert fallen == {"min": [0, -1, -1], "max": [-1, -1, 0], "above": [0, 0, -1], "below": [-1, 0, 0]}


def test_types_of_columns():
    rule = [Rule(column="x", op="max", threshold=0, reason="r")]
    for column in (
        pa.array([1, None, 0], pa.int64()),
        pa.array([True, None, False]),
        pa.array([1.0, None, 0.0], pa.float32()),
        pa.chunked_array([[1], [None, 0]]),
    ):
        assert decide({"x": column}, rule).rule.tolist() == [0, -1, -1]
    assert decide({"x": pa.nulls(2)}, rule).rule.tolist() == [-1, -1]
    sliced = pa.record_batch({"x": pa.array([5, 0, 1, 0])}).slice(1, 2)
    assert decide(sliced, rule).rule.tolist() == [-1, 0]


def test_no_rules_and_no_rows():
    assert decide({"x": [1, 2]}, []).rule.tolist() == [-1, -1]
    assert decide({}, [], rows=3).rule.tolist() == [-1, -1, -1]
    assert decide({"x": []}, [Rule(column="x", op="max", threshold=0, reason="r")]).rule.tolist() == []


def test_mistakes_are_named():
    rule = [Rule(column="text_word", op="max", threshold=0, reason="mine")]
    with pytest.raises(ConfigError, match=r"rule 'mine': no column 'text_word'; did you mean 'text_words'"):
        decide({"text_words": [1]}, rule)
    with pytest.raises(ConfigError, match="holds string"):
        decide({"text_word": pa.array(["a"])}, rule)
    for wrong in (["a"], np.array([object()])):
        with pytest.raises(ConfigError, match="numbers"):
            decide({"text_word": wrong}, rule)
