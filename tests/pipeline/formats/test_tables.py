"""Parquet and CSV: columns of any string type, rows that can't be read, and splits that change nothing."""

import csv
import datetime as dt
import decimal
import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.pipeline.formats.options import ReadOptions, Split
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.formats.records import ReadBatch
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import InputError
from tamis.schemas.tables import DOCUMENT_SCHEMA, ERROR_SCHEMA, REJECTED_SCHEMA
from tamis.scorers.text.identity import doc_id


def read_all(splits: list[Split], options: ReadOptions) -> tuple[list[Any], list[Any], list[Any]]:
    batches: list[ReadBatch] = []
    for split in splits:
        batches += read_split(split, "t", options)
    for batch in batches:
        assert batch.read == sum(table.num_rows for table in batch[:3])
        for table in batch[:3]:
            table.validate(full=True)
    schemas = (DOCUMENT_SCHEMA, REJECTED_SCHEMA, ERROR_SCHEMA)
    documents, rejected, errors = (
        pa.Table.from_batches([batch[i] for batch in batches], schema).to_pylist() for i, schema in enumerate(schemas)
    )
    return documents, rejected, errors


def read(path: Path, target: int = 1 << 30, **options: Any) -> tuple[list[Any], list[Any], list[Any]]:
    settings_ = ReadOptions(**options)
    return read_all(plan_splits(filesystem.info(str(path)), settings_, target), settings_)


# --- Parquet ------------------------------------------------------------------------------------------------------


def parquet(folder: Path, columns: dict[str, Any], **options: Any) -> Path:
    path = folder / "a.parquet"
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.mark.parametrize(
    "type_",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
)
def test_text_types(tmp_path: Path, type_: pa.DataType) -> None:
    values = ["eins", "zwei ü", None, "", "eins"]
    array = pa.array(values).dictionary_encode() if pa.types.is_dictionary(type_) else pa.array(values).cast(type_)
    documents, rejected, errors = read(parquet(tmp_path, {"text": array, "id": ["a", "b", "c", "d", "e"]}))
    assert [row["text"] for row in documents] == ["eins", "zwei ü", "eins"]
    assert [row["doc_id"] for row in documents] == [doc_id("t", name) for name in "abe"]
    assert [(row["error"], row["record"]) for row in errors] == [("missing_text", "row 2")]
    assert [row["rule"] for row in rejected] == ["empty_text"]


def test_other_columns_become_meta(tmp_path: Path) -> None:
    noon = dt.datetime(2024, 1, 2, 12, 0, 0, 123456, tzinfo=dt.UTC)
    columns = {
        "text": ["t"],
        "url": ["u"],
        "timestamp": pa.array([noon], pa.timestamp("ns", "UTC")),
        "n": [1.5],
        "nan": [float("nan")],
        "bytes": [b"\xff\x00"],
        "decimal": [decimal.Decimal("1.10")],
        "day": [dt.date(2024, 1, 2)],
        "ns": pa.array([1704193200123456789], pa.timestamp("ns")),
        "nested": [{"b": [1, 2], "a": {"when": 5}}],
        "nested_ns": pa.array([[{"w": 1001}]], pa.list_(pa.struct([("w", pa.timestamp("ns"))]))),
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        "took": pa.array([1_000_000_001], pa.duration("ns")),
        "null": pa.nulls(1),
    }
    ((row,), _, _) = read(parquet(tmp_path, columns))
    assert row["timestamp"] == noon
    assert json.loads(row["meta"]) == {
        "n": 1.5,
        "nan": None,
        "bytes": "/wA=",
        "decimal": "1.10",
        "day": "2024-01-02",
        "ns": "2024-01-02T11:00:00.123456789",
        "nested": {"a": {"when": 5}, "b": [1, 2]},
        "nested_ns": [{"w": "1970-01-01T00:00:00.000001001"}],
        "map": [["k", 1]],
        "took": "1000000001 ns",
        "null": None,
    }
    assert row["meta"].startswith('{"bytes"')


def test_dotted_columns(tmp_path: Path) -> None:
    nested = [{"body": {"text": "a", "n": 1}, "u": "x"}, {"body": None, "u": "y"}, None]
    path = parquet(tmp_path, {"doc": nested, "k.k": ["1", "2", "3"]})
    documents, _, errors = read(path, text="doc.body.text", url="doc.u", id="k.k")
    ((row,),) = [documents]
    assert (row["text"], row["url"], row["doc_id"]) == ("a", "x", doc_id("t", "1"))
    assert json.loads(row["meta"]) == {"doc": {"body": {"n": 1}}, "k.k": "1"}
    assert [row["record"] for row in errors] == ["row 1", "row 2"]


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    bad = pa.array([b"ok", b"caf\xe9", b"ok"])
    for column in (bad, bad.view(pa.string())):
        documents, _, errors = read(parquet(tmp_path, {"text": column, "k": ["1", "2", "3"]}))
        assert [row["text"] for row in documents] == ["ok", "ok"]
        assert [(row["error"], row["record"]) for row in errors] == [("invalid_utf8", "row 1")]
    path = parquet(tmp_path, {"text": ["a", "b", "c"], "k": bad.view(pa.string())})
    documents, _, errors = read(path)
    assert [row["text"] for row in documents] == ["a", "b", "c"]
    assert [json.loads(row["meta"])["k"] for row in documents] == ["ok", "caf\ufffd", "ok"]
    assert errors == []


def test_only_a_text_column(tmp_path: Path) -> None:
    (row,), _, _ = read(parquet(tmp_path, {"text": ["a"]}))
    assert row["meta"] == "{}"


def test_limit_of_a_record(tmp_path: Path) -> None:
    documents, _, errors = read(parquet(tmp_path, {"text": ["a" * 50, "b" * 51]}), max_record_bytes=50)
    assert len(documents) == 1
    assert [row["error"] for row in errors] == ["record_too_large"]


@pytest.mark.parametrize("target", [1, 1000, 10**9])
@pytest.mark.parametrize("batch_rows", [1, 7, 2000])
def test_parquet_split_is_unsplit(tmp_path: Path, target: int, batch_rows: int) -> None:
    texts = [f"row {i} " + "x" * (i % 90) if i % 17 else None for i in range(300)]
    path = parquet(tmp_path, {"text": texts, "k": list(range(300))}, row_group_size=40)
    splits = plan_splits(filesystem.info(str(path)), ReadOptions(), target)
    assert len(splits) == {1: 8, 10**9: 1}.get(target, len(splits))
    whole = read_all([Split(str(path), "parquet")], ReadOptions())
    assert read_all(splits, ReadOptions(batch_rows=batch_rows)) == whole
    assert [row["record"] for row in whole[2]] == [f"row {i}" for i in range(0, 300, 17)]


@pytest.mark.parametrize(
    ("columns", "options", "sentence"),
    [
        ({"body": ["x"]}, {}, "no column 'text'"),
        ({"txt": ["x"]}, {}, "did you mean 'txt'"),
        ({"text": [1]}, {}, "is int64, not text"),
        ({"text": [["x"]]}, {}, "not text"),
        ({"text": ["x"]}, {"id": "key"}, "set `id:`"),
        ({"text": ["x"]}, {"url": "link"}, "set `url:`"),
        ({"text": [{"a": "x"}]}, {"text": "text.b"}, "no column 'text.b'"),
    ],
)
def test_columns_are_checked_before(
    tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], sentence: str
) -> None:
    path = parquet(tmp_path, columns)
    with pytest.raises(InputError, match=sentence) as error:
        plan_splits(filesystem.info(str(path)), ReadOptions(**options), 1 << 20)
    assert "a.parquet" in str(error.value)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no parquet at all"])
def test_no_parquet_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(data)
    with pytest.raises(InputError, match="no readable Parquet file"):
        plan_splits(filesystem.info(str(path)), ReadOptions(), 1 << 20)
    (row,) = read_all([Split(str(path), "parquet")], ReadOptions())[2]
    assert row["error"] == "unreadable_file"


def test_damaged_rows_cost_themselves(tmp_path: Path) -> None:
    texts = [random.Random(i).randbytes(30).hex() for i in range(300)]
    path = parquet(tmp_path, {"text": texts}, row_group_size=100, compression="zstd", use_dictionary=False)
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 60] = bytes(60)
    path.write_bytes(data)
    documents, _, errors = read(path)
    assert [row["text"] for row in documents] == texts[:100] + texts[200:]
    assert [(row["error"], row["record"]) for row in errors] == [("corrupt_rows", "rows 100 to 199")]


def test_checksums_of_pages_are_verified(tmp_path: Path) -> None:
    texts = [random.Random(i).randbytes(30).hex() for i in range(100)]
    options = {"use_dictionary": False, "compression": "none", "write_page_checksum": True}
    path = parquet(tmp_path, {"text": texts}, **options)
    path.write_bytes(path.read_bytes().replace(texts[50].encode(), texts[51].encode()))
    assert [row["error"] for row in read(path)[2]] == ["corrupt_rows"]


def test_parquet_of_an_object_store() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["a", "b"]}), sink)
    with filesystem.write_atomically("memory://bucket/a.parquet") as stream:
        stream.write(sink.getvalue())
    (file,) = filesystem.expand("memory://bucket/*.parquet")
    documents, _, _ = read_all(plan_splits(file, ReadOptions(), 1), ReadOptions())
    assert [row["text"] for row in documents] == ["a", "b"]
    filesystem.remove_tree("memory://bucket")


# --- CSV ----------------------------------------------------------------------------------------------------------


def table(folder: Path, data: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_csv(tmp_path: Path) -> None:
    data = 'id,text,url,lang\n1,"two\nlines, ""quoted""",http://a.example/,de\r\n\n2,5" disk,,fr\n3,,x,y\n'
    documents, rejected, errors = read(table(tmp_path, data))
    assert [row["text"] for row in documents] == ['two\nlines, "quoted"', '5" disk']
    assert documents[0]["url"] == "http://a.example/"
    assert documents[0]["doc_id"] == doc_id("t", "1")
    assert json.loads(documents[0]["meta"]) == {"id": "1", "lang": "de"}
    assert [row["rule"] for row in rejected] == ["empty_text"]
    assert errors == []


def test_bad_rows_cost_themselves(tmp_path: Path) -> None:
    data = 'a,text\n1,x\n2\n3,y,z\n4,"open\n5,z\n6,"a"b\n7,w\n'
    documents, _, errors = read(table(tmp_path, data))
    assert [row["text"] for row in documents] == ["x", "z", "w"]
    assert [(row["record"], row["error"]) for row in errors] == [(f"line {i}", "bad_row") for i in (3, 4, 5, 7)]


def test_a_quote_that_is_never_closed(tmp_path: Path) -> None:
    rows = "".join(f"{i},text {i}\n" for i in range(3000))
    data = 'a,text\n0,first\n1,"open' + "\n" + rows
    for limit in (64 << 20, 1000):
        documents, _, errors = read(table(tmp_path, data), max_record_bytes=limit)
        assert len(documents) == 3001
        assert [(row["record"], row["error"]) for row in errors] == [("line 3", "bad_row")]


def test_many_quotes_that_are_never_closed_end_in_bounded_time(tmp_path: Path) -> None:
    data = "a,text\n" + '1,"open"x\n2,"open\n' * 5000 + "3,end\n"
    documents, _, errors = read(table(tmp_path, data), max_record_bytes=100_000)
    assert errors
    assert len(documents) <= 1


def test_csv_encodings(tmp_path: Path) -> None:
    text = "text,k\nПривет,1\nмир,2\n"
    for encoding in ("cp1251", "utf-8-sig", "utf-16"):
        documents, _, errors = read(table(tmp_path, text.encode(encoding)), encoding=encoding)
        assert [row["text"] for row in documents] == ["Привет", "мир"]
        assert errors == []
    documents, _, errors = read(table(tmp_path, b"text,k\nok,1\ncaf\xe9,2\nok,3\n"))
    assert len(documents) == 2
    assert [(row["record"], row["error"]) for row in errors] == [("line 3", "invalid_encoding")]


def test_tsv_and_packed(tmp_path: Path) -> None:
    documents, _, _ = read(table(tmp_path, gzip.compress(b"text\tk\na, b\t1\n"), "a.tsv.gz"))
    assert documents[0]["text"] == "a, b"


def test_truncated_csv(tmp_path: Path) -> None:
    rows = "".join(f"{random.Random(i).random()},text {i}\n" for i in range(2000))
    data = gzip.compress(("k,text\n" + rows).encode())
    for end in range(3000, len(data), 3001):
        documents, _, errors = read(table(tmp_path, data[:end], "a.csv.gz"))
        assert [row["text"] for row in documents] == [f"text {i}" for i in range(len(documents))]
        assert len(documents) > 10
        assert [row["error"] for row in errors] == ["truncated_file"]


def test_long_rows(tmp_path: Path) -> None:
    data = "text,k\na,1\n" + "x" * 5000 + ",2\nb,3\n"
    documents, _, errors = read(table(tmp_path, data), max_record_bytes=1000)
    assert [row["text"] for row in documents] == ["a", "b"]
    assert [row["error"] for row in errors] == ["record_too_large"]


@pytest.mark.parametrize(
    ("data", "options", "sentence"),
    [
        ("body,k\nx,1\n", {}, "no column 'text'"),
        ("texts,k\nx,1\n", {}, "did you mean 'texts'"),
        ("text,text,k\nx,1,2\n", {}, "2 columns called 'text': rename all but one"),
        ("text;k\nx;1\n", {}, "one column alone, 'text;k': set `delimiter: ';'`"),
        ("text\tk\nx\t1\n", {}, r"set `delimiter: '\\t'`"),
        ("text|k\nx|1\n", {}, r"set `delimiter: '\|'`"),
        ("text,k\rx,1\r", {}, "lines end in a carriage return alone"),
        ("\ufefft\0e\0x\0t\0", {}, "set `encoding:`"),
        ("text,k\nx,1\n", {"id": "key"}, "set `id:`"),
        ('"text', {}, "names of the columns"),
    ],
)
def test_header_is_checked_before(tmp_path: Path, data: str, options: dict[str, Any], sentence: str) -> None:
    path = table(tmp_path, data)
    with pytest.raises(InputError, match=sentence) as error:
        plan_splits(filesystem.info(str(path)), ReadOptions(**options), 1 << 20)
    assert "a.csv" in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_named_and_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,k\nwörds,1\n".encode(encoding))
    with pytest.raises(InputError, match=r"isn't utf-8: set `encoding:`"):
        read(path)
    documents, _, errors = read(path, encoding=encoding)
    assert ([row["text"] for row in documents], errors) == (["wörds"], [])


@pytest.mark.parametrize("delimiter", [";", "\t", "|", "\x01", ":"])
def test_other_delimiters(tmp_path: Path, delimiter: str) -> None:
    rows = [["text", "k"], ["a, b; c", "1"], [f'with {delimiter} and "', "2"]]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter).writerows(rows)
    documents, _, errors = read(table(tmp_path, buffer.getvalue()), delimiter=delimiter)
    assert [row["text"] for row in documents] == [row[0] for row in rows[1:]]
    assert errors == []


def test_columns_of_one_name_are_kept(tmp_path: Path) -> None:
    documents, _, errors = read(table(tmp_path, "k,text,k,k_2\n1,x,2,3\n"))
    assert [json.loads(row["meta"]) for row in documents] == [{"k": "1", "k_3": "2", "k_2": "3"}]
    assert errors == []


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELL, CELL), max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_csv_roundtrip(tmp_path: Path, rows: list[tuple[str, str]], end: str) -> None:
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator=end)
    writer.writerows([("text", "k"), *rows])
    documents, rejected, errors = read(table(tmp_path, sink.getvalue()))
    expected = [text for text, _ in rows if text.strip()]
    assert [row["text"] for row in documents] == expected
    assert len(rejected) == len(rows) - len(expected)
    assert errors == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=st.sampled_from('a",\n\r\t é'), max_size=60))
def test_no_csv_crashes(tmp_path: Path, body: str) -> None:
    read(table(tmp_path, "text,k\n" + body))
