"""JSON that loses nothing: exact decimals, equal names, times, bytes, and characters that drive no terminal."""

import datetime as dt
import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.jobs.json_text import json_object, json_text, unique_names
from tamis.jobs.unprintable import UNPRINTABLE

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
nested = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


@given(nested)
def test_plain_values_survive(value: Any) -> None:
    told = json_text(value)
    assert json.loads(told) == value
    assert not UNPRINTABLE.search(told)


@given(st.one_of(st.decimals(allow_nan=False, allow_infinity=False, places=places) for places in (None, 10)))
def test_decimals_are_exact(value: Decimal) -> None:
    told = json.loads(f"[{json_text(value)}]", parse_float=Decimal, parse_int=Decimal)
    assert told == [value]


@given(st.lists(st.sampled_from(["a", "a_1", "a_2", "b", "a_1_1", ""]), max_size=8))
def test_names_become_unique_and_first_ones_stay(names: list[str]) -> None:
    told = unique_names(names)
    assert len(set(told)) == len(names)
    for place, name in enumerate(names):
        if name not in names[:place]:
            assert told[place] == name
        else:
            assert told[place].startswith(f"{name}_")


def test_nothing_of_equal_names_is_lost() -> None:
    assert json_object(["n", "n", "n_1"], [1, 2, 3]) == '{"n": 1, "n_2": 2, "n_1": 3}'
    assert json_object([], []) == "{}"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Decimal("1.10"), "1.10"),
        (Decimal("12345678901234567.89"), "12345678901234567.89"),
        (Decimal("1E+90"), "1E+90"),
        (Decimal("NaN"), "null"),
        (math.nan, "null"),
        (-math.inf, "null"),
        (2**90, str(2**90)),
        (True, "true"),
        (b"\x00\xff", '"00ff"'),
        (dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC), '"2020-01-02T03:04:05+00:00"'),
        (dt.date(2020, 1, 2), '"2020-01-02"'),
        ("山\x1b\x9b\u2028", '"山\\u001b\\u009b\\u2028"'),
        ((1, None), "[1, null]"),
        ({1: Decimal("0.1")}, '{"1": 0.1}'),
        (dt.timedelta(days=1), '"1 day, 0:00:00"'),
    ],
)
def test_values(value: Any, told: str) -> None:
    assert json_text(value) == told
