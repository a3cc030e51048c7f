"""Exact-duplicate hashes: against the obvious one-line twin, on any text."""

import pyarrow as pa
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tamis.scorers.dedup.text_hash import HASH_COLUMN, TextHash

SPACES = "".join(chr(c) for c in range(0x3001) if chr(c).isspace())
TEXTS = st.lists(st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from(SPACES))), max_size=8)


def twin(text: str, normalize: str) -> bytes:
    return xxhash.xxh3_128_digest((" ".join(text.split()) if normalize == "whitespace" else text).encode())


@given(TEXTS, st.sampled_from(["none", "whitespace"]))
def test_hash_is_xxh3_of_the_normalised_text(texts, normalize):
    got = TextHash(normalize=normalize).score(texts).column(HASH_COLUMN).to_pylist()
    assert got == [twin(text, normalize) for text in texts]


def test_every_white_space_character_collapses():
    texts = [f"a{space}b" for space in SPACES]
    assert len(set(TextHash().score(texts).column(HASH_COLUMN).to_pylist())) == 1


def test_slices_and_nulls():
    array = pa.array(["x", "a  b", None, "a b"], pa.large_string()).slice(1)
    got = TextHash().score(array).column(HASH_COLUMN).to_pylist()
    assert got[0] == got[2] != got[1]
    assert TextHash().score([]).num_rows == 0
