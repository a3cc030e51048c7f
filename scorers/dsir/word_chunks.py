"""The paper's preparation of a corpus for DSIR: documents cut into chunks of equally many words.

Chunks make lengths comparable: the weight of a document is a sum over its n-grams, and so is dominated by its length.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import ConfigError
from tamis.scorers.text.texts import Texts, as_list

__all__ = ["Chunks", "word_chunks"]


class Chunks(NamedTuple):
    """Chunks in document order: their texts, the row of the document each came from, and its place in it (from 0)."""

    texts: pa.LargeStringArray
    documents: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]


def word_chunks(texts: Texts, *, words: int = 128) -> Chunks:
    r"""Cut each text at single blanks into runs of `words` words (Xie et al. 2023: 128), joined by blanks again.

    Words are those of `text.split(" ")`, so nothing is lost: the chunks of a document joined by a blank are the
    document. The last chunk may be shorter; an empty text gives one empty chunk.

    Raises:
        ConfigError: if `words` isn't positive.
    """
    if words < 1:
        msg = f"words must be positive, got {words}"
        raise ConfigError(msg)
    chunks: list[str] = []
    counts: list[int] = []
    for text in as_list(texts):
        parts = text.split(" ")
        counts.append(-(-len(parts) // words))
        chunks.extend(" ".join(parts[i : i + words]) for i in range(0, len(parts), words))
    sizes = np.array(counts, np.int64)
    documents = np.repeat(np.arange(len(sizes)), sizes)
    begins = np.repeat(np.cumsum(sizes) - sizes, sizes)
    return Chunks(pa.array(chunks, pa.large_string()), documents, np.arange(len(chunks)) - begins)
