# ruff: noqa: DTZ001  (the strategy takes bounds without a zone)
"""Times: what data sets write is understood, and nothing becomes another date."""

import datetime as dt
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.pipeline.formats.timestamps import NEWEST, OLDEST, as_timestamp

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MOMENTS = st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2029, 12, 31), timezones=st.just(dt.UTC))


def microseconds(moment: dt.datetime) -> int:
    return (moment - EPOCH) // dt.timedelta(microseconds=1)


@given(MOMENTS)
def test_spellings_of_a_moment(moment: dt.datetime) -> None:
    exact = microseconds(moment)
    second = microseconds(moment.replace(microsecond=0))
    assert as_timestamp(moment) == exact
    for text in (moment.isoformat(), moment.isoformat(" ").replace("+00:00", " UTC"), moment.isoformat()[:-6] + "Z"):
        assert as_timestamp(text) == exact
        assert as_timestamp(f" {text} ") == exact
    assert as_timestamp(format_datetime(moment)) == second
    assert as_timestamp(format_datetime(moment.replace(tzinfo=dt.UTC), usegmt=True)) == second
    digits = moment.strftime("%Y%m%d%H%M%S")
    for value in (digits, int(digits)):
        assert as_timestamp(value) == second
    assert as_timestamp(int(digits[:8])) == microseconds(moment.replace(hour=0, minute=0, second=0, microsecond=0))
    assert as_timestamp(digits[:12]) == microseconds(moment.replace(second=0, microsecond=0))
    assert as_timestamp(digits + f"{moment.microsecond // 1000:03}") == exact // 1000 * 1000
    assert as_timestamp(moment.strftime("%Y/%m/%d %H:%M:%S")) == second


@given(MOMENTS)
def test_numbers_since_1970(moment: dt.datetime) -> None:
    exact = microseconds(moment)
    for per_second in (1, 1000, 10**6, 10**9):
        value = exact * per_second // 10**6
        for spelled in (value, str(value), float(value) if per_second < 10**9 else value):
            assert as_timestamp(spelled) == value * 10**6 // per_second


@given(st.integers(1, 10**20) | st.integers(1990 * 10**10, 2100 * 10**10) | st.integers(19 * 10**6, 21 * 10**6))
def test_digits_that_look_like_a_date_are_that_date_or_none(value: int) -> None:
    time = as_timestamp(value)
    digits = str(value)
    if time is not None and len(digits) in (8, 12, 14, 17) and 1900 <= int(digits[:4]) <= 2100:
        spelled = (EPOCH + dt.timedelta(microseconds=time)).strftime("%Y%m%d%H%M%S")
        assert spelled.startswith(digits[:14])


@pytest.mark.parametrize(
    "value",
    [
        2024,
        "2024",
        202401,
        2024011512,
        "20241399",
        20240230,
        20240115996060,
        "yesterday",
        "",
        "1e400",
        "nan",
        True,
        None,
        float("inf"),
        10**40,
        -(10**40),
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "²",
        "1_000",
        b"1",
    ],
)
def test_what_is_no_time(value: object) -> None:
    assert as_timestamp(value) is None


@given(st.integers() | st.floats() | st.text(max_size=30) | st.text("0123456789-:.TZ+eE /", max_size=24))
def test_every_value_is_a_time_of_the_calendar_or_none(value: object) -> None:
    time = as_timestamp(value)
    assert time is None or OLDEST <= time < NEWEST
