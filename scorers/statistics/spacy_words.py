"""Words and sentences by spaCy's blank pipelines, as datatrove asks it for them: exact, and slow."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.schemas.wording import install_extra
from tamis.scorers.statistics.datatrove_kernels import GivenWords

__all__ = ["SpacyWords", "given_words"]

_BREAKING = "IS_ALPHA"
"""A text with this word can break spaCy; datatrove then takes it out."""


def given_words(words: Iterable[Sequence[str]]) -> GivenWords:
    """Return the words of each text, less white space at their ends and those of white space alone."""
    joined: list[str] = []
    counts = [0]
    lengths: list[int] = []
    for found in words:
        kept = [word for one in found if (word := one.strip())]
        joined.append("".join(kept))
        lengths.extend(len(word.encode()) for word in kept)
        counts.append(len(lengths))
    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    data = np.frombuffer(bytearray("".join(joined).encode()), np.uint8)
    return GivenWords(data, ends, np.array(counts, np.int64))


class SpacyWords:
    """spaCy's rule-based tokenizer of a language, and its sentencizer.

    Args:
        language: spaCy's code of it; `xx` is no language in particular.

    Raises:
        ConfigError: if spaCy isn't installed, or hasn't the language or what that needs.
    """

    def __init__(self, language: str = "en") -> None:
        try:
            import spacy
        except ImportError as error:
            msg = f"heuristics.splitter: spacy isn't installed; {install_extra('spacy')} or use splitter: fast"
            raise ConfigError(msg) from error
        try:
            self._language: Any = spacy.blank(language)
        except ImportError as error:  # Vietnamese words come from another package
            msg = f"heuristics.splitter: spacy can't split words of {language!r}: {' '.join(str(error).split())}"
            raise ConfigError(msg) from error
        self._sentencizer: Any = self._language.add_pipe("sentencizer")

    def _docs(self, texts: Iterable[str]) -> Iterable[Any]:
        tokenize: Callable[[str], Any] = self._language.tokenizer
        for text in texts:
            with self._language.memory_zone():
                try:
                    yield tokenize(text)
                except Exception:
                    if _BREAKING not in text:
                        raise
                    yield tokenize(text.replace(_BREAKING, ""))

    def words(self, texts: Sequence[str]) -> GivenWords:
        """Return the words of each text, without those of white space alone."""
        return given_words([token.text for token in doc] for doc in self._docs(texts))

    def sentences(self, texts: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
        """Return the number of sentences in the lines of each text, (n,)."""
        counts = np.zeros(len(texts))
        for i, lines in enumerate(texts):
            for doc in self._docs(lines):
                counts[i] += sum(1 for _ in self._sentencizer(doc).sents)
        return counts
