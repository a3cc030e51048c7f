"""Texts as kernels see them; characters, encodings, identities, keyed noise."""
