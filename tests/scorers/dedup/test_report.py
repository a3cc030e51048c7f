"""Numbers about what near-deduplication did."""

import numpy as np

from tamis.scorers.dedup.bands import Bands
from tamis.scorers.dedup.near_duplicates import NearDuplicates, Shard, document_numbers
from tamis.scorers.dedup.report import band_memory, largest_clusters, share_notes, shares_by_source
from tamis.scorers.dedup.shingles import Shingles


def test_a_run_that_removes_most_of_a_source_says_so():
    texts = [f"the same text of a template with number {i}" for i in range(9)] + [
        "all else is quite different here",
        "x y z",
    ]
    sources = ["calls"] * 9 + ["books", "web"]
    options = NearDuplicates(Shingles("words", 2), Bands(20, 1), "shingles", 0.5)
    found = options.find([Shard(texts, [f"{i:032x}" for i in range(11)])])
    removed = found.kept[0] != document_numbers(0, 11)
    shares = shares_by_source(removed, sources)
    assert shares == {"books": (1, 0), "calls": (9, 8), "web": (1, 0)}
    (note,) = share_notes(shares)
    assert "8 of 9 documents of calls" in note
    (cluster,) = largest_clusters(found.clusters)
    assert (cluster.kept, cluster.size) == (0, 9)
    assert 0.5 <= cluster.lowest <= 1
    assert largest_clusters(NearDuplicates().find([]).clusters) == []


def test_shares_add_up():
    assert shares_by_source(np.array([True, False, True]), ["a", "b", "a"]) == {"a": (2, 2), "b": (1, 0)}
    assert share_notes({"a": shares_by_source(np.array([True, False]), ["a", "a"])["a"]}) == []


def test_memory():
    assert band_memory(10**6, Bands(14, 8), 1) == 14 * 64 * 10**6
    assert band_memory(10**6, Bands(14, 8), 100) == 14 * 64 * 10**4
