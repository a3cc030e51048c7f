"""Every label, byte, pair and longer sequence is read as an independent decoder of browsers' encodings reads it."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tamis.scorers.text.encoding import decode, decode_as
from tamis.scorers.text.encoding_labels import LABELS, encoding_of

ALL = range(256)
MULTIBYTE = ("gbk", "gb18030", "big5", "euc-jp", "shift_jis", "euc-kr", "iso-2022-jp")
ALPHABET = bytes.fromhex("1b24284249 4a4030393c417e7f80818e8fa0a1b0c9dfe0fafeff210e")


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    path = Path(__file__).parents[2] / "golden" / "encodings" / "encodings.json"
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def four_bytes(number: int) -> bytes:
    rest = number % 12600
    return bytes((0x81 + number // 12600, 0x30 + rest // 1260, 0x81 + number // 10 % 126, 0x30 + number % 10))


def test_labels(expected: dict[str, Any]) -> None:
    assert {label: name for name, labels in expected["labels"].items() for label in labels} == LABELS
    for label, name in LABELS.items():
        assert encoding_of(f"\t {label.upper()}\n") == name
    assert encoding_of("utf-32") is None
    assert encoding_of("") is None
    assert encoding_of(None) is None


def test_every_byte(expected: dict[str, Any]) -> None:
    assert {name: decode_as(bytes(ALL), name) for name in expected["single"]} == expected["single"]


@pytest.mark.parametrize("name", MULTIBYTE)
def test_every_pair(expected: dict[str, Any], name: str) -> None:
    found = [digest(decode_as(bytes((first, second)), name) for second in ALL) for first in ALL]
    assert found == expected["pairs"][name]


def test_longer_sequences(expected: dict[str, Any]) -> None:
    rows: dict[str, list[list[bytes]]] = {
        "euc-jp": [[bytes((0x8F, a, b)) for b in range(0xA1, 0x100)] for a in range(0xA1, 0xFF)],
        "gb18030": [[four_bytes(1000 * k + i) for i in range(1000)] for k in range(40)],
        "iso-2022-jp": [
            *([b"\x1b$B" + bytes((a, b)) + b"\x1b(B" for b in ALL] for a in range(0x21, 0x7F)),
            *([b"\x1b(" + mode + bytes((b,)) for b in ALL] for mode in (b"B", b"J", b"I")),
        ],
    }
    for name, sequences in rows.items():
        found = [digest(decode_as(sequence, name) for sequence in row) for row in sequences]
        assert found == expected["longer"][name], name


def test_noise(expected: dict[str, Any]) -> None:
    state = 1

    def following() -> int:
        nonlocal state
        state = (state * 1664525 + 1013904223) % 2**32
        return state >> 16

    noise = [bytes(ALPHABET[following() % len(ALPHABET)] for _ in range(following() % 24)) for _ in range(2000)]
    for name in MULTIBYTE:
        found = [digest(decode_as(data, name) for data in noise[100 * k : 100 * k + 100]) for k in range(20)]
        assert found == expected["noise"][name], name


def test_supplementary_planes() -> None:
    for number, code in ((189000, 0x10000), (500000, 0x5BED8), (1237575, 0x10FFFF)):
        assert decode_as(four_bytes(number), "gb18030") == chr(code)
    for number in (39420, 188999, 1237576):
        assert decode_as(four_bytes(number), "gb18030") == "\ufffd"


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("euc-few", ["縦30㎝、重さは2㎏で", "㈱見本商店、℡03-0000-0000"]),
        ("euc-many", ["①箱を開ける②電池を入れる", "№1から№4まで、㈱甲㈲乙の製品、㍻12年製、Ⅰ型とⅡ型"]),
        ("jis-kana", ["ｶﾀｶﾅを含むﾍﾟｰｼﾞです", "①番目の項目"]),
        ("thai", ["“คำพูด” และ ‘คำ’ – ราคา €5 …"]),
        ("thai-tis620", ["“คำพูด” และ ‘คำ’ – ราคา €5 …"]),
    ],
)
def test_reported_pages(golden: Path, page: str, words: list[str]) -> None:
    text = decode((golden / "encodings" / f"{page}.bytes").read_bytes()).text
    assert "\ufffd" not in text
    for word in words:
        assert word in text
