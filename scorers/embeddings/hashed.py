"""Embeddings that need no model: hashed n-grams under a sparse random projection.

A document is the set of its n-grams, each with weight 1 + ln(times it occurs); the projection keeps the angles between
such sets up to some 1/sqrt(dimensions) (Kane and Nelson 2014, *Sparser Johnson-Lindenstrauss transforms*, block
construction; Weinberger et al. 2009, arXiv 0902.2206, for hashing). Nothing is fitted, so a vector depends on its text,
the options and the seed alone, down to the bit.
"""

from hashlib import sha256
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import ConfigError
from tamis.scorers.dsir.features import NgramFeatures
from tamis.scorers.embeddings.hashed_kernels import byte_ngrams, project
from tamis.scorers.embeddings.vectors import as_column, embedding_field
from tamis.scorers.text.texts import Texts, as_buffer

__all__ = ["HashedEmbeddings", "Units"]

Units: TypeAlias = Literal["words", "bytes"]
"""Of what n-grams are made: `words` (lower-cased runs of letters, or of punctuation) or `bytes` of the UTF-8."""

_BUCKETS = 2**31 - 1
"""As many as fit: two n-grams of a document share one about never."""


class HashedEmbeddings:
    """Embeds documents by their n-grams; conforms to `tamis.scorers.base.Scorer`.

    Adds `embedding`, a unit vector; zeros for a text that has no n-gram (an empty one).

    Args:
        dimensions: length of the vectors.
        ngrams: longest n-gram; all orders from 1 on are used.
        units: see `Units`. Languages that don't put blanks between words need `bytes`.
        seed: of the projection.

    Raises:
        ConfigError: if an option is out of range.
    """

    def __init__(self, dimensions: int = 256, *, ngrams: int = 2, units: Units = "words", seed: int = 0) -> None:
        if not 1 <= dimensions <= 65536:
            msg = f"dimensions must be from 1 to 65536, got {dimensions}"
            raise ConfigError(msg)
        if units not in ("words", "bytes"):
            msg = f"unknown units {units!r} of n-grams: choose 'words' or 'bytes'"
            raise ConfigError(msg)
        if not 0 <= seed <= 2**63:
            msg = f"seed must be from 0 to 2^63, got {seed}"
            raise ConfigError(msg)
        self._features = NgramFeatures(ngrams=ngrams, buckets=_BUCKETS)
        self._units = units
        self._dimensions = dimensions
        self._entries = min(8, dimensions)
        key = sha256(f"tamis-projection-1\0{seed}\0{units}".encode()).digest()
        self._key = np.uint64(int.from_bytes(key[:8], "big"))

    @property
    def schema(self) -> pa.Schema:
        """Column `embedding`, fixed-size lists of float32."""
        return pa.schema([embedding_field(self._dimensions)])

    def vectors(self, texts: Texts) -> npt.NDArray[np.float32]:
        """Return the vectors, float32 (texts, dimensions)."""
        ngrams, ends = self._ngrams(texts)
        out = np.zeros((len(ends) - 1, self._dimensions), np.float32)
        project(ngrams, ends, self._key, self._entries, out)
        return out

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return the embedding of each text."""
        return pa.record_batch([as_column(self.vectors(texts))], schema=self.schema)

    def _ngrams(self, texts: Texts) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the hashes of all texts' n-grams, text after text, and where each text's end."""
        if self._units == "bytes":
            data, offsets = as_buffer(texts)
            return byte_ngrams(data, offsets, self._features.ngrams)
        parts: list[npt.NDArray[np.int32]] = [np.zeros(0, np.int32)]
        ends = [np.zeros(1, np.int64)]
        filled = 0
        for block in self._features.blocks(texts):
            parts.append(block.buckets[: block.filled].copy())
            ends.append(filled + block.ends[block.first : block.after])
            filled += block.filled
        return np.concatenate(parts), np.concatenate(ends)
