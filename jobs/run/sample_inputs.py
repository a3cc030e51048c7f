"""Cuts a sample of a few MB from a plan's inputs: beginnings of files drawn by a keyed hash, of every input some."""

import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.jobs.run.plan import Plan
from tamis.pipeline.formats.options import file_name, format_of
from tamis.pipeline.passes.inputs import PlannedFile
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import digest
from tamis.schemas.errors import InputError
from tamis.schemas.secrets import redacted

__all__ = ["Cut", "SampledInputs", "sample_inputs"]

LEAST = 512 << 10
"""Bytes of a file that are taken at least, where it has them: of a compressed one fewer may hold no record."""
FILES = 8
"""Files of an input that its share of the sample is spread over, where there are as many."""
UNKNOWN_BYTES = 64 << 20
"""What a file counts for whose size isn't known."""
ROWS = 500
_UNCUT = ("text", "html")


@dataclass(frozen=True)
class Cut:
    """What a sample has of a file.

    Attributes:
        path: of the copy.
        bytes: of the file that the copy stands for.
        broken: whether the copy ends within a record, which its reader will say.
    """

    path: str
    bytes: float
    broken: bool


@dataclass(frozen=True)
class SampledInputs:
    """A sample of a plan's inputs.

    Attributes:
        plan: the plan over the copies.
        files: how many were looked into.
        bytes: of them that were taken.
        whole: bytes of all input files.
        scale: source to the number of times that the sample's figures stand for all of it.
        broken: source to copies that end within a record.
    """

    plan: Plan
    files: int
    bytes: float
    whole: int
    scale: dict[str, float]
    broken: dict[str, int]


def sample_inputs(plan: Plan, budget: int, folder: str) -> SampledInputs:
    """Copy beginnings of input files; which files follows from the config's seed and their names alone.

    Each input gets a share of the sample by its size, spread over up to eight of its files.

    Args:
        plan: the plan.
        budget: bytes of input files, about.
        folder: for the copies, a local one.

    Raises:
        InputError: if a file can't be read.
    """
    size_of = {file: file.size if file.size is not None else UNKNOWN_BYTES for file in plan.files}
    whole = sum(size_of.values())
    copies: list[tuple[PlannedFile, Cut]] = []
    with filesystem.relative_to(plan.folders):
        for number in range(len(plan.inputs)):
            mine = [file for file in plan.files if file.input == number]
            share = budget * sum(size_of[file] for file in mine) / max(1, whole)
            each = max(LEAST, int(share / min(FILES, max(1, len(mine)))))
            left = max(share, LEAST)
            keyed = sorted(mine, key=lambda file: digest([plan.config.seed, file.source, redacted(file.path)]))
            for place, file in enumerate(keyed):
                if left <= 0:
                    break
                cut = _cut(plan, file, each, Path(folder) / f"{number}-{place}")
                copies.append((file, cut))
                left -= cut.bytes
    files = []
    taken = dict.fromkeys((file.source for file in plan.files), 0.0)
    sizes = dict.fromkeys(taken, 0)
    broken = dict.fromkeys(taken, 0)
    for file in plan.files:
        sizes[file.source] += size_of[file]
    for file, cut in copies:
        info = filesystem.info(cut.path)
        files.append(PlannedFile(file.input, file.source, info.path, info.size, info.fingerprint))
        taken[file.source] += cut.bytes
        broken[file.source] += cut.broken
    ordered = tuple(sorted(files, key=lambda file: (file.source, file.path)))
    scale = {source: sizes[source] / taken[source] if taken[source] else 1.0 for source in taken}
    sampled = replace(plan, files=ordered, warnings=(), config=plan.config.model_copy(update={"mixture": None}))
    return SampledInputs(sampled, len(copies), sum(taken.values()), whole, scale, broken)


def _cut(plan: Plan, file: PlannedFile, size: int, folder: Path) -> Cut:
    """Copy so many bytes of a file's beginning, or records worth them, below a folder that tells its partitions."""
    parts = [part for part in file.path.replace("\\", "/").split("/")[:-1] if "=" in part and "?" not in part]
    target = folder.joinpath(*parts, file_name(file.path))
    target.parent.mkdir(parents=True, exist_ok=True)
    form, codec = format_of(file.path, plan.inputs[file.input].options)
    small = file.size is not None and file.size <= size
    try:
        with filesystem.open_binary(file.path) as stream, target.open("wb") as copy:
            if small or form in _UNCUT:
                shutil.copyfileobj(stream, copy)
                return Cut(str(target), float(copy.tell()), broken=False)
            if form == "parquet":
                return Cut(str(target), _parquet(stream, copy, size, file.size or UNKNOWN_BYTES), broken=False)
            if form == "arrow":
                return Cut(str(target), _arrow(stream, copy, size, file.size or UNKNOWN_BYTES), broken=False)
            content = stream.read(size)
            ends = form in ("jsonl", "csv") and codec is None
            if ends:
                content = content[: content.rfind(b"\n") + 1] or content
            copy.write(content)
            return Cut(str(target), float(len(content)), broken=not ends)
    except (OSError, pa.ArrowException) as error:
        msg = f"{redacted(file.path)} can't be read: {redacted(str(error))}"
        raise InputError(msg) from None


def _parquet(stream: BinaryIO, copy: BinaryIO, wanted: int, size: int) -> float:
    """Copy the first rows; returns the bytes of the file that they stand for."""
    with pq.ParquetFile(stream) as file:
        rows = file.metadata.num_rows
        done = 0
        with pq.ParquetWriter(copy, file.schema_arrow) as writer:
            for batch in file.iter_batches(ROWS, use_threads=False):
                writer.write_batch(batch)
                done += batch.num_rows
                if done * size >= wanted * rows:
                    break
        return size * done / rows if rows else float(size)


def _arrow(stream: BinaryIO, copy: BinaryIO, wanted: int, size: int) -> float:
    """Copy the first batches, in a file of the other kind; returns the bytes of the file that they stand for."""
    held = pa.PythonFile(stream, mode="r")
    try:
        reader = pa.ipc.open_file(held)
        number = reader.num_record_batches
        batches: Iterator[pa.RecordBatch] = (reader.get_batch(i) for i in range(number))
    except pa.ArrowInvalid:
        stream.seek(0, io.SEEK_SET)
        reader = pa.ipc.open_stream(pa.PythonFile(stream, mode="r"))
        batches, number = iter(reader), 0
    taken, done = 0.0, 0
    with pa.ipc.new_file(copy, reader.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            done += 1
            taken = size * done / number if number else float(stream.tell())
            if taken >= wanted:
                break
    return min(taken, float(size)) or float(size)
