"""Embeddings as a step's column, by name: of any encoder here, the same for a text in whatever batch it comes."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.scorers.causal.threads import one_thread
from tamis.scorers.embeddings.vectors import as_column, embedding_field
from tamis.scorers.text.texts import Texts

__all__ = ["EmbeddingColumn", "Encoder"]


class Encoder(Protocol):
    """What turns texts into vectors: `HashedEmbeddings`, `StaticEmbeddings`, `EncoderEmbeddings`."""

    @property
    def schema(self) -> pa.Schema:
        """One column of fixed-size lists."""
        ...

    def vectors(self, texts: Texts) -> npt.NDArray[np.float32]:
        """Return the vectors, float32 (texts, dimensions)."""
        ...


class EmbeddingColumn:
    """Adds a column of embeddings; conforms to `tamis.scorers.base.Annotator`.

    Args:
        encoder: what embeds.
        name: of the column.
        internal: no table of a run shows it.
        alone: embed text by text on one thread: batches and threads change the last bits of what PyTorch sums.
    """

    requires = ("text",)

    def __init__(self, encoder: Encoder, name: str, *, internal: bool = False, alone: bool = False) -> None:
        self._encoder = encoder
        self._alone = alone
        plain = embedding_field(encoder.schema.field(0).type.list_size, name)
        told = {"description": "embedding of the text, a unit vector; zeros for a text without a word"}
        metadata = {**told, "internal": "1"} if internal else told
        self.schema = pa.schema([pa.field(name, plain.type, metadata=metadata)])

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the embedding of each row's text."""
        texts = batch.column("text")
        if self._alone and len(texts):
            with one_thread():
                matrix = np.concatenate([self._encoder.vectors(texts.slice(row, 1)) for row in range(len(texts))])
        else:
            matrix = self._encoder.vectors(texts)
        return pa.RecordBatch.from_arrays([as_column(matrix)], schema=self.schema)
