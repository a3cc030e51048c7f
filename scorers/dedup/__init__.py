"""Duplicates: hashes of texts."""
