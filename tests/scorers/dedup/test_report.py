"""Numbers about what near-deduplication did."""

from tamis.scorers.dedup.bands import Bands
from tamis.scorers.dedup.report import SourceShare, band_memory, share_notes


def test_a_run_that_removes_most_of_a_source_says_so():
    shares = {"books": SourceShare(1, 0), "calls": SourceShare(9, 8), "web": SourceShare(2, 1)}
    (note,) = share_notes(shares)
    assert "8 of 9 documents of calls" in note
    assert len(share_notes(shares, over=0.4)) == 2


def test_memory():
    assert band_memory(10**6, Bands(14, 8), 1) == 14 * 64 * 10**6
    assert band_memory(10**6, Bands(14, 8), 100) == 14 * 64 * 10**4
