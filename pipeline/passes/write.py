"""Writes what a run leaves: byte-bounded, sorted Parquet shards of selected and rejected documents and of errors.

First each shard says how many rows and bytes of each batch were selected and rejected; from that alone the output
shards are planned, as runs of batches in canonical order; then each output shard is written by itself.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import RawIOBase
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tamis.pipeline.passes.stage import SourceShard, shard_file
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile, aligned
from tamis.pipeline.storage.row_state import ALIVE, FAILED, RowState
from tamis.schemas.tables import DOCUMENT_SCHEMA, ERROR_SCHEMA, REJECTED_SCHEMA
from tamis.scorers.kernels.gather import scatter_texts
from tamis.scorers.text.texts import as_buffer

__all__ = ["Part", "SummariseShard", "WriteErrors", "WritePart", "plan_parts"]

Fate = Literal["selected", "rejected"]
ROW_GROUP_BYTES = 32 << 20
ROW_GROUP_ROWS = 122_880
"""DuckDB's own vector of rows: one thread takes one row group."""
NO_DICTIONARY = frozenset({"doc_id", "text", "url", "meta", "text_hash", "dup_cluster"})


@dataclass(frozen=True)
class SummariseShard:
    """Counts a shard's rows by fate, and their text bytes batch by batch.

    Attributes:
        documents: folder of documents.
        state: folder of the last row states.
    """

    documents: str
    state: str

    def __call__(self, shard: SourceShard) -> dict[str, Any]:
        """Return rows and bytes of each batch by fate, and how many rows fell to each (step, rule)."""
        selected: list[tuple[int, int]] = []
        rejected: list[tuple[int, int]] = []
        fates: dict[str, int] = {}
        text_bytes = 0
        with (
            ColumnFile(shard_file(self.documents, shard.key), ["text_bytes"]) as documents,
            ColumnFile(shard_file(self.state, shard.key), ["step", "rule"]) as states,
        ):
            for batch in aligned([documents, states]):
                size = batch.column("text_bytes").to_numpy()
                step = batch.column("step").to_numpy()
                rule = batch.column("rule").to_numpy()
                alive = step == ALIVE
                fell = ~alive & (rule != FAILED)
                selected.append((int(alive.sum()), int(size[alive].sum())))
                rejected.append((int(fell.sum()), int(size[fell].sum())))
                text_bytes += int(size.sum())
                pairs, counts = np.unique(np.column_stack([step, rule]), axis=0, return_counts=True)
                for (at, by), count in zip(pairs.tolist(), counts.tolist(), strict=True):
                    key = f"{at}/{by}"
                    fates[key] = fates.get(key, 0) + count
        return {
            "shard": shard.index,
            "selected": selected,
            "rejected": rejected,
            "fates": fates,
            "text_bytes": text_bytes,
        }


@dataclass(frozen=True)
class Part:
    """One output shard: where it goes, and the batches of source shards that it takes."""

    path: str
    fate: Fate
    pieces: tuple[tuple[SourceShard, int, int], ...]
    """(source shard, first batch, one past the last batch), in canonical order."""
    rows: int

    def __str__(self) -> str:
        return self.path


def plan_parts(
    shards: Sequence[SourceShard], summaries: Mapping[int, Mapping[str, Any]], fate: Fate, max_bytes: float
) -> list[Part]:
    """Cut the rows of one fate into parts of at most `max_bytes` of text (one batch at least).

    Selected documents are kept apart by source; paths are relative to the run. The plan depends on the summaries alone.
    """
    parts: list[Part] = []
    pieces: list[tuple[SourceShard, int, int]] = []
    rows = 0
    size = 0
    group = ""

    def close() -> None:
        nonlocal pieces, rows, size
        if rows:
            number = sum(1 for part in parts if part.path.startswith(f"{group}/"))
            parts.append(Part(f"{group}/part-{number:05d}.parquet", fate, tuple(pieces), rows))
        pieces, rows, size = [], 0, 0

    for shard in shards:
        mine = f"selected/source={shard.source}" if fate == "selected" else "rejected"
        if mine != group:
            close()
            group = mine
        for batch, (count, count_bytes) in enumerate(summaries[shard.index][fate]):
            if not count:
                continue
            if rows and size + count_bytes > max_bytes:
                close()
            if pieces and pieces[-1][0] is shard and pieces[-1][2] == batch:
                pieces[-1] = (shard, pieces[-1][1], batch + 1)
            else:
                pieces.append((shard, batch, batch + 1))
            rows += count
            size += count_bytes
    close()
    return parts


class _Hashing(RawIOBase):
    """Passes bytes on to a stream and digests them on their way."""

    def __init__(self, stream: Any):
        super().__init__()
        self._stream = stream
        self.sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        self._stream.write(data)
        self.size += len(data)
        return len(data)


def _write_parquet(path: str, table: pa.Table, metadata: Mapping[str, str], row_bytes: float) -> dict[str, Any]:
    """Write a table as Parquet, and return its rows, bytes and SHA-256."""
    schema = table.schema.with_metadata({k.encode(): v.encode() for k, v in metadata.items()})
    rows = max(1, min(ROW_GROUP_ROWS, int(ROW_GROUP_BYTES / max(row_bytes, 1))))
    plain = [name for name in schema.names if name not in NO_DICTIONARY and _dictionary_helps(schema.field(name).type)]
    with filesystem.write_atomically(path) as stream:
        hashing = _Hashing(stream)
        with pq.ParquetWriter(
            pa.PythonFile(hashing, "w"),
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=plain,
            write_statistics=[name for name in schema.names if name not in ("text", "meta")],
        ) as writer:
            for start in range(0, table.num_rows, rows):
                writer.write_table(table.slice(start, rows).replace_schema_metadata(schema.metadata))
    return {"rows": table.num_rows, "bytes": hashing.size, "sha256": hashing.sha256.hexdigest()}


def _dictionary_helps(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_boolean(type_))


@dataclass(frozen=True)
class WritePart:
    """Writes one output shard.

    Attributes:
        root: the run's folder.
        documents: folder of the documents as read.
        state: folder of the last row states.
        columns: column to the folder that has it; "text" if a step rewrote the text.
        names: the steps' columns in output order.
        labels: the steps' labels, by index.
        rules: the steps' rule names, by index.
        metadata: goes into the Parquet footer.
    """

    root: str
    documents: str
    state: str
    columns: Mapping[str, str]
    schema: pa.Schema
    labels: Sequence[str]
    rules: Sequence[Sequence[str]]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, part: Part) -> dict[str, Any]:
        """Write it, by `doc_id`; return its path, source, rows, text bytes, bytes and SHA-256."""
        rest = pa.Table.from_batches(list(self._batches(part))).combine_chunks()
        order = pc.sort_indices(rest.column("doc_id"))
        rest = rest.take(order)
        text = self._texts(part, order.to_numpy(), rest.column("text_bytes").to_numpy())
        text_bytes = text.buffers()[2].size if part.rows else 0
        schema = self._schema(part.fate)
        table = pa.table([text if name == "text" else rest.column(name) for name in schema.names], schema=schema)
        written = _write_parquet(
            filesystem.join(self.root, part.path), table, self.metadata, text_bytes / max(1, table.num_rows)
        )
        sources = sorted({shard.source for shard, _, _ in part.pieces})
        ids = table.column("doc_id")
        repeated = pc.sum(pc.equal(ids.slice(1), ids.slice(0, max(0, len(ids) - 1)))).as_py() or 0
        about = {"path": part.path, "fate": part.fate, "sources": sources, "text_bytes": text_bytes}
        return about | {"repeated_ids": repeated} | written

    def _schema(self, fate: Fate) -> pa.Schema:
        leading = DOCUMENT_SCHEMA if fate == "selected" else REJECTED_SCHEMA
        rest = [f for f in (*DOCUMENT_SCHEMA, *self.schema) if f.name not in leading.names]
        return pa.schema([*leading, *rest])

    def _text_folder(self, fate: Fate) -> str:
        # A rejected document is shown as it came, not as a later step would have rewritten it.
        return self.documents if fate == "rejected" else self.columns.get("text", self.documents)

    def _chosen(
        self, part: Part, by_folder: Mapping[str, Sequence[str]]
    ) -> Iterator[tuple[pa.RecordBatch, RowState, Any]]:
        """Yield the part's batches with the columns of some folders, their states, and the rows that it takes."""
        for shard, start, end in part.pieces:
            with ExitStack() as stack:
                files = [
                    stack.enter_context(ColumnFile(shard_file(folder, shard.key), names))
                    for folder, names in by_folder.items()
                ]
                states = stack.enter_context(ColumnFile(shard_file(self.state, shard.key)))
                for index, batch in zip(range(start, end), aligned(files, range(start, end)), strict=True):
                    state = RowState.from_batch(states[index])
                    yield batch, state, state.mask if part.fate == "selected" else ~state.mask & (state.rule != FAILED)

    def _batches(self, part: Part) -> Iterator[pa.RecordBatch]:
        """Yield all columns of the part's rows but the text, which has its bytes here."""
        by_folder: dict[str, list[str]] = {}
        for name in (*DOCUMENT_SCHEMA.names, *self.schema.names):
            if name != "text":
                by_folder.setdefault(self.columns.get(name, self.documents), []).append(name)
        rewritten = self._text_folder(part.fate) != self.documents
        by_folder.setdefault(self._text_folder(part.fate), []).append("text" if rewritten else "text_bytes")
        for batch, state, chosen in self._chosen(part, by_folder):
            taken = batch if chosen.all() else batch.take(pa.array(np.flatnonzero(chosen)))
            columns = dict(zip(taken.schema.names, taken.columns, strict=True))
            if rewritten:
                columns["text_bytes"] = pc.binary_length(columns.pop("text"))
            if part.fate == "rejected":
                columns |= self._fall(state, chosen)
            yield pa.RecordBatch.from_pydict(columns)

    def _texts(self, part: Part, order: Any, sizes: Any) -> pa.LargeStringArray:
        """Return the texts in their order, copied batch by batch: so no more than one batch is held beside them."""
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
        out = np.empty(offsets[-1], np.uint8)
        places = np.empty(part.rows, np.int64)
        places[order] = offsets[:-1]
        first = 0
        for batch, _, chosen in self._chosen(part, {self._text_folder(part.fate): ["text"]}):
            rows = np.flatnonzero(chosen)
            texts = as_buffer(batch.column("text"))
            scatter_texts(texts.data, texts.offsets, rows, places[first : first + len(rows)], out)
            first += len(rows)
        return pa.LargeStringArray.from_buffers(part.rows, pa.py_buffer(offsets), pa.py_buffer(out))

    def _fall(self, state: RowState, chosen: Any) -> dict[str, pa.Array]:
        """Return the columns that say why rows fell."""
        step = state.step[chosen].tolist()
        rule = state.rule[chosen].tolist()
        value = state.value[chosen]
        threshold = state.threshold[chosen]
        return {
            "step": pa.array([self.labels[s] for s in step], pa.string()),
            "rule": pa.array([self.rules[s][r] for s, r in zip(step, rule, strict=True)], pa.string()),
            "value": pa.array(value, mask=np.isnan(value)),
            "threshold": pa.array(threshold, mask=np.isnan(threshold)),
        }


@dataclass(frozen=True)
class WriteErrors:
    """Writes one part of `errors/`: the records of some shards that couldn't be read or scored.

    Attributes:
        root: the run's folder.
        read: folder of the readers' errors.
        stages: label and folder of the errors of each step that scores, by step index.
        state: folder of the last row states: a record that a step failed on counts only if it was alive there.
    """

    root: str
    documents: str
    read: str
    stages: Mapping[int, str]
    state: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, task: tuple[str, Sequence[SourceShard]]) -> dict[str, Any]:
        """Take the part's path and its shards; return its path, rows, bytes and SHA-256."""
        path, shards = task
        tables = [table for shard in shards for table in self._tables(shard)]
        table = pa.concat_tables([ERROR_SCHEMA.empty_table(), *tables]).combine_chunks()
        written = _write_parquet(filesystem.join(self.root, path), table, self.metadata, 200)
        sources = sorted({shard.source for shard in shards})
        return {"path": path, "fate": "errors", "sources": sources, "text_bytes": 0} | written

    def _tables(self, shard: SourceShard) -> Iterator[pa.Table]:
        with ColumnFile(shard_file(self.read, shard.key)) as file:
            yield file.read()
        failed: dict[int, list[str]] = {}
        with (
            ColumnFile(shard_file(self.documents, shard.key), ["doc_id"]) as ids,
            ColumnFile(shard_file(self.state, shard.key), ["step", "rule"]) as states,
        ):
            for batch in aligned([ids, states]):
                rows = np.flatnonzero(batch.column("rule").to_numpy() == FAILED)
                for row in rows.tolist():
                    step = batch.column("step")[row].as_py()
                    failed.setdefault(step, []).append(batch.column("doc_id")[row].as_py())
        for step, ids_failed in sorted(failed.items()):
            with ColumnFile(shard_file(self.stages[step], shard.key)) as file:
                known = {row["record"]: row for row in file.read().to_pylist()}
            yield pa.Table.from_pylist([known[doc_id] for doc_id in ids_failed], ERROR_SCHEMA)
