"""Tokens of a trained tokenizer, as an alternative to words: a SentencePiece model or a Hugging Face `tokenizer.json`.

The text goes to the tokenizer as it is: lower-casing and normalisation are the tokenizer's own affair.
"""

from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, ModelError
from tamis.schemas.wording import install_extra
from tamis.scorers.text.texts import Texts, as_list

__all__ = ["PieceTokenizer"]


class PieceTokenizer:
    """A tokenizer file, read when first used; `*.json` is Hugging Face's format, anything else SentencePiece's.

    Two are equal if their files hold the same bytes.

    Raises:
        ModelError: if the file is missing or isn't a tokenizer.
        ConfigError: if the package that reads it isn't installed.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            msg = f"tokenizer file {self.path} doesn't exist"
            raise ModelError(msg)

    def __reduce__(self) -> tuple[type["PieceTokenizer"], tuple[Path]]:
        return PieceTokenizer, (self.path,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PieceTokenizer) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, in hex."""
        return sha256(self.path.read_bytes()).hexdigest()

    @cached_property
    def _processor(self) -> Any:
        try:
            if self.path.suffix == ".json":
                from tokenizers import Tokenizer

                return Tokenizer.from_file(str(self.path))
            from sentencepiece import SentencePieceProcessor

            return SentencePieceProcessor(model_file=str(self.path))
        except ImportError as error:
            msg = f"reading {self.path} needs the package {error.name!r}: {install_extra('lm')}"
            raise ConfigError(msg) from error
        except Exception as error:  # both libraries raise bare exceptions
            msg = f"{self.path} isn't a tokenizer that can be read ({error})"
            raise ModelError(msg) from error

    @cached_property
    def names(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """The UTF-8 of all pieces in one buffer, and the n + 1 bounds of the pieces in it."""
        processor = self._processor
        if self.path.suffix == ".json":
            size = max(processor.get_vocab(with_added_tokens=True).values(), default=-1) + 1
            names = [(processor.id_to_token(i) or "").encode() for i in range(size)]
        else:
            names = [processor.id_to_piece(i).encode() for i in range(processor.get_piece_size())]
        bounds = np.zeros(len(names) + 1, np.int64)
        np.cumsum([len(name) for name in names], out=bounds[1:])
        return np.frombuffer(b"".join(names), np.uint8), bounds

    def encode(self, texts: Texts) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the piece numbers of all texts in a row, and where each text begins (n + 1 offsets)."""
        documents = as_list(texts)
        if self.path.suffix == ".json":
            encoded = self._processor.encode_batch(documents, add_special_tokens=False)
            rows = [encoding.ids for encoding in encoded]
        else:
            rows = self._processor.encode(documents, out_type=int)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        pieces = np.empty(int(offsets[-1]), np.int32)
        for row, start, end in zip(rows, offsets[:-1], offsets[1:], strict=True):
            pieces[start:end] = row
        return pieces, offsets
