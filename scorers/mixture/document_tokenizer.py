"""Documents as tokens, each with its end: by a tokenizer's file, or by bytes.

A document's tokens end with the end-of-document token. It is added where the tokenizer didn't, never doubled, and
counted, so that a quota in tokens is one of what a trainer reads.
"""

from collections.abc import Iterator
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.schemas.base import digest, nearest
from tamis.schemas.errors import ConfigError, ModelError
from tamis.schemas.wording import install_extra
from tamis.scorers.mixture.token_files import vocabulary_size
from tamis.scorers.text.texts import Texts, as_buffer, as_list

__all__ = ["DocumentTokenizer"]

BYTES = "bytes"
"""Name of the tokenizer whose tokens are UTF-8 bytes; the end of a document is token 256."""
_BYTE_END = 256
_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "<|im_end|>", "<｜end▁of▁sentence｜>", "[EOS]")
"""End-of-document tokens by which published tokenizers are known."""

Tokens = npt.NDArray[np.int64]


class DocumentTokenizer:
    """A tokenizer, read when first used.

    Attributes:
        name: of its file or folder, or `bytes`.
        digest: SHA-256 of all that its tokens follow from: the file's content and the options.
    """

    def __init__(self, path: str, *, end: str | None = None, special_tokens: bool = False) -> None:
        """Find a tokenizer.

        Args:
            path: a `tokenizer.json`, a folder with one, a SentencePiece model, or `bytes`.
            end: its end-of-document token; None: the one that it is known to have.
            special_tokens: let it put its own special tokens around a document.

        Raises:
            ModelError: if there is no such file, or it isn't a tokenizer.
        """
        self._options = (path, end, special_tokens)
        self._end, self._special = end, special_tokens
        if path == BYTES:
            self.name, self._file, content = BYTES, None, BYTES
        else:
            file = Path(path)
            self.name = file.name
            self._file = file / "tokenizer.json" if file.is_dir() else file
            if not self._file.is_file():
                msg = f"tokenizer {path}: there is no file {self._file}"
                raise ModelError(msg)
            content = sha256(self._file.read_bytes()).hexdigest()
        self.file_sha256 = content if self._file is not None else ""
        self.digest = digest([content, end, special_tokens])

    def __reduce__(self) -> Any:
        path, end, special_tokens = self._options
        return _make, (path, end, special_tokens)

    @property
    def _json(self) -> bool:
        return self._file is not None and self._file.suffix == ".json"

    @cached_property
    def _processor(self) -> Any:
        try:
            if self._json:
                from tokenizers import Tokenizer

                found = Tokenizer.from_file(str(self._file))
                found.no_truncation()
                found.no_padding()
                return found
            from sentencepiece import SentencePieceProcessor

            return SentencePieceProcessor(model_file=str(self._file))
        except ImportError as error:
            msg = f"reading {self._file} needs the package {error.name!r}: {install_extra('lm')}"
            raise ConfigError(msg) from error
        except Exception as error:  # both libraries raise bare exceptions
            msg = f"{self._file} isn't a tokenizer that can be read ({error})"
            raise ModelError(msg) from error

    @cached_property
    def vocabulary(self) -> int:
        """One more than the largest id, added tokens among them."""
        if self._file is None:
            return _BYTE_END + 1
        return vocabulary_size(self._processor) if self._json else int(self._processor.get_piece_size())

    @cached_property
    def end(self) -> int:
        """The end-of-document token.

        Raises:
            ConfigError: if the tokenizer has no token of that name, or none that it is known by.
        """
        if self._file is None:
            return _BYTE_END
        if not self._json and self._end is None:
            found = int(self._processor.eos_id())
            if found >= 0:
                return found
        ids = self._known_ids()
        if self._end is not None:
            if self._end not in ids:
                msg = f"tokenizer {self.name} has no token {self._end!r}{nearest(self._end, self._near(ids))}"
                raise ConfigError(msg)
            return ids[self._end]
        named = [name for name in _ENDS if name in ids]
        if not named:
            msg = f"tokenizer {self.name}: which token ends a document isn't known; name it with `end`"
            raise ConfigError(msg)
        return ids[named[0]]

    def _known_ids(self) -> dict[str, int]:
        if self._json:
            return dict(self._processor.get_vocab(with_added_tokens=True))
        processor = self._processor
        return {processor.id_to_piece(i): i for i in range(processor.get_piece_size())}

    def _near(self, ids: dict[str, int]) -> list[str]:
        special = [name for name in ids if name[:1] in "<[" and name[-1:] in ">]"]
        return special[:50]

    def documents(self, texts: Texts) -> Iterator[Tokens]:
        """Yield the tokens of each text as the tokenizer gives them; whether their end is there is its own affair."""
        if self._file is None:
            data, offsets = as_buffer(texts)
            for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
                yield data[start:stop].astype(np.int64)
            return
        listed = as_list(texts)
        if self._json:
            for encoding in self._processor.encode_batch(listed, add_special_tokens=self._special):
                yield np.array(encoding.ids, np.int64)
            return
        for row in self._processor.encode(listed, out_type=int, add_bos=self._special, add_eos=self._special):
            yield np.array(row, np.int64)

    def counts(self, texts: Texts) -> Tokens:
        """Return the tokens of each text, its end among them; 0 for a text without any, which no export writes."""
        if self._file is None:
            _, offsets = as_buffer(texts)
            sizes = np.diff(offsets)
            return np.where(sizes > 0, sizes + 1, 0).astype(np.int64)
        end = self.end
        return np.array(
            [len(ids) + (int(ids[-1]) != end) if len(ids) else 0 for ids in self.documents(texts)], np.int64
        )

    def described(self) -> dict[str, Any]:
        """Return what a manifest says of it."""
        return {
            "name": self.name,
            "sha256": self.file_sha256 or None,
            "digest": self.digest,
            "vocabulary": self.vocabulary,
            "end": self.end,
            "special_tokens": self._special,
        }


def _make(path: str, end: str | None, special_tokens: bool) -> DocumentTokenizer:
    return DocumentTokenizer(path, end=end, special_tokens=special_tokens)
