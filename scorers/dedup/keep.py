"""Which document of a group of duplicates stays, as words that sort: the least is the best.

A rank ends with the document's id, so that no two documents are alike and nothing depends on order or sharding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.selection.order_statistics import float_to_ordered
from tamis.scorers.text.noise import DocumentIds, id_words
from tamis.scorers.text.texts import as_buffer

__all__ = ["Keep", "KeepBy"]

KeepBy: TypeAlias = Literal["id", "longest", "newest", "oldest", "highest", "lowest", "priority"]

_TEXT_WORDS = 4
_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True)
class Keep:
    """A policy of what stays.

    Attributes:
        by: `id` (the smallest id), `longest` (by the lengths given), `newest` and `oldest` (largest and smallest
            value of a column of times, numbers or sortable text such as ISO dates or names of crawls), `highest` and
            `lowest` (the same, for columns of numbers), `priority` (the first of `priorities` that a text column
            equals).
        priorities: values in order of preference, for `priority`; others come after them.
    """

    by: KeepBy = "id"
    priorities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.by not in get_args(KeepBy):
            msg = f"keep is one of {', '.join(get_args(KeepBy))}, not {self.by!r}"
            raise ConfigError(msg)
        if (self.by == "priority") != bool(self.priorities):
            msg = "keep by priority needs a list of values, and no other way of keeping takes one"
            raise ConfigError(msg)

    def ranks(
        self, ids: DocumentIds, column: "Sequence[Any] | pa.Array | pa.ChunkedArray | npt.NDArray[Any] | None" = None
    ) -> npt.NDArray[np.uint64]:
        """Return each document's rank, uint64 (n, words): compared from the left, the least stays.

        Args:
            ids: 128-bit document ids.
            column: what the policy looks at (the lengths for `longest`); nothing for `id`. Missing values and NaN come
                last, whatever the direction.

        Raises:
            DataError: if the column is absent, or of a type without an order.
        """
        names = id_words(ids)
        if self.by == "id":
            return names
        if column is None:
            msg = f"keep by {self.by} needs a column"
            raise DataError(msg)
        array = pa.array(column) if not isinstance(column, pa.Array | pa.ChunkedArray) else column
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        if len(array) != len(names):
            msg = f"{len(names)} documents came with a column of {len(array)} values"
            raise DataError(msg)
        words, missing = self._values(array)
        if self.by in ("longest", "newest", "highest"):
            words = ~words
        words[missing] = ~np.uint64(0)
        return np.concatenate([missing[:, None].astype(np.uint64), words, names], axis=1)

    def _values(self, array: pa.Array) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
        """Return ascending words of the values, and where there is none."""
        kind = array.type
        missing = np.array(array.is_null())
        if pa.types.is_null(kind):
            return np.zeros((len(array), 1), np.uint64), missing
        if self.by == "priority":
            wanted = pa.array(self.priorities, pa.large_string())
            places = pc.index_in(array.cast(pa.large_string()), value_set=wanted).fill_null(len(wanted))
            return places.to_numpy(zero_copy_only=False).astype(np.uint64)[:, None], np.zeros(len(array), np.bool_)
        if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
            if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
                kind = pa.timestamp("us")
                array = array.cast(kind, safe=False)
            array = array.cast(pa.int64() if kind.bit_width == 64 else pa.int32())
            kind = array.type
        if pa.types.is_unsigned_integer(kind) or pa.types.is_boolean(kind):
            numbers = array.cast(pa.uint64()).fill_null(0).to_numpy(zero_copy_only=False)
            return numbers.astype(np.uint64)[:, None], missing
        if pa.types.is_signed_integer(kind):
            numbers = array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
            return (np.array(numbers, np.int64).view(np.uint64) ^ _SIGN)[:, None], missing
        if pa.types.is_floating(kind):
            values = np.array(array.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False))
            missing = np.isnan(values)
            values[missing] = 0.0
            return float_to_ordered(values)[:, None], missing
        if (pa.types.is_string(kind) or pa.types.is_large_string(kind)) and self.by in ("newest", "oldest"):
            return _text_words(array), missing
        msg = f"keep by {self.by} can't order a column of type {array.type}; name one of numbers or times"
        raise DataError(msg)


def _text_words(array: pa.Array) -> npt.NDArray[np.uint64]:
    """Return the first 32 bytes of each text as words that sort as the bytes do."""
    data, offsets = as_buffer(array)
    width = 8 * _TEXT_WORDS
    places = offsets[:-1, None] + np.arange(width)
    inside = places < offsets[1:, None]
    padded = np.zeros((len(array), width), np.uint8)
    padded[inside] = data[places[inside]]
    return padded.view(">u8").astype(np.uint64)
