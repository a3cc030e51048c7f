"""Readers and file systems: bytes to records, one format a file. Nothing here imports Beam."""
