"""Decides by rules: which row falls, by which rule, with what value. Computes nothing else."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError
from tamis.schemas.rule import Op, Rule

__all__ = ["Columns", "Decision", "decide"]

Columns: TypeAlias = "Mapping[str, Any] | pa.RecordBatch | pa.Table"
"""Columns by name: Arrow batches and tables, or a mapping to Arrow or NumPy arrays or sequences of
numbers."""

_BREAKS: dict[Op, Callable[[Any, float], Any]] = {
    "min": np.less,
    "max": np.greater,
    "above": np.less_equal,
    "below": np.greater_equal,
}


class Decision(NamedTuple):
    """What befell each row.

    Attributes:
        rule: position of the first rule that the row breaks, -1 if it breaks none, int16 (n,).
        value: the row's value in that rule's column, NaN if it breaks none, float64 (n,).
    """

    rule: npt.NDArray[np.int16]
    value: npt.NDArray[np.float64]


def decide(columns: Columns, rules: Sequence[Rule], rows: int | None = None) -> Decision:
    """Apply `rules` in order; the first that a row breaks decides.

    A null or NaN breaks no rule. Values are compared as float64.

    Args:
        columns: the columns that the rules name, all of one length; others are ignored.
        rules: in order of decision.
        rows: the number of rows, needed only when `columns` is a mapping and there are no rules.

    Raises:
        ConfigError: if a rule's column is missing or doesn't hold numbers.
    """
    names = list(columns.schema.names) if isinstance(columns, pa.RecordBatch | pa.Table) else list(columns)
    values: dict[str, npt.NDArray[np.float64]] = {}
    for rule in rules:
        if rule.column not in names:
            msg = f"rule {rule.reason!r}: no column {rule.column!r}{nearest(rule.column, names)}"
            raise ConfigError(msg)
        if rule.column not in values:
            values[rule.column] = _numbers(columns[rule.column], rule)
    length = rows if rows is not None else _length(columns, values)
    fallen = np.full(length, -1, np.int16)
    value = np.full(length, np.nan)
    for position, rule in enumerate(rules):
        column = values[rule.column]
        hit = _BREAKS[rule.op](column, rule.threshold) & (fallen < 0)  # comparisons with NaN are false
        fallen[hit] = position
        value[hit] = column[hit]
    return Decision(fallen, value)


def _length(columns: Columns, values: Mapping[str, npt.NDArray[np.float64]]) -> int:
    if isinstance(columns, pa.RecordBatch | pa.Table):
        return int(columns.num_rows)
    lengths = [len(column) for column in values.values()] or [len(column) for column in columns.values()]
    return lengths[0] if lengths else 0


def _numbers(column: Any, rule: Rule) -> npt.NDArray[np.float64]:
    if isinstance(column, pa.Array | pa.ChunkedArray):
        kind = column.type
        if not (
            pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_boolean(kind)
            or pa.types.is_decimal(kind)
            or pa.types.is_null(kind)
        ):
            msg = f"rule {rule.reason!r}: column {rule.column!r} holds {kind}, and rules compare numbers"
            raise ConfigError(msg)
        if pa.types.is_boolean(kind):
            column = column.cast(pa.int8())
        numbers = column.cast(pa.float64(), safe=False)
        if isinstance(numbers, pa.ChunkedArray):
            return np.asarray(numbers.to_numpy())
        return np.asarray(numbers.to_numpy(zero_copy_only=False))
    array = np.asarray(column)
    if array.dtype.kind not in "biufO":
        msg = f"rule {rule.reason!r}: column {rule.column!r} holds {array.dtype}, and rules compare numbers"
        raise ConfigError(msg)
    try:
        return array.astype(np.float64)  # None becomes NaN
    except (TypeError, ValueError):
        msg = f"rule {rule.reason!r}: column {rule.column!r} doesn't hold numbers, which rules compare"
        raise ConfigError(msg) from None
