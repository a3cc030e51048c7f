"""Exports a mixture, or what a run selected, into what a trainer reads at once; with a record of what was written."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.jobs.manifest.file import read_manifest, shard_path, shards_of
from tamis.jobs.mix.card import dataset_card
from tamis.jobs.mix.folder import holds_mixture, read_mixture
from tamis.jobs.provenance import version
from tamis.pipeline.code import module_code
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.mixing.export import ExportShard, ExportTask, Format
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import digest, nearest
from tamis.schemas.errors import ConfigError, DataError
from tamis.schemas.manifest import ShardRecord
from tamis.schemas.wording import counted
from tamis.scorers.mixture.document_tokenizer import DocumentTokenizer
from tamis.scorers.mixture.megatron_files import merge_megatron
from tamis.scorers.mixture.token_files import TokenSummary

__all__ = ["ExportResult", "export"]

FORMATS: Mapping[str, Format] = {
    "megatron": "megatron",
    "olmo": "olmo",
    "hf": "hf",
    "parquet": "parquet",
    "jsonl": "jsonl",
}
RECORD = "export.json"
TOKENS = "tokens"
"""Name of Megatron's files without their endings."""


@dataclass(frozen=True)
class ExportResult:
    """What was exported.

    Attributes:
        folder: where to.
        format: which form.
        documents: written, copies among them.
        copies: of them, what repeats another.
        tokens: written, ends among them; 0 for other forms.
        files: name, relative to the folder, to SHA-256.
        notes: sentences for a person.
    """

    folder: str
    format: Format
    documents: int
    copies: int
    tokens: int
    files: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """What is exported: its name, its shards in order, what a card says of it; columns of its steps `repeat`."""

    path: str
    name: str
    sha256: str
    shards: tuple[ShardRecord, ...]
    groups: tuple[Mapping[str, Any], ...]
    repetition: Mapping[str, Any] | None
    copies: tuple[str, ...] = ()


def export(
    source: str,
    output: str,
    form: str,
    engine: Engine,
    *,
    tokenizer: DocumentTokenizer | None = None,
    max_tokens: int = 1 << 30,
    copies: str | None = None,
) -> ExportResult:
    """Export a materialised mixture, or the selection of a finished run, shard by shard in their order.

    Args:
        source: the folder of a mixture or of a run.
        output: the folder to write; what an earlier call left of the same source and options is kept.
        form: one of `FORMATS`.
        engine: where passes run.
        tokenizer: of token files.
        max_tokens: an OLMo file that has as many is closed.
        copies: column of how often each document of a run is written, next to one another and marked in tables by a
            column `copy`; "none": once. By default that of the run's step `repeat`, if it has one.

    Raises:
        ConfigError: for an unknown form, a missing tokenizer, a column that says nothing of copies, a folder that
            holds something else, or a remote one where
            token files need a local one.
        DataError: if there is nothing to export.
        RunError: if `source` holds neither a mixture nor a run.
    """
    if form not in FORMATS:
        msg = f"--to {form}: unknown{nearest(form, list(FORMATS))}"
        raise ConfigError(msg)
    kind = FORMATS[form]
    with_tokens = kind in ("megatron", "olmo")
    if with_tokens and tokenizer is None:
        msg = f"--to {form}: token files need --tokenizer"
        raise ConfigError(msg)
    if with_tokens and not filesystem.is_local(output):
        msg = f"{output}: token files are written to a local folder and copied from there"
        raise ConfigError(msg)
    found = _source(source)
    if kind in ("hf", "parquet") and found.shards[0].path.endswith(".jsonl.zst"):
        msg = f"{source} has JSONL shards: make the mixture with `format: parquet` to export it as {form}"
        raise ConfigError(msg)
    told = None if tokenizer is None or not with_tokens else tokenizer.described()
    code = module_code("tamis.pipeline.mixing.export")
    column = _copies(found, copies)
    options = [found.sha256, form, told, max_tokens if kind == "olmo" else None, code]
    identity = digest([*options, column] if column is not None else options)
    _refuse_strange(output, source)
    finished = _finished(output, identity)
    if finished is not None:
        return finished
    tasks = _tasks(found, output, kind)
    known = _known(output, identity)
    wanted = [task for task in tasks if task.out not in known]
    work = ExportShard(kind, tokenizer if with_tokens else None, max_tokens, column)
    notes_folder = filesystem.join(output, "work", f"export-{identity[:16]}")
    for note in engine.map("export", wanted, work):
        known[note["task"]] = note
        path = filesystem.join(notes_folder, f"{digest(note['task'])[:16]}.json")
        with filesystem.write_atomically(path) as stream:
            stream.write(json.dumps(note).encode())
    return _finish(found, output, kind, [known[task.out] for task in tasks], told, identity, tasks)


def _copies(found: _Source, wanted: str | None) -> str | None:
    """Return the column of how often each document is written; None: once.

    Raises:
        ConfigError: if there is no such column, or it isn't clear which.
    """
    if wanted == "none":
        return None
    if wanted is None:
        if len(found.copies) > 1:
            names = ", ".join(found.copies)
            msg = f"{found.path}: several steps repeat documents: name the column with --copies ({names})"
            raise ConfigError(msg)
        return found.copies[0] if found.copies else None
    if found.groups:
        msg = f"--copies {wanted}: {found.path} is a mixture, whose documents are repeated already"
        raise ConfigError(msg)
    with filesystem.open_binary(shard_path(found.path, found.shards[0])) as stream:
        schema = pq.read_schema(stream)
    if wanted not in schema.names:
        msg = f"--copies {wanted}: no such column{nearest(wanted, schema.names)}"
        raise ConfigError(msg)
    if not pa.types.is_integer(schema.field(wanted).type):
        msg = f"--copies {wanted}: it holds {schema.field(wanted).type}, and copies are whole numbers"
        raise ConfigError(msg)
    return wanted


def _source(folder: str) -> _Source:
    if holds_mixture(folder):
        mixed = read_mixture(folder)
        if not mixed.shards:
            msg = f"{folder} holds no document: there is nothing to export"
            raise DataError(msg)
        groups = tuple(mixed.mixture["groups"])
        return _Source(folder, mixed.name, mixed.mixture_sha256, mixed.shards, groups, mixed.repetition)
    manifest = read_manifest(folder)
    shards = tuple(shards_of(manifest, "selected"))
    if not shards:
        msg = f"{folder} selected no document: there is nothing to export"
        raise DataError(msg)
    copies = tuple(step.label.partition(".")[2] or "copies" for step in manifest.steps if step.verb == "repeat")
    return _Source(folder, manifest.name, digest([shard.sha256 for shard in shards]), shards, (), None, copies)


def _refuse_strange(output: str, source: str) -> None:
    for name in ("manifest.json", "mixture.json"):
        if filesystem.exists(filesystem.join(output, name)):
            msg = f"{output} holds {name}: give the export of {source} a folder of its own"
            raise ConfigError(msg)


def _tasks(found: _Source, output: str, kind: Format) -> list[ExportTask]:
    tasks = []
    for number, shard in enumerate(found.shards):
        name = f"part-{number:05d}"
        if kind == "hf":
            name = f"data/train-{number:05d}-of-{len(found.shards):05d}"
        if kind == "megatron":
            name = f"work/parts/{name}"
        tasks.append(ExportTask(shard_path(found.path, shard), shard.sha256, filesystem.join(output, name)))
    return tasks


def _finished(output: str, identity: str) -> ExportResult | None:
    """Return what an earlier call wrote, if it was this and is all there."""
    path = filesystem.join(output, RECORD)
    if not filesystem.exists(path):
        return None
    with filesystem.open_binary(path) as stream:
        record = json.loads(stream.read())
    if record.get("identity") != identity:
        return None
    if not all(filesystem.exists(filesystem.join(output, name)) for name in record["files"]):
        return None
    kind, notes = FORMATS[record["format"]], tuple(record["notes"])
    copies = record.get("copies", 0)
    return ExportResult(output, kind, record["documents"], copies, record["tokens"], record["files"], notes)


def _known(output: str, identity: str) -> dict[str, dict[str, Any]]:
    """Return what an earlier call noted and whose files are still there."""
    folder = filesystem.join(output, "work", f"export-{identity[:16]}")
    if not filesystem.exists(folder):
        return {}
    found = {}
    for file in filesystem.expand(f"{folder}/*.json"):
        with filesystem.open_binary(file.path) as stream:
            note = json.loads(stream.read())
        base = note["task"].rsplit("/", 1)[0]
        if all(filesystem.exists(filesystem.join(base, name)) for name in note["files"]):
            found[note["task"]] = note
    return found


def _finish(
    found: _Source,
    output: str,
    kind: Format,
    notes: Sequence[Mapping[str, Any]],
    tokenizer: Mapping[str, Any] | None,
    identity: str,
    tasks: Sequence[ExportTask],
) -> ExportResult:
    documents = sum(note["documents"] for note in notes)
    copies = sum(note.get("copies", 0) for note in notes)
    tokens = sum(note.get("tokens", 0) for note in notes)
    sentences: list[str] = []
    files: dict[str, str] = {}
    if kind in ("megatron", "olmo"):
        if not documents:
            msg = f"{found.path}: no document has a token; there is nothing to export"
            raise DataError(msg)
        summary = TokenSummary(
            documents, tokens, *(sum(note[name] for note in notes) for name in ("ends_added", "ends_found", "empty"))
        )
        sentences.append(summary.sentence())
        if summary.empty:
            left = counted(summary.empty, "document"), "is" if summary.empty == 1 else "are"
            sentences.append(f"{left[0]} without a token {left[1]} left out")
    if copies:
        sentences.append(f"{copies:,} of the documents repeat another, as often as the run's step `repeat` says")
    if kind == "megatron":
        prefixes = [Path(filesystem.local_path(t.out)) for t, n in zip(tasks, notes, strict=True) if n["documents"]]
        merged = merge_megatron(prefixes, Path(filesystem.local_path(output)) / TOKENS)
        files |= merged.files
        sentences.append(f"tokens are {merged.dtype}: all {(tokenizer or {}).get('vocabulary', 0):,} ids fit")
    else:
        folder = "data/" if kind == "hf" else ""
        for note in notes:
            files |= {folder + name: sha256 for name, sha256 in note["files"].items()}
        if kind == "olmo":
            sentences.append(f"tokens are {next(n['dtype'] for n in notes if n['documents'])}, without a header")
    if kind == "hf":
        size = sum(note["bytes"] for note in notes)
        card = dataset_card(found.name, documents, size, found.groups, found.repetition, found.sha256)
        with filesystem.write_atomically(filesystem.join(output, "README.md")) as stream:
            stream.write(card.encode())
    record = {
        "tamis": version(),
        "format": kind,
        "source_sha256": found.sha256,
        "identity": identity,
        "documents": documents,
        "copies": copies,
        "tokens": tokens,
        "tokenizer": tokenizer,
        "files": dict(sorted(files.items())),
        "notes": sentences,
    }
    with filesystem.write_atomically(filesystem.join(output, RECORD)) as stream:
        stream.write(json.dumps(record, indent=1).encode() + b"\n")
    filesystem.remove_tree(filesystem.join(output, "work"))
    return ExportResult(output, kind, documents, copies, tokens, dict(sorted(files.items())), tuple(sentences))
