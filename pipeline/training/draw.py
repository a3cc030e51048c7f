"""Draws the documents that models are measured on: an index of ids and domains, and the chosen rows with their text.

The pool is read twice, since which domains are frequent is known only at its end; only what is drawn is stored.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.formats.reader import read_split
from tamis.pipeline.formats.records import ReadBatch
from tamis.pipeline.passes.inputs import SourceShard
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile, write_batches, write_table
from tamis.schemas.tables import DOCUMENT_SCHEMA, described
from tamis.scorers.text.texts import as_buffer
from tamis.scorers.urls.lists import host_of

__all__ = [
    "ROWS_SCHEMA",
    "SAMPLE_SCHEMA",
    "DrawTask",
    "DrawnShard",
    "IndexTask",
    "draw_documents",
    "index_documents",
]

DOMAIN = described("domain", pa.string(), "host of the address, or the source where there is none", nullable=False)
INDEX_SCHEMA = pa.schema(
    [
        DOCUMENT_SCHEMA.field("doc_id"),
        DOMAIN,
        described("row", pa.int64(), "position among the documents of the source shard", nullable=False),
    ]
)
"""One row a document; records without a text are none."""
ROWS_SCHEMA = pa.schema([INDEX_SCHEMA.field("row")])
"""The rows of a source shard that were drawn, rising."""
SAMPLE_SCHEMA = pa.schema([*(DOCUMENT_SCHEMA.field(name) for name in ("doc_id", "url", "source", "text")), DOMAIN])
"""The documents drawn."""
_ERRORS = b"unreadable records"


@dataclass(frozen=True)
class IndexTask:
    """A source shard, and the file for the ids and domains of its documents."""

    shard: SourceShard
    path: str

    def __str__(self) -> str:
        return str(self.shard)

    @staticmethod
    def errors(schema: pa.Schema) -> int:
        """Return how many records couldn't be read, by the schema of the file."""
        return int((schema.metadata or {}).get(_ERRORS, b"0"))


@dataclass(frozen=True)
class DrawnShard:
    """A file of drawn documents.

    Attributes:
        name: the file.
        documents: their number.
        bytes: of their texts.
        digest: SHA-256 of ids and texts: equal content has an equal name whatever it was drawn from.
    """

    name: str
    documents: int
    bytes: int
    digest: str

    def inside(self, folder: str) -> "DrawnShard":
        """Return the shard with its file named from outside the folder."""
        return replace(self, name=filesystem.join(folder, self.name))


@dataclass(frozen=True)
class DrawTask:
    """A source shard, the file with the rows to draw, and the files for them.

    Attributes:
        shard: where the documents are.
        rows: a file of `ROWS_SCHEMA`.
        folder: where sample shards go.
        shard_bytes: text of a sample shard, about.
    """

    shard: SourceShard
    rows: str
    folder: str
    shard_bytes: int

    def __str__(self) -> str:
        return str(self.shard)


def index_documents(task: IndexTask) -> None:
    """Write ids and domains of a source shard's documents, and in the schema how many records couldn't be read."""
    batches = []
    row = errors = 0
    for read in _read(task.shard):
        errors += read.errors.num_rows
        batch = read.documents
        rows = pa.array(np.arange(row, row + batch.num_rows))
        arrays = [batch.column("doc_id"), _domains(batch), rows]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=INDEX_SCHEMA))
        row += batch.num_rows
    schema = INDEX_SCHEMA.with_metadata({_ERRORS: str(errors).encode()})
    write_batches(task.path, schema, [batch.replace_schema_metadata(schema.metadata) for batch in batches])


def _read(shard: SourceShard) -> Iterator[ReadBatch]:
    """Yield what a source shard holds, file after file."""
    for split in shard.splits:
        yield from read_split(split, shard.source, shard.options)


def _domains(batch: pa.RecordBatch) -> pa.Array:
    pairs = zip(batch.column("url").to_pylist(), batch.column("source").to_pylist(), strict=True)
    return pa.array([host_of(url) or source for url, source in pairs], pa.string())


def draw_documents(task: DrawTask) -> list[dict[str, Any]]:
    """Write the drawn documents of a source shard as sample shards.

    Returns:
        The fields of a `DrawnShard` for each.
    """
    with ColumnFile(task.rows) as file:
        rows = file.read().column("row").to_numpy()
    shards: list[dict[str, Any]] = []
    for table in _cut(_drawn(task.shard, rows), task.shard_bytes):
        name = f"{task.shard.index:06d}-{len(shards):06d}.arrow"
        write_table(filesystem.join(task.folder, name), table)
        texts = as_buffer(table.column("text"))
        ids = as_buffer(table.column("doc_id"))
        total = hashlib.sha256(ids.data[ids.offsets[0] : ids.offsets[-1]].tobytes())
        total.update(np.diff(texts.offsets).tobytes())
        total.update(texts.data[texts.offsets[0] : texts.offsets[-1]].tobytes())
        size = int(texts.offsets[-1] - texts.offsets[0])
        shards.append(asdict(DrawnShard(name, table.num_rows, size, total.hexdigest())))
    return shards


def _drawn(shard: SourceShard, rows: npt.NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    """Yield the documents at these rising positions."""
    begin = 0
    for read in _read(shard):
        batch = read.documents
        first, last = np.searchsorted(rows, [begin, begin + batch.num_rows])
        if last > first:
            chosen = batch.take(pa.array(rows[first:last] - begin))
            domains = _domains(chosen)
            columns = [domains if name == "domain" else chosen.column(name) for name in SAMPLE_SCHEMA.names]
            yield pa.RecordBatch.from_arrays(columns, schema=SAMPLE_SCHEMA)
        begin += batch.num_rows
        if last == len(rows):
            return


def _cut(batches: Iterator[pa.RecordBatch], shard_bytes: int) -> Iterator[pa.Table]:
    """Join and cut batches to tables whose text just reaches `shard_bytes`; the last one may have less."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        sizes = np.diff(as_buffer(batch.column("text")).offsets).tolist()
        first = 0
        for row, bytes_ in enumerate(sizes, start=1):
            size += bytes_
            if size >= shard_bytes:
                yield _joined([*held, batch.slice(first, row - first)])
                held, size, first = [], 0, row
        if first < batch.num_rows:
            held.append(batch.slice(first))
    if held:
        yield _joined(held)


def _joined(batches: list[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(batches, SAMPLE_SCHEMA).combine_chunks()
