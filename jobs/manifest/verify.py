"""Verifies a finished run against its own manifest: bytes of every shard, rows of every count, the config's digest."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tamis.jobs.manifest.file import FATES, TABLES, config_folders, files_of, read_manifest, shard_path
from tamis.jobs.manifest.verify_counts import Keys, balance, mixture, recount
from tamis.jobs.manifest.verify_sources import check_config, input_problems, model_problems, undigested_inputs
from tamis.jobs.watch.corpus import is_corpus
from tamis.pipeline.corpus.earlier import index_problems, taken_over
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import InputError
from tamis.schemas.manifest import Manifest, ShardRecord
from tamis.schemas.tables import DOCUMENT_SCHEMA, ERROR_SCHEMA, REJECTED_SCHEMA

__all__ = ["VerifyResult", "verify"]

LEADING = {"selected": DOCUMENT_SCHEMA, "rejected": REJECTED_SCHEMA, "errors": ERROR_SCHEMA}
BLOCK = 1 << 20
THREADS = 8


@dataclass(frozen=True)
class VerifyResult:
    """What a verification found.

    Attributes:
        failures: what is wrong, a sentence each; empty for a run that is what its manifest says.
        notes: what can't be checked, or hinders a repetition only.
        shards: number of shards checked.
        rows: rows in them.
        bytes: bytes in them.
    """

    failures: tuple[str, ...]
    notes: tuple[str, ...]
    shards: int
    rows: int
    bytes: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failures


@dataclass
class _Shard:
    """What one file of the run really holds."""

    failures: list[str] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    text_bytes: int = 0
    counts: Keys = field(default_factory=Counter)


def verify(run: str, *, inputs: bool = False, progress: Callable[[int, int], None] | None = None) -> VerifyResult:
    """Check that a run is what its manifest says.

    Of every shard: SHA-256, size, rows, bytes of text, columns, and the config's digest in its footer; of every table
    beside them, and of every file of the indexes that steps left, its SHA-256; that no file is missing and no unknown
    one there. Rows are counted again by source, step and rule, and held against the counts of the steps; the counts
    against each other, from step to step and in all. The config's digest is computed from the recorded config alone,
    and again from the one that was given. Seconds and metrics can't be checked.

    Args:
        run: the run's folder.
        inputs: digest input files and models too, and take one that is missing or changed as a failure; otherwise
            a missing one, or one of another size, is a note.
        progress: told how many shards of how many are checked.

    Raises:
        RunError: if the folder holds no finished run.
    """
    if is_corpus(run):
        from tamis.jobs.watch.verify import verify_corpus

        return verify_corpus(run, inputs=inputs, progress=progress)
    manifest = read_manifest(run)
    failures: list[str] = []
    notes: list[str] = []
    found = _check_shards(run, manifest, progress)
    for shard in found.values():
        failures += shard.failures
    failures += _table_problems(run, manifest)
    failures += _index_problems(run, manifest)
    failures += _unknown_files(run, manifest)
    failures += balance(manifest)
    if not any(shard.failures for shard in found.values()):  # rows of a damaged one would only be told a second time
        failures += recount(manifest, {path: shard.counts for path, shard in found.items()})
    failures += mixture(manifest)
    wrong, odd = check_config(manifest)
    failures += wrong
    notes += odd
    notes += undigested_inputs(manifest)
    folders = config_folders(run, manifest)
    with filesystem.relative_to(folders):
        there = _without_taken_over(manifest)
        (failures if inputs else notes).extend(input_problems(manifest, thorough=inputs))
        (failures if inputs else notes).extend(model_problems(there, folders, thorough=inputs))
    rows, size = (sum(getattr(shard, name) for shard in found.values()) for name in ("rows", "bytes"))
    return VerifyResult(tuple(failures), tuple(notes), len(found), rows, size)


# --- shards ---


def _check_shards(run: str, manifest: Manifest, progress: Callable[[int, int], None] | None) -> dict[str, _Shard]:
    found: dict[str, _Shard] = {}
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        results = pool.map(lambda record: _check_shard(run, record, manifest.config_sha256), manifest.shards)
        for record, shard in zip(manifest.shards, results, strict=True):
            if record.path in found:
                shard.failures.append(f"{record.path} is listed twice in the manifest")
            found[record.path] = shard
            if progress is not None:
                progress(len(found), len(manifest.shards))
    return found


def _check_shard(run: str, record: ShardRecord, config_sha256: str) -> _Shard:
    shard = _Shard()
    if record.fate not in FATES or not record.path.startswith(f"{record.fate}/") or ".." in record.path.split("/"):
        shard.failures.append(f"{record.path} doesn't lie in the folder of its fate, {record.fate}")
        return shard
    path = shard_path(run, record)
    if not filesystem.exists(path):
        shard.failures.append(f"{record.path} is missing")
        return shard
    try:
        with filesystem.open_binary(path) as stream:
            shard.bytes, sha256 = _digest(stream)
            _compare(shard, record.path, "bytes", shard.bytes, record.bytes)
            if sha256 != record.sha256:
                shard.failures.append(
                    f"{record.path} was changed: its SHA-256 is {sha256}, recorded is {record.sha256}"
                )
            stream.seek(0)
            _check_rows(shard, record, stream, config_sha256)
    except (InputError, OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).strip().partition("\n")[0]
        shard.failures.append(f"{record.path} can't be read: {reason}")
    return shard


def _digest(stream: BinaryIO) -> tuple[int, str]:
    size = 0
    total = hashlib.sha256()
    while block := stream.read(BLOCK):
        total.update(block)
        size += len(block)
    return size, total.hexdigest()


def _compare(shard: _Shard, path: str, what: str, real: int, recorded: int) -> None:
    if real != recorded:
        shard.failures.append(f"{path} holds {real:,} {what}, recorded are {recorded:,}")


def _check_rows(shard: _Shard, record: ShardRecord, stream: BinaryIO, config_sha256: str) -> None:
    with pq.ParquetFile(stream) as file:
        shard.rows = file.metadata.num_rows
        _compare(shard, record.path, "rows", shard.rows, record.rows)
        marked = (file.metadata.metadata or {}).get(b"tamis.config_sha256", b"").decode()
        if marked != config_sha256:
            told = f"its footer says {marked or 'none'}, the manifest {config_sha256}"
            shard.failures.append(f"{record.path} comes from another config: {told}")
        leading = LEADING[record.fate].names
        if file.schema_arrow.names[: len(leading)] != leading:
            shard.failures.append(f"{record.path} hasn't the columns of {record.fate}: they begin {', '.join(leading)}")
            return
        keys = {"selected": ["source"], "rejected": ["source", "step", "rule"], "errors": ["step"]}[record.fate]
        texts = [] if record.fate == "errors" else ["text"]
        for batch in file.iter_batches(columns=[*keys, *texts]):
            if texts:
                shard.text_bytes += pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0
            shard.counts.update(_tuples(batch.select(keys)))
    _compare(shard, record.path, "bytes of text", shard.text_bytes, record.text_bytes)
    if record.fate == "selected":
        strange = {key[0] for key in shard.counts} - set(record.sources)
        if strange:
            shard.failures.append(
                f"{record.path} holds rows of source {min(strange)}, recorded is {', '.join(record.sources)}"
            )


def _tuples(batch: pa.RecordBatch) -> dict[tuple[str, ...], int]:
    grouped = pa.Table.from_batches([batch]).group_by(batch.schema.names).aggregate([([], "count_all")])
    columns = [grouped.column(name).to_pylist() for name in batch.schema.names]
    return dict(zip(zip(*columns, strict=True), grouped.column("count_all").to_pylist(), strict=True))


def _table_problems(run: str, manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with the tables beside the shards: missing, or not the bytes that were recorded."""
    for record in manifest.tables:
        path = shard_path(run, record)
        if not record.path.startswith(f"{TABLES}/") or ".." in record.path.split("/"):
            yield f"{record.path} doesn't lie in the folder of tables"
        elif not filesystem.exists(path):
            yield f"{record.path} is missing"
        else:
            try:
                with filesystem.open_binary(path) as stream:
                    _, sha256 = _digest(stream)
            except (InputError, OSError) as error:
                yield f"{record.path} can't be read: {str(error).strip().partition(chr(10))[0]}"
                continue
            if sha256 != record.sha256:
                yield f"{record.path} was changed: its SHA-256 is {sha256}, recorded is {record.sha256}"


def _index_problems(run: str, manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with the indexes that steps left for later runs."""
    for step in manifest.steps:
        told = step.metrics.get("index")
        if isinstance(told, dict) and "sha256" in told:
            yield from index_problems(run, step.label, told["sha256"])


def _without_taken_over(manifest: Manifest) -> Manifest:
    """Return a manifest without the indexes that are gone because a later run has them in its own."""
    gone = {
        model.reference
        for model in manifest.models
        if model.option.startswith("index.") and taken_over(model.reference)
    }
    return manifest.model_copy(update={"models": tuple(m for m in manifest.models if m.reference not in gone)})


def _unknown_files(run: str, manifest: Manifest) -> Iterator[str]:
    known = {record.path for record in manifest.files}
    for path in files_of(run):
        if path not in known:
            yield f"{path} is no file of the run: the manifest doesn't name it"
