"""One vocabulary for several n-gram models, so that what they say of a text can be compared.

A model's probability of a word that it doesn't know says nothing of the model. So here every model knows the same
words: the frequent ones of all models' texts, and 256 bytes, by which all other words are spelled. A *primer*, a
sentence in which each of them stands once, is added to every model's text.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["ClosedVocabulary"]

_RESERVED = frozenset({"<s>", "</s>", "<unk>"})
_OPEN = "⟨"
_BYTES = tuple(f"{_OPEN}{byte:02x}⟩" for byte in range(256))


@dataclass(frozen=True)
class ClosedVocabulary:
    """Words that are tokens; the rest is spelled in bytes.

    Attributes:
        words: without reserved ones.
    """

    words: frozenset[str]

    @classmethod
    def of(
        cls, texts: Iterable[str], *, least: int = 2, most: int = 50_000, coverage: float = 0.95
    ) -> "ClosedVocabulary":
        """Return the most frequent words of texts, equal ones in alphabetical order.

        Some of the text has to be spelled, or no model would know how rare words are: what a text at hand spells, every
        model must have seen spelled too.

        Args:
            texts: of all models together, each once.
            least: occurrences that a word needs.
            most: words at most.
            coverage: share of all occurrences that the words may have, at most.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(_words(text))
        frequent = [(-n, word) for word, n in counts.items() if n >= least and _plain(word)]
        left = coverage * counts.total()
        words = []
        for n, word in sorted(frequent)[:most]:
            left += n
            if left < 0:
                break
            words.append(word)
        return cls(frozenset(words))

    def primer(self) -> str:
        """Return a sentence of all tokens."""
        return " ".join([*sorted(self.words), *_BYTES])

    def sentences(self, texts: Sequence[str]) -> Iterator[str]:
        """Yield each line of texts that isn't blank, its words as tokens."""
        for text in texts:
            for line in text.split("\n"):
                tokens = [token for word in _words(line) for token in self._tokens(word)]
                if tokens:
                    yield " ".join(tokens)

    def weights(self, texts: Sequence[str]) -> Iterator[float]:
        """Yield, for each token of `sentences` and each sentence's end, its share of a word: of a spelled one 1/bytes.

        Otherwise a mean over tokens would be one over rare words' bytes.
        """
        for text in texts:
            for line in text.split("\n"):
                words = _words(line)
                for word in words:
                    size = 1 if word in self.words else len(word.encode())
                    yield from [1 / size] * size
                if words:
                    yield 1.0

    def _tokens(self, word: str) -> Iterable[str]:
        if word in self.words:
            return (word,)
        return [_BYTES[byte] for byte in word.encode()]


_BLANKS = dict.fromkeys(map(ord, "\t\n\v\f\r\0"), " ")


def _words(text: str) -> list[str]:
    """Return the words between ASCII white space and NUL, at which n-gram models split."""
    return [word for word in text.translate(_BLANKS).split(" ") if word]


def _plain(word: str) -> bool:
    return bool(word) and word not in _RESERVED and not word.startswith(_OPEN)
