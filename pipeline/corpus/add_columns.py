"""Columns that a step adds to a shard without letting a document fall."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tamis.pipeline.graph.passes import Done
from tamis.pipeline.passes.shard_reader import ColumnReader, rewrite_states
from tamis.pipeline.storage.column_file import intact_note, writer
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.row_state import RowState

__all__ = ["AddColumns"]


@dataclass(frozen=True)
class AddColumns:
    """Writes columns of a shard; the row states stay as they are.

    Attributes:
        reader: of what the columns are computed from, and of the row states before.
        schema: of the columns.
        place: of the columns.
        state: of the row states.
        note: kept with the columns.
    """

    reader: ColumnReader
    schema: pa.Schema
    place: Place
    state: Place
    note: Mapping[str, Any]

    def finished(self, shard: Shard) -> bool:
        """Return whether all is there."""
        return all(intact_note(place.file(shard), []) is not None for place in (self.place, self.state))

    def __call__(self, shard: Shard, compute: Callable[[pa.RecordBatch, RowState], Sequence[pa.Array]]) -> Done:
        """Write what `compute` returns of each batch and its row states."""
        with writer(self.place.file(shard), self.schema) as out:
            for batch, state, _ in self.reader.read(shard):
                out.write_batch(pa.RecordBatch.from_arrays(list(compute(batch, state)), schema=self.schema))
            out.note = self.note
        rewrite_states(self.reader, shard, self.state, _unchanged)
        return Done()


def _unchanged(*_: object) -> None:
    """Let no row fall."""
