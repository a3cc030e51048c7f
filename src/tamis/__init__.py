"""Data curation for language-model pretraining corpora."""

__all__: list[str] = []
