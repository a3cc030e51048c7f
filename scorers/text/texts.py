"""The forms in which scorers take text: any sequence of strings, an Arrow array, or one UTF-8 buffer with offsets."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import DataError

__all__ = ["ArrowColumn", "NumpyColumn", "TextBuffer", "Texts", "as_arrow", "as_buffer", "as_list"]


class ArrowColumn(Protocol):
    """A column that hands its buffers over by Arrow's C interface, such as a polars Series."""

    def __len__(self) -> int: ...

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return a capsule of a stream of arrays."""
        ...


class NumpyColumn(Protocol):
    """A column of objects, such as a pandas Series."""

    def __len__(self) -> int: ...

    def to_numpy(self) -> Any:
        """Return the values as a NumPy array."""
        ...


Texts: TypeAlias = "Sequence[str | None] | pa.Array | pa.ChunkedArray | ArrowColumn | NumpyColumn"
"""What a scorer accepts: a sequence of `str`, an Arrow (large) string array, or a column of pandas or polars.

A null counts as an empty text.
"""


class TextBuffer(NamedTuple):
    """Texts as kernels see them: text `i` is `data[offsets[i]:offsets[i + 1]]`, valid UTF-8."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:  # the number of texts, not of fields
        return len(self.offsets) - 1


def _given(texts: Any) -> Any:
    """Return texts as an Arrow array where they are a column, else as the sequence that they are.

    Raises:
        DataError: for one text where several are taken: it is a sequence too, of its characters.
    """
    if isinstance(texts, str | bytes | bytearray):
        msg = f"expected a sequence of texts, got a single {type(texts).__name__}: put it in a list"
        raise DataError(msg)
    if isinstance(texts, pa.ChunkedArray):
        return texts.combine_chunks()
    if isinstance(texts, pa.Array | list | tuple):
        return texts
    if hasattr(texts, "__arrow_c_stream__"):
        return pa.chunked_array(texts).combine_chunks()
    if hasattr(texts, "to_numpy"):
        return pa.array(texts.to_numpy(), from_pandas=True)
    return texts


def as_arrow(texts: Texts) -> pa.LargeStringArray:
    """Return `texts` as one `large_string` array without nulls.

    Raises:
        DataError: if `texts` is a single string, or a text holds a lone surrogate, which UTF-8 can't express; the
            message names its position.
    """
    array = _given(texts)
    if not isinstance(array, pa.Array):
        try:
            array = pa.array(array, pa.large_string())
        except UnicodeEncodeError as error:
            listed = enumerate(_given(texts))
            position = next(i for i, text in listed if text is not None and not _encodable(text))
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
    given = _given(texts)
    listed = given.to_pylist() if isinstance(given, pa.Array) else given
    return ["" if text is None else text for text in listed]
