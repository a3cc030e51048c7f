"""What a mixture must know of each selected document, without its text: a column file for each shard of a selection."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tamis.pipeline.mixing.lines import LINES_SCHEMA, lines_file, lines_of
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import intact_note, writer
from tamis.schemas.errors import DataError
from tamis.scorers.mixture.document_tokenizer import DocumentTokenizer
from tamis.scorers.text.noise import id_words

__all__ = ["BATCH_ROWS", "IndexShard", "IndexTask", "column_values"]

INDEX_SCHEMA = pa.schema(
    [
        pa.field("high", pa.uint64(), nullable=False),
        pa.field("low", pa.uint64(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("text_bytes", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("quality", pa.float64(), nullable=False),
        pa.field("cluster", pa.string()),
    ]
)
BATCH_ROWS = 4096


@dataclass(frozen=True)
class IndexTask:
    """One shard of a selection.

    Attributes:
        shard: its Parquet file.
        path: where the column file goes.
    """

    shard: str
    path: str


@dataclass(frozen=True)
class IndexShard:
    """Indexes shards.

    Attributes:
        by: the column of groups; `meta.key` reaches into `meta`.
        quality: the column of quality, or None.
        cluster: the column of duplicate clusters, or None.
        tokenizer: counts tokens; None: they are 0.
        bits: one line in 2^bits is counted.
    """

    by: str
    quality: str | None = None
    cluster: str | None = None
    tokenizer: DocumentTokenizer | None = None
    bits: int = 0

    def __call__(self, task: IndexTask) -> dict[str, Any]:
        """Write the shard's column file and its lines, unless they are there; return the path.

        Raises:
            DataError: if a value can't name a group, or quality isn't a number.
        """
        if intact_note(task.path, []) is not None:
            return {"path": task.path, "reused": True}
        roots = {name.split(".")[0] for name in (self.by, self.quality, self.cluster) if name is not None}
        with filesystem.open_binary(task.shard) as stream, pq.ParquetFile(stream) as file:
            names = sorted({"doc_id", "text", *roots})
            # The lines are entered last, so left first: where the index is, they are too.
            with (
                writer(task.path, INDEX_SCHEMA) as out,
                writer(lines_file(task.path), LINES_SCHEMA) as lines,
            ):
                out.note = {"rows": file.metadata.num_rows}
                first = 0
                for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=names):
                    out.write_batch(self._indexed(batch, task.shard))
                    lines.write_batch(lines_of(batch.column("text"), first, self.bits))
                    first += batch.num_rows
        return {"path": task.path, "reused": False}

    def _indexed(self, batch: pa.RecordBatch, shard: str) -> pa.RecordBatch:
        text = batch.column("text")
        words = id_words(batch.column("doc_id"))
        tokens = np.zeros(len(text), np.int64) if self.tokenizer is None else self.tokenizer.counts(text)
        quality = np.full(len(text), np.nan)
        if self.quality is not None:
            column = column_values(batch, self.quality)
            try:
                quality = pc.cast(column, pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                msg = f"{shard}: column {self.quality!r} isn't a number everywhere, and quality is ordered by numbers"
                raise DataError(msg) from error
        clusters = pa.nulls(len(text), pa.string())
        if self.cluster is not None:
            clusters = _named(column_values(batch, self.cluster), self.cluster, shard)
        arrays = [
            pa.array(words[:, 0]),
            pa.array(words[:, 1]),
            _named(column_values(batch, self.by), self.by, shard),
            pc.cast(pc.binary_length(text), pa.int64()),
            pa.array(tokens),
            pa.array(quality),
            clusters,
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=INDEX_SCHEMA)


def column_values(batch: pa.RecordBatch, name: str) -> pa.Array:
    """Return a column, or the values of a key of the JSON column that a dotted name begins with."""
    if name in batch.schema.names:
        return batch.column(name)
    root, _, key = name.partition(".")
    found = []
    for text in batch.column(root).to_pylist():
        value: Any = orjson.loads(text) if text else None
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        found.append(value)
    try:
        return pa.array(found)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # of several types
        return pa.array([value if value is None else _plain(value) for value in found], pa.string())


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _named(column: pa.Array, name: str, shard: str) -> pa.Array:
    """Return values as names."""
    if pa.types.is_string(column.type) or pa.types.is_null(column.type):
        return column.cast(pa.string())
    if pa.types.is_binary(column.type) or pa.types.is_fixed_size_binary(column.type):
        return pa.array([None if value is None else value.hex() for value in column.to_pylist()], pa.string())
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        msg = f"{shard}: column {name!r} holds {column.type}, which can't name groups"
        raise DataError(msg) from error
