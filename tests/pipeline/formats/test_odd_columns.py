# ruff: noqa: DTZ001  (times without a zone are what is read)
"""Tables with columns of every type: the text is always kept, and what can't be kept beside it is counted."""

import datetime as dt
import decimal
import json
import math
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.pipeline.formats.arrow_json import DROPPED, OddValues, json_objects, unique_names
from tamis.pipeline.formats.options import ReadOptions
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.formats.records import ReadBatch, _warn_once
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import InputError
from tamis.scorers.text.identity import doc_id, doc_id_from_content


def read(path: Path, **options: Any) -> ReadBatch:
    settings_ = ReadOptions(**options)
    (batch,) = [
        batch
        for split in plan_splits(filesystem.info(str(path)), settings_, 1 << 30)
        for batch in read_split(split, "t", settings_)
    ]
    return batch


def metas(batch: ReadBatch) -> list[Any]:
    return [json.loads(meta) for meta in batch.documents.column("meta").to_pylist()]


def parquet(folder: Path, columns: dict[str, Any], **options: Any) -> Path:
    path = folder / "a.parquet"
    rows = max(len(values) for values in columns.values())
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(rows)]} | columns), path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "meta", "odd"),
    [
        ("ts_far", [{"date": "10000-01-01T00:00:00.000005"}, {}], 0),
        ("tzbad", [{"tz": f"1970-01-01T00:00:00.00000{n}+00:00"} for n in (1, 2)], 0),
        ("dupstruct", [{"s": {"x": 1, "x_2": 3}}, {"s": {"x": 2, "x_2": 4}}], 0),
        ("dupcol", [{"n": 1, "n_2": 3}, {"n": 2, "n_2": 4}], 0),
    ],
)
def test_reported_files(golden: Path, name: str, meta: list[Any], odd: int) -> None:
    path = golden / "faults" / "parquet" / f"{name}.parquet"
    batch = read(path)
    assert batch.documents.column("text").to_pylist() == pq.ParquetFile(path).read().column("text").to_pylist()
    assert batch.errors.num_rows == 0
    assert [set(found) for found in metas(batch)] == [set(wanted) for wanted in meta]
    assert metas(batch) == meta
    assert batch.notes.get("odd_value", 0) == odd


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("uuid", ["00000000-0000-0000-0000-000000000005", "00000000-0000-0000-0000-000000000006"]),
        ("dec", ["12345678901234567890", "7"]),
    ],
)
def test_reported_ids(golden: Path, name: str, ids: list[str]) -> None:
    batch = read(golden / "faults" / "parquet" / f"{name}.parquet")
    assert batch.documents.column("doc_id").to_pylist() == [doc_id("t", name) for name in ids]
    assert [meta["id"] for meta in metas(batch)] == ids


MOMENT = dt.datetime(2024, 1, 15, 12, 30)
DAY = dt.date(2024, 1, 15)
IDS: list[tuple[pa.Array, str]] = [
    (pa.array(["a"]), "a"),
    (pa.array(["a"]).dictionary_encode(), "a"),
    (pa.array(["a"], pa.string_view()), "a"),
    (pa.array([5], pa.int8()), "5"),
    (pa.array([2**64 - 1], pa.uint64()), str(2**64 - 1)),
    (pa.array([1.0]), "1.0"),
    (pa.array([decimal.Decimal("-1.50")]), "-1.50"),
    (pa.array([b"name"]), "name"),
    (pa.array([b"\xff\x00"]), "0xff00"),
    (pa.array([b"\xff" * 16], pa.binary(16)), "0x" + "ff" * 16),
    (pa.array([b"0123456789abcdef"], pa.binary(16)), "0123456789abcdef"),
    (
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"\x01" * 16], pa.binary(16))),
        f"{uuid.UUID(int=int('01' * 16, 16))}",
    ),
    (pa.array([DAY]), "2024-01-15"),
    (pa.array([MOMENT], pa.timestamp("ns")), "2024-01-15T12:30:00"),
    (pa.array([MOMENT], pa.timestamp("s", "UTC")), "2024-01-15T12:30:00+00:00"),
]


@pytest.mark.parametrize(("column", "name"), IDS, ids=lambda value: str(getattr(value, "type", "")))
@pytest.mark.parametrize("option", [None, "id"])
def test_ids_of_every_type(tmp_path: Path, column: pa.Array, name: str, option: str | None) -> None:
    batch = read(parquet(tmp_path, {"id": column}), id=option)
    assert batch.documents.column("doc_id").to_pylist() == [doc_id("t", name)]


@pytest.mark.parametrize("value", [True, [1], {"a": 1}, [("k", 1)]])
def test_ids_of_no_use(tmp_path: Path, value: Any, caplog: pytest.LogCaptureFixture) -> None:
    _warn_once.cache_clear()
    type_ = pa.map_(pa.string(), pa.int64()) if value == [("k", 1)] else None
    path = parquet(tmp_path, {"id": pa.array([value, None], type_)})
    batch = read(path)
    assert batch.documents.column("doc_id").to_pylist() == [doc_id_from_content("t", None, f"text {i}") for i in (0, 1)]
    assert batch.notes == {"id_passed_over": 1}
    assert "input t: values of `id` that name nothing are passed over" in caplog.text
    with pytest.raises(InputError, match=r"a\.parquet.*'id' is .*set `id:`"):
        read(path, id="id")


def test_an_empty_named_id_is_an_error(tmp_path: Path) -> None:
    batch = read(parquet(tmp_path, {"k": [1, None, 3]}), id="k")
    assert batch.errors.column("error").to_pylist() == ["missing_id"]
    assert batch.documents.num_rows == 2


def test_urls_of_every_type(tmp_path: Path) -> None:
    assert read(parquet(tmp_path, {"url": [b"http://a/", None]})).documents.column("url").to_pylist() == [
        "http://a/",
        None,
    ]
    batch = read(parquet(tmp_path, {"url": [b"http://a/caf\xe9", b"http://a/"]}))
    assert batch.documents.column("url").to_pylist() == ["http://a/caf\ufffd", "http://a/"]
    assert batch.notes == {"odd_value": 1}
    path = parquet(tmp_path, {"url": [5, None]})
    batch = read(path)
    assert batch.documents.column("url").to_pylist() == [None, None]
    assert metas(batch) == [{"url": 5}, {"url": None}]
    assert batch.notes == {"url_passed_over": 1}
    assert read(path, url="url").documents.column("url").to_pylist() == ["5", None]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([20240115123456]), dt.datetime(2024, 1, 15, 12, 34, 56)),
        (pa.array([1705321800]), dt.datetime(2024, 1, 15, 12, 30)),
        (pa.array(["20240115123000"]), MOMENT),
        (pa.array([decimal.Decimal("1705321800.5")]), dt.datetime(2024, 1, 15, 12, 30, 0, 500000)),
        (pa.array([DAY]), dt.datetime(2024, 1, 15)),
        (pa.array([DAY], pa.date64()), dt.datetime(2024, 1, 15)),
        *((pa.array([MOMENT], pa.timestamp(unit)), MOMENT) for unit in ("s", "ms", "us", "ns")),
        (pa.array([MOMENT], pa.timestamp("us")).view(pa.timestamp("us", "Mars/Phobos")), MOMENT),
        (pa.array([-1], pa.int64()).cast(pa.timestamp("ns")), dt.datetime(1969, 12, 31, 23, 59, 59, 999999)),
        (pa.array([2024]), None),
        (pa.array([2**62], pa.int64()).cast(pa.timestamp("s")), None),
        (pa.array([2**31 - 1], pa.int32()).cast(pa.date32()), None),
        (pa.array([5], pa.int64()).cast(pa.time64("us")), None),
        (pa.array([[1]]), None),
    ],
)
@pytest.mark.parametrize("name", ["timestamp", "date"])
def test_times_of_every_type(tmp_path: Path, column: pa.Array, expected: dt.datetime | None, name: str) -> None:
    # Not through a file: Parquet knows neither seconds nor days in milliseconds.
    from tamis.pipeline.formats.records import BatchBuilder
    from tamis.pipeline.formats.table_rows import add_rows

    builder = BatchBuilder("a.parquet", "t", ReadOptions())
    assert list(add_rows(builder, pa.record_batch({"text": ["x"], name: column}), "a.parquet", 0, ReadOptions())) == []
    batch = builder.flush()
    (time,) = batch.documents.column("timestamp").to_pylist()
    assert time == (None if expected is None else expected.replace(tzinfo=dt.UTC))
    (meta,) = metas(batch)
    assert set(meta) == (set() if expected else {name})  # nothing is lost
    assert batch.notes.get("timestamp_passed_over", 0) == (expected is None)


def test_int96_is_no_other_date(tmp_path: Path) -> None:
    moments = [dt.datetime(1400, 1, 1), dt.datetime(9999, 12, 31, 1), None, dt.datetime(2024, 1, 15, 12, 30)]
    columns = {"timestamp": pa.array(moments, pa.timestamp("us"))}
    batch = read(parquet(tmp_path, columns, use_deprecated_int96_timestamps=True))
    assert batch.documents.column("timestamp").to_pylist() == [m and m.replace(tzinfo=dt.UTC) for m in moments]


def test_the_first_time_that_is_one_is_taken(tmp_path: Path) -> None:
    columns = {"timestamp": ["2024-01-01", None, "soon", None], "date": ["2023-01-01", "2023-01-02", "2023-01-03", "x"]}
    batch = read(parquet(tmp_path, columns))
    days = [time and time.date() for time in batch.documents.column("timestamp").to_pylist()]
    assert days == [dt.date(2024, 1, 1), dt.date(2023, 1, 2), dt.date(2023, 1, 3), None]
    assert metas(batch) == [{"date": "2023-01-01"}, {}, {"timestamp": "soon"}, {"date": "x"}]
    assert batch.notes == {"timestamp_passed_over": 1}


@pytest.mark.parametrize(
    ("columns", "options", "sentence"),
    [
        ({}, {"timestamp": "crawled"}, "no column 'crawled'.*set `timestamp:`"),
        ({"when": [[1]]}, {"timestamp": "when"}, "'when' is list.*set `timestamp:`"),
        ({"at": [True]}, {"url": "at"}, "'at' is bool.*set `url:`"),
    ],
)
def test_named_columns_are_checked_before(
    tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], sentence: str
) -> None:
    path = parquet(tmp_path, columns or {"n": [1]})
    with pytest.raises(InputError, match=sentence):
        plan_splits(filesystem.info(str(path)), ReadOptions(**options), 1 << 20)


def test_two_columns_called_text(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"]), path)
    with pytest.raises(InputError, match=r"a\.parquet has 2 columns called 'text'"):
        plan_splits(filesystem.info(str(path)), ReadOptions(), 1 << 20)


def test_a_file_without_any_text_is_errors_by_row(tmp_path: Path) -> None:
    assert read(parquet(tmp_path, {"text": pa.nulls(2)})).errors.column("error").to_pylist() == ["missing_text"] * 2


def test_folders_hold_columns(tmp_path: Path) -> None:
    folder = tmp_path / "lang=de" / "n=5"
    folder.mkdir(parents=True)
    batch = read(parquet(folder, {"n": [1, 2]}))
    assert metas(batch) == [{"lang": "de", "n": 1}, {"lang": "de", "n": 2}]
    assert read(parquet(folder, {"k": [1]}), id="lang").documents.column("doc_id").to_pylist() == [doc_id("t", "de")]


def test_columns_that_cannot_be_read_cost_themselves(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"pair": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2)), "n": [1, 2, 3]})
    batch = read(path)  # PyArrow writes lists of a fixed size with nulls, and can't read them
    assert batch.documents.num_rows == 3
    assert metas(batch)[0]["n"] == 1
    assert batch.errors.num_rows == 0
    unreadable = batch.notes.get("unreadable_value", 0)
    assert unreadable == 3 or metas(batch)[0]["pair"] == [1, 2]


def test_damage_beside_the_text_costs_its_column(tmp_path: Path) -> None:
    values = [f"value {i}" * 3 for i in range(300)]
    columns = {"k": values, "n": list(range(300))}
    path = parquet(tmp_path, columns, row_group_size=100, compression="zstd", use_dictionary=False)
    start = pq.ParquetFile(path).metadata.row_group(1).column(1).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 60] = bytes(60)
    path.write_bytes(data)
    batch = read(path)
    assert batch.documents.column("text").to_pylist() == [f"text {i}" for i in range(300)]
    assert [meta["n"] for meta in metas(batch)] == list(range(300))
    assert [meta.get("k") for meta in metas(batch)] == values[:100] + [None] * 100 + values[200:]
    assert batch.notes == {"unreadable_value": 100}
    for options in ({"id": "k"}, {"url": "k"}):
        assert read(path, **options).errors.column("error").to_pylist() == ["corrupt_rows"]


# --- JSON of columns ----------------------------------------------------------------------------------------------


def twin(value: Any) -> Any:
    """What a value is as JSON, by way of Python's objects."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: twin(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [twin(inner) for inner in value]
    return list(map(twin, value)) if isinstance(value, tuple) else value


SIMPLE: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint8(), st.integers(0, 255)),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
    (pa.string(), st.text(max_size=8) | st.text('"\\\n\x00\x1f\x08', max_size=4)),
    (pa.large_string(), st.text(max_size=8)),
    (pa.binary(), st.binary(max_size=4)),
    (pa.timestamp("us"), st.datetimes()),
    (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(dt.UTC))),
    (pa.date32(), st.dates()),
    (pa.time64("us"), st.times()),
    (pa.null(), st.none()),
]


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def lists(pair: tuple[pa.DataType, st.SearchStrategy[Any]]) -> list[tuple[pa.DataType, st.SearchStrategy[Any]]]:
        type_, values = pair
        optional = st.none() | values
        return [
            (pa.list_(type_), st.lists(optional, max_size=3)),
            (pa.large_list(type_), st.lists(optional, max_size=3)),
            (pa.list_(type_, 2), st.lists(optional, min_size=2, max_size=2)),
            (pa.map_(pa.string(), type_), st.lists(st.tuples(st.text(max_size=2), optional), max_size=2)),
            (pa.struct([("b", type_), ("a.x", type_)]), st.fixed_dictionaries({"b": optional, "a.x": optional})),
        ]

    return inner.flatmap(lambda pair: st.sampled_from(lists(pair)))


TYPES = st.recursive(st.sampled_from(SIMPLE), nested, max_leaves=3)


@st.composite
def columns(draw: st.DrawFn) -> pa.Array:
    type_, values = draw(TYPES)
    array = pa.array(draw(st.lists(st.none() | values, min_size=1, max_size=6)), type_)
    return array[draw(st.integers(0, len(array) - 1)) :]  # slices have offsets


@settings(max_examples=150)
@given(columns())
def test_json_is_what_python_would_write(column: pa.Array) -> None:
    odd = OddValues()
    found = [json.loads(text) for text in json_objects(["k"], [column], len(column), odd).to_pylist()]
    assert found == [{"k": twin(value)} for value in column.to_pylist()]


@given(st.lists(st.sampled_from(["a", "b", "a_2", "a_3", ""]), max_size=7))
def test_unique_names(names: list[str]) -> None:
    unique = unique_names(names)
    assert len(set(unique)) == len(names)
    for i, name in enumerate(names):
        if name not in names[:i]:
            assert unique[i] == name


def test_json_is_compact_and_sorted() -> None:
    arrays = [pa.array([1, 2]), pa.array([{"z": 1, "y": "ü"}, None])]
    assert json_objects(["b", "a"], arrays, 2, OddValues()).to_pylist() == [
        '{"a":{"y":"ü","z":1},"b":1}',
        '{"a":null,"b":2}',
    ]
    cut = {"b": pa.array([False, True]), "a": {"z": DROPPED}}
    assert json_objects(["b", "a"], arrays, 2, OddValues(), cut).to_pylist() == ['{"a":{"y":"ü"}}', '{"a":null,"b":2}']


def test_types_that_only_arrow_has() -> None:
    union = pa.UnionArray.from_dense(
        pa.array([0, 1], pa.int8()), pa.array([0, 0], pa.int32()), [pa.array([5]), pa.array(["x"])]
    )
    columns = {
        "ns": pa.array([1_705_321_800_000_000_001, None], pa.timestamp("ns")),
        "s": pa.array([2**62, 0], pa.int64()).cast(pa.timestamp("s")),
        "interval": pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
        "view": pa.array([["x"], []], pa.list_view(pa.string())),
        "half": pa.array([1.5, math.inf], pa.float16()),
        "runs": pa.RunEndEncodedArray.from_arrays([1, 2], ["a", None]),
        "union": union,
        "took": pa.array([1, None], pa.duration("s")),
        "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0], pa.int8())),
    }
    odd = OddValues()
    first, second = json_objects(list(columns), list(columns.values()), 2, odd).to_pylist()
    assert json.loads(first) == {
        "ns": "2024-01-15T12:30:00.000000001",
        "s": str(2**62),
        "interval": "MonthDayNano(months=1, days=2, nanoseconds=3)",
        "view": ["x"],
        "half": 1.5,
        "runs": "a",
        "union": 5,
        "took": "1 s",
        "bool8": True,
    }
    assert json.loads(second)["s"] == "1970-01-01T00:00:00"
    assert json.loads(second)["half"] is None
    assert odd.count == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(columns(), st.sampled_from(["k", "id", "url", "timestamp", "date"]))
def test_no_column_costs_a_text(tmp_path: Path, column: pa.Array, name: str) -> None:
    batch = read(parquet(tmp_path, {name: column}))
    assert batch.documents.num_rows == len(column)
    for meta in metas(batch):
        assert isinstance(meta, dict)
