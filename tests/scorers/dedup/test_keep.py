"""Which duplicate stays: every policy, missing values, ties by id."""

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.dedup.keep import Keep

IDS = [f"{i:032x}" for i in (5, 3, 9, 1, 7)]


def ranking(keep, column=None):
    rows = keep.ranks(IDS, column).tolist()
    return sorted(range(len(rows)), key=lambda i: rows[i])


def test_by_id_and_by_columns():
    assert ranking(Keep()) == [3, 1, 0, 4, 2]
    lengths = [10, 30, 30, 5, 20]
    assert ranking(Keep("longest"), lengths) == [1, 2, 4, 0, 3]
    assert ranking(Keep("lowest"), [0.5, None, float("nan"), -1.0, -0.0]) == [3, 4, 0, 1, 2]
    assert ranking(Keep("highest"), [0.5, None, float("nan"), -1.0, float("-inf")]) == [0, 3, 4, 1, 2]
    assert ranking(Keep("highest"), pa.array([True, False, None, True, False])) == [3, 0, 1, 4, 2]
    assert ranking(Keep("lowest"), pa.array([-5, 2**63 - 1, -(2**63), 0, None])) == [2, 0, 3, 1, 4]
    assert ranking(Keep("highest"), pa.array([2**64 - 1, 0, 5, None, 5], pa.uint64())) == [0, 4, 2, 1, 3]


def test_by_time_and_by_crawl():
    days = [dt.date(2020, 1, 1), None, dt.date(1960, 5, 5), dt.date(2021, 1, 1), dt.date(2020, 1, 1)]
    assert ranking(Keep("newest"), pa.array(days)) == [3, 0, 4, 2, 1]
    stamps = pa.array(days, pa.date32()).cast(pa.timestamp("ns"))
    assert ranking(Keep("oldest"), stamps) == [2, 0, 4, 3, 1]
    zoned = pa.array(days, pa.date32()).cast(pa.timestamp("s")).cast(pa.timestamp("s", "UTC"))
    assert ranking(Keep("newest"), zoned) == [3, 0, 4, 2, 1]
    crawls = ["CC-MAIN-2024-10", "CC-MAIN-2023-50", None, "CC-MAIN-2024-10", ""]
    assert ranking(Keep("newest"), crawls) == [3, 0, 1, 4, 2]
    assert ranking(Keep("oldest"), pa.chunked_array([crawls[:2], crawls[2:]])) == [4, 1, 3, 0, 2]


def test_by_priority():
    keep = Keep("priority", ("books", "wiki"))
    assert ranking(keep, ["web", "wiki", None, "books", "wiki"]) == [3, 1, 4, 0, 2]


@given(
    st.lists(st.one_of(st.none(), st.floats(), st.integers(-5, 5).map(float)), min_size=5, max_size=5), st.booleans()
)
def test_numbers_rank_as_python_sorts_them(values, highest):
    def key(i):
        missing = values[i] is None or values[i] != values[i]
        return missing, 0 if missing else -values[i] if highest else values[i], IDS[i]

    assert ranking(Keep("highest" if highest else "lowest"), pa.array(values, pa.float64())) == sorted(
        range(5), key=key
    )


@given(st.lists(st.text(max_size=12), min_size=5, max_size=5))
def test_texts_rank_as_their_bytes(values):
    order = sorted(range(5), key=lambda i: (values[i].encode()[:32].ljust(32, b"\0"), IDS[i]))
    assert ranking(Keep("oldest"), pa.array(values)) == order


def test_wrong_use_is_named():
    with pytest.raises(ConfigError, match="best"):
        Keep("best")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="list of values"):
        Keep("priority")
    with pytest.raises(ConfigError, match="list of values"):
        Keep("id", ("a",))
    with pytest.raises(DataError, match="needs a column"):
        Keep("longest").ranks(IDS)
    with pytest.raises(DataError, match="column of 2"):
        Keep("longest").ranks(IDS, [1, 2])
    with pytest.raises(DataError, match="string"):
        Keep("highest").ranks(IDS, ["a"] * 5)
