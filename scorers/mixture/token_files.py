"""What token files of any trainer share: a token's type, the end-of-document token, files that appear when complete.

Each document ends with the end-of-document token: it is added where a tokenizer didn't, never doubled, and counted both
ways. Lengths are those with it. A token's type follows from the largest id that the tokenizer can give, its added
tokens among them, which a tokenizer's `vocab_size` often leaves out.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError

__all__ = ["Documents", "TokenSummary", "Tokens", "appearing", "token_type", "vocabulary_size"]

Tokens = npt.NDArray[np.integer[Any]]


def vocabulary_size(tokenizer: Any) -> int:
    """Return one more than the largest id of a tokenizer, added tokens among them.

    Args:
        tokenizer: one of `transformers` or `tokenizers`.
    """
    vocabulary = tokenizer.get_vocab()
    return int(max(vocabulary.values())) + 1


def token_type(vocabulary: int, wide: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of a token: uint16 where all ids fit, else `wide`.

    Args:
        vocabulary: one more than the largest id.
        wide: the trainer's 32-bit type.

    Raises:
        ConfigError: if the vocabulary is empty or fits neither.
    """
    if vocabulary < 1 or vocabulary - 1 > np.iinfo(wide).max:
        msg = (
            f"a vocabulary of {vocabulary} ids fits no token file: it must have from 1 to {np.iinfo(wide).max + 1} ids"
        )
        raise ConfigError(msg)
    return np.dtype("<u2") if vocabulary <= 1 << 16 else wide


@dataclass
class TokenSummary:
    """What was written, for the manifest.

    Attributes:
        documents: documents written.
        tokens: tokens written, ends among them.
        ends_added: documents whose tokens didn't end with the end-of-document token.
        ends_found: documents whose tokens did.
        empty: documents without a token, which are left out.
        dtype: type of a token in the file.
        files: SHA-256 by file name.
    """

    documents: int = 0
    tokens: int = 0
    ends_added: int = 0
    ends_found: int = 0
    empty: int = 0
    dtype: str = ""
    files: dict[str, str] = field(default_factory=dict)

    def sentence(self) -> str:
        """Return what a person should know of the ends."""
        if not self.ends_added:
            return f"all {self.documents:,} documents ended with the end-of-document token"
        who = "the tokenizer adds no end-of-document token" if not self.ends_found else "some had none"
        return f"an end-of-document token was added to {self.ends_added:,} of {self.documents:,} documents: {who}"


class Documents:
    """Prepares documents for a file: checks ids, adds ends, counts."""

    def __init__(self, vocabulary: int, end: int, wide: np.dtype[Any]) -> None:
        """Prepare documents of a tokenizer.

        Args:
            vocabulary: one more than its largest id, see `vocabulary_size`.
            end: its end-of-document token.
            wide: the trainer's 32-bit type.

        Raises:
            ConfigError: if the vocabulary doesn't fit, or `end` isn't in it.
        """
        self.dtype = token_type(vocabulary, wide)
        if not 0 <= end < vocabulary:
            msg = f"the end-of-document token {end} isn't an id of a vocabulary of {vocabulary}"
            raise ConfigError(msg)
        self._vocabulary, self._end = vocabulary, end
        self.summary = TokenSummary(dtype=self.dtype.name)

    def prepared(self, tokens: Sequence[int] | Tokens, name: str) -> Tokens | None:
        """Return a document's tokens with their end, in the file's type; None for one without tokens.

        Args:
            tokens: ids.
            name: of the document, for messages.

        Raises:
            DataError: if an id isn't in the vocabulary, or the document has 2^31 tokens or more.
        """
        ids = np.asarray(tokens)
        if not ids.size:
            self.summary.empty += 1
            return None
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            msg = f"document {name}: tokens must be a list of whole numbers, got {ids.dtype}{list(ids.shape)}"
            raise DataError(msg)
        if int(ids.min()) < 0 or int(ids.max()) >= self._vocabulary:
            msg = (
                f"document {name} has token {int(ids.min()) if int(ids.min()) < 0 else int(ids.max())}, but the "
                f"vocabulary has {self._vocabulary} ids; count the tokenizer's added tokens too"
            )
            raise DataError(msg)
        found = int(ids[-1]) == self._end
        if len(ids) + (not found) >= 1 << 31:
            msg = f"document {name} has {len(ids):,} tokens: lengths in the index have 31 bits; cut the document"
            raise DataError(msg)
        result = ids.astype(self.dtype)
        if not found:
            result = np.append(result, self.dtype.type(self._end))
        self.summary.ends_found += found
        self.summary.ends_added += not found
        self.summary.documents += 1
        self.summary.tokens += len(result)
        return result


class _Hashed:
    """A file that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


@contextmanager
def appearing(path: Path, summary: TokenSummary) -> Iterator[Any]:
    """Open a file for writing that appears under its name once all is written, and note its SHA-256."""
    partial = path.with_name(f".{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("wb") as file:
            hashed = _Hashed(file)
            yield hashed
        partial.replace(path)
        summary.files[path.name] = hashed.digest.hexdigest()
    finally:
        partial.unlink(missing_ok=True)
