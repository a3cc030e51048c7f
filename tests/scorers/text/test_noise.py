import math
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.kernels.portable_log import log1m, natural_log, natural_logs
from tamis.scorers.kernels.splitmix import mix64
from tamis.scorers.text.noise import gumbel_noise, id_words, keyed_hash, uniform_noise
from tamis.scorers.text.noise_kernels import gumbels, uniforms

MASK = 2**64 - 1
IDS = st.integers(0, 2**128 - 1).map(lambda i: f"{i:032x}")

FROZEN_HASHES = [4612571641779908607, 6548685326556847090, 2874492747453830392]
FROZEN_UNIFORMS = ["0x1.000c95e10553cp-2", "0x1.6b866a6eacef7p-2", "0x1.3f21ff648b60ap-3"]
FROZEN_GUMBELS = ["0x1.3ee4ad375a0fbp+0", "0x1.a6136388934c1p-1", "0x1.c687b7463dfc2p+0"]


def slow_mix(x):
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def slow_hash(seed, purpose, doc_id):
    """The definition in the module's docstring, in plain Python."""
    digest = sha256(f"tamis-noise-1\0{seed}\0{purpose}".encode()).digest()
    k = [int.from_bytes(digest[i : i + 8], "big") for i in range(0, 32, 8)]
    a, b = int(doc_id[:16], 16), int(doc_id[16:], 16)
    x = (slow_mix(a ^ k[0]) + k[1]) & MASK
    x = (slow_mix(x ^ b) + k[2]) & MASK
    return slow_mix(x ^ k[3])


@given(st.integers(0, 2**63), st.text(max_size=10), st.lists(IDS, max_size=5))
def test_hash_is_as_defined(seed, purpose, ids):
    assert keyed_hash(seed, purpose, ids).tolist() == [slow_hash(seed, purpose, i) for i in ids]


def test_frozen_values():
    ids = ["00000000000000000000000000000000", "0123456789abcdef0123456789abcdef", "f" * 32]
    assert keyed_hash(7, "dsir", ids).tolist() == FROZEN_HASHES
    assert [u.hex() for u in uniform_noise(7, "dsir", ids)] == FROZEN_UNIFORMS
    assert [g.hex() for g in gumbel_noise(7, "dsir", ids)] == FROZEN_GUMBELS


def test_all_forms_of_ids_are_equal():
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (50, 16), np.uint8)
    text = [row.tobytes().hex() for row in raw]
    words = id_words(text)
    assert [f"{a:016x}{b:016x}" for a, b in words.tolist()] == text
    forms = [
        raw,
        words,
        np.array(text),
        np.array(text, object),
        pa.array(text),
        pa.array(text, pa.large_string()),
        pa.chunked_array([text[:20], text[20:]]),
        pa.array([row.tobytes() for row in raw], pa.binary(16)),
        [t.upper() for t in text],
    ]
    for form in forms:
        assert id_words(form).tolist() == words.tolist()
    assert id_words(pa.array(text)[7:20]).tolist() == words[7:20].tolist()
    assert id_words(pa.array([row.tobytes() for row in raw], pa.binary(16))[3:9]).tolist() == words[3:9].tolist()
    assert id_words([]).shape == (0, 2)
    assert np.argsort(words[:, 0]).tolist() == np.argsort(np.array(text)).tolist()


@pytest.mark.parametrize("bad", ["", "0" * 31, "0" * 33, "g" + "0" * 31, "é" * 16])
def test_other_ids_are_refused(bad):
    with pytest.raises(DataError, match=r"\(row 1\) isn't 32 hex digits"):
        id_words(["0" * 32, bad])


def test_other_arrays_are_refused():
    with pytest.raises(DataError, match="16 bytes"):
        id_words(np.zeros((3, 4), np.uint64))
    with pytest.raises(DataError, match="missing"):
        id_words(pa.array([None], pa.binary(16)))


def test_seeds():
    ids = ["0" * 32]
    assert len({int(keyed_hash(seed, "x", ids)[0]) for seed in (0, 1, 2**31, 2**32, 2**63 - 1, 2**63)}) == 6
    assert keyed_hash(1, "x", ids) != keyed_hash(1, "y", ids)
    for seed in (-1, 2**63 + 1):
        with pytest.raises(ConfigError, match="seed"):
            keyed_hash(seed, "x", ids)


def test_noise_is_uniform_and_gumbel():
    ids = np.stack([np.zeros(200_000, np.uint64), np.arange(200_000, dtype=np.uint64)], axis=1)
    u = np.sort(uniform_noise(3, "test", ids))
    distance = np.abs(u - (np.arange(len(u)) + 0.5) / len(u)).max()  # Kolmogorov-Smirnov
    assert distance < 1.63 / math.sqrt(len(u))
    g = gumbel_noise(3, "test", ids)
    assert abs(g.mean() - 0.5772156649) < 5 * 1.2825 / math.sqrt(len(g))
    assert abs(g.std() - math.pi / math.sqrt(6)) < 0.02
    other = uniform_noise(4, "test", ids)
    assert abs(np.corrcoef(uniform_noise(3, "test", ids), other)[0, 1]) < 5 / math.sqrt(len(u))


def test_ends_of_the_range_are_finite():
    ends = np.array([0, 1, 2**64 - 1, 2**63], np.uint64)
    assert ((uniforms(ends) > 0) & (uniforms(ends) < 1)).all()
    assert np.isfinite(gumbels(ends)).all()
    assert 45 < gumbels(ends)[0] < 45.1
    assert -3.62 < gumbels(ends)[2] < -3.6
    assert mix64(np.uint64(0)) == 0


@given(st.floats(min_value=5e-324, allow_infinity=False, allow_nan=False))
def test_logarithm(x):
    assert abs(natural_log(x) - math.log(x)) <= 2 * math.ulp(math.log(x))


@given(st.floats(0.0, 1.0, exclude_min=True, exclude_max=True))
def test_logarithm_of_one_less(v):
    assert abs(log1m(v) - math.log1p(-v)) <= 3 * math.ulp(math.log1p(-v))


def test_logarithm_near_one_and_over_all_exponents():
    values = np.concatenate([2.0 ** np.arange(-1074.0, 1024.0), 1 + np.linspace(-0.4, 0.6, 10_001)])
    truth = np.array([math.log(v) for v in values])
    assert (np.abs(natural_logs(values) - truth) <= 2 * np.spacing(np.abs(truth))).all()
