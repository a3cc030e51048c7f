"""Exports shards of documents into forms that trainers read: token files, JSONL, Parquet for `datasets`."""

import hashlib
import io
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from tamis.pipeline.mixing.move import json_lines
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import DataError
from tamis.scorers.mixture.document_tokenizer import DocumentTokenizer
from tamis.scorers.mixture.megatron_files import write_megatron
from tamis.scorers.mixture.olmo_files import OlmoDocument, write_olmo

__all__ = ["ExportShard", "ExportTask", "Exported", "Format", "shard_documents"]

Format = Literal["megatron", "olmo", "jsonl", "parquet", "hf"]
BATCH_ROWS = 512
COPY = "copy"
"""The column that marks copies: 0 for a document, 1 and so on for what repeats it."""
_JSONL = (".jsonl", ".jsonl.zst")


class Exported(NamedTuple):
    """A document of a shard.

    Attributes:
        doc_id: its id.
        group: the mixture's group, or its source.
        text: its text.
        times: how often it is to be written.
    """

    doc_id: str
    group: str
    text: str
    times: int = 1


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
        copies: column of how often each document is written; None: once.
    """

    format: Format
    tokenizer: DocumentTokenizer | None = None
    max_tokens: int = 1 << 30
    copies: str | None = None

    def __call__(self, task: ExportTask) -> dict[str, Any]:
        """Write one shard's files; return their names and digests, and what was counted.

        Raises:
            DataError: if a document can't be written as tokens, or a number of copies is none.
        """
        if self.format in ("megatron", "olmo"):
            return {"task": task.out, **self._tokens(task)}
        copies = 0
        with filesystem.open_binary(task.shard) as stream:
            if task.shard.endswith(_JSONL):
                data = stream.read()  # as it is
                rows = sum(1 for _ in shard_documents(task.shard))
            else:
                table = pq.read_table(stream)
                if self.copies is not None:
                    before = table.num_rows
                    table = _repeated(task.shard, table, self.copies)
                    copies = table.num_rows - before
                rows = table.num_rows
                data = _jsonl(table) if self.format == "jsonl" else _parquet(table, plain=self.format == "hf")
        path = task.out + (".jsonl.zst" if self.format == "jsonl" else ".parquet")
        with filesystem.write_atomically(path) as stream:
            stream.write(data)
        name = path.rsplit("/", 1)[-1]
        return {
            "task": task.out,
            "documents": rows,
            "copies": copies,
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
        counted = Counter[str]()
        rows = self._tokenised(task, tokenizer, counted)
        if not any(document.text for document in shard_documents(task.shard)):
            return {"documents": 0, "copies": 0, "tokens": 0, "ends_added": 0, "ends_found": 0, "empty": 0, "files": {}}
        if self.format == "megatron":
            summary = write_megatron(out, ((document.doc_id, tokens) for document, tokens in rows), **sizes)
        else:
            documents = (OlmoDocument(document.doc_id, document.group, tokens) for document, tokens in rows)
            summary = write_olmo(out.parent, documents, max_tokens=self.max_tokens, name=out.name, **sizes)
        return asdict(summary) | {"copies": counted["copies"]}

    def _tokenised(
        self, task: ExportTask, tokenizer: DocumentTokenizer, counted: "Counter[str]"
    ) -> Iterator[tuple[Exported, Any]]:
        """Yield documents with their tokens, as often as they are to be written; count what repeats one."""
        for waiting in _some(shard_documents(task.shard, self.copies)):
            for document, tokens in zip(waiting, tokenizer.documents([d.text for d in waiting]), strict=True):
                if len(tokens):
                    counted["copies"] += document.times - 1
                yield from itertools.repeat((document, tokens), document.times)


def shard_documents(path: str, copies: str | None = None) -> Iterator[Exported]:
    """Yield a shard's documents in their order.

    Args:
        path: the shard.
        copies: of Parquet: column of how often each is to be written.

    Raises:
        DataError: if such a number is none.
    """
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
            names = ["doc_id", group, "text"]
            for batch in file.iter_batches(
                batch_size=BATCH_ROWS, columns=names if copies is None else [*names, copies]
            ):
                columns = [batch.column(name).to_pylist() for name in names]
                times = [1] * len(batch) if copies is None else _times(path, batch.column(copies), copies).tolist()
                yield from (Exported(*row) for row in zip(*columns, times, strict=True))


def _some(documents: Iterator[Exported]) -> Iterator[list[Exported]]:
    while waiting := list(itertools.islice(documents, BATCH_ROWS)):
        yield waiting


def _times(path: str, column: pa.Array, name: str) -> npt.NDArray[np.int64]:
    """Return how often each document is to be written.

    Raises:
        DataError: if a value is no number from 0 on.
    """
    values = pc.fill_null(pc.cast(column, pa.int64()), -1).to_numpy(zero_copy_only=False)
    if len(values) and values.min() < 0:
        row = int(np.flatnonzero(values < 0)[0])
        msg = f"{path}: {name}: a document has {column[row].as_py()}, and copies are whole numbers from 0 on"
        raise DataError(msg)
    return np.asarray(values, np.int64)


def _repeated(path: str, table: pa.Table, copies: str) -> pa.Table:
    """Return a table with each row as often as a column says, and which of its copies each is."""
    times = _times(path, table.column(copies).combine_chunks(), copies)
    rows = np.repeat(np.arange(len(times)), times)
    firsts = np.cumsum(times) - times
    return table.take(pa.array(rows)).append_column(COPY, pa.array(np.arange(len(rows)) - firsts[rows]))


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
