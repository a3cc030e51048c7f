"""Static embeddings: a vector a token, and a document is the mean of its tokens' (model2vec and wordllama models).

A folder is read as these libraries write it:

| layout | vectors | tokenizer |
| --- | --- | --- |
| model2vec | `model.safetensors`: `embeddings`, and maybe `weights` and `mapping` | `tokenizer.json` |
| sentence-transformers | `0_StaticEmbedding/model.safetensors`: `embedding.weight` | `tokenizer.json` beside it |
| wordllama | `weights/*.safetensors`: `embedding.weight` | `tokenizers/*.json` |

wordllama's may also lie flat in one folder. Unknown tokens are left out, as model2vec does, and special tokens aren't
added. The mean is taken over the whole document, where model2vec looks at 512 tokens unless told otherwise.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import ConfigError, ModelError
from tamis.schemas.wording import install_extra
from tamis.scorers.embeddings.static_kernels import mean_rows
from tamis.scorers.embeddings.vectors import as_column, embedding_field, unit_rows
from tamis.scorers.text.texts import Texts, as_list

__all__ = ["StaticEmbeddings"]

_NAMES = ("embeddings", "embedding.weight")
_BATCH = 256


class _Files(NamedTuple):
    vectors: Path
    tokenizer: Path


class StaticEmbeddings:
    """Embeds documents by the mean of their tokens' vectors; conforms to `tamis.scorers.base.Scorer`.

    Adds `embedding`, a unit vector; zeros for a text without a known token.

    Args:
        folder: of the model.
        max_tokens: look at that many tokens of a text, from its start; None: at all.

    Raises:
        ConfigError: if tokenizers or safetensors is missing, or `max_tokens` is out of range.
        ModelError: if the folder has none of the layouts or its files don't fit each other.
    """

    def __init__(self, folder: str | Path, *, max_tokens: int | None = None) -> None:
        if max_tokens is not None and max_tokens < 1:
            msg = f"max_tokens must be at least 1, got {max_tokens}"
            raise ConfigError(msg)
        files = _located(Path(folder))
        self._max_tokens = max_tokens
        self._tokenizer, self._unknown = _tokenizer(files.tokenizer)
        tensors = _tensors(files.vectors)
        name = next((name for name in _NAMES if name in tensors), None)
        if name is None or tensors[name].ndim != 2:
            msg = f"{files.vectors} has no matrix called {' or '.join(_NAMES)}: it isn't a static embedding model"
            raise ModelError(msg)
        self._table = np.ascontiguousarray(tensors[name], np.float32)
        tokens = self._tokenizer.get_vocab_size()
        mapping = tensors.get("mapping")
        rows = np.arange(len(self._table)) if mapping is None else mapping.astype(np.int64)
        weights = tensors.get("weights")
        self._weights = np.ones(len(rows)) if weights is None else weights.astype(np.float64)
        fits = len(rows) >= tokens and len(self._weights) >= tokens and rows.min(initial=0) >= 0
        if not fits or rows.max(initial=-1) >= len(self._table):
            msg = f"{files.vectors} has vectors for {len(rows)} tokens and {files.tokenizer} has {tokens}: no pair"
            raise ModelError(msg)
        if not np.isfinite(self._table).all() or not np.isfinite(self._weights).all():
            msg = f"{files.vectors} holds a number that isn't finite"
            raise ModelError(msg)
        self._rows = np.ascontiguousarray(rows, np.int64)

    @property
    def schema(self) -> pa.Schema:
        """Column `embedding`, fixed-size lists of float32."""
        return pa.schema([embedding_field(self._table.shape[1])])

    def vectors(self, texts: Texts) -> npt.NDArray[np.float32]:
        """Return the vectors, float32 (texts, dimensions)."""
        documents = as_list(texts)
        out = np.zeros((len(documents), self._table.shape[1]))
        for first in range(0, len(documents), _BATCH):
            batch = documents[first : first + _BATCH]
            encoded = self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            ids = [np.array(entry.ids, np.int64) for entry in encoded]
            if self._unknown is not None:
                ids = [entry[entry != self._unknown] for entry in ids]
            ids = [entry[: self._max_tokens] for entry in ids]
            ends = np.cumsum([0, *map(len, ids)])
            flat = np.concatenate([np.zeros(0, np.int64), *ids])
            mean_rows(self._table, self._rows, self._weights, flat, ends, out[first : first + _BATCH])
        units: npt.NDArray[np.float32] = unit_rows(out).astype(np.float32)
        return units

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return the embedding of each text."""
        return pa.record_batch([as_column(self.vectors(texts))], schema=self.schema)


def _located(folder: Path) -> _Files:
    """Return the files of the first layout that the folder has."""
    for place in (folder, folder / "0_StaticEmbedding"):
        files = _Files(place / "model.safetensors", place / "tokenizer.json")
        if all(file.is_file() for file in files):
            return files
    weights = sorted([*folder.glob("weights/*.safetensors"), *folder.glob("*.safetensors")])
    tokenizers = sorted([*folder.glob("tokenizers/*.json"), *folder.glob("*tokenizer*.json")])
    if len(weights) == 1 and len(tokenizers) == 1:
        return _Files(weights[0], tokenizers[0])
    if weights and tokenizers:
        msg = f"{folder} has {len(weights)} files of vectors and {len(tokenizers)} of tokenizers: leave one of each"
        raise ModelError(msg)
    msg = f"{folder} isn't a static embedding model: model.safetensors and tokenizer.json (or wordllama's) are missing"
    raise ModelError(msg)


def _tokenizer(path: Path) -> tuple[Any, int | None]:
    """Return the tokenizer, and the token it gives to what it doesn't know."""
    try:
        import tokenizers
    except ImportError as error:
        msg = f"static embeddings need the packages tokenizers and safetensors: {install_extra('lm')}"
        raise ConfigError(msg) from error
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
        name = json.loads(path.read_text("utf-8"))["model"].get("unk_token")
    except Exception as error:
        msg = f"the tokenizer {path} can't be read: {str(error).splitlines()[0] if str(error) else error!r}"
        raise ModelError(msg) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, None if name is None else tokenizer.token_to_id(name)


def _tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        msg = f"static embeddings need the packages tokenizers and safetensors: {install_extra('lm')}"
        raise ConfigError(msg) from error
    try:
        tensors: dict[str, npt.NDArray[Any]] = safetensors.numpy.load_file(path)
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        msg = f"the vectors {path} can't be read: {error}"
        raise ModelError(msg) from error
    return tensors
