"""Moves the documents of a selection into the shards of a mixture: out of each source shard, then into each new one.

A shard of the selection is read once and leaves one file, with a piece for each new shard that takes something of it,
and a list of the pieces; a new shard reads its piece of each file and puts the documents in order. So memory is bounded
by one shard, and there are twice as many files as source shards, however many new ones there are. What is there isn't
made again.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
import zstandard

from tamis.pipeline.mixing.index import column_values
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import OPTIONS, ColumnFile, intact_note, writer
from tamis.schemas.errors import DamagedError, InputError
from tamis.schemas.tables import described

__all__ = ["ORDER_SCHEMA", "SendShard", "SendTask", "WriteShard", "WriteTask", "added_columns", "json_lines"]

_PIECES = pa.schema(
    [
        pa.field("part", pa.int64(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("digest", pa.binary(16), nullable=False),
    ]
)
"""Where the pieces of a sent file lie, and the XXH3 digest of each."""

ORDER_SCHEMA = pa.schema(
    [
        pa.field("part", pa.int64(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("stage", pa.int32(), nullable=False),
        pa.field("pass", pa.int32(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
    ]
)
"""What is taken of a shard: by part and position in it, the row, and what is told of it."""
_ROW_GROUP_BYTES = 32 << 20
_ROW_GROUP_ROWS = 122_880
_NO_DICTIONARY = frozenset({"doc_id", "text", "url", "meta", "text_hash"})
_POSITION = "__position"


def added_columns(tokenizer: str | None) -> pa.Schema:
    """Return the columns that a mixture adds to its documents.

    Args:
        tokenizer: name and digest of what counts tokens; None: no tokens are counted.
    """
    fields = [
        described("mixture_group", pa.string(), "the group that the document was taken from", nullable=False),
        described("mixture_stage", pa.int32(), "stage of the schedule, from 0", nullable=False),
        described("mixture_pass", pa.int32(), "how often the document was taken before", nullable=False),
    ]
    if tokenizer is not None:
        about = f"tokens with the end of the document, by {tokenizer}"
        fields.append(described("mixture_tokens", pa.int64(), about, nullable=False))
    return pa.schema(fields)


@dataclass(frozen=True)
class SendTask:
    """A shard of the selection and what is taken of it.

    Attributes:
        number: of the shard.
        shard: its Parquet file.
        order: a column file of `ORDER_SCHEMA`, by part and position.
        folder: where what it gives goes.
    """

    number: int
    shard: str
    order: str
    folder: str


def _sent_files(folder: str, number: int) -> tuple[str, str]:
    """Return the paths of what a source shard gives, and of the list of its pieces, which is written last."""
    return filesystem.join(folder, f"{number:06d}.pieces"), filesystem.join(folder, f"{number:06d}.arrow")


@dataclass(frozen=True)
class SendShard:
    """Sends documents of a shard to parts.

    Attributes:
        schema: of the documents, as the parts have it.
    """

    schema: pa.Schema

    def __call__(self, task: SendTask) -> list[int]:
        """Write the file, unless it is there with all pieces that are wanted; return the parts that take something."""
        with ColumnFile(task.order) as file:
            order = file.read()
        part = order.column("part").to_numpy()
        parts, begins = np.unique(part, return_index=True)
        path, pieces = _sent_files(task.folder, task.number)
        note = intact_note(pieces, [])
        if note is None or not filesystem.exists(path) or not set(parts.tolist()) <= set(note["parts"]):
            source = [name for name in self.schema.names if not name.startswith("mixture_")]
            with filesystem.open_binary(task.shard) as stream:
                table = pq.read_table(stream, columns=source)
            ends = np.append(begins[1:], len(part))
            found = []
            offset = 0
            with filesystem.write_atomically(path) as out:
                for p, begin, end in zip(parts.tolist(), begins.tolist(), ends.tolist(), strict=True):
                    piece = self._piece(table, order.slice(begin, end - begin))
                    out.write(piece)
                    found.append((p, offset, piece.size, xxhash.xxh3_128_digest(piece)))
                    offset += piece.size
            told = zip(zip(*found, strict=True), _PIECES, strict=True)
            columns = [pa.array(column, entry.type) for column, entry in told]
            with writer(pieces, _PIECES) as listed:
                listed.write_batch(pa.RecordBatch.from_arrays(columns, schema=_PIECES))
                listed.note = {"parts": parts.tolist()}
        return [int(p) for p in parts]

    def _piece(self, table: pa.Table, rows: pa.Table) -> pa.Buffer:
        taken = table.take(rows.column("row"))
        added = {
            "mixture_group": rows.column("group"),
            "mixture_stage": rows.column("stage"),
            "mixture_pass": rows.column("pass"),
            "mixture_tokens": rows.column("tokens"),
        }
        columns = [added[name] if name in added else taken.column(name) for name in self.schema.names]
        schema = self.schema.append(pa.field(_POSITION, pa.int64()))
        whole = pa.table([*columns, rows.column("position")], schema=schema).combine_chunks()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema, options=OPTIONS) as out:
            out.write_table(whole)
        return sink.getvalue()


def _piece_of(folder: str, number: int, part: int) -> pa.Table:
    """Return what a source shard gives to a part.

    Raises:
        DamagedError: if a file isn't what was written.
    """
    path, pieces = _sent_files(folder, number)
    with ColumnFile(pieces) as file:
        table = file.read()
    at = int(np.searchsorted(table.column("part").to_numpy(), part))
    _, offset, size, digest = (column[at].as_py() for column in table.columns)
    try:
        with filesystem.open_binary(path, offset) as stream:
            data = stream.read(size)
    except (InputError, OSError) as error:
        raise DamagedError(path, "it is missing") from error
    if xxhash.xxh3_128_digest(data) != digest:
        raise DamagedError(path, "its bytes don't agree with their digest")
    return pa.ipc.open_stream(pa.py_buffer(data)).read_all()


@dataclass(frozen=True)
class WriteTask:
    """A shard of the mixture.

    Attributes:
        part: its number.
        path: relative to the mixture's folder.
        senders: numbers of the source shards that it takes something of.
        rows: documents.
        text_bytes: of their texts.
        groups: whose documents they are.
    """

    part: int
    path: str
    senders: tuple[int, ...]
    rows: int
    text_bytes: int
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class WriteShard:
    """Writes shards of a mixture.

    Attributes:
        root: the mixture's folder.
        folder: where senders left their files.
        schema: of the documents.
        format: parquet or jsonl.
        metadata: goes into Parquet's footer.
    """

    root: str
    folder: str
    schema: pa.Schema
    format: str = "parquet"
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, task: WriteTask) -> dict[str, Any]:
        """Write it, and return what a manifest says of it."""
        tables = [_piece_of(self.folder, number, task.part) for number in task.senders]
        table = pa.concat_tables(tables).sort_by(_POSITION).drop_columns([_POSITION])
        path = filesystem.join(self.root, task.path)
        written = self._parquet(path, table, task) if self.format == "parquet" else self._jsonl(path, table)
        about = {"path": task.path, "fate": "mixed", "sources": sorted(task.groups), "rows": table.num_rows}
        return {**about, "text_bytes": task.text_bytes, **written}

    def _parquet(self, path: str, table: pa.Table, task: WriteTask) -> dict[str, Any]:
        schema = self.schema.with_metadata({k.encode(): v.encode() for k, v in self.metadata.items()})
        group = max(1, min(_ROW_GROUP_ROWS, int(_ROW_GROUP_BYTES / max(1.0, task.text_bytes / max(1, task.rows)))))
        plain = [f.name for f in schema if f.name not in _NO_DICTIONARY and pa.types.is_string(f.type)]
        sink = io.BytesIO()
        with pq.ParquetWriter(
            sink,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=plain,
            write_statistics=[name for name in schema.names if name not in ("text", "meta")],
        ) as out:
            out.write_table(table.replace_schema_metadata(schema.metadata).combine_chunks(), row_group_size=group)
        return _written(path, sink.getbuffer())

    def _jsonl(self, path: str, table: pa.Table) -> dict[str, Any]:
        sink = io.BytesIO()
        packer = zstandard.ZstdCompressor(level=3, write_content_size=False)
        with packer.stream_writer(sink, closefd=False) as out:
            for line in json_lines(table):
                out.write(line)
        return _written(path, sink.getbuffer())


def json_lines(table: pa.Table) -> Iterator[bytes]:
    """Yield documents as JSON: what is missing is left out, `meta` is an object, bytes are hex."""
    for batch in table.to_batches(max_chunksize=1024):
        columns: Sequence[Any] = [_values(batch, name) for name in batch.schema.names]
        for row in zip(*columns, strict=True):
            found = {n: v for n, v in zip(batch.schema.names, row, strict=True) if v is not None}
            yield orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


def _values(batch: pa.RecordBatch, name: str) -> list[Any]:
    values = column_values(batch, name).to_pylist()
    if name == "meta":
        return [None if value is None else orjson.Fragment(value) for value in values]
    return [value.hex() if isinstance(value, bytes) else value for value in values]


def _written(path: str, data: memoryview) -> dict[str, Any]:
    with filesystem.write_atomically(path) as stream:
        stream.write(data)
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
