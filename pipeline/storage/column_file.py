"""Row-aligned column files: what a run keeps of each shard between passes.

A shard's documents are files of record batches; every stage adds files with the same batches of the same lengths. So a
pass reads only the columns it needs, one batch at a time, and columns of many stages line up without a join.

A file is an Arrow IPC file followed by a trailer: a note (JSON), its length, the XXH3 digest of all before, that of its
name, and a magic word. The digests are checked whenever a file is opened: a flipped bit is an error, and so is a file
that took another's place, never another result.
"""

import errno
import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa
import xxhash

from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.damage import found_damage
from tamis.pipeline.storage.digesting import DigestingStream
from tamis.pipeline.storage.own_name import name_digest
from tamis.schemas.errors import DamagedError, InputError

__all__ = [
    "OPTIONS",
    "ColumnFile",
    "ColumnWriter",
    "aligned",
    "intact_note",
    "side_by_side",
    "write_batches",
    "write_table",
    "writer",
]

# Threads would each keep what they allocated for one column of a batch; passes work side by side in processes.
OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
"""Compressing costs less than the disk it saves: LZ4 packs web text to half at several hundred MB/s."""
MAGIC = b"TAMISCF2"
TRAILER = struct.Struct("<I16s16s8s")
_MISSING = "it is missing"
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM})
"""Errors that say nothing about a file's bytes: what can't be opened now isn't damaged, and must not be deleted."""


class ColumnWriter:
    """A column file being written: `write_batch`, and a `note` that goes into its trailer."""

    def __init__(self, out: pa.RecordBatchFileWriter):
        self._out = out
        self.note: Mapping[str, Any] = {}
        self.batches = 0

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Append a batch."""
        self._out.write_batch(batch)
        self.batches += 1


@contextmanager
def writer(path: str, schema: pa.Schema) -> Iterator[ColumnWriter]:
    """Open a column file for writing; it appears under its name only when complete."""
    with filesystem.write_atomically(path, keep=True) as stream:
        digesting = DigestingStream(stream, xxhash.xxh3_128())
        with pa.PythonFile(digesting, "w") as sink, pa.ipc.new_file(sink, schema, options=OPTIONS) as out:
            made = ColumnWriter(out)
            yield made
        note = json.dumps(made.note).encode() if made.note else b""
        digesting.write(note)
        digest = digesting.digest.digest()
        stream.write(TRAILER.pack(len(note), digest, name_digest(path, digest), MAGIC))


def write_batches(path: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write batches of one schema; return the number of rows."""
    rows = 0
    with writer(path, schema) as out:
        for batch in batches:
            out.write_batch(batch)
            rows += batch.num_rows
    return rows


def write_table(path: str, table: pa.Table) -> None:
    """Write a small table as one column file."""
    write_batches(path, table.schema, table.to_batches())


def _content(path: str, stack: ExitStack) -> tuple[pa.Buffer, bytes]:
    """Return the bytes of a file, mapped into memory, or fetched whole by one request: then they come a second time."""
    try:
        if filesystem.is_local(path):
            mapped = stack.enter_context(pa.memory_map(filesystem.local_path(path)))
            return mapped.read_buffer(), b""
        found = filesystem.content(path)
    except (FileNotFoundError, InputError) as error:
        raise DamagedError(path, _MISSING) from error
    except (pa.ArrowInvalid, OSError) as error:  # an empty file can't be mapped
        if getattr(error, "errno", None) in _OURS:
            raise
        raise DamagedError(path, str(error)) from error
    if found is None:
        raise DamagedError(path, _MISSING)
    return pa.py_buffer(found), found


class ColumnFile:
    """A column file opened for reading, all columns or some of them.

    Attributes:
        path: the file.
        schema: of the columns.
        note: what its writer noted.

    Raises:
        DamagedError: if the file is missing, or isn't what its writer wrote.
    """

    def __init__(self, path: str, columns: Sequence[str] | None = None):
        self.path = path
        self._stack = ExitStack()
        try:
            content, fetched = _content(path, self._stack)
            note_bytes, end = self._checked(content)
            filesystem.keep(path, fetched)
            self.note: dict[str, Any] = json.loads(note_bytes) if len(note_bytes) else {}
            source = pa.BufferReader(content.slice(0, end))
            reader = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(use_threads=False))
            if columns is not None:
                indices = [reader.schema.get_field_index(name) for name in columns]
                if -1 in indices:
                    raise DamagedError(path, f"it has no column {columns[indices.index(-1)]}")
                reader = pa.ipc.open_file(
                    source, options=pa.ipc.IpcReadOptions(included_fields=indices, use_threads=False)
                )
        except pa.ArrowInvalid as error:
            self._stack.close()
            raise DamagedError(path, str(error)) from error
        except DamagedError:
            self._stack.close()
            raise
        self._reader = reader
        self.schema: pa.Schema = reader.schema

    def _checked(self, content: pa.Buffer) -> tuple[bytes, int]:
        """Return the note, and where the Arrow file ends, of a file that agrees with its digest."""
        size = content.size - TRAILER.size
        if size < 0:
            raise DamagedError(self.path, "it is cut off")
        length, digest, name, magic = TRAILER.unpack(content.slice(size).to_pybytes())
        if magic != MAGIC or length > size:
            raise DamagedError(self.path, "its end isn't there")
        if xxhash.xxh3_128_digest(content.slice(0, size)) != digest:
            raise DamagedError(self.path, "its bytes don't agree with its digest")
        if name_digest(self.path, digest) != name:
            raise DamagedError(self.path, "it is another file under this name")
        return content.slice(size - length, length).to_pybytes(), size - length

    def __enter__(self) -> "ColumnFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        return int(self._reader.num_record_batches)

    def __getitem__(self, index: int) -> pa.RecordBatch:
        return self._reader.get_batch(index)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return (self[i] for i in range(len(self)))

    def read(self) -> pa.Table:
        """Return all batches as one table."""
        return pa.Table.from_batches(list(self), self.schema)


def intact_note(path: str, damaged: list[str]) -> dict[str, Any] | None:
    """Return the note of a finished file; None if there is none, or if it is damaged and so has to be made again.

    Args:
        path: the file; deleted if it is damaged.
        damaged: gets a sentence about a damaged file.
    """
    if filesystem.absent(path):
        return None
    try:
        with ColumnFile(path) as file:
            return file.note
    except DamagedError as error:
        if error.why == _MISSING:
            return None
        damaged.append(str(error))
        found_damage(str(error))
        filesystem.remove(path)
        return None


def side_by_side(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """Return the columns of row-aligned batches as one; a later batch's column replaces an earlier one of its name."""
    columns: dict[str, tuple[pa.Field, pa.Array]] = {}
    for batch in batches:
        for field, column in zip(batch.schema, batch.columns, strict=True):
            columns[field.name] = (field, column)
    return pa.RecordBatch.from_arrays(
        [column for _, column in columns.values()], schema=pa.schema([field for field, _ in columns.values()])
    )


def aligned(files: Sequence[ColumnFile], batches: Iterable[int] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the columns of several row-aligned files side by side, batch by batch.

    Args:
        files: at least one; a later file's column replaces an earlier one's of the same name.
        batches: which batches; all if absent.

    Raises:
        DamagedError: if the files don't have the same batches.
    """
    first = files[0]
    for index in range(len(first)) if batches is None else batches:
        found: list[pa.RecordBatch] = []
        for file in files:
            if len(file) != len(first):
                raise DamagedError(file.path, f"it has {len(file)} batches, {first.path} has {len(first)}")
            batch = file[index]
            if found and batch.num_rows != found[0].num_rows:
                raise DamagedError(file.path, f"its rows aren't those of {first.path}")
            found.append(batch)
        joined = side_by_side(found)
        del batch, found
        yield joined
        del joined  # before the next ones are read
