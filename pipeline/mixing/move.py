"""Moves the documents of a selection into the shards of a mixture: out of each source shard, then into each new one.

A shard of the selection is read once and leaves a file for each new shard that takes something of it; a new shard reads
its files and puts the documents in order. So memory is bounded by one shard, and what a reader must open by the number
of source shards. Files are named by digests, and what is there isn't made again.
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
import zstandard

from tamis.pipeline.mixing.index import column_values
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile, intact_note, write_batches
from tamis.schemas.tables import described

__all__ = ["ORDER_SCHEMA", "SendShard", "SendTask", "WriteShard", "WriteTask", "added_columns", "json_lines"]

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
        folder: where a file for each part goes.
    """

    number: int
    shard: str
    order: str
    folder: str

    def sent(self, part: int) -> str:
        """Return the path of what goes to a part."""
        return sent_file(self.folder, part, self.number)


def sent_file(folder: str, part: int, number: int) -> str:
    """Return the path of what a source shard gives to a part."""
    return filesystem.join(folder, f"{part:06d}", f"{number:06d}.arrow")


@dataclass(frozen=True)
class SendShard:
    """Sends documents of a shard to parts.

    Attributes:
        schema: of the documents, as the parts have it.
    """

    schema: pa.Schema

    def __call__(self, task: SendTask) -> list[int]:
        """Write the files that aren't there; return the parts that take something."""
        with ColumnFile(task.order) as file:
            order = file.read()
        part = order.column("part").to_numpy()
        parts, begins = np.unique(part, return_index=True)
        missing = [int(p) for p in parts if intact_note(task.sent(int(p)), []) is None]
        if missing:
            source = [name for name in self.schema.names if not name.startswith("mixture_")]
            with filesystem.open_binary(task.shard) as stream:
                table = pq.read_table(stream, columns=source)
            ends = np.append(begins[1:], len(part))
            for p, begin, end in zip(parts.tolist(), begins.tolist(), ends.tolist(), strict=True):
                if p in missing:
                    rows = order.slice(begin, end - begin)
                    self._send(task.sent(p), table, rows)
        return [int(p) for p in parts]

    def _send(self, path: str, table: pa.Table, rows: pa.Table) -> None:
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
        write_batches(path, schema, whole.to_batches())


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
        tables = []
        for number in task.senders:
            with ColumnFile(sent_file(self.folder, task.part, number)) as file:
                tables.append(file.read())
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
