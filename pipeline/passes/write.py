"""Writes what a run leaves: byte-bounded, sorted Parquet shards of selected and rejected documents and of errors."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tamis.pipeline.graph.give_back import give_back
from tamis.pipeline.graph.passes import Done, Values
from tamis.pipeline.passes.parts import ErrorPart, Fate, Part
from tamis.pipeline.passes.read import FILE_COLUMN, ReadFolders
from tamis.pipeline.passes.shard_reader import read_columns
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile, aligned
from tamis.pipeline.storage.digesting import DigestingStream
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.row_state import FAILED, RowState
from tamis.pipeline.storage.value_file import read_value, write_value
from tamis.schemas.base import digest
from tamis.schemas.tables import DOCUMENT_SCHEMA, ERROR_SCHEMA, REJECTED_SCHEMA, STATE_SCHEMA
from tamis.scorers.kernels.gather import scatter_texts
from tamis.scorers.text.texts import as_buffer

__all__ = ["WriteErrors", "WritePart"]

ROW_GROUP_BYTES = 32 << 20
ROW_GROUP_ROWS = 122_880
"""DuckDB's own vector of rows: one thread takes one row group."""
FALL = ("step", "rule", "value", "threshold")
"""Columns that say why a row fell."""
NO_DICTIONARY = frozenset({"doc_id", "text", "url", "meta", "text_hash", "dup_cluster"})


def _row_group(rows: int, text_bytes: int) -> int:
    """Return how many rows a row group takes."""
    return max(1, min(ROW_GROUP_ROWS, int(ROW_GROUP_BYTES / max(1.0, text_bytes / max(1, rows)))))


def _write_parquet(
    path: str, schema: pa.Schema, tables: Iterable[pa.Table], metadata: Mapping[str, str], group: int
) -> dict[str, Any]:
    """Write consecutive tables as one Parquet file, and return its rows, bytes and SHA-256.

    Args:
        path: the file.
        schema: of the tables.
        tables: all but the last have a multiple of `group` rows.
        metadata: goes into the footer.
        group: rows of a row group.
    """
    schema = schema.with_metadata({k.encode(): v.encode() for k, v in metadata.items()})
    plain = [name for name in schema.names if name not in NO_DICTIONARY and _dictionary_helps(schema.field(name).type)]
    rows = 0
    with filesystem.write_atomically(path) as stream:
        hashing = DigestingStream(stream, hashlib.sha256())
        with pq.ParquetWriter(
            pa.PythonFile(hashing, "w"),
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=plain,
            write_statistics=[name for name in schema.names if name not in ("text", "meta")],
        ) as writer:
            for table in tables:
                rows += table.num_rows
                for start in range(0, table.num_rows, group):
                    writer.write_table(table.slice(start, group).replace_schema_metadata(schema.metadata))
                del table  # a window of texts, before the next one is made
    return {"rows": rows, "bytes": hashing.size, "sha256": hashing.digest.hexdigest()}


def _dictionary_helps(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_boolean(type_))


@dataclass(frozen=True)
class _Written:
    """What was written, kept in the work folder: a shard that is there already isn't written again.

    Attributes:
        root: the run's folder.
        notes: folder of the notes.
    """

    root: str
    notes: str

    def known(self, name: str, path: str) -> dict[str, Any] | None:
        """Return the note of a shard that still is what was written; None if it has to be written.

        Args:
            name: digest of all that determines the shard.
            path: relative to the run.
        """
        value = read_value(self._note(name), [], look=True)
        if value is None:
            return None
        note: dict[str, Any] = json.loads(value)
        full = filesystem.join(self.root, path)
        if not filesystem.exists(full):
            return None
        same = filesystem.info(full).fingerprint == note.pop("fingerprint")
        return note if same or filesystem.sha256(full) == note["sha256"] else None

    def keep(self, name: str, path: str, note: Mapping[str, Any]) -> None:
        """Note what was written."""
        fingerprint = filesystem.info(filesystem.join(self.root, path)).fingerprint
        write_value(self._note(name), json.dumps({**note, "fingerprint": fingerprint}).encode())

    def _note(self, name: str) -> str:
        return filesystem.join(self.notes, f"{name[:24]}.value")


@dataclass(frozen=True)
class WritePart:
    """Writes one output shard.

    Attributes:
        root: the run's folder.
        notes: folder that notes of written shards are kept in.
        state: place of the last row states.
        columns: every column to its place; "text" as the last step left it.
        original: place of the texts as they were read.
        schema: of the steps' columns, in output order.
        labels: the steps' labels, by index.
        rules: the steps' rule names, by index.
        metadata: goes into the Parquet footer.
        code: digest of the code that writes.
    """

    root: str
    notes: str
    state: Place
    columns: Mapping[str, Place]
    original: Place
    schema: pa.Schema
    labels: Sequence[str]
    rules: Sequence[Sequence[str]]
    metadata: Mapping[str, str] = field(default_factory=dict)
    code: str = ""

    def __call__(self, part: Part, values: Values) -> Done:
        """Write it, by `doc_id`, unless it is there.

        Returns:
            A line of JSON: path, sources, rows, text bytes, bytes and SHA-256.
        """
        del values
        name = digest([part.digest, self.state.folder, str(self.schema), dict(self.metadata), self.code])
        written = _Written(self.root, self.notes)
        note = written.known(name, part.path)
        if note is not None:
            return Done(json.dumps(note).encode() + b"\n", reused=True)
        note = self._write(part)
        written.keep(name, part.path, note)
        return Done(json.dumps(note).encode() + b"\n", {f"{part.fate}: documents written": part.rows})

    def _write(self, part: Part) -> dict[str, Any]:
        ids, sizes = self._keys(part)
        order = pc.sort_indices(ids).to_numpy().astype(np.int64)
        places = np.empty(part.rows, np.int64)
        places[order] = np.arange(part.rows)
        ids, sizes = ids.take(pa.array(order)), sizes[order]
        text_bytes = int(sizes.sum())
        schema = self._schema(part.fate)
        group = _row_group(part.rows, text_bytes)
        written = _write_parquet(
            filesystem.join(self.root, part.path),
            schema,
            self._tables(part, schema, places, sizes, group),
            self.metadata,
            group,
        )
        sources = sorted({shard.source for shard, _, _ in part.pieces})
        repeated = pc.sum(pc.equal(ids.slice(1), ids.slice(0, max(0, len(ids) - 1)))).as_py() or 0
        about = {"path": part.path, "fate": part.fate, "sources": sources, "text_bytes": text_bytes}
        return about | {"repeated_ids": repeated} | written

    def _keys(self, part: Part) -> tuple[pa.StringArray, npt.NDArray[np.int64]]:
        """Return the ids of the part's rows and the bytes of their texts, in the order of its batches."""
        text = self._text(part.fate)
        size = "text_bytes" if text == self.original else "text"
        ids, sizes = [pa.array([], DOCUMENT_SCHEMA.field("doc_id").type)], [np.zeros(0, np.int64)]
        for batch, _, chosen in self._chosen(part, ["doc_id", size], {**self.columns, "text": text}):
            ids.append(batch.column("doc_id").filter(pa.array(chosen)))
            found = batch.column(size)
            lengths = found if size == "text_bytes" else pc.binary_length(found)
            sizes.append(lengths.to_numpy(zero_copy_only=False)[chosen].astype(np.int64))
            del batch, found, lengths  # before the next ones are read
        return pa.concat_arrays(ids), np.concatenate(sizes)

    def _tables(
        self,
        part: Part,
        schema: pa.Schema,
        places: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int64],
        window: int,
    ) -> Iterator[pa.Table]:
        """Yield the sorted rows, so many at a time: only these are held.

        Args:
            part: the part, whose columns are read once for each window.
            schema: of the tables.
            places: where each of its rows comes, in the order of its batches.
            sizes: bytes of each row's text, as sorted.
            window: rows.
        """
        for first in range(0, part.rows, window):
            give_back()
            yield self._window(part, schema, places - first, sizes[first : first + window])

    def _schema(self, fate: Fate) -> pa.Schema:
        leading = DOCUMENT_SCHEMA if fate == "selected" else REJECTED_SCHEMA
        rest = [f for f in (*DOCUMENT_SCHEMA, *self.schema) if f.name not in leading.names]
        return pa.schema([*leading, *rest])

    def _text(self, fate: Fate) -> Place:
        # A rejected document is shown as it came, not as a later step would have rewritten it.
        return self.original if fate == "rejected" else self.columns["text"]

    def _chosen(
        self, part: Part, names: Sequence[str], columns: Mapping[str, Place]
    ) -> Iterator[tuple[pa.RecordBatch, RowState, Any]]:
        """Yield the part's batches with some columns, their states, and the rows that it takes."""
        for shard, start, end in part.pieces:
            with ColumnFile(self.state.file(shard), STATE_SCHEMA.names) as states:
                batches = range(start, end)
                read = read_columns(shard, names, columns, batches, (self.state,))
                for index in batches:
                    batch = next(read)
                    state = RowState.from_batch(states[index])
                    yield batch, state, state.mask if part.fate == "selected" else ~state.mask & (state.rule != FAILED)
                    del batch  # before the next one is read

    def _window(
        self, part: Part, schema: pa.Schema, places: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
    ) -> pa.Table:
        """Return a window of the sorted rows; one batch is held beside it.

        Args:
            part: the part.
            schema: of the table.
            places: of each of its rows, in the order of its batches, in the window; outside it if out of range.
            sizes: bytes of the window's texts.
        """
        fall = FALL if part.fate == "rejected" else ()
        names = [name for name in schema.names if name not in fall]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
        text = np.empty(offsets[-1], np.uint8)
        columns: dict[str, list[pa.Array]] = {name: [] for name in schema.names if name != "text"}
        came = []
        first = 0
        for batch, state, chosen in self._chosen(part, names, {**self.columns, "text": self._text(part.fate)}):
            rows = np.flatnonzero(chosen)
            mine = places[first : first + len(rows)]
            first += len(rows)
            inside = (mine >= 0) & (mine < len(sizes))
            if inside.any():
                rows, mine = rows[inside], mine[inside]
                texts = as_buffer(batch.column("text"))
                scatter_texts(texts.data, texts.offsets, rows, offsets[mine], text)
                taken = batch.drop_columns(["text"]).take(pa.array(rows))
                found = dict(zip(taken.schema.names, taken.columns, strict=True))
                for name, column in (found | (self._fall(state, rows) if fall else {})).items():
                    columns[name].append(column)
                came.append(mine)
                del texts, taken, found
            del batch  # before the next one is read
        order = pa.array(np.argsort(np.concatenate(came)))
        give_back()
        done = {name: pa.concat_arrays(columns.pop(name)).take(order) for name in list(columns)}
        texts = pa.LargeStringArray.from_buffers(len(sizes), pa.py_buffer(offsets), pa.py_buffer(text))
        return pa.table([texts if name == "text" else done[name] for name in schema.names], schema=schema)

    def _fall(self, state: RowState, rows: npt.NDArray[np.intp]) -> dict[str, pa.Array]:
        """Return the columns that say why rows fell, `FALL`."""
        step = state.step[rows].tolist()
        rule = state.rule[rows].tolist()
        value = state.value[rows]
        threshold = state.threshold[rows]
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
        folders: of what readers kept.
        documents: place of the documents.
        columns: step index to the place of its columns, whose notes hold its errors.
        state: place of the last row states: a record that a step failed on counts only if it was alive there.
        metadata: goes into the Parquet footer.
    """

    root: str
    folders: ReadFolders
    documents: Place
    columns: Mapping[int, Place]
    state: Place
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, part: ErrorPart, values: Values) -> bytes:
        """Write it; return a line of JSON: path, sources, rows, bytes and SHA-256."""
        del values
        tables = [ERROR_SCHEMA.empty_table()]
        for key in part.keys:  # one for each source shard
            with ColumnFile(self.folders.file("errors", key)) as file:
                tables.append(file.read())
        tables += [table for shard in part.shards for table in self._of_steps(shard)]
        path = filesystem.join(self.root, part.path)
        written = _write_parquet(path, ERROR_SCHEMA, [pa.concat_tables(tables)], self.metadata, ROW_GROUP_ROWS)
        about = {"path": part.path, "fate": "errors", "sources": part.sources, "text_bytes": 0}
        return json.dumps(about | written).encode() + b"\n"

    def _of_steps(self, shard: Shard) -> Iterator[pa.Table]:
        failed: dict[int, list[str]] = {}
        with (
            ColumnFile(self.documents.file(shard), ["doc_id", FILE_COLUMN]) as documents,
            ColumnFile(self.state.file(shard), ["step", "rule"]) as states,
        ):
            paths: list[str] = documents.note["paths"]
            for batch in aligned([documents, states]):
                for row in np.flatnonzero(batch.column("rule").to_numpy() == FAILED).tolist():
                    failed.setdefault(batch.column("step")[row].as_py(), []).append(batch.column("doc_id")[row].as_py())
        for step, ids in sorted(failed.items()):
            with ColumnFile(self.columns[step].file(shard)) as file:
                known = {error["record"]: error for error in file.note["errors"]}
            rows = [known[doc_id] | {"uri": paths[known[doc_id]["file"]]} for doc_id in ids]
            yield pa.Table.from_pylist([{n: row[n] for n in ERROR_SCHEMA.names} for row in rows], ERROR_SCHEMA)
