"""Reads some columns of a shard with its row states, batch by batch, and writes the states that a decision leaves."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.passes.stage import by_place
from tamis.pipeline.storage.column_file import (
    ColumnFile,
    ColumnWriter,
    aligned,
    intact_note,
    side_by_side,
    writer,
)
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.tables import STATE_SCHEMA

__all__ = ["ColumnReader", "read_columns", "rewrite_states", "row_positions"]

ROW_BITS = 40
"""A row's position is its shard's index and its number in the shard: it tells rows of equal doc_id apart."""


def row_positions(shard: Shard, first: int, rows: int) -> npt.NDArray[np.uint64]:
    """Return the positions in the corpus of consecutive rows of a shard."""
    begin = (shard.index << ROW_BITS) + first
    return np.arange(begin, begin + rows, dtype=np.uint64)


def read_columns(
    shard: Shard,
    names: Sequence[str],
    columns: Mapping[str, Place],
    batches: Sequence[int] | None = None,
    opened: Sequence[Place] = (),
) -> Iterator[pa.RecordBatch]:
    """Yield columns of a shard side by side, from wherever they lie.

    Args:
        shard: which shard.
        names: at least one column.
        columns: column to place.
        batches: which batches; all if absent.
        opened: places that are read anyway.
    """
    with ExitStack() as stack:
        files = [
            stack.enter_context(ColumnFile(place.file(shard), found))
            for place, found in by_place(names, columns, opened).items()
        ]
        yield from aligned(files, batches)


@dataclass(frozen=True)
class ColumnReader:
    """Reads some columns of a shard with its row states.

    Attributes:
        state: place of the row states.
        columns: column to its place.
        names: the columns wanted; `doc_id` comes always.
    """

    state: Place
    columns: Mapping[str, Place]
    names: Sequence[str]

    @classmethod
    def of(cls, state: Place, columns: Mapping[str, Place], names: Sequence[str]) -> "ColumnReader":
        """Return a reader that holds the places of its own columns alone."""
        wanted = tuple(dict.fromkeys(["doc_id", *names]))
        return cls(state, {name: columns[name] for name in wanted}, wanted)

    def read(self, shard: Shard) -> Iterator[tuple[pa.RecordBatch, RowState, npt.NDArray[np.uint64]]]:
        """Yield columns, row states, and the rows' positions in the corpus."""
        first = 0
        with ColumnFile(self.state.file(shard), STATE_SCHEMA.names) as states:
            read = read_columns(shard, self.names, self.columns, opened=(self.state,))
            for batch, state in zip(read, states, strict=True):
                yield batch, RowState.from_batch(state), row_positions(shard, first, batch.num_rows)
                first += batch.num_rows


def rewrite_states(
    reader: ColumnReader,
    shard: Shard,
    place: Place,
    change: Callable[[pa.RecordBatch, RowState, npt.NDArray[np.uint64]], None],
    beside: Callable[[pa.RecordBatch, RowState], pa.RecordBatch] | None = None,
) -> dict[int, int]:
    """Write a shard's row states after `change` has let rows fall, unless they are there.

    What `place` carries comes from the states before, which must carry it too.

    Args:
        reader: of the columns and the row states before.
        shard: which shard.
        place: for the row states.
        change: lets rows fall.
        beside: from columns and changed states to further columns, which go into the same file.

    Returns:
        How many rows fell to which rule of the step, by the rule's index.
    """
    path = place.file(shard)
    note = intact_note(path, [])
    if note is not None:
        return {int(rule): int(number) for rule, number in note["fell"].items()}
    fell: Counter[int] = Counter()
    carried = dict.fromkeys(place.carries, reader.state)
    names = tuple(dict.fromkeys([*reader.names, *carried]))
    reader = replace(reader, columns={**carried, **reader.columns}, names=names)
    with ExitStack() as stack:
        out: ColumnWriter | None = None
        for batch, state, positions in reader.read(shard):
            before = state.mask
            change(batch, state, positions)
            rules, numbers = np.unique(state.rule[before & ~state.mask], return_counts=True)
            fell.update(dict(zip(rules.tolist(), numbers.tolist(), strict=True)))
            parts = [state.to_batch(), batch.select(list(carried))] + ([beside(batch, state)] if beside else [])
            whole = side_by_side(parts)
            out = out or stack.enter_context(writer(path, whole.schema))
            out.write_batch(whole)
        out = out or stack.enter_context(writer(path, STATE_SCHEMA))
        out.note = {"fell": fell}
    return dict(fell)
