"""The forms in which scorers take text."""

import itertools
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import DataError
from tamis.scorers.dedup.text_hash import TextHash
from tamis.scorers.language.identify import LanguageIdentifier
from tamis.scorers.statistics.text_statistics import TextStatistics
from tamis.scorers.text.texts import as_arrow, as_buffer, as_list

TAKERS: list[Callable[[Any], Any]] = [
    as_arrow,
    as_buffer,
    as_list,
    *(lambda texts, kind=kind: kind().score(texts) for kind in (LanguageIdentifier, TextHash, TextStatistics)),
]


@pytest.mark.parametrize("take", TAKERS)
@pytest.mark.parametrize("single", ["a single text", "", b"bytes", bytearray(b"bytes")])
def test_a_single_text_is_refused(take: Callable[[Any], Any], single: Any) -> None:
    with pytest.raises(DataError, match=r"got a single (str|bytes|bytearray): put it in a list"):
        take(single)


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=8))
def test_every_form_holds_the_same(texts: list[str | None]) -> None:
    wanted = [text or "" for text in texts]
    chunked = pa.chunked_array([texts[:3], texts[3:]], pa.string())
    for form in (texts, tuple(texts), pa.array(texts, pa.string()), pa.array(texts, pa.large_string()), chunked):
        assert as_arrow(form).to_pylist() == wanted
        assert as_list(form) == wanted
        data, offsets = as_buffer(form)
        assert [bytes(data[a:b]).decode() for a, b in itertools.pairwise(offsets)] == wanted
