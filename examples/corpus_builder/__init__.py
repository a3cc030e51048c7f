"""Parts of `build_corpus.py`: how the bundled sample corpus is made, byte for byte, from pinned packages."""

__all__: list[str] = []
