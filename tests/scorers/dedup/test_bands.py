"""Bands: datasketch's optimum, the recall curve, the division among partitions."""

import json

import numpy as np
import pytest

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.dedup.bands import PRESETS, BandRows, Bands, band_rows, optimal_bands, partition_of
from tamis.scorers.dedup.minhash import MinHash, Permutations
from tamis.scorers.dedup.shingles import Shingles


def test_optimum_is_datasketchs(golden):
    reference = json.loads((golden / "minhash_datasketch.json").read_text())
    for threshold, permutations, fp, bands, rows in reference["optimal"]:
        if permutations < 128:
            found = optimal_bands(threshold, permutations, false_positive_weight=fp, false_negative_weight=1 - fp)
            assert found == (bands, rows), (threshold, permutations, fp)


def test_recall_curve():
    fineweb = PRESETS["fineweb"].bands
    assert fineweb == (14, 8)
    assert fineweb.recall(0.8) == pytest.approx(0.924, abs=1e-3)
    assert fineweb.threshold == pytest.approx(0.72, abs=1e-3)
    curve = dict(PRESETS["dolma3"].bands.curve())
    assert curve[0.0] == 0
    assert curve[1.0] == 1
    assert list(curve.values()) == sorted(curve.values())
    assert curve[0.8] == pytest.approx(1 - (1 - 0.8**11) ** 26)


def test_rows_and_their_division():
    signer = MinHash(Shingles("words", 2), Permutations(7))
    signed = signer.sign(["a b c", "too", "a b c", "", "x y z"])
    rows = band_rows(signed, Bands(3, 2), np.arange(10, 15, dtype=np.uint64))
    assert rows.documents.tolist() == [10] * 3 + [12] * 3 + [14] * 3
    assert rows.keys[:3].tolist() == rows.keys[3:6].tolist()
    assert len(set(rows.keys[:3].tolist() + rows.keys[6:].tolist())) == 6  # a band's number is part of its key
    parts = rows.split(4)
    for number, part in enumerate(parts):
        assert all(int(key) * 4 >> 64 == number for key in part.keys)
    again = BandRows.concatenate(parts)
    assert sorted(np.stack(again, axis=1).tolist()) == sorted(np.stack(rows, axis=1).tolist())
    assert len(BandRows.concatenate([]).keys) == 0


def test_partitions_cover_the_hash_space():
    keys = np.array([0, 2**62, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)
    assert partition_of(keys, 2).tolist() == [0, 0, 0, 1, 1]
    assert partition_of(keys, 2**31)[-1] == 2**31 - 1


def test_wrong_use_is_named():
    signed = MinHash(Shingles(), Permutations(4)).sign(["a"])
    with pytest.raises(DataError, match="3 bands of 2"):
        band_rows(signed, Bands(3, 2), np.zeros(1, np.uint64))
    with pytest.raises(DataError, match="2 document numbers"):
        band_rows(signed, Bands(2, 2), np.zeros(2, np.uint64))
    with pytest.raises(ConfigError, match="from 0 to 1"):
        optimal_bands(1.2, 16)
    with pytest.raises(ConfigError, match="at least 2"):
        optimal_bands(0.5, 1)
    with pytest.raises(ConfigError, match="negative"):
        optimal_bands(0.5, 8, false_positive_weight=-1)
    with pytest.raises(ConfigError, match="not 0"):
        partition_of(np.zeros(1, np.uint64), 0)
