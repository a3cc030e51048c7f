"""Exports shards of documents into forms that trainers read: token files, JSONL, Parquet for `datasets`."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from tamis.pipeline.mixing.move import json_lines
from tamis.pipeline.storage import filesystem
from tamis.scorers.mixture.document_tokenizer import DocumentTokenizer
from tamis.scorers.mixture.megatron_files import write_megatron
from tamis.scorers.mixture.olmo_files import OlmoDocument, write_olmo

__all__ = ["ExportShard", "ExportTask", "Exported", "Format", "shard_documents"]

Format = Literal["megatron", "olmo", "jsonl", "parquet", "hf"]
BATCH_ROWS = 512
_JSONL = (".jsonl", ".jsonl.zst")


class Exported(NamedTuple):
    """A document of a shard.

    Attributes:
        doc_id: its id.
        group: the mixture's group, or its source.
        text: its text.
    """

    doc_id: str
    group: str
    text: str


@dataclass(frozen=True)
class ExportTask:
    """One shard.

    Attributes:
        shard: its file, Parquet or JSONL.
        sha256: of the file.
        out: path of what is written, without an ending; local for token files.
    """

    shard: str
    sha256: str
    out: str


@dataclass(frozen=True)
class ExportShard:
    """Exports shards.

    Attributes:
        format: see `Format`.
        tokenizer: for token files.
        max_tokens: of an OLMo file.
    """

    format: Format
    tokenizer: DocumentTokenizer | None = None
    max_tokens: int = 1 << 30

    def __call__(self, task: ExportTask) -> dict[str, Any]:
        """Write one shard's files; return their names and digests, and what was counted.

        Raises:
            DataError: if a document can't be written as tokens.
        """
        if self.format in ("megatron", "olmo"):
            return {"task": task.out, **self._tokens(task)}
        with filesystem.open_binary(task.shard) as stream:
            if task.shard.endswith(_JSONL):
                data = stream.read()  # as it is
                rows = sum(1 for _ in shard_documents(task.shard))
            else:
                table = pq.read_table(stream)
                rows = table.num_rows
                data = _jsonl(table) if self.format == "jsonl" else _parquet(table, plain=self.format == "hf")
        path = task.out + (".jsonl.zst" if self.format == "jsonl" else ".parquet")
        with filesystem.write_atomically(path) as stream:
            stream.write(data)
        name = path.rsplit("/", 1)[-1]
        return {
            "task": task.out,
            "documents": rows,
            "bytes": len(data),
            "files": {name: hashlib.sha256(data).hexdigest()},
        }

    def _tokens(self, task: ExportTask) -> dict[str, Any]:
        tokenizer = self.tokenizer
        if tokenizer is None:
            msg = "token files need a tokenizer"
            raise ValueError(msg)
        out = Path(filesystem.local_path(task.out))
        out.parent.mkdir(parents=True, exist_ok=True)
        sizes = {"vocabulary": tokenizer.vocabulary, "end": tokenizer.end}
        rows = self._tokenised(task, tokenizer)
        if not any(document.text for document in shard_documents(task.shard)):
            return {"documents": 0, "tokens": 0, "ends_added": 0, "ends_found": 0, "empty": 0, "files": {}}
        if self.format == "megatron":
            summary = write_megatron(out, ((document.doc_id, tokens) for document, tokens in rows), **sizes)
        else:
            documents = (OlmoDocument(document.doc_id, document.group, tokens) for document, tokens in rows)
            summary = write_olmo(out.parent, documents, max_tokens=self.max_tokens, name=out.name, **sizes)
        return asdict(summary)

    @staticmethod
    def _tokenised(task: ExportTask, tokenizer: DocumentTokenizer) -> Iterator[tuple[Exported, Any]]:
        waiting: list[Exported] = []
        for document in shard_documents(task.shard):
            waiting.append(document)
            if len(waiting) == BATCH_ROWS:
                yield from zip(waiting, tokenizer.documents([d.text for d in waiting]), strict=True)
                waiting = []
        yield from zip(waiting, tokenizer.documents([d.text for d in waiting]), strict=True)


def shard_documents(path: str) -> Iterator[Exported]:
    """Yield a shard's documents in their order."""
    with filesystem.open_binary(path) as stream:
        if path.endswith(_JSONL):
            opened: Any = stream
            if path.endswith(".zst"):
                opened = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(stream))
            for line in opened:
                row = orjson.loads(line)
                yield Exported(row["doc_id"], row.get("mixture_group", row["source"]), row["text"])
            return
        with pq.ParquetFile(stream) as file:
            group = "mixture_group" if "mixture_group" in file.schema_arrow.names else "source"
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=["doc_id", group, "text"]):
                columns = [batch.column(name).to_pylist() for name in ("doc_id", group, "text")]
                yield from (Exported(*row) for row in zip(*columns, strict=True))


def _jsonl(table: pa.Table) -> bytes:
    packer = zstandard.ZstdCompressor(level=3, write_content_size=False)
    sink = io.BytesIO()
    with packer.stream_writer(sink, closefd=False) as out:
        for line in json_lines(table):
            out.write(line)
    return sink.getvalue()


def _parquet(table: pa.Table, *, plain: bool) -> bytes:
    """Return a table as Parquet; plain: in types that every reader of `datasets` knows, bytes as hex text."""
    if plain:
        fields = []
        columns = []
        for field, column in zip(table.schema, table.columns, strict=True):
            shown = column
            if pa.types.is_binary(field.type) or pa.types.is_fixed_size_binary(field.type):
                listed = [None if value is None else value.hex() for value in column.to_pylist()]
                shown = pa.chunked_array([pa.array(listed, pa.string())])
            elif pa.types.is_map(field.type):
                shown = pa.chunked_array([pa.array([orjson.dumps(v).decode() for v in column.to_pylist()])])
            fields.append(pa.field(field.name, shown.type, field.nullable, field.metadata))
            columns.append(shown)
        table = pa.table(columns, schema=pa.schema(fields))
    sink = io.BytesIO()
    size = max(1, table.num_rows)
    mean = max(1.0, (pc.sum(pc.binary_length(table.column("text"))).as_py() or 0) / size)
    pq.write_table(
        table.replace_schema_metadata(None),
        sink,
        compression="zstd",
        compression_level=1,
        row_group_size=max(1, min(122_880, int((32 << 20) / mean))),
    )
    return sink.getvalue()
