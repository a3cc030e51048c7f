"""The groups of rows by the values of some columns."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import DataError

__all__ = ["GroupLabel", "Groups", "group_rows"]

GroupLabel: TypeAlias = tuple[str | None, ...]
"""The values of the grouping columns, `()` where there is no grouping."""


class Groups(NamedTuple):
    """The group of each row: row i belongs to `labels[codes[i]]`."""

    codes: npt.NDArray[np.int64]
    labels: Sequence[GroupLabel]

    @classmethod
    def one(cls, rows: int) -> "Groups":
        """Return the only group of so many rows, which has no name."""
        return cls(np.zeros(rows, np.int64), [()])


def group_rows(columns: Sequence[pa.Array | pa.ChunkedArray]) -> Groups:
    """Return the groups of rows by the values of some text columns; a null is a value of its own.

    Raises:
        DataError: if there is no column.
    """
    if not columns:
        msg = "grouping needs at least one column"
        raise DataError(msg)
    codes = np.zeros(len(columns[0]), np.int64)
    labels: list[GroupLabel] = [()]
    for column in columns:
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        encoded = array.cast(pa.large_string()).dictionary_encode(null_encoding="encode")
        names = encoded.dictionary.to_pylist()
        joint = codes * max(len(names), 1) + encoded.indices.to_numpy(zero_copy_only=False)
        found, codes = np.unique(joint, return_inverse=True)
        labels = [(*labels[int(j) // len(names)], names[int(j) % len(names)]) for j in found]
    return Groups(codes.astype(np.int64), labels)
