"""The fate of each row of a batch: alive, or fallen at a step, by a rule, with a value against a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.tables import STATE_SCHEMA

__all__ = ["ALIVE", "FAILED", "RowState"]

ALIVE = -1
FAILED = -2
"""The value of `rule` for rows that became an error record at the step."""


@dataclass
class RowState:
    """Arrays of one batch's rows; `fall` is the only change that a row can undergo, and it happens once."""

    step: npt.NDArray[np.int16]
    rule: npt.NDArray[np.int16]
    value: npt.NDArray[np.float64]
    threshold: npt.NDArray[np.float64]

    @classmethod
    def alive(cls, rows: int) -> "RowState":
        """Return the state of `rows` rows that have passed everything so far."""
        return cls(
            np.full(rows, ALIVE, np.int16),
            np.full(rows, ALIVE, np.int16),
            np.full(rows, np.nan),
            np.full(rows, np.nan),
        )

    @classmethod
    def from_batch(cls, batch: pa.RecordBatch) -> "RowState":
        """Read the state columns of a batch."""
        return cls(
            batch.column("step").to_numpy(zero_copy_only=False).astype(np.int16),
            batch.column("rule").to_numpy(zero_copy_only=False).astype(np.int16),
            batch.column("value").to_numpy(zero_copy_only=False).astype(np.float64),
            batch.column("threshold").to_numpy(zero_copy_only=False).astype(np.float64),
        )

    @classmethod
    def joined(cls, states: "Sequence[RowState]") -> "RowState":
        """Return the states of rows one after another."""
        return cls(
            np.concatenate([state.step for state in states]),
            np.concatenate([state.rule for state in states]),
            np.concatenate([state.value for state in states]),
            np.concatenate([state.threshold for state in states]),
        )

    def to_batch(self) -> pa.RecordBatch:
        """Return the state as a batch of `STATE_SCHEMA`; NaN becomes null."""
        return pa.RecordBatch.from_arrays(
            [
                pa.array(self.step),
                pa.array(self.rule),
                pa.array(self.value, mask=np.isnan(self.value)),
                pa.array(self.threshold, mask=np.isnan(self.threshold)),
            ],
            schema=STATE_SCHEMA,
        )

    def copy(self) -> "RowState":
        """Return an independent copy."""
        return RowState(self.step.copy(), self.rule.copy(), self.value.copy(), self.threshold.copy())

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """True where a row is alive."""
        alive: npt.NDArray[np.bool_] = self.step == ALIVE
        return alive

    def fall(
        self,
        step: int,
        rows: npt.NDArray[np.bool_],
        rule: "int | npt.NDArray[np.int16]",
        value: "float | npt.NDArray[np.float64]" = np.nan,
        threshold: "float | npt.NDArray[np.float64]" = np.nan,
    ) -> None:
        """Let the rows of a mask fall at `step`, where they are still alive; arrays are row-aligned."""
        falling = rows & self.mask
        for column, given in ((self.rule, rule), (self.value, value), (self.threshold, threshold)):
            column[falling] = given[falling] if isinstance(given, np.ndarray) else given
        self.step[falling] = step
