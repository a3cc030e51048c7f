"""What steps share that tell a document's label and how probable it is, and keep documents by both."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.pipeline.steps.base import Step
from tamis.pipeline.storage.row_state import RowState

__all__ = ["LabelledStep"]


class LabelledStep(Step):
    """Writes the label to the column `<name>`, and its probability to `<name>_score`."""

    if TYPE_CHECKING:  # as an option of this class it would come before those of its steps
        name: str

    @property
    def rule_names(self) -> tuple[str, ...]:
        """Another label, and one that isn't sure."""
        return (self.name, f"{self.name}_score_min")

    @property
    def reads(self) -> tuple[str, ...]:
        """Its own columns."""
        return (self.name, f"{self.name}_score")

    def let_fall(
        self,
        index: int,
        batch: pa.RecordBatch,
        state: RowState,
        least: npt.NDArray[np.float64] | float,
        *,
        keep: Sequence[str] | None = None,
        drop: Sequence[str] = (),
    ) -> None:
        """Let labels that `keep` lacks or `drop` has fall, and unsure ones; a row without a label is in neither.

        Args:
            index: of the step.
            batch: its columns.
            state: of the rows.
            least: probability, of all rows or of each.
            keep: labels; None: all.
            drop: labels.
        """
        score = batch.column(f"{self.name}_score").to_numpy(zero_copy_only=False).astype(np.float64)
        if keep is not None or drop:
            named = pc.is_in(batch.column(self.name), value_set=pa.array(keep or drop, pa.string()))
            found = named.to_numpy(zero_copy_only=False)
            state.fall(index, found if drop else ~found, 0, score)
        state.fall(index, score < least, 1, score, least)
