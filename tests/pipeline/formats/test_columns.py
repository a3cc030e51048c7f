"""Fields of an input as typed columns, and the documents of a run read again."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.pipeline.formats.columns import column_schema, typed, unnested
from tamis.pipeline.formats.options import ColumnType, InputColumn, ReadOptions
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.formats.records import ReadBatch
from tamis.pipeline.storage import filesystem
from tamis.schemas.config import InputConfig
from tamis.schemas.errors import InputError
from tamis.scorers.text.identity import doc_id

COLUMNS = (
    InputColumn("tokens", "token_count", "int64"),
    InputColumn("score", "metadata.score", "double"),
    InputColumn("lang", "language", "string"),
    InputColumn("good", "good", "bool"),
    InputColumn("seen", "date", "timestamp"),
    InputColumn("address", "url", "string"),
)
RECORDS: list[dict[str, Any]] = [
    {"text": "a", "token_count": 5, "metadata": {"score": 0.5, "x": 1}, "language": "de", "good": True}
    | {"date": "2024-01-15", "url": "http://a/"},
    {"text": "b", "token_count": None, "metadata": None, "language": None, "good": None, "date": None, "url": None},
    {"text": "c", "token_count": 2**40, "metadata": {"score": 2.0, "x": 2}, "language": "en", "good": False}
    | {"date": "20240115123456", "url": "http://c/"},
]
EXPECTED = {
    "tokens": [5, None, 2**40],
    "score": [0.5, None, 2.0],
    "lang": ["de", None, "en"],
    "good": [True, None, False],
    "seen": [dt.datetime(2024, 1, 15, tzinfo=dt.UTC), None, dt.datetime(2024, 1, 15, 12, 34, 56, tzinfo=dt.UTC)],
    "address": ["http://a/", None, "http://c/"],
}


def read(path: Path, columns: tuple[InputColumn, ...] = COLUMNS, **options: Any) -> ReadBatch:
    settings = ReadOptions(columns=columns, **options)
    splits = plan_splits(filesystem.info(str(path)), settings, 1 << 30)
    (batch,) = [batch for split in splits for batch in read_split(split, "t", settings)]
    assert batch.columns.schema == column_schema(columns)
    assert batch.columns.num_rows == (batch.documents.num_rows if columns else 0)
    return batch


def metas(batch: ReadBatch) -> list[Any]:
    return [json.loads(meta) for meta in batch.documents.column("meta").to_pylist()]


def jsonl(folder: Path, records: list[dict[str, Any]]) -> Path:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def parquet(folder: Path, records: list[dict[str, Any]]) -> Path:
    path = folder / "a.parquet"
    pq.write_table(pa.Table.from_pylist(records), path)
    return path


@pytest.mark.parametrize("form", [jsonl, parquet])
def test_columns(tmp_path: Path, form: Any) -> None:
    batch = read(form(tmp_path, RECORDS))
    assert batch.columns.to_pydict() == EXPECTED
    assert batch.documents.column("url").to_pylist() == ["http://a/", None, "http://c/"]  # a field may be both
    assert batch.documents.column("timestamp").to_pylist() == EXPECTED["seen"]
    for meta in metas(batch):
        assert not {"token_count", "language", "good"} & {name for name, value in meta.items() if value is not None}
    assert metas(batch)[0]["metadata"] == {"x": 1}
    assert batch.notes == {}


def test_columns_of_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,n,x,ok,when\na,5,0.5,true,1705321800\nb,many,,no,\n")
    columns = (
        InputColumn("n", "n", "int64"),
        InputColumn("x", "x", "double"),
        InputColumn("ok", "ok", "bool"),
        InputColumn("when", "when", "timestamp"),
    )
    batch = read(path, columns)
    assert batch.columns.to_pydict() == {
        "n": [5, None],
        "x": [0.5, None],
        "ok": [True, None],
        "when": [dt.datetime(2024, 1, 15, 12, 30, tzinfo=dt.UTC), None],
    }
    assert metas(batch) == [{}, {"n": "many", "x": "", "ok": "no", "when": ""}]
    assert batch.notes == {"column_passed_over": 4}


@pytest.mark.parametrize("form", [jsonl, parquet])
def test_values_of_other_types_stay_in_meta(tmp_path: Path, form: Any) -> None:
    columns = (InputColumn("n", "n", "int64"), InputColumn("s", "s", "string"))
    batch = read(form(tmp_path, [{"text": "a", "n": 1.5, "s": [1, None]}, {"text": "b", "n": 2.0, "s": None}]), columns)
    assert batch.columns.to_pydict() == {"n": [None, 2], "s": ["[1,null]", None]}
    assert metas(batch)[0] == {"n": 1.5}
    assert batch.notes == {"column_passed_over": 1}


@pytest.mark.parametrize("form", [jsonl, parquet])
def test_named_fields_must_exist(tmp_path: Path, form: Any) -> None:
    path = form(tmp_path, RECORDS)
    with pytest.raises(InputError, match=r"'languag'.*did you mean 'language'.*`columns:`"):
        read(path, (InputColumn("l", "languag", "string"),))


def test_columns_of_refused_and_broken_records_do_not_shift_others(tmp_path: Path) -> None:
    records = [{"text": "", "n": 1}, {"text": None, "n": 2}, {"text": "c", "n": 3}]
    for form in (jsonl, parquet):
        assert read(form(tmp_path, records), (InputColumn("n", "n", "int64"),)).columns.to_pydict() == {"n": [3]}


@given(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
)
def test_typed_values_fit_their_columns(value: Any) -> None:
    types: tuple[ColumnType, ...] = ("string", "int64", "double", "bool", "timestamp")
    for type_ in types:
        found = typed(value, type_)
        (kept,) = (
            pa.array([found], column_schema([InputColumn("x", "x", type_)]).field(0).type)
            .cast(pa.int64() if type_ == "timestamp" else column_schema([InputColumn("x", "x", type_)]).field(0).type)
            .to_pylist()
        )
        assert kept == found or kept != kept  # NaN
    assert typed(None, "string") is None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        assert typed(str(value), "int64") == typed(value, "int64") == value


def test_the_config(tmp_path: Path) -> None:
    entry = InputConfig.model_validate(
        {"path": "a", "source": "s", "columns": {"n": "int64", "score": {"field": "m.score", "type": "double"}}}
    )
    assert {name: (column.field, column.type) for name, column in entry.columns.items()} == {
        "n": (None, "int64"),
        "score": ("m.score", "double"),
    }
    for columns in ({"text": "string"}, {"a b": "string"}, {"n": "int32"}, {"n": {"field": "n"}}):
        with pytest.raises(ValueError, match="columns"):
            InputConfig.model_validate({"path": "a", "source": "s", "columns": columns})


# --- documents of a run -------------------------------------------------------------------------------------------

OWN = [
    {
        "doc_id": doc_id("web", f"{i}"),
        "url": "http://a/",
        "source": "web",
        "text": f"text {i}",
        "timestamp": "2024-01-15T12:30:00+00:00",
        "meta": json.dumps({"lang": "de", "n": i}),
        "perplexity": 12.5,
    }
    for i in range(3)
]


def own_parquet(folder: Path, records: list[dict[str, Any]]) -> Path:
    path = folder / "part-00000.parquet"
    table = pa.Table.from_pylist([r | {"timestamp": dt.datetime.fromisoformat(r["timestamp"])} for r in records])
    pq.write_table(table.cast(table.schema), path)
    return path


@pytest.mark.parametrize("form", [jsonl, own_parquet])
def test_documents_of_a_run_keep_their_ids_and_their_meta(tmp_path: Path, form: Any) -> None:
    columns = (InputColumn("perplexity", "perplexity", "double"), InputColumn("n", "n", "int64"))
    batch = read(form(tmp_path, OWN), columns)
    assert batch.documents.column("doc_id").to_pylist() == [row["doc_id"] for row in OWN]
    assert batch.documents.column("timestamp")[0].as_py() == dt.datetime(2024, 1, 15, 12, 30, tzinfo=dt.UTC)
    assert batch.columns.to_pydict() == {"perplexity": [12.5] * 3, "n": [0, 1, 2]}
    assert metas(batch) == [{"lang": "de", "source": "web"}] * 3
    assert metas(read(form(tmp_path, OWN), ()))[0] == {"lang": "de", "n": 0, "perplexity": 12.5, "source": "web"}


@pytest.mark.parametrize("form", [jsonl, own_parquet])
def test_records_that_only_look_so(tmp_path: Path, form: Any) -> None:
    strangers = [row | {"doc_id": "no hash"} for row in OWN]
    batch = read(form(tmp_path, strangers), ())
    assert batch.documents.column("doc_id").to_pylist() != ["no hash"] * 3
    assert metas(batch)[0]["doc_id"] == "no hash"
    named = read(form(tmp_path, OWN), (), id="perplexity")
    assert named.documents.column("doc_id").to_pylist() == [doc_id("t", "12.5")] * 3


def test_unnested() -> None:
    assert unnested({"a": 1}, '{"a": 2, "b": 3}') == {"a": 1, "a_2": 2, "b": 3}
    assert unnested({"a": 1, "a_2": 0}, {"a": 2}) == {"a": 1, "a_2": 0, "a_3": 2}
    assert unnested({"a": 1}, {"a": 1}) == {"a": 1}
    assert unnested({"a": 1}, None) == {"a": 1}
    assert unnested({"a": 1}, "no object") == {"a": 1, "meta": "no object"}
    assert unnested({}, "[1]") == {"meta": [1]}
