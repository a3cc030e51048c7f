"""JSON Lines: every line ends as one document, rejection or error, however the file is cut or packed."""

import bz2
import codecs
import datetime as dt
import gzip
import json
import lzma
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.pipeline.formats.options import ReadOptions, Split
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import InputError
from tamis.schemas.tables import DOCUMENT_SCHEMA, ERROR_SCHEMA, REJECTED_SCHEMA
from tamis.scorers.text.identity import doc_id, doc_id_from_content

PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


class Tables:
    """What a file gives, all batches together."""

    def __init__(self, splits: list[Split], options: ReadOptions):
        batches = [batch for split in splits for batch in read_split(split, "test", options)]
        for batch in batches:
            assert batch.read == batch.documents.num_rows + batch.rejected.num_rows + batch.errors.num_rows
            for table in batch[:3]:
                table.validate(full=True)
        self.batches = batches
        self.documents = pa.Table.from_batches([b.documents for b in batches], DOCUMENT_SCHEMA).to_pylist()
        self.rejected = pa.Table.from_batches([b.rejected for b in batches], REJECTED_SCHEMA).to_pylist()
        self.errors = pa.Table.from_batches([b.errors for b in batches], ERROR_SCHEMA).to_pylist()
        self.read = sum(b.read for b in batches)
        self.skipped = sum(b.skipped.get("blank_line", 0) for b in batches)

    @property
    def texts(self) -> list[str]:
        return [document["text"] for document in self.documents]

    def same(self, other: "Tables") -> bool:
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("documents", "rejected", "errors", "read", "skipped")
        )


def read(path: Path, options: ReadOptions | None = None, target: int = 1 << 30) -> Tables:
    options = options or ReadOptions()
    return Tables(plan_splits(filesystem.info(str(path)), options, target), options)


def write(folder: Path, data: bytes, name: str = "a.jsonl") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_a_document(tmp_path: Path) -> None:
    record = {
        "text": "Zeile 1\nZeile 2 \x00 ü",
        "id": "a1",
        "url": "http://a.example/",
        "timestamp": "2024-05-06T07:08:09.5+02:00",
        "z": {"b": 1.5, "a": None},
        "lang": "de",
    }
    tables = read(write(tmp_path, lines(record)))
    assert tables.documents == [
        {
            "doc_id": doc_id("test", "a1"),
            "url": "http://a.example/",
            "source": "test",
            "text": "Zeile 1\nZeile 2 \x00 ü",
            "timestamp": dt.datetime(2024, 5, 6, 5, 8, 9, 500000, tzinfo=dt.UTC),
            "meta": '{"id":"a1","lang":"de","z":{"a":null,"b":1.5}}',
        }
    ]


def test_identity_without_an_id(tmp_path: Path) -> None:
    tables = read(write(tmp_path, lines({"text": "t", "url": "u"}, {"text": "t"}, {"text": "t", "id": ""})))
    expected = [doc_id_from_content("test", url, "t") for url in ("u", None, None)]
    assert [row["doc_id"] for row in tables.documents] == expected


def test_numbers_as_ids_stay_apart(tmp_path: Path) -> None:
    ids = [7, 2**63, 2**64, 2**64 + 1, 10**30, 10**30 + 1, -(2**63) - 1, 1.5]
    tables = read(write(tmp_path, lines(*({"text": "t", "id": i} for i in ids))))
    assert [row["doc_id"] for row in tables.documents] == [doc_id("test", repr(i)) for i in ids]
    assert [json.loads(row["meta"])["id"] for row in tables.documents] == ids


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-01-02T03:04:05Z", dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
        ("2024-01-02", dt.datetime(2024, 1, 2, tzinfo=dt.UTC)),
        (86400, dt.datetime(1970, 1, 2, tzinfo=dt.UTC)),
        (1704164645123, dt.datetime(2024, 1, 2, 3, 4, 5, 123000, tzinfo=dt.UTC)),
        ("1704164645", dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
        (20240102030405, dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
        ("20240102030405", dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
        (2024, None),
        ("yesterday", None),
        (True, None),
        (1e300, None),
        (None, None),
        ([], None),
    ],
)
def test_timestamps(tmp_path: Path, value: Any, expected: dt.datetime | None) -> None:
    (row,) = read(write(tmp_path, lines({"text": "t", "timestamp": value}))).documents
    assert row["timestamp"] == expected
    assert json.loads(row["meta"]) == ({} if expected else {"timestamp": value})  # nothing is lost


def test_configured_and_dotted_fields(tmp_path: Path) -> None:
    record = {"doc": {"body": "x", "n": 1}, "m": {"at": {"url": "u"}}, "k": 5, "when": 0, "a.b": "literal"}
    options = ReadOptions(text="doc.body", url="m.at.url", id="k", timestamp="when")
    (row,) = read(write(tmp_path, lines(record)), options).documents
    assert (row["text"], row["url"], row["doc_id"]) == ("x", "u", doc_id("test", "5"))
    assert row["timestamp"].year == 1970
    assert json.loads(row["meta"]) == {"doc": {"n": 1}, "m": {"at": {}}, "k": 5, "a.b": "literal"}
    assert read(write(tmp_path, lines(record)), ReadOptions(text="a.b")).texts == ["literal"]


BAD_LINES: list[tuple[bytes, str]] = [
    (b'{"text": "a', "invalid_json"),
    (b"nonsense", "invalid_json"),
    (b'{"text": "a"} {"text": "b"}', "invalid_json"),
    (b'{"text": NaN}', "text_not_a_string"),
    (b"[" * 3000 + b"]" * 3000, "invalid_json"),
    (b'{"text": "\xff\xfe"}', "invalid_utf8"),
    (b'{"text": "caf\xe9"}', "invalid_utf8"),
    (b'{"text": "\xed\xa0\x80"}', "invalid_utf8"),
    (b'{"text": "\\ud800"}', "lone_surrogate"),
    (b'{"text": "a", "id": "\\udc00"}', "lone_surrogate"),
    (b"[1, 2]", "not_an_object"),
    (b'"text"', "not_an_object"),
    (b"null", "not_an_object"),
    (b"{}", "missing_text"),
    (b'{"body": "x"}', "missing_text"),
    (b'{"text": null}', "missing_text"),
    (b'{"text": 5}', "text_not_a_string"),
    (b'{"text": ["x"]}', "text_not_a_string"),
]


@pytest.mark.parametrize(("line", "error"), BAD_LINES)
def test_a_bad_line_costs_itself(tmp_path: Path, line: bytes, error: str) -> None:
    good = lines({"text": "good"})
    tables = read(write(tmp_path, good + line + b"\r\n" + good))
    assert tables.texts == ["good", "good"]
    (row,) = tables.errors
    assert (row["error"], row["record"], row["step"]) == (error, f"byte {len(good)}", "read")
    assert row["uri"].endswith("a.jsonl")
    assert row["detail"]


def test_deep_meta_is_kept(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    (row,) = read(write(tmp_path, lines({"text": "t", "deep": deep}))).documents
    assert json.loads(row["meta"]) == {"deep": deep}


def test_what_is_too_deep_for_json_costs_itself(tmp_path: Path) -> None:
    """Lists in lists are parsed deeper than they can be written again."""
    deep = "[" * 970 + "]" * 970
    line = b'{"text": "t", "a": 1, "deep": %b, "z": {"b": null}}\n' % deep.encode()
    tables = read(write(tmp_path, line))
    assert tables.errors == []
    (row,) = tables.documents
    assert (row["text"], json.loads(row["meta"])) == ("t", {"a": 1, "deep": None, "z": {"b": None}})


def test_blank_texts_are_rejected(tmp_path: Path) -> None:
    tables = read(write(tmp_path, lines({"text": "", "id": "1"}, {"text": " \n\t"}, {"text": "."})))
    assert tables.texts == ["."]
    assert [(row["rule"], row["step"]) for row in tables.rejected] == [("empty_text", "extract")] * 2
    assert tables.rejected[0]["doc_id"] == doc_id("test", "1")


def test_a_required_id(tmp_path: Path) -> None:
    tables = read(write(tmp_path, lines({"text": "a", "k": 1}, {"text": "b"})), ReadOptions(id="k"))
    assert tables.texts == ["a"]
    assert [row["error"] for row in tables.errors] == ["missing_id"]


def test_an_id_that_names_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, lines(*({"text": "t", "id": value} for value in ([1], True, {}, {"a": 1}))))
    tables = read(path)  # the config names no id: what is called so is passed over, and counted
    assert [row["doc_id"] for row in tables.documents] == [doc_id_from_content("test", None, "t")] * 4
    assert [json.loads(row["meta"])["id"] for row in tables.documents] == [[1], True, {}, {"a": 1}]
    assert [batch.notes for batch in tables.batches] == [{"id_passed_over": 4}]
    assert [row["error"] for row in read(path, ReadOptions(id="id")).errors] == ["bad_id"] * 4


def test_an_address_that_is_none(tmp_path: Path) -> None:
    path = write(tmp_path, lines({"text": "t", "url": 5}, {"text": "u", "url": ["a"]}, {"text": "v", "url": None}))
    tables = read(path)
    assert [row["url"] for row in tables.documents] == [None, None, None]
    assert [json.loads(row["meta"]) for row in tables.documents] == [{"url": 5}, {"url": ["a"]}, {"url": None}]
    assert tables.batches[0].notes == {"url_passed_over": 2}
    assert [row["url"] for row in read(path, ReadOptions(url="url")).documents] == ["5", None, None]


def test_values_that_python_writes_and_json_lacks(tmp_path: Path) -> None:
    data = b'{"text": "a", "n": NaN, "m": [Infinity, -Infinity], "id": 1.0}\n{"text": "b", "cut\\ud83d": "x\\ud83dy"}\n'
    tables = read(write(tmp_path, data))
    assert tables.texts == ["a", "b"]
    metas = [json.loads(row["meta"]) for row in tables.documents]
    assert metas == [{"n": None, "m": [None, None], "id": 1.0}, {"cut\ufffd": "x\ufffdy"}]
    assert tables.batches[0].notes == {"odd_value": 5}
    assert tables.documents[0]["doc_id"] == doc_id("test", "1.0")


def test_odd_values_beside_long_integers(tmp_path: Path) -> None:
    data = b'{"text": "a", "n": [NaN], "m": 123456789012345678901234567890}\n'
    (row,) = read(write(tmp_path, data)).documents
    assert json.loads(row["meta"]) == {"n": [None], "m": 123456789012345678901234567890}


def test_a_number_that_nobody_reads_costs_itself(tmp_path: Path) -> None:
    huge = b"9" * 5000
    tables = read(write(tmp_path, b'{"text": "a", "n": [%s], "m": 1}\n{"text": "b", "id": -%s}\n' % (huge, huge)))
    assert tables.texts == ["a", "b"]
    assert [json.loads(row["meta"]) for row in tables.documents] == [{"n": [None], "m": 1}, {"id": None}]
    assert tables.batches[0].notes["odd_value"] == 2


@pytest.mark.parametrize("encoding", ["cp1251", "utf-8", "gb18030"])
def test_ids_of_every_encoding(tmp_path: Path, encoding: str) -> None:
    records = [{"text": "Привет", "id": i} for i in (1.5, 2**70, 7, "ж")]
    data = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode(encoding)
    tables = read(write(tmp_path, data), ReadOptions(encoding=encoding))
    assert [row["doc_id"] for row in tables.documents] == [
        doc_id("test", name) for name in ("1.5", str(2**70), "7", "ж")
    ]


def test_byte_order_marks_of_joined_files(tmp_path: Path) -> None:
    part = codecs.BOM_UTF8 + lines({"text": "a"}, {"text": "b"})
    for name, data in (("a.jsonl", part * 3), ("a.jsonl.gz", gzip.compress(part) * 3)):
        tables = read(write(tmp_path, data, name))
        assert tables.texts == ["a", "b"] * 3
        assert tables.errors == []


def test_folders_hold_values(tmp_path: Path) -> None:
    folder = tmp_path / "lang=sr%2DLatn" / "date=2024-01-15" / "x=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir(parents=True)
    path = write(folder, lines({"text": "a"}, {"text": "b", "lang": "de", "date": None}))
    first, second = read(path).documents
    assert json.loads(first["meta"]) == {"lang": "sr-Latn", "x": None}
    assert first["timestamp"] == dt.datetime(2024, 1, 15, tzinfo=dt.UTC)
    assert json.loads(second["meta"]) == {"lang": "de", "date": None, "x": None}  # the record's own come first
    assert read(path, ReadOptions(id="lang")).documents[0]["doc_id"] == doc_id("test", "sr-Latn")


@pytest.mark.parametrize("option", ["id", "url", "timestamp"])
def test_fields_that_nothing_has_are_known_before(tmp_path: Path, option: str) -> None:
    path = write(tmp_path, lines({"text": "x", "fetched": 1}))
    with pytest.raises(InputError, match=f"no.*'fetchd'.*did you mean 'fetched'.*`{option}:`"):
        read(path, ReadOptions(**{option: "fetchd"}))  # type: ignore[arg-type]


def test_html_in_a_field(tmp_path: Path) -> None:
    page = "<html><body><nav>menu</nav><p>" + "A sentence of the article. " * 5 + "</p></body></html>"
    tables = read(write(tmp_path, lines({"text": page}, {"text": "<br>"})), ReadOptions(html=True))
    assert len(tables.texts) == 1
    assert "<" not in tables.texts[0]
    assert [row["rule"] for row in tables.rejected] == ["empty_text"]


def test_byte_order_mark_and_other_encodings(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbf" + lines({"text": "a"}))
    assert read(path).texts == ["a"]
    path = write(tmp_path, '{"text": "Привет"}\n'.encode("cp1251") + b'{"text": "\x98"}\n')
    tables = read(path, ReadOptions(encoding="cp1251"))
    assert tables.texts == ["Привет"]
    assert [row["error"] for row in tables.errors] == ["invalid_encoding"]


def test_lines_that_are_too_long(tmp_path: Path) -> None:
    limit = 5000
    records = lines({"text": "a"}, {"text": "x" * 6000}, {"text": "b"}, {"text": "y" * 4000}, {"text": "z" * 9000})
    options = ReadOptions(max_record_bytes=limit)
    for suffix, pack in PACK.items():
        for data in (records, records[:-1]):
            tables = read(write(tmp_path, pack(data), f"a.jsonl{suffix}"), options)
            assert tables.texts == ["a", "b", "y" * 4000]
            assert [row["error"] for row in tables.errors] == ["record_too_large"] * 2
            assert [row["record"] for row in tables.errors] == ["byte 14", "byte 10054"]


def test_batches_are_bounded(tmp_path: Path) -> None:
    path = write(tmp_path, lines(*({"text": "x" * 100} for _ in range(1000))))
    tables = read(path, ReadOptions(batch_rows=64))
    assert max(batch.read for batch in tables.batches) == 64
    tables = read(path, ReadOptions(batch_bytes=1000))
    assert max(batch.read for batch in tables.batches) == 9
    assert len(tables.texts) == 1000


# --- splits -------------------------------------------------------------------------------------------------------

LINE = st.one_of(
    st.builds(lambda text: json.dumps({"text": text}, ensure_ascii=False).encode(), st.text(max_size=30)),
    st.builds(lambda n, c: b'{"text": "' + c.encode() * n + b'"}', st.integers(0, 400), st.sampled_from("aü字𝒳")),
    st.sampled_from([b"", b"   ", b"\t", *(line for line, _ in BAD_LINES if len(line) < 100)]),
    st.binary(max_size=12).map(lambda data: data.replace(b"\n", b"")),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=120)
@given(
    st.lists(st.tuples(LINE, st.sampled_from([b"\n", b"\r\n"])), max_size=20),
    st.booleans(),
    st.integers(1, 300),
    st.sampled_from([1 << 20, 120]),
)
def test_split_is_unsplit(
    tmp_path: Path, parts: list[tuple[bytes, bytes]], ended: bool, target: int, limit: int
) -> None:
    data = b"".join(line + end for line, end in parts)
    if not ended:
        data = data.rstrip(b"\r\n")
    path = write(tmp_path, data)
    options = ReadOptions(max_record_bytes=limit)
    splits = [
        Split(str(path), "jsonl", None, "bytes", start, min(start + target, len(data)))
        for start in range(0, len(data), target)
    ]
    whole = Tables([Split(str(path), "jsonl")], options)
    assert Tables(splits, options).same(whole)
    assert whole.read + whole.skipped == len([*data.split(b"\n")[:-1], *[x for x in data.split(b"\n")[-1:] if x]])
    packed = write(tmp_path, gzip.compress(data, mtime=0), "b.jsonl.gz")
    unpacked = Tables([Split(str(packed), "jsonl", "gz")], options)
    assert unpacked.documents == whole.documents
    assert [row["record"] for row in unpacked.errors] == [row["record"] for row in whole.errors]


@pytest.mark.parametrize("target", [1, 2, 3, 7, 64, 1000, 10**6])
def test_planned_splits(tmp_path: Path, target: int) -> None:
    data = lines(*({"text": f"line {i} " + "é" * (i % 50)} for i in range(60)))
    path = write(tmp_path, data)
    splits = plan_splits(filesystem.info(str(path)), ReadOptions(), target)
    assert len(splits) == math.ceil(len(data) / target)
    assert [split.start for split in splits[1:]] == [split.end for split in splits[:-1]]
    assert read(path, target=target).same(read(path))


def test_packed_files_are_not_split(tmp_path: Path) -> None:
    for suffix, pack in PACK.items():
        path = write(tmp_path, pack(lines({"text": "a"}) * 50), f"a.jsonl{suffix}")
        splits = plan_splits(filesystem.info(str(path)), ReadOptions(), 10)
        assert (len(splits) == 1) == (suffix != "")


# --- damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".bz2", ".xz"])
def test_truncation_never_costs_an_earlier_line(tmp_path: Path, suffix: str) -> None:
    import random

    chance = random.Random(3)
    records = [{"text": chance.randbytes(20).hex()} for _ in range(400)]
    first, second = lines(*records[:200]), lines(*records[200:])
    data = PACK[suffix](first) + PACK[suffix](second)
    expected = [record["text"] for record in records]
    for end in [*range(1, len(data), 211), *range(len(data) - 12, len(data))]:
        path = write(tmp_path, data[:end], f"a.jsonl{suffix}")
        tables = Tables([Split(str(path), "jsonl", suffix[1:])], ReadOptions())  # type: ignore[arg-type]
        assert tables.texts == expected[: len(tables.texts)]
        if end >= len(PACK[suffix](first)):
            assert len(tables.texts) >= 200
        assert [row["error"] for row in tables.errors] in (["truncated_file"], [])
        assert tables.errors or end == len(PACK[suffix](first))


def test_damaged_member(tmp_path: Path) -> None:
    members = [bytearray(gzip.compress(lines({"text": f"{i}"}, {"text": f"{i}b"}), mtime=0)) for i in range(3)]
    members[1][-6] ^= 1  # the checksum
    path = write(tmp_path, b"".join(members), "a.jsonl.gz")
    tables = read(path)
    assert tables.texts == ["0", "0b", "1", "1b", "2", "2b"]
    assert [row["error"] for row in tables.errors] == ["corrupt_member"]


def test_bomb(tmp_path: Path) -> None:
    bomb = gzip.compress(b'{"text": "' + b" " * 30_000_000, mtime=0)
    path = write(
        tmp_path,
        gzip.compress(lines({"text": "a"}), mtime=0) + bomb + gzip.compress(lines({"text": "b"}), mtime=0),
        "a.jsonl.gz",
    )
    tables = read(path, ReadOptions(max_record_bytes=100_000))
    assert tables.texts == ["a", "b"]
    assert [row["error"] for row in tables.errors] == ["expansion"]


# --- before work begins -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "options", "sentence"),
    [
        ("a.jsonl", lines({"body": "x"}), {}, "its first record hasn't the field 'text'; there are body"),
        ("a.jsonl", lines({"txt": "x"}), {}, "did you mean 'txt'"),
        ("a.jsonl", lines({"text": "x"}), {"id": "key"}, "field 'key'"),
        ("a.json", b'[\n{"text": "x"}\n]', {}, "JSON array"),
        ("a.jsonl", "{}\n".encode("utf-16"), {}, "UTF-16"),
        *[
            ("a.jsonl", b'{"text": 1}\n'.decode().encode(f"utf-{code}"), {}, f"is UTF-{code[:2]}: convert it to UTF-8")
            for code in ("16", "16-le", "16-be", "32", "32-le", "32-be")
        ],
        ("a.jsonl", b'{"text": "a"}\r{"text": "b"}\r', {}, "a.jsonl: its lines end in a carriage return alone"),
        ("a.jsonl.gz", b"no gzip", {}, "is no gz file"),
        ("a.jsonl.zst", b"x" * 100, {}, "is no zst file"),
        ("a.warc.gz", b'{"text": "x"}', {}, "is no gz file"),
        ("a.dat", b"x", {}, "doesn't tell the format"),
        ("a.json", b'{\n  "text": "x"\n}\n', {}, "none of its first 3 lines is a JSON object"),
        ("a.warc", b"no such thing\n" * 50, {}, "no WARC records"),
        ("a.warc.gz", gzip.compress(b"no such thing\n" * 50, mtime=0), {}, "no WARC records"),
    ],
)
def test_what_can_be_known_before(
    tmp_path: Path, name: str, data: bytes, options: dict[str, Any], sentence: str
) -> None:
    path = write(tmp_path, data, name)
    with pytest.raises(InputError, match=sentence) as error:
        plan_splits(filesystem.info(str(path)), ReadOptions(**options), 1 << 20)
    assert name in str(error.value)


def test_bad_options() -> None:
    from tamis.schemas.errors import ConfigError

    with pytest.raises(ConfigError, match="nonsense"):
        ReadOptions(encoding="nonsense")
    with pytest.raises(ConfigError, match="limits"):
        ReadOptions(batch_rows=0)
    with pytest.raises(InputError, match="positive"):
        plan_splits(filesystem.FileInfo("a.jsonl", 5, ""), ReadOptions(), 0)


def test_a_file_that_vanishes_is_an_error_record(tmp_path: Path) -> None:
    path = write(tmp_path, lines({"text": "x"}))
    splits = plan_splits(filesystem.info(str(path)), ReadOptions(), 1 << 20)
    path.unlink()
    (row,) = Tables(splits, ReadOptions()).errors
    assert (row["error"], row["record"]) == ("unreadable_file", "file")


def test_an_empty_file(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.warc", "a.jsonl.gz"):
        assert read(write(tmp_path, b"", name)).read == 0


def test_formats_by_name(tmp_path: Path) -> None:
    from tamis.pipeline.formats.options import data_suffixes, format_of

    expected = {
        "a.jsonl": ("jsonl", None),
        "a.NDJSON.GZ": ("jsonl", "gz"),
        "c4.json.gz": ("jsonl", "gz"),
        "CC-MAIN-1.warc.wet.gz": ("wet", "gz"),
        "a.warc.zst": ("warc", "zst"),
        "a.b.parquet": ("parquet", None),
        "a.tsv.xz": ("csv", "xz"),
        "https://a.example/b.jsonl.zst?download=true": ("jsonl", "zst"),
        "s3://bucket/what?.jsonl": ("jsonl", None),
    }
    for path, found in expected.items():
        if "what?" not in path:
            assert format_of(path, ReadOptions()) == found
            assert path.partition("?")[0].lower().endswith(data_suffixes())
    assert format_of("a.txt.gz", ReadOptions(format="jsonl")) == ("jsonl", "gz")
