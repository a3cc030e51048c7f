"""Texts that lie beyond the first 2 GiB of their buffer: nothing counts bytes in 32 bits."""

import mmap

import numpy as np
import pyarrow as pa
import pytest

from tamis.scorers.contamination.find import Aligned, NGrams
from tamis.scorers.contamination.index import ContaminationIndex
from tamis.scorers.dedup.cuts import cut_spans
from tamis.scorers.dedup.minhash import MinHash, Permutations
from tamis.scorers.dedup.near_duplicates import Shard
from tamis.scorers.dedup.paragraphs import RepeatedParagraphs
from tamis.scorers.dedup.shingles import Shingles
from tamis.scorers.dedup.substrings import RepeatedSubstrings
from tamis.scorers.dedup.text_hash import TextHash
from tamis.scorers.pii.detect import find_pii

FAR = 2**31 - 300
"""So that the first text lies across the border."""

BLOCK = "".join(f"{i * i} paces from é. " for i in range(60))
TEXTS = [
    f"first {BLOCK}\nRead more\nown line, ann@example.org",
    f"{BLOCK[30:]} second\nRead more\nanother one",
    "漢字 " * 40 + "Read more",
]


@pytest.fixture(scope="module")
def far():
    """The texts behind 2 GiB of nothing, of which no page is ever touched."""
    data = b"".join(text.encode() for text in TEXTS)
    area = mmap.mmap(-1, FAR + len(data))
    area[FAR:] = data
    offsets = FAR + np.concatenate([[0], np.cumsum([len(text.encode()) for text in TEXTS])])
    assert offsets[0] < 2**31 < offsets[1]
    buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(area)]
    return pa.LargeStringArray.from_buffers(len(TEXTS), buffers[1], buffers[2])


def columns(found):
    return [np.asarray(column).tolist() for column in found]


def test_far_texts_are_what_near_ones_are(far):
    near = pa.array(TEXTS, pa.large_string())
    assert far.to_pylist() == TEXTS
    ids = [f"{i:032x}" for i in range(len(TEXTS))]
    for repeats in (RepeatedSubstrings(64), RepeatedParagraphs("lines")):
        (cuts,), (wanted,) = repeats.find([Shard(far, ids)]), repeats.find([Shard(near, ids)])
        assert columns(cuts) == columns(wanted)
        assert len(cuts.texts)
        assert cut_spans(far, cuts).to_pylist() == cut_spans(near, wanted).to_pylist()
        assert cuts.removed(far).tolist() == wanted.removed(near).tolist()
        assert columns(cuts.characters(far)) == columns(wanted.characters(near))
    signer = MinHash(Shingles(), Permutations(16))
    assert signer.sign(far).minima.tolist() == signer.sign(near).minima.tolist()
    assert TextHash().score(far).equals(TextHash().score(near))
    index = ContaminationIndex.build([BLOCK])
    assert columns(Aligned().find(far, index)) == columns(Aligned().find(near, index))
    grams = NGrams([BLOCK])
    assert columns(grams.find(far)) == columns(grams.find(near))
    assert columns(find_pii(far)) == columns(find_pii(near))
