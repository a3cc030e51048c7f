"""Words and sentences by spaCy's blank English pipeline, as datatrove asks it for them: exact, and slow."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.scorers.statistics.datatrove_kernels import GivenWords

__all__ = ["SpacyWords"]

_BREAKING = "IS_ALPHA"
"""A text with this word can break spaCy; datatrove then takes it out."""


class SpacyWords:
    """spaCy's rule-based English tokenizer and sentencizer.

    Raises:
        ConfigError: if spaCy isn't installed.
    """

    def __init__(self) -> None:
        try:
            import spacy
        except ImportError as error:
            msg = "heuristics.splitter: spacy isn't installed; install tamis[spacy] or use splitter: fast"
            raise ConfigError(msg) from error
        self._language: Any = spacy.blank("en")
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
        joined: list[str] = []
        counts = np.zeros(len(texts) + 1, np.int64)
        lengths: list[int] = []
        for i, doc in enumerate(self._docs(texts)):
            words = [word for token in doc if (word := token.text.strip())]
            joined.append("".join(words))
            lengths.extend(len(word.encode()) for word in words)
            counts[i + 1] = counts[i] + len(words)
        ends = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=ends[1:])
        data = np.frombuffer(bytearray("".join(joined).encode()), np.uint8)
        return GivenWords(data, ends, counts)

    def sentences(self, texts: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
        """Return the number of sentences in the lines of each text, (n,)."""
        counts = np.zeros(len(texts))
        for i, lines in enumerate(texts):
            for doc in self._docs(lines):
                counts[i] += sum(1 for _ in self._sentencizer(doc).sents)
        return counts
