"""Arrow IPC, ARC, LZ4, files that are a document each, and files that their names don't describe."""

import bz2
import gzip
import json
import lzma
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pytest
import zstandard

from tamis.pipeline.formats.compression import codec_of_bytes
from tamis.pipeline.formats.options import ReadOptions, data_suffixes
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.formats.records import ReadBatch
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import InputError
from tamis.scorers.text.identity import doc_id_from_content
from tests.pipeline.formats.warc_files import article, http, page_text, warc


def lz4(data: bytes, **options: Any) -> bytes:
    """One frame; Arrow's codec writes it as the lz4 tool does."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "lz4") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


PACK = {
    "gz": gzip.compress,
    "zst": zstandard.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lz4": lz4,
}


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def read(path: Path, **options: Any) -> list[ReadBatch]:
    settings = ReadOptions(**options)
    splits = plan_splits(filesystem.info(str(path)), settings, 1 << 30)
    return [batch for split in splits for batch in read_split(split, "t", settings)]


def texts(batches: list[ReadBatch]) -> list[str]:
    return [text for batch in batches for text in batch.documents.column("text").to_pylist()]


def errors(batches: list[ReadBatch]) -> list[str]:
    return [error for batch in batches for error in batch.errors.column("error").to_pylist()]


# --- Arrow --------------------------------------------------------------------------------------------------------

TABLE = pa.table({"text": [f"text {i}" for i in range(100)], "n": list(range(100)), "date": ["2024-01-15"] * 100})


def arrow_file(path: Path, kind: str) -> Path:
    if kind == "feather":
        feather.write_feather(TABLE, path, compression="lz4")
        return path
    new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with new(path, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=30)
    return path


@pytest.mark.parametrize("kind", ["file", "stream", "feather"])
@pytest.mark.parametrize("batch_rows", [7, 2000])
def test_arrow(tmp_path: Path, kind: str, batch_rows: int) -> None:
    batches = read(arrow_file(tmp_path / "a.arrow", kind), batch_rows=batch_rows)
    assert texts(batches) == [f"text {i}" for i in range(100)]
    metas = [json.loads(meta) for batch in batches for meta in batch.documents.column("meta").to_pylist()]
    assert metas == [{"n": i} for i in range(100)]
    assert batches[0].documents.column("timestamp")[0].as_py().day == 15
    assert max(batch.read for batch in batches) <= max(30, batch_rows)


def test_arrow_of_an_object_store(tmp_path: Path) -> None:
    data = arrow_file(tmp_path / "a.arrow", "stream").read_bytes()
    with filesystem.write_atomically("memory://arrow/a.arrow") as stream:
        stream.write(data)
    (file,) = filesystem.expand("memory://arrow", suffixes=data_suffixes())
    (split,) = plan_splits(file, ReadOptions())
    assert len(texts(list(read_split(split, "t", ReadOptions())))) == 100
    filesystem.remove_tree("memory://arrow")


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_damaged_arrow(tmp_path: Path, kind: str) -> None:
    path = arrow_file(tmp_path / "a.arrow", kind)
    data = path.read_bytes()
    for name, broken in (("b.arrow", b""), ("c.arrow", b"no arrow at all"), ("d.arrow", data[:40])):
        with pytest.raises(InputError, match=f"{name} is no readable Arrow file"):
            read(write(tmp_path, name, broken))
    with pytest.raises(InputError, match="set `text:`"):
        read(path, text="body")
    if kind == "stream":
        batches = read(write(tmp_path, "e.arrow", data[: len(data) * 2 // 3]))
        assert texts(batches) == [f"text {i}" for i in range(len(texts(batches)))]
        assert len(texts(batches)) >= 30
        assert errors(batches) == ["corrupt_rows"]


# --- LZ4 ----------------------------------------------------------------------------------------------------------


def test_lz4_members(tmp_path: Path) -> None:
    records = warc(["a", "b", "c"])
    skippable = (0x184D2A50).to_bytes(4, "little") + (7).to_bytes(4, "little") + b"skipped"
    for data in (
        b"".join(map(lz4, records)),
        lz4(b"".join(records)),
        lz4(records[0]) + skippable + lz4(records[1]) + lz4(records[2]),
    ):
        batches = read(write(tmp_path, "a.warc.lz4", data))
        assert texts(batches) == [page_text(name) for name in "abc"]
        assert errors(batches) == []


def test_long_lz4(tmp_path: Path) -> None:
    chance = random.Random(1)
    lines = [json.dumps({"text": chance.randbytes(500).hex()}) for _ in range(9000)]  # more than a block holds
    batches = read(write(tmp_path, "a.jsonl.lz4", lz4("\n".join(lines).encode())))
    assert texts(batches) == [json.loads(line)["text"] for line in lines]


def test_damaged_lz4(tmp_path: Path) -> None:
    records = warc(["a", "b", "c"])
    members = [bytearray(lz4(record)) for record in records]
    cut = b"".join(members[:2]) + members[2][:-9]
    batches = read(write(tmp_path, "a.warc.lz4", cut))
    assert texts(batches)[:2] == [page_text("a"), page_text("b")]
    assert errors(batches) in (["truncated_file"], [])
    members[1][30:60] = bytes(30)
    batches = read(write(tmp_path, "b.warc.lz4", b"".join(members)))
    assert texts(batches)[0] == page_text("a")
    assert texts(batches)[-1] == page_text("c")
    members[1] = bytearray(b"garbage" * 9)
    batches = read(write(tmp_path, "c.warc.lz4", b"".join(members)))
    assert texts(batches) == [page_text("a"), page_text("c")]
    assert errors(batches) == ["garbage"]


# --- ARC ----------------------------------------------------------------------------------------------------------


def arc_record(url: str, block: bytes, content_type: str = "text/html", date: str = "20240115123456") -> bytes:
    return f"{url} 192.0.2.1 {date} {content_type} {len(block)}\n".encode() + block + b"\n"


VERSION = arc_record(
    "filedesc://a.arc", b"1 0 Archive\nURL IP-address Archive-date Content-type Archive-length\n\n", "text/plain"
)


def arc(names: str = "abc") -> list[bytes]:
    return [VERSION, *(arc_record(f"http://a.example/{name}", http(article(name))) for name in names)]


@pytest.mark.parametrize("codec", [None, "gz", "zst", "lz4"])
@pytest.mark.parametrize("whole", [True, False])
def test_arc(tmp_path: Path, codec: str | None, whole: bool) -> None:
    pack = PACK.get(codec or "", bytes)
    data = pack(b"".join(arc())) if whole else b"".join(map(pack, arc()))
    (batch,) = read(write(tmp_path, f"a.arc.{codec}" if codec else "a.arc", data))
    assert texts([batch]) == [page_text(name) for name in "abc"]
    assert batch.skipped == {"warcinfo": 1}
    first = batch.documents.to_pylist()[0]
    assert first["url"] == "http://a.example/a"
    assert first["timestamp"].isoformat() == "2024-01-15T12:34:56+00:00"
    assert first["doc_id"] == doc_id_from_content("t", "http://a.example/a", page_text("a"))
    assert json.loads(first["meta"])["status"] == 200


def test_arc_version_2_and_pages_without_http(tmp_path: Path) -> None:
    block = http(article("x"))
    head = f"http://a.example/ 192.0.2.1 20240115123456 text/html 200 checksum - 1234 a.arc {len(block)}\n".encode()
    data = VERSION + head + block + b"\n" + arc_record("http://a.example/y", article("y"))
    data += arc_record("dns:a.example", b"20240115 192.0.2.1", "text/dns")
    (batch,) = read(write(tmp_path, "a.arc", data))
    assert texts([batch]) == [page_text("x"), page_text("y")]
    assert batch.skipped == {"warcinfo": 1, "no_page": 1}


def test_damaged_arc(tmp_path: Path) -> None:
    records = arc("abcd")
    plain = b"".join([*records[:2], b"no record\nat all \n", *records[2:]])
    batches = read(write(tmp_path, "a.arc", plain))
    assert texts(batches) == [page_text(name) for name in "abcd"]
    assert errors(batches) == ["malformed_header"]
    for end in range(len(VERSION) + 200, len(plain), 31):
        batches = read(write(tmp_path, "b.arc", plain[:end]))
        assert texts(batches) == [page_text(name) for name in "abcd"[: len(texts(batches))]]
        assert set(errors(batches)) <= {"malformed_header", "truncated_file"}
    members = [bytearray(gzip.compress(record)) for record in records]
    members[2][20:40] = bytes(20)
    batches = read(write(tmp_path, "c.arc.gz", b"".join(members)))
    assert [text for text in texts(batches) if text in map(page_text, "acd")] == [page_text(name) for name in "acd"]
    batches = read(write(tmp_path, "d.arc", b"".join(records)), max_record_bytes=len(records[1]) - 80)
    assert set(errors(batches)) == {"record_too_large"}
    with pytest.raises(InputError, match="no ARC records"):
        read(write(tmp_path, "e.arc", b"nothing of the kind\n" * 9))


# --- a document a file --------------------------------------------------------------------------------------------


def test_texts(tmp_path: Path) -> None:
    cases = {
        "a.txt": ("Zeile 1\r\nZeile ü\n".encode("cp1252"), "Zeile 1\nZeile ü\n"),
        "b.md": (b"# Title\n\n* point\n", "# Title\n\n* point\n"),
        "c.txt.gz": (gzip.compress(b"packed"), "packed"),
        "d.html": (b"<html><body><nav>menu</nav>" + article("d"), page_text("d")),
        "e.HTM": (article("e").decode().encode("utf-16"), page_text("e")),
    }
    for name, (data, expected) in cases.items():
        (batch,) = read(write(tmp_path, name, data))
        assert texts([batch]) == [expected]
        (row,) = batch.documents.to_pylist()
        assert row["doc_id"] == doc_id_from_content("t", None, expected)
        assert json.loads(row["meta"])["file"] == name
    (batch,) = read(write(tmp_path, "f.txt", article("f")), html=True)
    assert texts([batch]) == [page_text("f")]


def test_texts_that_give_none(tmp_path: Path) -> None:
    (batch,) = read(write(tmp_path, "a.txt", b" \n"))
    assert batch.rejected.column("rule").to_pylist() == ["empty_text"]
    (batch,) = read(write(tmp_path, "b.html", b"<nav>x</nav>" + b"<div>" * 60_000))
    assert batch.rejected.column("rule").to_pylist() == ["page_too_complex"]
    assert json.loads(batch.rejected_meta[0].as_py())["file"] == "b.html"
    (batch,) = read(write(tmp_path, "c.txt", b"x" * 50), max_record_bytes=49)
    assert errors([batch]) == ["record_too_large"]
    (batch,) = read(write(tmp_path, "d.txt.gz", gzip.compress(b"x" * 5000)[:-5]))
    assert errors([batch]) == ["truncated_file"]
    assert read(write(tmp_path, "e.txt", b"")) == []


# --- names that say otherwise -------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", sorted(PACK))
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt", "a.warc", "a.jsonl.gz", "a.jsonl.lz4"])
def test_compression_is_seen_whatever_the_name_says(tmp_path: Path, packed: str, name: str) -> None:
    content = {"j": b'{"text": "words"}\n', "c": b"text\nwords\n", "t": b"words", "w": warc(["a"])[0]}
    data = PACK[packed](content[name.split(".")[1][0]])
    assert codec_of_bytes(data[:6]) == packed
    batches = read(write(tmp_path, name, data))
    assert texts(batches) == [page_text("a") if "warc" in name else "words"]
    assert errors(batches) == []


def test_what_was_unpacked_on_its_way(tmp_path: Path) -> None:
    data = b'{"text": "words"}\n' * 3
    path = write(tmp_path, "a.jsonl.gz", data)
    assert texts(read(path)) == ["words"] * 3
    assert len(plan_splits(filesystem.info(str(path)), ReadOptions(), 10)) == 6  # and so it can be cut
    assert codec_of_bytes(b"BZh and so on") is None


def test_inputs_of_nothing(tmp_path: Path) -> None:
    empty = {
        "a.jsonl": b"",
        "a.jsonl.gz": b"",
        "b.jsonl.gz": gzip.compress(b""),
        "a.csv": b"text\n",
        "a.warc": b"",
        "a.txt": b"",
        "c.jsonl": b"\n \n",
    }
    for name, data in empty.items():
        batches = read(write(tmp_path, name, data))
        assert sum(batch.read for batch in batches) == 0, name
    import pyarrow.parquet as pq

    pq.write_table(TABLE.schema.empty_table(), tmp_path / "a.parquet")
    assert sum(batch.read for batch in read(tmp_path / "a.parquet")) == 0
    with pa.ipc.new_file(tmp_path / "a.arrow", TABLE.schema):
        pass
    assert sum(batch.read for batch in read(tmp_path / "a.arrow")) == 0
