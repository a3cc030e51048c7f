"""Exact-duplicate hashes: against the obvious one-line twin, on any text."""

import pyarrow as pa
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tamis.scorers.dedup.text_hash import HASH_COLUMN, TextHash
from tests.scorers.dedup import shingle_twin

SPACES = "".join(chr(c) for c in range(0x3001) if chr(c).isspace())
TEXTS = st.lists(st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from(SPACES))), max_size=8)


def twin(text: str, normalize: str) -> bytes:
    return xxhash.xxh3_128_digest((" ".join(text.split()) if normalize == "whitespace" else text).encode())


@given(TEXTS, st.sampled_from(["none", "whitespace"]))
def test_hash_is_xxh3_of_the_normalised_text(texts, normalize):
    got = TextHash(normalize=normalize).score(texts).column(HASH_COLUMN).to_pylist()
    assert got == [twin(text, normalize) for text in texts]


@given(TEXTS, st.sampled_from(["simplified", "folded", "none"]))
def test_words_are_those_that_shingles_are_made_of(texts, folding):
    got = TextHash(normalize="words", folding=folding).score(texts).column(HASH_COLUMN).to_pylist()
    units = [shingle_twin.words(text, folding) for text in texts]
    assert got == [xxhash.xxh3_128_digest(" ".join(words).encode()) if words else None for words in units]


def test_folded_words_alone_count():
    texts = ["The café, 12!", "the  CAFE 12", "the cafe 34", "?!", ""]
    folded = TextHash(normalize="words").score(texts).column(0).to_pylist()
    assert folded[0] == folded[1] != folded[2]
    assert folded[3:] == [None, None]
    simplified = TextHash(normalize="words", folding="simplified", column="x_hash").score(texts)
    assert simplified.schema.names == ["x_hash"]
    assert len(set(simplified.column(0).to_pylist()[:3])) == 1


def test_every_white_space_character_collapses():
    texts = [f"a{space}b" for space in SPACES]
    assert len(set(TextHash().score(texts).column(HASH_COLUMN).to_pylist())) == 1


def test_slices_and_nulls():
    array = pa.array(["x", "a  b", None, "a b"], pa.large_string()).slice(1)
    got = TextHash().score(array).column(HASH_COLUMN).to_pylist()
    assert got[0] == got[2] != got[1]
    assert TextHash().score([]).num_rows == 0
