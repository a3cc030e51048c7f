"""Sentences as SentencePiece pieces, scored by an n-gram model that was trained on pieces joined by blanks."""

from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from schemas.errors import ModelError
from scorers.kenlm_binary import ProbingModel, SentenceScores
from scorers.kenlm_library import LibraryModel
from scorers.spans import Spans, text_spans

__all__ = ["PieceTokenizer", "score_pieces"]

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


class _Numbers:
    """From piece numbers to a model's word numbers."""

    def __init__(self, model: ProbingModel, tokenizer: PieceTokenizer) -> None:
        pieces = tokenizer.pieces()
        self.words = np.array([model.word_id(piece) for piece in pieces], np.uint32)
        # The surface of an unknown piece isn't in its number, and a piece with white space in it is no one word.
        self.odd = np.array([piece.split() != [piece] or "\0" in piece for piece in pieces])
        self.odd[tokenizer.unknown] = True


def score_pieces(
    model: ProbingModel | LibraryModel,
    tokenizer: PieceTokenizer,
    spans: Spans,
    *,
    unicode_split: bool = False,
    python_count: bool = False,
    exact: bool = False,
) -> tuple[SentenceScores, npt.NDArray[np.bool_]]:
    """Score each span's pieces as one sentence; return also which spans have any piece.

    The options are those of `ProbingModel.score`, applied to the pieces joined by blanks.
    """
    rows = len(spans.starts)
    scores = SentenceScores(np.zeros(rows), np.zeros(rows, np.int64), np.zeros(rows, np.int64))
    filled = np.zeros(rows, np.bool_)
    numbers = _Numbers(model, tokenizer) if isinstance(model, ProbingModel) else None
    sizes = np.cumsum(spans.ends - spans.starts)
    first = 0
    while first < rows:
        before = int(sizes[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(sizes, before + _CHUNK_BYTES, "right")))
        some = slice(first, last)
        texts = Spans(spans.data, spans.starts[some], spans.ends[some]).texts()
        by_text = np.ones(len(texts), np.bool_)
        if isinstance(model, ProbingModel) and numbers is not None:
            encoded = tokenizer.numbers(texts)
            offsets = np.zeros(len(encoded) + 1, np.int64)
            np.cumsum([len(pieces) for pieces in encoded], out=offsets[1:])
            flat = np.fromiter(chain.from_iterable(encoded), np.int64, int(offsets[-1]))
            log10_prob, oov = model.score_ids(numbers.words[flat], offsets, exact=exact)
            scores.log10_prob[some], scores.words[some], scores.oov[some] = log10_prob, np.diff(offsets), oov
            filled[some] = np.diff(offsets) > 0
            odd = np.append(0, np.cumsum(numbers.odd[flat]))
            by_text = odd[offsets[1:]] > odd[offsets[:-1]]
        chosen = np.flatnonzero(by_text)
        if len(chosen):
            joined = tokenizer.joined([texts[i] for i in chosen])
            found = model.score(text_spans(joined), unicode_split=unicode_split, python_count=python_count, exact=exact)
            for target, value in zip(scores, found, strict=True):
                target[first + chosen] = value
            filled[first + chosen] = [bool(text) for text in joined]
        first = last
    return scores, filled
