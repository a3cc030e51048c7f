"""What datatrove's tests of MinHash deduplication hold it to, on a text of our own."""

import random

import pytest

from tamis.scorers.dedup.minhash import MinHash, Permutations
from tamis.scorers.dedup.near_duplicates import NearDuplicates, Shard
from tamis.scorers.dedup.shingles import Shingles

CLUSTERS = [[0, 20, 50], [400, 420], [800, 810, 820, 840, 860], [1205, 1215, 1225, 1245], [1600], [2000]]
"""First characters of windows of 400: those of one list overlap, so that they are near-duplicates."""


@pytest.fixture(scope="module")
def text():
    draw = random.Random(11)
    vocabulary = ["".join(draw.choices("abcdefghilmnopqrstuv", k=draw.randint(2, 10))) for _ in range(180)]
    found = ""
    while len(found) < 2600:
        found += " ".join(draw.choices(vocabulary, k=draw.randint(5, 12))).capitalize() + ". "
    return found


@pytest.mark.parametrize("preset", ["fineweb", "dolma3"])
def test_windows_that_overlap_are_one_cluster(text, preset):
    texts = [text[at : at + 400] for cluster in CLUSTERS for at in cluster]
    found = NearDuplicates.preset(preset).find([Shard(texts, [f"{i:032x}" for i in range(len(texts))])])
    first = 0
    for cluster in CLUSTERS:
        rows = range(first, first + len(cluster))
        assert [found.kept[0][row] for row in rows] == [first] * len(cluster)  # one stays of each
        assert [found.sizes[0][row] for row in rows] == [len(cluster)] * len(cluster)
        first += len(cluster)


def test_signatures_estimate_the_share_that_two_texts_have_in_common(text):
    signer = MinHash(Shingles(), Permutations(112))
    whole = signer.sign([text]).minima[0]
    for percent in range(0, 100, 5):
        end = int(len(text) * percent / 100)
        changed = text[:end] + text[: end - 1 if end else None : -1]
        alike = (signer.sign([changed]).minima[0] == whole).mean()
        assert abs(alike - percent / 100) < 0.21
