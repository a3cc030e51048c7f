"""A 128-bit hash of a document's text, equal for texts that count as exact duplicates."""

import itertools
from typing import Literal

import pyarrow as pa
import xxhash

from tamis.schemas.tables import described
from tamis.scorers.kernels.whitespace import collapse
from tamis.scorers.text.texts import Texts, as_buffer

__all__ = ["HASH_COLUMN", "TextHash"]

HASH_COLUMN = "text_hash"


class TextHash:
    """XXH3-128 of the text's UTF-8.

    With `normalize="whitespace"` each run of white space (as `str.isspace` has it) counts as one blank and white space
    at the ends doesn't count. At 2^64 documents the chance of any false match would reach a half; at a billion it is
    below 2e-21.
    """

    schema = pa.schema(
        [described(HASH_COLUMN, pa.binary(16), "XXH3-128 of the text as exact deduplication normalises it")]
    )

    def __init__(self, *, normalize: Literal["none", "whitespace"] = "whitespace"):
        self._normalize = normalize

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return the hash of each text, 16 bytes, big-endian as the canonical digest."""
        data, offsets = as_buffer(texts)
        if self._normalize == "whitespace":
            data, offsets = collapse(data, offsets)
        view = memoryview(data)  # type: ignore[arg-type]  # arrays have the buffer protocol
        bounds = offsets.tolist()
        hashes = b"".join([xxhash.xxh3_128_digest(view[a:b]) for a, b in itertools.pairwise(bounds)])
        array = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(bounds) - 1, [None, pa.py_buffer(hashes)])
        return pa.RecordBatch.from_arrays([array], schema=self.schema)
