"""Ids are frozen: the same record has the same id in every version."""

import struct

import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tamis.scorers.text.identity import doc_id, doc_id_from_content, doc_ids

WORDS = st.text(max_size=12)


def test_frozen_values() -> None:
    assert doc_id("web", "<urn:uuid:1>") == "441dd2318c7b53a295491d42107f4deb"
    assert doc_id_from_content("web", "http://a.example/", "text") == "9a3704633b1f4377b0492eccbdb92649"
    assert doc_id_from_content("web", None, "") == "97726770c661092a3ba982a0c2021cd5"


def test_encoding_is_the_documented_one() -> None:
    def field(text: str) -> bytes:
        data = text.encode()
        return struct.pack("<Q", len(data)) + data

    expected = xxhash.xxh3_128(b"c" + field("s") + field("") + field("é")).hexdigest()
    assert doc_id_from_content("s", None, "é") == expected
    assert doc_id("s", "é") == xxhash.xxh3_128(b"i" + field("s") + field("é")).hexdigest()


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=2, max_size=2, unique=True))
def test_no_two_contents_share_an_encoding(pair: list[tuple[str, str, str]]) -> None:
    assert doc_id_from_content(*pair[0]) != doc_id_from_content(*pair[1])


@given(WORDS, st.lists(st.tuples(st.none() | WORDS, st.none() | WORDS, WORDS), max_size=5))
def test_batch_form_agrees(source: str, rows: list[tuple[str | None, str | None, str]]) -> None:
    expected = [
        doc_id(source, identity) if identity else doc_id_from_content(source, url, text) for identity, url, text in rows
    ]
    assert doc_ids(source, *([row[i] for row in rows] for i in range(3))) == expected  # type: ignore[arg-type]
