"""How often lines are seen in a mixture: boilerplate repeats below the document.

Lines are those of `paragraph_dedup`: equal if their folded words are, blank ones aside. Of a large selection only the
lines are counted whose hash falls into a fixed part of all: of these every copy is counted, so that the shares are
estimates without bias, and the same for any sharding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.storage.column_file import ColumnFile
from tamis.scorers.dedup.paragraphs import RepeatedParagraphs
from tamis.scorers.text.texts import Texts

__all__ = ["LINES_SCHEMA", "LineCounts", "count_lines", "lines_file", "lines_of", "sampled_bits"]

LINES_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("key", pa.uint64(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
    ]
)
"""The lines of a shard's documents: row, hash, and how often the document has it."""
_LINE_BYTES, _MOST_LINES = 40, 2_000_000
_MIX = np.uint64(0x9E3779B97F4A7C15)


class LineCounts(NamedTuple):
    """Lines of a mixture.

    Attributes:
        seen: lines in all, repeats included; of the part that is counted.
        unique: different ones.
        heavy_seen: of these, those whose line is seen often enough.
        heavy_unique: different ones of these.
    """

    seen: int
    unique: int
    heavy_seen: int
    heavy_unique: int


def sampled_bits(text_bytes: int) -> int:
    """Return b: of a selection of so many bytes of text one line in 2^b is counted."""
    return max(0, (text_bytes // (_LINE_BYTES * _MOST_LINES)).bit_length())


def lines_file(path: str) -> str:
    """Return the path of a shard's lines beside its index."""
    return f"{path.removesuffix('.arrow')}-lines.arrow"


def lines_of(texts: Texts, first: int, bits: int) -> pa.RecordBatch:
    """Return the lines of some documents, by `LINES_SCHEMA`.

    Args:
        texts: of the documents.
        first: row of the first.
        bits: see `sampled_bits`.
    """
    units = RepeatedParagraphs(unit="lines").units(texts)
    counted = units.keys != 0
    if bits:
        counted &= (units.keys * _MIX) >> np.uint64(64 - bits) == 0
    pairs = np.column_stack([units.texts[counted].astype(np.uint64), units.keys[counted]])
    found, counts = np.unique(pairs, axis=0, return_counts=True) if len(pairs) else (pairs, np.zeros(0, np.int64))
    columns = [found[:, 0].astype(np.int64) + first, np.ascontiguousarray(found[:, 1]), counts]
    arrays = [pa.array(column, entry.type) for column, entry in zip(columns, LINES_SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=LINES_SCHEMA)


def count_lines(paths: Sequence[str], times: Sequence[npt.NDArray[np.int64]], least: int) -> LineCounts:
    """Count a mixture's lines.

    Args:
        paths: of each shard's lines.
        times: how often each of the shard's documents is taken.
        least: a line is seen often if it is in so many documents, each counted as often as it is taken.
    """
    whole = np.zeros((0, 3), np.uint64)
    waiting: list[npt.NDArray[np.uint64]] = []
    for path, taken in zip(paths, times, strict=True):
        with ColumnFile(path) as file:
            table = file.read()
        row, key, count = (column.to_numpy() for column in table.columns)
        often = taken[row].astype(np.uint64)
        rows = np.column_stack([key, often, often * count.astype(np.uint64)])[often > 0]
        waiting.append(_added(rows))
        if sum(map(len, waiting)) > len(whole):  # so that adding up costs as much as reading
            whole, waiting = _added(np.concatenate([whole, *waiting])), []
    whole = _added(np.concatenate([whole, *waiting]))
    heavy = whole[:, 1] >= least
    seen = whole[:, 2].astype(np.int64)
    return LineCounts(int(seen.sum()), len(whole), int(seen[heavy].sum()), int(heavy.sum()))


def _added(rows: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return a row for each key with the sums of the other columns."""
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    if not len(rows):
        return rows
    starts = np.flatnonzero(np.concatenate([[True], rows[1:, 0] != rows[:-1, 0]]))
    sums: npt.NDArray[np.uint64] = np.add.reduceat(rows, starts, axis=0)
    sums[:, 0] = rows[starts, 0]
    return sums
