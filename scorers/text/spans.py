"""Spans of a UTF-8 buffer: the sentences or documents that a scorer looks at one by one."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.spans import count_lines, mark_lines
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["Spans", "line_spans", "slices_by_size", "text_spans"]


class Spans(NamedTuple):
    """Spans of one buffer: span `i` is `data[starts[i]:ends[i]]`, valid UTF-8."""

    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    def text(self, index: int) -> str:
        """Return span `index` as a string."""
        return bytes(self.data[self.starts[index] : self.ends[index]]).decode()

    def texts(self) -> list[str]:
        """Return all spans as strings."""
        if not len(self.starts):
            return []
        first = int(self.starts.min())
        whole = self.data[first : int(self.ends.max())].tobytes()
        starts, ends = (self.starts - first).tolist(), (self.ends - first).tolist()
        return [whole[a:b].decode() for a, b in zip(starts, ends, strict=True)]


def text_spans(texts: "Texts | TextBuffer") -> Spans:
    """Return each text as one span."""
    data, offsets = as_buffer(texts)
    return Spans(data, offsets[:-1], offsets[1:])


def line_spans(
    texts: "Texts | TextBuffer", *, blank: bool = True, trailing: bool = True
) -> tuple[Spans, npt.NDArray[np.int64]]:
    r"""Return each line of each text as a span without its "\n", and how many lines each text has.

    Args:
        texts: the texts.
        blank: whether lines without a character other than ASCII white space count.
        trailing: whether what follows a last "\n" is a line even when it is empty, as `str.split("\n")` has it.
    """
    data, offsets = as_buffer(texts)
    counts = np.empty(len(offsets) - 1, np.int64)
    total = count_lines(data, offsets, blank, trailing, counts)
    spans = Spans(data, np.empty(total, np.int64), np.empty(total, np.int64))
    mark_lines(data, offsets, blank, trailing, spans.starts, spans.ends)
    return spans, counts


def slices_by_size(spans: Spans, size: int) -> Iterator[slice]:
    """Yield slices of the spans of about `size` bytes each, or of one span that is larger."""
    sizes = np.cumsum(spans.ends - spans.starts)
    first = 0
    while first < len(sizes):
        before = int(sizes[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(sizes, before + size, "right")))
        yield slice(first, last)
        first = last
