"""Signatures as columns: what `MinHash` signs and `band_rows` hashes, row by row."""

import numpy as np
import pytest

from tamis.scorers.dedup.bands import Bands, band_rows
from tamis.scorers.dedup.minhash import MinHash, Permutations
from tamis.scorers.dedup.shingles import Shingles
from tamis.scorers.dedup.signature_columns import SignatureColumns
from tamis.scorers.dedup.text_hash import TextHash
from tamis.scorers.testing import check_scorer

TEXTS = [
    "one two three four",
    "",
    "short",
    "ein Wörtchen nach dem anderen, und noch eins",
    "一二三四五六",
    "one two three four",
]
BANDS = Bands(4, 2)
MINHASH = MinHash(Shingles("words", 3), Permutations(8, 1, "affine32"))


@pytest.mark.parametrize("minima", [False, True])
def test_it_is_a_scorer(minima):
    check_scorer(SignatureColumns(MINHASH, BANDS, minima=minima), TEXTS)


def test_words_hash_is_a_scorer():
    check_scorer(TextHash(normalize="words"), TEXTS)


def test_columns_are_signatures():
    rows = SignatureColumns(MINHASH, BANDS, name="near", minima=True).score(TEXTS).to_pylist()
    signed = MINHASH.sign(TEXTS)
    keys = band_rows(signed, BANDS, np.arange(len(TEXTS), dtype=np.uint64))
    for i, (text, row) in enumerate(zip(TEXTS, rows, strict=True)):
        assert row["near_length"] == len(text.encode())
        if not signed.counts[i]:
            assert {row["near_bands"], row["near_digest"], row["near_minima"]} == {None}
            continue
        assert np.frombuffer(row["near_bands"], "<u8").tolist() == keys.keys[keys.documents == i].tolist()
        assert row["near_digest"] == signed.digests[i]
        assert np.frombuffer(row["near_minima"], "<u4").tolist() == signed.minima[i].tolist()
    assert [row["near_bands"] is None for row in rows] == [False, True, True, False, False, False]


def test_columns_are_internal():
    assert all(field.metadata[b"internal"] == b"1" for field in SignatureColumns(MINHASH, BANDS).schema)
