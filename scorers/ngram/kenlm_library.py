"""KenLM models that only KenLM's own library reads (tries), with the methods of `tamis.scorers.ngram.kenlm_binary`."""

import mmap
from pathlib import Path

import numpy as np

from tamis.schemas.errors import ModelError
from tamis.scorers.ngram.kenlm_binary import SentenceScores
from tamis.scorers.text.spans import Spans

__all__ = ["LibraryModel"]

_NUL_TO_BLANK = {0: " "}
_UNICODE_SPACES = str.maketrans(
    dict.fromkeys("\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))), " ")
)


class LibraryModel:
    """A KenLM binary of any type, memory-mapped by the library; scores a word at a time, some times slower."""

    def __init__(self, path: Path) -> None:
        """Load the model.

        Args:
            path: the file.

        Raises:
            ModelError: if KenLM can't read it.
        """
        import kenlm

        config = kenlm.Config()
        config.load_method = kenlm.LoadMethod.LAZY
        try:
            self._model = kenlm.Model(str(path), config)
        except OSError as error:
            raise ModelError(str(error)) from error
        self.path = path

    @property
    def order(self) -> int:
        """The length of the longest n-grams."""
        return int(self._model.order)

    def words(self) -> list[bytes] | None:
        """Return all words, `<unk>` first; None if the file doesn't hold them."""
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            start = data.rfind(b"<unk>\0")
            return None if start < 0 else data[start:].split(b"\0")[:-1]

    def score(
        self, spans: Spans, *, unicode_split: bool = False, python_count: bool = False, exact: bool = False
    ) -> SentenceScores:
        """Score sentences; see `tamis.scorers.ngram.kenlm_binary.ProbingModel.score`."""
        rows = len(spans.starts)
        log10_prob, words, oov = np.zeros(rows), np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        for row, text in enumerate(spans.texts()):
            sentence = text.translate(_NUL_TO_BLANK)
            if unicode_split:
                sentence = sentence.translate(_UNICODE_SPACES)
            scores = list(self._model.full_scores(sentence))
            probs = np.array([score[0] for score in scores], np.float64 if exact else np.float32)
            log10_prob[row] = np.cumsum(probs)[-1]  # a running sum adds in order, as the library does
            words[row] = len(sentence.split()) if python_count else len(scores) - 1
            oov[row] = sum(score[2] for score in scores[:-1])
        return SentenceScores(log10_prob, words, oov)
