import math
import re
from collections import Counter
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError
from tamis.scorers.base import Scorer
from tamis.scorers.dsir.features import NgramFeatures
from tamis.scorers.embeddings.hashed import HashedEmbeddings
from tamis.scorers.embeddings.vectors import as_matrix

MASK = 2**64 - 1
STEP = 0x9E3779B97F4A7C15


def mix(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def twin(ngrams, dimensions, seed, units):
    """The definition, in whole numbers of any size."""
    key = int.from_bytes(sha256(f"tamis-projection-1\0{seed}\0{units}".encode()).digest()[:8], "big")
    sums = [0] * dimensions
    entries = min(8, dimensions)
    for ngram, count in Counter(ngrams).items():
        word = ngram ^ key
        for entry in range(entries):
            first = entry * dimensions // entries
            width = (entry + 1) * dimensions // entries - first
            word = mix((word + STEP) & MASK)
            place = first + ((word >> 32) * width >> 32)
            sums[place] += (1 if word & 1 else -1) * round((1 + math.log(count)) * 65536)
    length = math.sqrt(sum(value * value for value in sums))
    return [value / length if length else 0.0 for value in sums]


def byte_ngrams(text, order):
    data = text.encode()
    found = []
    for begin in range(len(data)):
        digest = 0
        for end in range(begin, min(begin + order, len(data))):
            digest = mix((digest + data[end] + STEP) & MASK)
            found.append(digest >> 33)
    return found


def word_ngrams(text, order):
    found = []
    for block in NgramFeatures(ngrams=order, buckets=2**31 - 1).blocks([text]):
        found.extend(block.buckets[: block.filled].tolist())
    return found


TEXTS = ["the cat sat on the mat", "", "a", " ", "naïve 山山 😀 the The", "one two " * 50, "x" * 300, "!? !?"]


@pytest.mark.parametrize(("units", "order"), [("words", 1), ("words", 2), ("bytes", 1), ("bytes", 4)])
@pytest.mark.parametrize("dimensions", [1, 5, 8, 64, 300])
def test_equals_twin(units, order, dimensions):
    find = word_ngrams if units == "words" else byte_ngrams
    expected = [twin(find(text, order), dimensions, 3, units) for text in TEXTS]
    found = HashedEmbeddings(dimensions, ngrams=order, units=units, seed=3).vectors(TEXTS)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@given(st.lists(st.text(max_size=40), max_size=6), st.sampled_from(["words", "bytes"]))
def test_batching_changes_nothing(texts, units):
    embeddings = HashedEmbeddings(32, units=units)
    together = embeddings.vectors(texts)
    for i, text in enumerate(texts):
        np.testing.assert_array_equal(embeddings.vectors([text])[0], together[i])
    np.testing.assert_array_equal(embeddings.vectors(texts[::-1])[::-1], together)


def test_column_is_unit_vectors():
    embeddings = HashedEmbeddings(48)
    assert isinstance(embeddings, Scorer)
    batch = embeddings.score(TEXTS)
    assert batch.schema == embeddings.schema
    lengths = np.linalg.norm(as_matrix(batch.column(0)), axis=1)
    full = [bool(re.search(r"\S", text)) for text in TEXTS]
    np.testing.assert_allclose(lengths, np.array(full, float), atol=1e-6)
    assert embeddings.score([]).schema == embeddings.schema


def test_angles_are_those_of_the_ngram_sets():
    rng = np.random.default_rng(1)
    words = [f"w{i}" for i in range(400)]
    texts = [" ".join(rng.choice(words, 80, replace=False)) for _ in range(30)]
    found = HashedEmbeddings(2048, ngrams=1).vectors(texts)
    sets = [set(text.split()) for text in texts]
    true = np.array([[len(a & b) / 80 for b in sets] for a in sets])
    assert np.abs(found @ found.T - true).max() < 0.12


def test_seed_and_case():
    a, b = HashedEmbeddings(seed=0), HashedEmbeddings(seed=1)
    text = ["some words here"]
    assert np.abs(a.vectors(text) - b.vectors(text)).max() > 0
    np.testing.assert_array_equal(a.vectors(["Some WORDS here"]), a.vectors(text))


def test_frozen():
    """The vectors of a text are part of the format: clusters are compared between runs."""
    found = HashedEmbeddings(8, ngrams=2).vectors(["the cat sat on the mat"])[0]
    expected = [0.28682745, -0.49983299, 0.07382194, -0.07382194, -0.13918358, 0.07382194, -0.71283853, -0.35218909]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "options", [{"dimensions": 0}, {"dimensions": 70000}, {"ngrams": 0}, {"units": "letters"}, {"seed": -1}]
)
def test_bad_options(options):
    with pytest.raises(ConfigError):
        HashedEmbeddings(**options)
