"""Decisions over the whole corpus: duplicates, thresholds, draws, buckets."""
