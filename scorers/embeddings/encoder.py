"""Embeddings by an encoder of transformers (BERT, MiniLM, BGE, E5 ...) from a local folder.

Nothing is downloaded and no code from a model's folder is run.
"""

from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.causal.models import context_limit, load_encoder
from tamis.scorers.embeddings.vectors import as_column, embedding_field, unit_rows
from tamis.scorers.text.texts import Texts, as_list

__all__ = ["EncoderEmbeddings", "Pooling"]

Pooling: TypeAlias = Literal["mean", "cls"]
"""`mean` of the states of all tokens that aren't padding, or the first token's state."""

_SHIFTED = ("camembert", "mpnet", "roberta", "xlm-roberta")
"""Architectures that count positions from the padding token's number on."""


class EncoderEmbeddings:
    """Embeds documents with a transformers encoder; conforms to `tamis.scorers.base.Scorer`.

    Adds `embedding`, a unit vector; zeros for an empty text. Texts are cut to the model's context. The same texts in
    other batches can differ in the last bits, as padding changes the order of sums in the library's products.

    Args:
        folder: of the model, with its tokenizer.
        pooling: see `Pooling`; what the model was trained with.
        max_tokens: look at that many tokens, special ones included; None: as many as the model takes.
        prefix: text put before each document, as E5 and others want it.
        device: as PyTorch calls it, or `auto`.
        dtype: of weights and activations: `float32`, `bfloat16` or `float16`. Means are taken in float32.
        batch_tokens: most tokens in a batch, padding included; a text alone may be longer.

    Raises:
        ConfigError: if a library is missing or an option is out of range.
        ModelError: if the model can't be loaded or its config says nothing of its context.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        pooling: Pooling = "mean",
        max_tokens: int | None = None,
        prefix: str = "",
        device: str = "auto",
        dtype: str = "float32",
        batch_tokens: int = 8192,
    ) -> None:
        if pooling not in ("mean", "cls"):
            msg = f"unknown pooling {pooling!r}: choose 'mean' or 'cls'"
            raise ConfigError(msg)
        if batch_tokens < 1:
            msg = f"batch_tokens must be at least 1, got {batch_tokens}"
            raise ConfigError(msg)
        self._model, self._tokenizer = load_encoder(folder, device=device, dtype=dtype)
        config = self._model.config
        limit = context_limit(config)
        if limit is not None and config.model_type in _SHIFTED:
            limit -= int(config.pad_token_id or 0) + 1
        said = getattr(self._tokenizer, "model_max_length", None)
        if isinstance(said, int) and said < 1_000_000:  # transformers' "nothing said" is 10^30
            limit = said if limit is None else min(said, limit)
        if limit is None and max_tokens is None:
            msg = f"the config of {folder} says nothing of its context: give `max_tokens`"
            raise ModelError(msg)
        self._context = min(size for size in (limit, max_tokens) if size is not None)
        if self._context < 1:
            msg = f"max_tokens must be at least 1, got {max_tokens}"
            raise ConfigError(msg)
        self._pooling = pooling
        self._prefix = prefix
        self._batch_tokens = batch_tokens
        self._dimensions = int(config.hidden_size)

    @property
    def schema(self) -> pa.Schema:
        """Column `embedding`, fixed-size lists of float32."""
        return pa.schema([embedding_field(self._dimensions)])

    def vectors(self, texts: Texts) -> npt.NDArray[np.float32]:
        """Return the vectors, float32 (texts, dimensions).

        Raises:
            ModelError: if the model gives a number that isn't finite.
        """
        documents = as_list(texts)
        out = np.zeros((len(documents), self._dimensions), np.float32)
        ids = {
            i: self._tokenizer(
                self._prefix + text, truncation=True, max_length=self._context, return_attention_mask=False
            )["input_ids"]
            for i, text in enumerate(documents)
            if text
        }
        order = sorted(ids, key=lambda i: -len(ids[i]))  # equal lengths need no padding; the largest batch comes first
        first = 0
        while first < len(order):
            batch = order[first : first + max(1, self._batch_tokens // max(1, len(ids[order[first]])))]
            out[batch] = self._encode([ids[i] for i in batch])
            first += len(batch)
        if not np.isfinite(out).all():
            row = int(np.flatnonzero(~np.isfinite(out).all(axis=1))[0])
            msg = f"the encoder gives text {row} of the batch no finite embedding: load it with dtype float32"
            raise ModelError(msg)
        units: npt.NDArray[np.float32] = unit_rows(out)
        return units

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return the embedding of each text."""
        return pa.record_batch([as_column(self.vectors(texts))], schema=self.schema)

    def _encode(self, batch: list[list[int]]) -> npt.NDArray[np.float32]:
        import torch

        longest = max(1, *map(len, batch))
        padding = self._tokenizer.pad_token_id or 0
        tokens = torch.full((len(batch), longest), padding, dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for i, ids in enumerate(batch):
            tokens[i, : len(ids)] = torch.tensor(ids, dtype=torch.long)
            mask[i, : len(ids)] = 1
        tokens, mask = tokens.to(self._model.device), mask.to(self._model.device)
        with torch.inference_mode():
            states: Any = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state.float()
            if self._pooling == "cls":
                pooled = states[:, 0]
            else:
                weights = mask.unsqueeze(-1).float()
                pooled = (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        result: npt.NDArray[np.float32] = pooled.cpu().numpy()
        return result
