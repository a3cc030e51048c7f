"""A 128-bit hash of a document's text, equal for texts that count as exact duplicates."""

import itertools
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import xxhash

from tamis.schemas.tables import described
from tamis.scorers.dedup.words import Folding, folding_table
from tamis.scorers.dedup.words_kernels import write_folded
from tamis.scorers.kernels.whitespace import collapse
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["HASH_COLUMN", "Normalization", "TextHash"]

HASH_COLUMN = "text_hash"

Normalization: TypeAlias = Literal["none", "whitespace", "words"]
"""What of a text counts: all of it, all but runs of white space, or its words alone; see `TextHash`."""


class TextHash:
    """XXH3-128 of the text's UTF-8.

    With `normalize="whitespace"` each run of white space (as `str.isspace` has it) counts as one blank and white space
    at the ends doesn't count. With `normalize="words"` only the words count, folded as `tamis.scorers.dedup.words` says
    and joined by one blank; a text without a word has no hash (null): it is like no other. At 2^64 documents the
    chance of any false match would reach a half; at a billion it is below 2e-21.

    Args:
        normalize: what of a text counts.
        folding: how words are made comparable, with `normalize="words"`.
        column: the column's name.
    """

    def __init__(
        self, *, normalize: Normalization = "whitespace", folding: Folding = "folded", column: str = HASH_COLUMN
    ):
        self._normalize = normalize
        self._folding: Folding = folding
        self.schema = pa.schema(
            [described(column, pa.binary(16), "XXH3-128 of the text as exact deduplication normalises it")]
        )

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return the hash of each text, 16 bytes, big-endian as the canonical digest."""
        buffer = as_buffer(texts)
        if self._normalize == "words":
            return pa.RecordBatch.from_arrays([pa.array(self._of_words(buffer), pa.binary(16))], schema=self.schema)
        data, offsets = buffer
        if self._normalize == "whitespace":
            data, offsets = collapse(data, offsets)
        view = memoryview(data)  # type: ignore[arg-type]  # arrays have the buffer protocol
        bounds = offsets.tolist()
        hashes = b"".join([xxhash.xxh3_128_digest(view[a:b]) for a, b in itertools.pairwise(bounds)])
        array = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(bounds) - 1, [None, pa.py_buffer(hashes)])
        return pa.RecordBatch.from_arrays([array], schema=self.schema)

    def _of_words(self, buffer: TextBuffer) -> list[bytes | None]:
        """Return the hash of each text's words."""
        data, offsets = buffer
        table = folding_table(self._folding)
        longest = int(np.diff(offsets).max(initial=0))
        out, starts = np.empty(4 * longest + 1, np.uint8), np.empty(longest + 2, np.int64)
        view = memoryview(out)  # type: ignore[arg-type]  # arrays have the buffer protocol
        found: list[bytes | None] = []
        for begin, end in itertools.pairwise(offsets.tolist()):
            units = write_folded(data, begin, end, table, True, out, starts)  # noqa: FBT003
            found.append(xxhash.xxh3_128_digest(view[: starts[units] - 1]) if units else None)
        return found
