"""Words, shingles and signatures: against datasketch's own values and a twin in plain Python."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError
from tamis.scorers.dedup import shingle_kernels
from tamis.scorers.dedup.minhash import MinHash, Permutations
from tamis.scorers.dedup.shingles import Shingles
from tests.scorers.dedup.shingle_twin import shingles, words

ALPHABET = st.one_of(
    st.sampled_from("aàAÄb B1٣. \n\t_-'\u0301\u0000\u200bİßŒ漢字かกงा한각ிொ\u00a0😀"), st.characters(codec="utf-8")
)
TEXTS = st.lists(st.text(ALPHABET, max_size=60), max_size=6)
UNITS = st.sampled_from(["words", "characters"])
FOLDINGS = st.sampled_from(["simplified", "folded", "none"])
HASHES = st.sampled_from(["mix64", "sha1"])


@pytest.fixture(scope="module")
def reference(golden):
    return json.loads((golden / "minhash_datasketch.json").read_text())


def test_signatures_are_datasketchs(reference):
    for case in reference["cases"]:
        signer = MinHash(
            Shingles(case["unit"], case["size"], "simplified", "sha1"),
            Permutations(32, case["seed"], case["scheme"]),
        )
        got = signer.sign(reference["texts"])
        wanted = np.array(case["signatures"], np.uint64)
        assert np.array_equal(got.minima.astype(np.uint64), wanted)


@given(TEXTS, UNITS, st.integers(1, 12), FOLDINGS, HASHES)
def test_shingles_are_the_twins(texts, unit, size, folding, hashing):
    cut = Shingles(unit, size, folding, hashing)
    sequences, sets = cut.sequences(texts), cut.sets(texts)
    for i, text in enumerate(texts):
        wanted = shingles(text, unit, size, folding, hashing)
        assert sequences.hashes[sequences.bounds[i] : sequences.bounds[i + 1]].tolist() == wanted
        assert sets.hashes[sets.bounds[i] : sets.bounds[i + 1]].tolist() == sorted(set(wanted))


@given(TEXTS, UNITS, FOLDINGS, HASHES, st.sampled_from(["affine32", "affine64", "legacy"]))
def test_signatures_are_minima_of_the_shingles(texts, unit, folding, hashing, scheme):
    signer = MinHash(Shingles(unit, 3, folding, hashing), Permutations(5, 7, scheme))
    got = signer.sign(texts)
    a, b = ([int(v) for v in column] for column in signer.permutations.coefficients())
    for i, text in enumerate(texts):
        hashes = shingles(text, unit, 3, folding, hashing)
        assert got.counts[i] == len(hashes)
        for k in range(5):
            if scheme == "legacy":
                values = [((a[k] * (h % 2**32) + b[k]) % 2**64) % (2**61 - 1) % 2**32 for h in hashes]
            elif scheme == "affine32":
                values = [(a[k] * fmix(h % 2**32, 32) + b[k]) % 2**32 for h in hashes]
            else:
                values = [(a[k] * fmix(h, 64) + b[k]) % 2**64 for h in hashes]
            assert got.minima[i, k] == min(values, default=np.iinfo(got.minima.dtype).max)


def fmix(h, width):
    first, m1, second, m2, third = {
        32: (16, 0x85EBCA6B, 13, 0xC2B2AE35, 16),
        64: (33, 0xFF51AFD7ED558CCD, 33, 0xC4CEB9FE1A85EC53, 33),
    }[width]
    h = (h ^ h >> first) * m1 % 2**width
    h = (h ^ h >> second) * m2 % 2**width
    return h ^ h >> third


@pytest.mark.parametrize("unit", ["words", "characters"])
@pytest.mark.parametrize("size", [1, 2, 5, 9, 30])
def test_blocks_leave_no_seam(unit, size):
    """Texts around and beyond the size of a block have the shingles of the whole text."""
    block = shingle_kernels._BLOCK
    for length in (block - 1, block, block + 1, 2 * block, 2 * block + size, 3 * block + 17):
        text = " ".join(f"w{i % 977}" if unit == "words" else "x" * (i % 5) for i in range(length))
        cut = Shingles(unit, size)
        wanted = shingles(text, unit, size)
        assert cut.sequences([text]).hashes.tolist() == wanted
        signed = MinHash(cut, Permutations(2)).sign(["", text])
        assert signed.counts.tolist() == [0, len(wanted)]


@given(TEXTS)
def test_batching_changes_nothing(texts):
    signer = MinHash(Shingles("words", 2), Permutations(6))
    whole = signer.sign(texts)
    for i, text in enumerate(texts):
        alone = signer.sign([text])
        assert np.array_equal(alone.minima[0], whole.minima[i])
        assert alone.digests[0] == whole.digests[i]


def test_digest_is_of_the_sequence():
    signer = MinHash(Shingles("words", 2), Permutations(4))
    one, same, other, double = signer.sign(["a b c", "A, b! C", "c b a", "a b c a b c"]).digests.tolist()
    assert one == same
    assert len({one, other, double}) == 3


def test_folding():
    assert words("Élan 12٣ don't x_y", "simplified") == ["elan", "000", "don", "t", "x", "y"]
    assert words("ab漢字cd", "folded") == ["ab", "漢", "字", "cd"]
    text = "Élan 12٣ don't x_y"
    cut = Shingles("words", 1)
    assert np.array_equal(cut.sets([text]).hashes, cut.sets(["elan 000 don t x y"]).hashes)


def test_long_words_and_many_short_ones():
    texts = ["x" * 3_000_000, "a " * 500_000, "\u0301" * 100_000, "漢" * 100_000]
    signed = MinHash(Shingles("words", 1), Permutations(2)).sign(texts)
    assert signed.counts.tolist() == [1, 500_000, 0, 100_000]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shingles("lines"), "lines"),  # type: ignore[arg-type]
        (lambda: Shingles(size=0), "not 0"),
        (lambda: Shingles(hash="md5"), "md5"),  # type: ignore[arg-type]
        (lambda: Shingles(folding="upper").arguments, "upper"),  # type: ignore[arg-type]
        (lambda: Permutations(0), "not 0"),
        (lambda: Permutations(4, -1), "-1"),
        (lambda: Permutations(4, 1, "sorted"), "sorted"),  # type: ignore[arg-type]
    ],
)
def test_wrong_options_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
