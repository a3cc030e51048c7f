"""Sentences as SentencePiece pieces, scored by an n-gram model that was trained on pieces joined by blanks."""

from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ModelError
from tamis.scorers.ngram.kenlm_binary import ProbingModel, SentenceScores
from tamis.scorers.ngram.kenlm_library import LibraryModel
from tamis.scorers.text.spans import Spans, slices_by_size, text_spans

__all__ = ["PieceScorer", "PieceTokenizer"]

_CHUNK_BYTES = 1 << 22


class PieceTokenizer:
    """A SentencePiece model.

    Attributes:
        path: its file.
    """

    def __init__(self, path: Path) -> None:
        """Load the model.

        Args:
            path: the file.

        Raises:
            ModelError: if it isn't a SentencePiece model.
        """
        import sentencepiece

        self.path = path
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(path.read_bytes())
        except (OSError, RuntimeError) as error:
            msg = f"{path} isn't a SentencePiece model"
            raise ModelError(msg) from error

    def pieces(self) -> list[str]:
        """Return the pieces by number."""
        return [self._processor.IdToPiece(i) for i in range(self._processor.GetPieceSize())]

    def normal_pieces(self) -> list[str]:
        """Return the pieces that stand for text: without control, unknown, unused and byte pieces."""
        sp = self._processor
        numbers = range(sp.GetPieceSize())
        return [
            sp.IdToPiece(i)
            for i in numbers
            if not (sp.IsControl(i) or sp.IsUnknown(i) or sp.IsUnused(i) or sp.IsByte(i))
        ]

    @property
    def unknown(self) -> int:
        """The number of the unknown piece."""
        return int(self._processor.unk_id())

    def numbers(self, texts: list[str]) -> list[list[int]]:
        """Return the numbers of each text's pieces."""
        return self._processor.Encode(texts, out_type=int, num_threads=1)  # type: ignore[no-any-return]

    def joined(self, texts: list[str]) -> list[str]:
        """Return each text's pieces joined by blanks, as an n-gram model is trained on them."""
        return [" ".join(pieces) for pieces in self._processor.Encode(texts, out_type=str, num_threads=1)]

    def apply(self, spans: Spans) -> Spans:
        """Return each span's pieces joined by blanks."""
        return text_spans(self.joined(spans.texts()))


class PieceScorer:
    """Scores sentences by their pieces with one model and one tokenizer."""

    def __init__(self, model: ProbingModel | LibraryModel, tokenizer: PieceTokenizer) -> None:
        """Look up every piece in the model once.

        Args:
            model: a model that was trained on pieces joined by blanks.
            tokenizer: what made them.
        """
        self._model, self._tokenizer = model, tokenizer
        pieces = tokenizer.pieces()
        known = [model.word_id(piece) for piece in pieces] if isinstance(model, ProbingModel) else []
        self._words = np.array(known, np.uint32)
        # The surface of an unknown piece isn't in its number, and a piece with white space in it is no one word.
        self._odd = np.array([piece.split() != [piece] or "\0" in piece for piece in pieces])
        self._odd[tokenizer.unknown] = True

    def score(
        self, spans: Spans, *, unicode_split: bool = False, python_count: bool = False, exact: bool = False
    ) -> tuple[SentenceScores, npt.NDArray[np.bool_]]:
        """Score each span's pieces as one sentence; return also which spans have any piece.

        The options are those of `ProbingModel.score`, applied to the pieces joined by blanks.
        """
        rows = len(spans.starts)
        scores = SentenceScores(np.zeros(rows), np.zeros(rows, np.int64), np.zeros(rows, np.int64))
        filled = np.zeros(rows, np.bool_)
        for some in slices_by_size(spans, _CHUNK_BYTES):
            texts = Spans(spans.data, spans.starts[some], spans.ends[some]).texts()
            chosen = np.arange(len(texts))
            if isinstance(self._model, ProbingModel):
                encoded = self._tokenizer.numbers(texts)
                offsets = np.zeros(len(encoded) + 1, np.int64)
                np.cumsum([len(pieces) for pieces in encoded], out=offsets[1:])
                flat = np.fromiter(chain.from_iterable(encoded), np.int64, int(offsets[-1]))
                log10_prob, oov = self._model.score_ids(self._words[flat], offsets, exact=exact)
                scores.log10_prob[some], scores.words[some], scores.oov[some] = log10_prob, np.diff(offsets), oov
                filled[some] = np.diff(offsets) > 0
                odd = np.append(0, np.cumsum(self._odd[flat]))
                chosen = np.flatnonzero(odd[offsets[1:]] > odd[offsets[:-1]])
            if len(chosen):
                joined = self._tokenizer.joined([texts[i] for i in chosen.tolist()])
                found = self._model.score(
                    text_spans(joined), unicode_split=unicode_split, python_count=python_count, exact=exact
                )
                for target, value in zip(scores, found, strict=True):
                    target[some.start + chosen] = value
                filled[some.start + chosen] = [bool(text) for text in joined]
        return scores, filled
