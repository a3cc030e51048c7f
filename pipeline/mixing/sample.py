"""Takes the texts of chosen documents out of a selection's shards."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.pipeline.mixing.index import BATCH_ROWS
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile, intact_note, write_table

__all__ = ["ROWS_SCHEMA", "TakeTask", "take_texts"]

SAMPLE_SCHEMA = pa.schema([pa.field("doc_id", pa.string(), nullable=False), pa.field("text", pa.large_string())])
ROWS_SCHEMA = pa.schema([pa.field("row", pa.int64(), nullable=False)])


@dataclass(frozen=True)
class TakeTask:
    """Rows of one shard.

    Attributes:
        shard: its Parquet file.
        rows: a column file of the rows, rising.
        path: where their texts go.
    """

    shard: str
    rows: str
    path: str


def take_texts(task: TakeTask) -> dict[str, Any]:
    """Write ids and texts of the rows, unless they are there."""
    if intact_note(task.path, []) is not None:
        return {"path": task.path}
    with ColumnFile(task.rows) as file:
        wanted = file.read().column("row").to_numpy()
    found: list[pa.Table] = [SAMPLE_SCHEMA.empty_table()]
    first = at = 0
    with filesystem.open_binary(task.shard) as stream, pq.ParquetFile(stream) as source:
        for batch in source.iter_batches(batch_size=BATCH_ROWS, columns=["doc_id", "text"]):
            begin = at
            while at < len(wanted) and wanted[at] < first + batch.num_rows:
                at += 1
            if at > begin:
                rows = pa.Table.from_batches([batch]).take(pa.array(wanted[begin:at] - first))
                found.append(rows.select(SAMPLE_SCHEMA.names).cast(SAMPLE_SCHEMA))
            first += batch.num_rows
    write_table(task.path, pa.concat_tables(found).combine_chunks())
    return {"path": task.path}
