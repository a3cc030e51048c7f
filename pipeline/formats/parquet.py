"""Parquet to documents."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.pipeline.formats.options import ReadOptions, Split
from tamis.pipeline.formats.records import BatchBuilder, ReadBatch
from tamis.pipeline.formats.table_rows import add_rows, check_schema
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import InputError

__all__ = ["plan_parquet", "read_parquet"]


_DAMAGED = ("deserialize thrift", "flatbuffers", "cannot be applied to", "IPC message")
"""What the library says of a damaged footer, by an OSError as of a file system that fails."""


@contextmanager
def _opened(path: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file.

    Raises:
        InputError: if it is missing or no Parquet file.
    """
    filesystem.info(path)
    local = filesystem.is_local(path)
    source: Any = filesystem.local_path(path) if local else filesystem.open_binary(path)
    try:
        # INT96 counts nanoseconds of any day; in 64 bits those before 1678 and after 2262 would become other days.
        with pq.ParquetFile(source, page_checksum_verification=True, coerce_int96_timestamp_unit="us") as file:
            yield file
    except pa.ArrowInvalid as error:
        msg = f"{path} is no readable Parquet file: {_first_line(error)}"
        raise InputError(msg) from error
    except OSError as error:
        if any(word in str(error) for word in _DAMAGED):
            msg = f"{path} is no readable Parquet file: {_first_line(error)}"
            raise InputError(msg) from error
        if "encrypt" not in str(error) and "decrypt" not in str(error):
            raise
        msg = f"{path} is an encrypted Parquet file: write it decrypted, for there is no option for keys"
        raise InputError(msg) from error
    finally:
        if not local:
            source.close()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def plan_parquet(path: str, options: ReadOptions, target_bytes: int) -> list[Split]:
    """Return splits of consecutive row groups of about `target_bytes` once decompressed.

    Raises:
        InputError: if the file can't be read or its columns don't fit the options.
    """
    splits: list[Split] = []
    with _opened(path) as file:
        check_schema(path, file.schema_arrow, options)
        start = size = 0
        groups = file.metadata.num_row_groups
        for group in range(groups):
            size += file.metadata.row_group(group).total_byte_size
            if size >= target_bytes or group == groups - 1:
                splits.append(Split(path, "parquet", None, "row_groups", start, group + 1, size))
                start, size = group + 1, 0
    return splits


def read_parquet(split: Split, source: str, options: ReadOptions) -> Iterator[ReadBatch]:
    """Yield the documents of a Parquet file, or of some of its row groups.

    Errors name their row by its number in the file, from 0: see `add_rows`; rows whose text can't be read for damage
    of the file are one error `corrupt_rows`. A value beside the text that JSON or a date can't hold becomes text or
    null in `meta`, and is counted as a note `odd_value`; columns beside it that can't be read are left out, and their
    values counted as `unreadable_value`.

    Raises:
        InputError: if the file can't be read at all.
    """
    builder = BatchBuilder(split.path, source, options)
    with _opened(split.path) as file:
        check_schema(split.path, file.schema_arrow, options)
        metadata = file.metadata
        end = split.end if split.kind == "row_groups" else metadata.num_row_groups
        row = sum(metadata.row_group(group).num_rows for group in range(split.start))
        for group in range(split.start, end):
            rows = metadata.row_group(group).num_rows
            average = max(1, metadata.row_group(group).total_byte_size // max(1, rows))
            at_once = max(1, min(options.batch_rows, options.batch_bytes // average))
            done = 0
            without: tuple[str, ...] = ()
            while done < rows:
                try:
                    for batch in _batches(file, group, at_once, without, done):
                        builder.note("unreadable_value", batch.num_rows * len(without))
                        for _ in add_rows(builder, batch, split.path, row + done, options):
                            yield builder.flush()
                        done += batch.num_rows
                    break
                except (pa.ArrowException, OSError) as error:
                    if not isinstance(error, pa.ArrowException) and not filesystem.is_local(split.path):
                        raise
                    unreadable = () if without else _unreadable_columns(file, group)
                    if not unreadable or not _spared(file.schema_arrow, unreadable, options):
                        place = f"rows {row + done} to {row + rows - 1}"
                        builder.error(place, "corrupt_rows", _first_line(error))
                        break
                    without = unreadable
            row += rows
    if not builder.empty():
        yield builder.flush()


def _batches(
    file: pq.ParquetFile, group: int, at_once: int, without: tuple[str, ...], skipped: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a row group after the first `skipped`, without some columns."""
    columns = [name for name in file.schema_arrow.names if name not in without] if without else None
    for batch in file.iter_batches(at_once, row_groups=[group], columns=columns, use_threads=False):
        if skipped < batch.num_rows:
            yield batch.slice(skipped)
        skipped = max(0, skipped - batch.num_rows)


def _unreadable_columns(file: pq.ParquetFile, group: int) -> tuple[str, ...]:
    """Return the columns of a row group that can't be read: damaged, or of a kind that the library refuses."""
    unreadable = []
    for name in dict.fromkeys(file.schema_arrow.names):
        try:
            for _ in file.iter_batches(1 << 10, row_groups=[group], columns=[name], use_threads=False):
                pass
        except (pa.ArrowException, OSError):
            unreadable.append(name)
    return tuple(unreadable)


def _spared(schema: pa.Schema, unreadable: tuple[str, ...], options: ReadOptions) -> bool:
    """Return whether documents can do without some columns: those that the options don't name."""
    named = (options.text, options.id, options.url, options.timestamp)
    needed = {name if name in schema.names else name.partition(".")[0] for name in named if name is not None}
    return needed.isdisjoint(unreadable)
