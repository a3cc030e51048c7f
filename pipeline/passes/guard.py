"""Isolates records that a stage can't process: one bad row costs one row, never its batch."""

from collections.abc import Callable

import pyarrow as pa

from tamis.schemas.errors import TamisError

__all__ = ["Failure", "guarded"]

Failure = tuple[int, str, str]
"""Row in the batch, class of the error, its text."""


def guarded(
    function: Callable[[pa.RecordBatch], pa.RecordBatch], batch: pa.RecordBatch, schema: pa.Schema
) -> tuple[pa.RecordBatch, list[Failure]]:
    """Apply `function` to a batch; where it raises, to its halves, down to the rows that are to blame.

    Args:
        function: returns one row a row, with the columns of `schema`.
        batch: the rows.
        schema: of the result; rows that failed are null in it.

    Returns:
        The result, row-aligned with `batch`, and the failures in row order.

    Raises:
        TamisError: an error raised on purpose concerns the run, not a row, and passes through.
    """
    if batch.num_rows == 0:
        return function(batch), []
    failures: list[Failure] = []
    pieces: list[pa.RecordBatch] = []
    # A list of what is to be done, the next last: a function that calls itself would be a cycle that holds the batch,
    # megabytes of text, until the garbage collector comes by.
    waiting = [(0, batch.num_rows)]
    while waiting:
        start, rows = waiting.pop()
        try:
            pieces.append(function(batch.slice(start, rows)))
        except (TamisError, MemoryError, KeyboardInterrupt, OSError):
            raise
        except Exception as error:  # noqa: BLE001  (whatever a record provokes becomes that record's error)
            if rows == 1:
                failures.append((start, type(error).__name__, str(error)[:500]))
                nulls = [pa.nulls(1, field.type) for field in schema]
                pieces.append(pa.RecordBatch.from_arrays(nulls, schema=schema))
            else:
                half = rows // 2
                waiting += [(start + half, rows - half), (start, half)]
    if len(pieces) == 1:
        return pieces[0], failures
    return pa.Table.from_batches(pieces, schema).combine_chunks().to_batches()[0], failures
