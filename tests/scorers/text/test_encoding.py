"""Pages decode to readable text whatever they declare."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.scorers.text.encoding import decode

RUSSIAN = "Привет, мир! Это обычная страница на русском языке, и она читается без труда."
JAPANESE = "日本語のページです。これは文字コードの判定を確かめるための文章です。"
CHINESE = "这是一个用来测试编码检测的中文网页，内容并不重要，但是要足够长。"
KOREAN = "이것은 인코딩 감지를 시험하기 위한 한국어 문장입니다. 충분히 길어야 합니다."
GERMAN = "Größe, Äpfel und Übermut: ein gewöhnlicher deutscher Satz über Straßen."


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
        (CHINESE, "gbk"),
        (CHINESE, "big5"),
        (KOREAN, "euc_kr"),
        (GERMAN, "latin-1"),
        (GERMAN, "utf-8"),
    ],
)
@pytest.mark.parametrize("where", ["header", "meta", "xml"])
def test_declared(text: str, encoding: str, where: str) -> None:
    if encoding == "big5":
        text = "這是一個用來測試編碼的中文網頁"
    page = {
        "header": text,
        "meta": f'<html><head><META http-equiv="content-type" content="text/html; charset={encoding}">{text}',
        "xml": f'<?xml version="1.0" encoding="{encoding}"?>{text}',
    }[where]
    decoded = decode(page.encode(encoding), encoding if where == "header" else None)
    assert decoded.text == page


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "mac-cyrillic"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
        (CHINESE, "gbk"),
        (KOREAN, "euc_kr"),
        (GERMAN, "cp1252"),
    ],
)
def test_detected(text: str, encoding: str) -> None:
    assert decode((text * 3).encode(encoding)).text == text * 3


@pytest.mark.parametrize("lie", ["utf-16", "utf-32", "iso-8859-1", "gb2312", "nonsense", "", "shift_jis", "utf-7"])
def test_utf8_wins_over_a_header_that_lies(lie: str) -> None:
    assert decode(RUSSIAN.encode(), lie) == (RUSSIAN, "utf-8")


@pytest.mark.parametrize("lie", ["utf-8", "utf-16", "euc-jp"])
def test_bytes_that_contradict_the_header_are_detected(lie: str) -> None:
    assert decode((RUSSIAN * 3).encode("cp1251"), lie).text == RUSSIAN * 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_mark_wins(encoding: str) -> None:
    assert decode(GERMAN.encode(encoding), "cp1251").text == GERMAN


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("declared", [None, "utf-16"])
def test_utf16_without_mark(encoding: str, declared: str | None) -> None:
    page = f"<html><body><p>{GERMAN}</p></body></html>"
    assert decode(page.encode(encoding), declared).text == page


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_of_few_zeros_is_believed_if_declared(encoding: str) -> None:
    text = CHINESE * 3
    assert decode(text.encode(encoding), encoding.replace("-", "", 2).replace("utf16", "utf-16")).text == text


def test_encodings_that_browsers_replace() -> None:
    assert decode("中文".encode("hz"), "hz-gb-2312").text == "\ufffd"
    assert decode(b"plain ASCII", "hz-gb-2312").text == "plain ASCII"
    assert decode(CHINESE.encode(), "hz-gb-2312").text == CHINESE


def test_escapes_alone_are_no_japanese() -> None:
    log = "\x1b[1mbold\x1b[0m and \x1b$ more"
    assert decode(log.encode()).text == log


def test_damaged_utf8_stays_utf8() -> None:
    data = RUSSIAN.encode()
    assert decode(data[:-2]).text == RUSSIAN[:-2] + "\ufffd"
    assert decode(data[:20] + b"\xff" + data[20:]).text.count("\ufffd") == 1


def test_meta_beyond_the_head_is_not_looked_for() -> None:
    page = b"<p>" + b" " * 5000 + b'<meta charset="koi8-r">' + "ß".encode("cp1252")
    assert "charset" in decode(page).text


@given(st.binary(max_size=300), st.none() | st.text(max_size=12))
def test_never_fails(data: bytes, declared: str | None) -> None:
    text, name = decode(data, declared)
    text.encode()  # no lone surrogates
    assert "".encode(name) is not None


@given(st.text(max_size=200).filter(lambda text: text.encode().count(0) * 5 <= len(text.encode())))
def test_utf8_roundtrip(text: str) -> None:
    if "\x1b" not in text and not text.startswith("\ufeff"):
        assert decode(text.encode()).text == text
