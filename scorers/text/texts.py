"""The forms in which scorers take text: any sequence of strings, an Arrow array, or one UTF-8 buffer with offsets."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import DataError

__all__ = ["TextBuffer", "Texts", "as_arrow", "as_buffer", "as_list"]

Texts: TypeAlias = "Sequence[str | None] | pa.Array | pa.ChunkedArray"
"""What a scorer accepts: a sequence of `str`, or an Arrow (large) string array. A null counts as an empty text."""


class TextBuffer(NamedTuple):
    """Texts as kernels see them: text `i` is `data[offsets[i]:offsets[i + 1]]`, valid UTF-8."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:  # the number of texts, not of fields
        return len(self.offsets) - 1


def _refuse_single(texts: object) -> None:
    """Refuse one text where several are taken: it is a sequence too, of its characters, and each would be a text."""
    if isinstance(texts, str | bytes | bytearray):
        msg = f"expected a sequence of texts, got a single {type(texts).__name__}: put it in a list"
        raise DataError(msg)


def as_arrow(texts: Texts) -> pa.LargeStringArray:
    """Return `texts` as one `large_string` array without nulls.

    Raises:
        DataError: if `texts` is a single string, or a text holds a lone surrogate, which UTF-8 can't express; the
            message names its position.
    """
    array: Any
    _refuse_single(texts)
    if isinstance(texts, pa.ChunkedArray):
        array = texts.combine_chunks()
    elif isinstance(texts, pa.Array):
        array = texts
    else:
        try:
            array = pa.array(texts, pa.large_string())
        except UnicodeEncodeError as error:
            position = next(i for i, text in enumerate(texts) if text is not None and not _encodable(text))
            msg = f"text {position} holds a lone surrogate (at character {error.start}), which is no Unicode text"
            raise DataError(msg) from error
    if array.type != pa.large_string():
        array = array.cast(pa.large_string())
    if array.null_count:
        array = array.fill_null("")
    return array


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_buffer(texts: "Texts | TextBuffer") -> TextBuffer:
    """Return `texts` as one UTF-8 buffer with offsets, without a copy where Arrow's layout allows it."""
    if isinstance(texts, TextBuffer):
        return texts
    array = as_arrow(texts)
    if len(array) == 0:
        return TextBuffer(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets, np.int64, len(array) + 1, array.offset * 8)
    values = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    return TextBuffer(values, starts)


def as_list(texts: Texts) -> list[str]:
    """Return `texts` as a list of `str`; nulls become empty texts.

    Raises:
        DataError: if `texts` is a single string.
    """
    _refuse_single(texts)
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        return ["" if text is None else text for text in texts.to_pylist()]
    return ["" if text is None else text for text in texts]
