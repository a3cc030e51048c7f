"""Data curation for language-model pretraining corpora."""

__all__ = []
