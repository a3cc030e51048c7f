"""Odd files, names and configs through `tamis run`: no traceback, no silence, the balance holds, the status is right.

Each case stands for a kind; what a reader makes of its records is in the tests of that reader.
"""

import bz2
import gzip
import io
import json
import lzma
import re
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tamis.jobs.cli.app import main
from tests.pipeline.formats.warc_files import article, http, record

WORDS = "The river {} runs over bright stones."
ROWS = b"".join(json.dumps({"text": WORDS.format(n), "n": n}).encode() + b"\n" for n in range(3))
TEXTS = pa.array([WORDS.format(n) for n in range(3)])


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def beside(column: Any) -> bytes:
    return parquet({"text": TEXTS, "x": column})


def nested(depth: int) -> bytes:
    return b'{"text": "deep", "x": ' + b"[" * depth + b"]" * depth + b"}\n"


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.jsonl", data)
    return out.getvalue()


ZSTD = zstandard.ZstdCompressor()
SKIPPED = b"\x50\x2a\x4d\x18" + struct.pack("<I", 5) + b"hello"
DICTIONARY = zstandard.train_dictionary(600, [ROWS[n : n + 60] for n in range(100)] * 20)
WITH_DICTIONARY = zstandard.ZstdCompressor(dict_data=DICTIONARY)
PAGE = record(http(article("x")))
UUIDS = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"1" * 16] * 3, pa.binary(16)))
MANY = b"".join(b"a%d=1 " % n for n in range(200_000))
ENDLESS = record(http(article("y")), extra="X: " + "y" * 70_000)
WHOLE = parquet({"text": TEXTS})
DAMAGED = WHOLE[:-40] + b"\xff" * 30 + WHOLE[-10:]
ENCRYPTED = parquet({"text": TEXTS})[:-4] + b"PARE"

TAKEN: Any = (0, (3, 3, 0, 0), "")
FOUR: Any = (0, (4, 4, 0, 0), "")
ONE_LOST: Any = (1, (4, 3, 0, 1), "1 of 4 records became errors")
NOT_SELECTED: Any = (1, (1, 0, 1, 0), "no document was selected")
# Name of a file, what is in it, exit status, (read, selected, rejected, errors) where there is a run, what is said.
FILES: dict[str, Any] = {
    "text by dictionary": ("a.parquet", parquet({"text": TEXTS.dictionary_encode()}), *TAKEN),
    "text as view": ("a.parquet", parquet({"text": TEXTS.cast(pa.string_view())}), *TAKEN),
    "text as bytes": ("a.parquet", parquet({"text": TEXTS.cast(pa.binary())}), *TAKEN),
    "text in lists": ("a.parquet", parquet({"text": pa.array([["a"]])}), 1, None, "is list<element: string>, not"),
    "decimal256": ("a.parquet", beside(pa.array([1, 2, 3]).cast(pa.decimal256(60, 2))), *TAKEN),
    "duration": ("a.parquet", beside(pa.array([1, None, 3], pa.duration("ns"))), *TAKEN),
    "equal keys": ("a.parquet", beside(pa.array([[("a", 1), ("a", 2)]] * 3, pa.map_(pa.string(), pa.int64()))), *TAKEN),
    "lists of bytes": ("a.parquet", beside(pa.array([[b"\xff"], [], None], pa.list_(pa.binary()))), *TAKEN),
    "nulls": ("a.parquet", beside(pa.nulls(3)), *TAKEN),
    "empty lists": ("a.parquet", beside(pa.array([[[]], [], None], pa.list_(pa.list_(pa.int64())))), *TAKEN),
    "uuids": ("a.parquet", beside(UUIDS), *TAKEN),
    "fixed lists with null": ("a.parquet", beside(pa.array([[1, 2], [3, 4], None], pa.list_(pa.int32(), 2))), 0,
                              (3, 3, 0, 0), "3 times unreadable value"),
    "no rows": ("a.parquet", parquet({"text": pa.array([], pa.string())}), 1, (0, 0, 0, 0), "the inputs are empty"),
    "no columns": ("a.parquet", parquet({}), 1, None, "has no column 'text'"),
    "encrypted": ("a.parquet", ENCRYPTED, 1, None, "a.parquet is an encrypted Parquet file: write it decrypted"),
    "a damaged footer": ("a.parquet", DAMAGED, 1, None, "a.parquet is no readable Parquet file: "),
    "wrong magic": ("a.parquet", b"XXXX" * 9, 1, None, "is no readable Parquet file"),
    "deep nesting": ("a.jsonl", nested(1000) + ROWS, 0, (4, 4, 0, 0), "1 time odd value"),
    "nesting without end": ("a.jsonl", nested(99_999) + ROWS, *ONE_LOST),
    "huge numbers": ("a.jsonl", b'{"text": "a", "n": %b, "m": 1e999}\n' % (b"9" * 5000), 0, (1, 1, 0, 0), "odd"),
    "equal names": ("a.jsonl", b'{"text": "a", "text": "b"}\n', 0, (1, 1, 0, 0), ""),
    "zeros between": ("a.jsonl", ROWS + b"\0\0\0\n", *ONE_LOST),
    "UTF-16 unmarked": ("a.jsonl", ROWS.decode().encode("utf-16-be"), 1, None, "a.jsonl is UTF-16: convert it"),
    "carriage returns": ("a.jsonl", ROWS.replace(b"\n", b"\r"), 1, None, "carriage return alone: convert them"),
    "a million returns": ("a.jsonl", ROWS + b"{}" + b"\r" * 10**6 + b"x\n", *ONE_LOST),  # no pair of them
    "blank lines": ("a.jsonl", b"\n \n", 1, (0, 0, 0, 0), "hold only what is skipped: 2 blank line"),
    "an empty object": ("a.jsonl", b"{}\n", 1, None, "hasn't the field 'text'; it has none (set `text:`)"),
    "open quote": ("a.csv", b'text,n\n"never closed,1\nb,2\n', 1, (2, 1, 0, 1), "1 of 2 records became errors"),
    "ragged rows": ("a.csv", b"text,n\na,1,2\nb\nc,1\n", 1, (3, 1, 0, 2), "2 of 3 records became errors"),
    "semicolons": ("a.csv", b"text;n\na;1\n", 1, None, "set `delimiter: ';'`"),
    "frames": ("a.jsonl.zst", SKIPPED + ZSTD.compress(ROWS) + ZSTD.compress(b'{"text": "b"}\n') + SKIPPED, *FOUR),
    "a dictionary": ("a.jsonl.zst", WITH_DICTIONARY.compress(ROWS), 1, None, "it takes a dictionary, which isn't in"),
    "members": ("a.jsonl.gz", gzip.compress(ROWS) + gzip.compress(b'{"text": "b"}\n'), *FOUR),
    "zeros after": ("a.jsonl.gz", gzip.compress(ROWS) + b"\0" * 512, *TAKEN),
    "garbage after": ("a.jsonl.gz", gzip.compress(ROWS) + b"garbage", *ONE_LOST),
    "cut off": ("a.jsonl.bz2", bz2.compress(ROWS)[:-5], *ONE_LOST),
    "streams": ("a.jsonl.xz", lzma.compress(ROWS) + lzma.compress(b'{"text": "b"}\n'), *FOUR),
    "zip": ("a.jsonl.zip", zipped(ROWS), 1, None, "archives of kind .zip aren't read: unpack it"),
    "zip by another name": ("a.jsonl", zipped(ROWS), 1, None, "a.jsonl is a zip archive: unpack it"),
    "PDF by another name": ("a.jsonl", b"%PDF-1.4\n" + ROWS, 1, None, "a.jsonl is a PDF"),
    "only skipped": ("a.warc", record(b"a: b\r\n", kind="metadata"), 1, (0, 0, 0, 0), "what is skipped: 1 metadata"),
    "WARC/0.17": ("a.warc", PAGE.replace(b"WARC/1.0", b"WARC/0.17"), 0, (1, 1, 0, 0), ""),
    "no last line ends": ("a.warc", record(http(article("x")), end=b"") * 2, 0, (2, 1, 1, 0), ""),
    "an endless header": ("a.warc", ENDLESS + PAGE, 1, (2, 1, 0, 1), "1 of 2"),
    "no page": ("a.html", b"<frameset><frame src=a></frameset>", *NOT_SELECTED),
    "attributes": ("a.html", b"<p " + MANY + b">words</p>", *NOT_SELECTED),
}  # fmt: skip


def run(folder: Path, inputs: Any, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    (folder / "c.yaml").write_text(json.dumps({"inputs": inputs, "steps": ["exact_dedup"]}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["tamis", "run", "c.yaml", "-o", "r", "--quiet"])
        try:
            main()
            status = 0
        except SystemExit as stopped:
            status = int(stopped.code or 0)
    return status, capsys.readouterr().err


@pytest.mark.parametrize("case", FILES)
def test_odd_files(tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, data, status, counts, said = FILES[case]
    (tmp_path / name).write_bytes(data)
    found, told = run(tmp_path, [{"path": name, "source": "s"}], capsys)
    assert "Traceback" not in told
    assert (found, bool(told)) == (status, bool(said) or status != 0), told
    assert said in told
    manifest = tmp_path / "r" / "manifest.json"
    if counts is None:
        assert not manifest.exists()
        assert len(told.strip().splitlines()) == 1
    else:
        made = json.loads(manifest.read_text())
        assert tuple(made[key] for key in ("read", "selected", "rejected", "errors")) == counts


NAMES = ["a b", "a%20b", "a?b", "a[1]", "é", "e\u0301", "a\nb", "a*b", "#a", "a{b}", "$HOME", "~a", "a:b", "-a", "a\\b",
         "\u202ea", "[b]x[b]", "q'\"", "[/]"]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in NAMES if "/" not in name])
def test_odd_names_of_files(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    for folder in (tmp_path, tmp_path / "data"):
        (folder / f"{name}.jsonl").write_bytes(ROWS)
    named = [{"path": f"{name}.jsonl", "source": "named"}, {"path": "data", "source": "folder"}]
    status, told = run(tmp_path, named, capsys)
    assert (status, "Traceback" in told) == (0, False), told
    made = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert {source: counts["read"] for source, counts in made["sources"].items()} == {"named": 3, "folder": 3}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"path": "a\0.jsonl"}, r"a\\x00\.jsonl: there is no such file or folder"),
        ({"path": "a" * 5000}, "a{5000}: File name too long"),
        ({"path": ""}, "names no file"),
        ({"path": None}, "expected a path, or a list of paths, got None"),
        ({"path": "foo://bar"}, "no file system is known for foo://"),
        ({"path": "a.jsonl", "source": "s" * 201}, "source: expected at most 200 characters"),
        ({"path": "a.jsonl", "source": "../a"}, "source: expected a name of the form"),
        ({"path": "~nobody-of-that-name/a.jsonl"}, "~nobody-of-that-name/a.jsonl: there is no such file or folder"),
    ],
)
def test_odd_paths_are_a_sentence(tmp_path: Path, entry: Any, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_bytes(ROWS)
    status, told = run(tmp_path, [{"source": "s"} | entry], capsys)
    assert status in (1, 2)
    assert re.search(said, told)
    assert len(told.strip().splitlines()) == 1


def test_warnings_of_work_are_sentences_without_the_loggers_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": "a one", "id": 1}, {"text": "b two", "id": [1]}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, told = run(tmp_path, [{"path": "a.jsonl", "source": "s"}], capsys)
    assert status == 0
    assert re.match(
        r"warning: input s: values of `id` that name nothing are passed over.*\nwarning: source s: 1 ", told
    )
    assert "WARNING" not in told
