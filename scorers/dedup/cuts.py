"""Takes spans out of texts, and says what it took."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import DataError
from tamis.scorers.dedup.cuts_kernels import copy_between, count_points
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["Cuts", "cut_spans"]


class Cuts(NamedTuple):
    """Spans of a batch of texts, by text and place; none overlap.

    Attributes:
        texts: which text, int64 (n,).
        starts: first byte in the text's UTF-8.
        ends: byte after the last.
    """

    texts: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    def characters(self, texts: "Texts | TextBuffer") -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return starts and ends in code points of the text, int64 (n,) each."""
        data, offsets = as_buffer(texts)
        points = np.empty((2, len(self.texts)), np.int64)
        count_points(data, offsets, self.texts, self.starts, self.ends, points[0], points[1])
        return points[0], points[1]

    def removed(self, texts: "Texts | TextBuffer") -> npt.NDArray[np.int64]:
        """Return how many characters (not bytes) of each text the spans hold, int64 (texts,)."""
        starts, ends = self.characters(texts)
        _, offsets = as_buffer(texts)
        return np.bincount(self.texts, ends - starts, len(offsets) - 1).astype(np.int64)


def cut_spans(texts: "Texts | TextBuffer", cuts: Cuts) -> pa.LargeStringArray:
    """Return the texts without the spans.

    Raises:
        DataError: if spans aren't in order, overlap, or don't lie in their texts.
    """
    data, offsets = as_buffer(texts)
    base = offsets[cuts.texts]
    starts, ends = base + cuts.starts, base + cuts.ends
    inside = (cuts.starts >= 0) & (ends <= offsets[cuts.texts + 1]) & (starts <= ends)
    if not inside.all() or (starts[1:] < ends[:-1]).any():
        msg = "spans to remove must lie in their texts, in order, without overlap"
        raise DataError(msg)
    gone = np.bincount(cuts.texts, ends - starts, len(offsets) - 1).astype(np.int64)
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(offsets) - gone)])
    left = np.empty(int(bounds[-1]), np.uint8)
    copy_between(data, int(offsets[0]), int(offsets[-1]), starts, ends, left)
    return pa.LargeStringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds.tobytes()), pa.py_buffer(left))
