"""Embeddings as a column of fixed-size lists, and as a matrix."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import DataError

__all__ = ["Vectors", "as_column", "as_matrix", "embedding_field", "unit_rows", "usable_vectors"]

Vectors: TypeAlias = "npt.NDArray[np.float32] | npt.NDArray[np.float64] | pa.Array | pa.ChunkedArray"
"""A matrix with a row a document, or a column of fixed-size lists; a null counts as a vector of zeros."""


def embedding_field(dimensions: int, name: str = "embedding") -> pa.Field:
    """Return the field of an embedding column: `fixed_size_list<float32>[dimensions]`, never null."""
    return pa.field(name, pa.list_(pa.field("item", pa.float32(), nullable=False), dimensions), nullable=False)


def as_column(matrix: npt.NDArray[np.float32]) -> pa.FixedSizeListArray:
    """Return a float32 matrix (documents, dimensions) as a column, without a copy of the values."""
    values = pa.array(np.ascontiguousarray(matrix, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, type=embedding_field(matrix.shape[1]).type)


def as_matrix(vectors: Vectors) -> npt.NDArray[Any]:
    """Return embeddings as a matrix, float32 or float64 (documents, dimensions), without a copy where Arrow allows it.

    Raises:
        DataError: if they are no matrix of numbers, or a number isn't finite; the message names the row.
    """
    matrix: npt.NDArray[Any]
    if isinstance(vectors, pa.ChunkedArray):
        vectors = vectors.combine_chunks()
    if isinstance(vectors, pa.Array):
        if not pa.types.is_fixed_size_list(vectors.type):
            msg = f"embeddings must be a column of fixed-size lists, not of {vectors.type}"
            raise DataError(msg)
        size, rows = vectors.type.list_size, len(vectors)
        values = vectors.values[vectors.offset * size : (vectors.offset + rows) * size]
        matrix = values.to_numpy(zero_copy_only=values.null_count == 0).reshape(rows, size)
        if vectors.null_count:
            matrix = np.where(np.asarray(vectors.is_valid())[:, None], matrix, 0)
    else:
        matrix = np.asarray(vectors)
    if matrix.ndim != 2 or matrix.shape[1] == 0 or matrix.dtype.kind not in "fiu":
        msg = f"embeddings must be a matrix of numbers with a row a document, not {matrix.dtype}{list(matrix.shape)}"
        raise DataError(msg)
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float32 if matrix.dtype == np.float16 else np.float64)
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(bad):
        msg = f"the embedding of row {bad[0]} holds a number that isn't finite (NaN or infinite): embed it again"
        raise DataError(msg)
    return np.ascontiguousarray(matrix)


def unit_rows(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the rows divided by their lengths, in float64 inside; a row of zeros stays one.

    Rows are first divided by their largest number, so that none is lost to underflow or overflow of its square.
    """
    wide = matrix.astype(np.float64)
    largest = np.abs(wide).max(axis=1, keepdims=True, initial=0.0)
    np.divide(wide, largest, out=wide, where=largest > 0)
    # Column by column: the order of a sum that NumPy vectorises depends on the machine.
    squares = np.zeros(len(wide))
    for column in wide.T:
        squares += column * column
    lengths = np.sqrt(squares)[:, None]
    np.divide(wide, lengths, out=wide, where=lengths > 0)
    return wide.astype(matrix.dtype)


def usable_vectors(column: pa.Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]:
    """Return which rows of a column of fixed-size lists have a vector of finite numbers, and all vectors.

    Returns:
        bool (rows,), and a matrix (rows, dimensions) in which the vectors of the other rows are zeros.
    """
    size, rows = column.type.list_size, len(column)
    values = column.values[column.offset * size : (column.offset + rows) * size]
    matrix = values.to_numpy(zero_copy_only=False).reshape(rows, size)
    good = np.asarray(column.is_valid()) & np.isfinite(matrix).all(axis=1)
    return good, np.where(good[:, None], matrix, 0).astype(matrix.dtype)
