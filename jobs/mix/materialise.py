"""Materialises a mixture of a finished run: shards in their order, and the record of how they came to be."""

import datetime as dt
import itertools
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from tamis.jobs.mix.estimate import Found, find_proportions
from tamis.jobs.mix.files import mixture_files
from tamis.jobs.mix.folder import MIXED, RECORD, holds_mixture, read_mixture, refuse_strange_folder
from tamis.jobs.mix.plan import PlannedMixture, plan_mixture
from tamis.jobs.mix.selection import (
    Index,
    Selection,
    index_memory,
    index_selection,
    open_selection,
    tokenizer_of,
)
from tamis.jobs.provenance import code_digest, provenance
from tamis.jobs.run.folder import claim, owned
from tamis.pipeline.code import module_code
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.mixing.move import (
    ORDER_SCHEMA,
    SendShard,
    SendTask,
    WriteShard,
    WriteTask,
    added_columns,
)
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import write_batches
from tamis.pipeline.storage.value_file import read_value, write_value
from tamis.schemas.base import digest
from tamis.schemas.errors import ConfigError, RunError
from tamis.schemas.manifest import ShardRecord
from tamis.schemas.mixture import MixtureConfig
from tamis.schemas.mixture_manifest import MixedFrom, MixtureManifest

__all__ = ["Mixed", "Prepared", "materialise", "prepare"]

MOVE_CODE = "tamis.pipeline.mixing.move"
SHARD = re.compile(r"mixed/(group=[^/]+/)?part-\d{5,}\.(parquet|jsonl\.zst)")


@dataclass(frozen=True)
class Prepared:
    """A mixture that is planned, but not written.

    Attributes:
        selection: of the run.
        index: of its documents.
        found: the proportions.
        plan: down to the documents.
        files: path to SHA-256 of what the config names.
    """

    selection: Selection
    index: Index
    found: Found
    plan: PlannedMixture
    files: Mapping[str, str]


@dataclass(frozen=True)
class Mixed:
    """A materialised mixture.

    Attributes:
        manifest: as written.
        nothing_to_do: whether it had been finished before.
    """

    manifest: MixtureManifest
    nothing_to_do: bool = False


def prepare(
    run: str, config: MixtureConfig, engine: Engine, work: str, *, selection: Selection | None = None
) -> Prepared:
    """Index a run's selection, find the proportions and plan the mixture; write no document.

    Args:
        run: a finished run's folder.
        config: of the mixture.
        engine: where passes run.
        work: folder of what is kept for the next time.
        selection: of the run, if it is open.

    Raises:
        TamisError: whatever stands against it, in a sentence.
    """
    files = mixture_files(config)
    selection = selection or open_selection(run)
    _refuse_what_does_not_fit(selection)
    index = index_selection(selection, config, engine, work)
    found = find_proportions(config, selection, index, engine, work)
    return Prepared(selection, index, found, plan_mixture(config, index, found), files)


def materialise(
    run: str,
    config: MixtureConfig,
    plain: Mapping[str, Any],
    output: str,
    engine: Engine,
    *,
    fresh: bool = False,
) -> Mixed:
    """Write a mixture of a run's selection into a folder, going on from what an earlier call left.

    Args:
        run: a finished run's folder.
        config: of the mixture.
        plain: the config as it was given.
        output: the mixture's folder.
        engine: where passes run.
        fresh: forget what earlier calls left.

    Raises:
        TamisError: whatever stopped it, in a sentence.
    """
    began, started = time.time(), dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    selection = open_selection(run)
    refuse_strange_folder(output)
    sha256 = digest([selection.sha256, config.digest(mixture_files(config))])
    identity = digest([sha256, config.parameters, code_digest()])
    known = None if fresh else _finished(output, identity)
    if known is not None:
        return Mixed(known, nothing_to_do=True)
    claim(output)
    work = filesystem.join(output, "work")
    with owned(output):
        if fresh:
            filesystem.remove_below(work, keep=("lock.json", "tamis-run"))
        prepared = prepare(run, config, engine, work, selection=selection)
        filesystem.remove(filesystem.join(output, RECORD))  # no mixture while it is half of the old
        shards = _Writer(prepared, config, output, engine, sha256).shards()
        _remove_others(output, {shard.path for shard in shards})
        tokenizer = tokenizer_of(config)
        manifest = MixtureManifest(
            name=selection.manifest.name,
            mixture_sha256=sha256,
            config=config.resolved(dict(prepared.files)) | {"parameters": config.parameters},
            source_config=dict(plain),
            run=MixedFrom(
                path=run,
                name=selection.manifest.name,
                config_sha256=selection.manifest.config_sha256,
                selection_sha256=selection.sha256,
                documents=len(prepared.index.group),
            ),
            identity=identity,
            mixture=prepared.plan.record,
            repetition=prepared.plan.repetition,
            tokenizer=None if tokenizer is None else tokenizer.described(),
            documents=len(prepared.plan.order),
            shards=shards,
            warnings=prepared.plan.warnings,
            provenance=provenance(),
            started=started,
            seconds=round(time.time() - began, 3),
        )
        with filesystem.write_atomically(filesystem.join(output, RECORD)) as stream:
            stream.write(manifest.model_dump_json(indent=1).encode() + b"\n")
    return Mixed(manifest)


def _finished(output: str, identity: str) -> MixtureManifest | None:
    if not holds_mixture(output):
        return None
    try:
        known = read_mixture(output)
    except RunError:
        return None
    if known.identity != identity:
        return None
    for shard in known.shards:
        path = filesystem.join(output, shard.path)
        if not filesystem.exists(path) or filesystem.info(path).size != shard.bytes:
            return None
    return known


def _refuse_what_does_not_fit(selection: Selection) -> None:
    """Refuse a selection whose index this machine's memory can't hold.

    Raises:
        RunError: saying how much there is and how much it takes.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    need = index_memory(selection.manifest.selected)
    if need > memory:
        msg = (
            f"a mixture of {selection.manifest.selected:,} documents takes about {need / 1e9:.1f} GB of memory, and "
            f"this machine has {memory / 1e9:.1f} GB: take a larger one"
        )
        raise RunError(msg)


def _remove_others(output: str, paths: set[str]) -> None:
    """Delete the shards that an earlier mixture in the same folder left."""
    if not filesystem.exists(filesystem.join(output, MIXED)):
        return
    for file in filesystem.expand(filesystem.join(output, MIXED)):
        at = file.path.rfind(f"/{MIXED}/")
        relative = file.path[at + 1 :]
        if relative not in paths and SHARD.fullmatch(relative):
            filesystem.remove(file.path)
    if filesystem.is_local(output):
        for folder in Path(filesystem.local_path(filesystem.join(output, MIXED))).glob("group=*"):
            if not any(folder.iterdir()):
                folder.rmdir()


class _Writer:
    """Writes the shards of a planned mixture."""

    def __init__(self, prepared: Prepared, config: MixtureConfig, output: str, engine: Engine, sha256: str):
        self._prepared, self._config, self._output, self._engine = prepared, config, output, engine
        self._sha256 = sha256
        self._work = filesystem.join(output, "work")
        tokenizer = tokenizer_of(config)
        told = None if tokenizer is None else f"{tokenizer.name} ({tokenizer.digest[:16]})"
        schema = prepared.selection.schema
        taken = [f.name for f in schema if f.name.startswith("mixture_")]
        if taken:
            msg = f"the selected documents have a column {taken[0]!r}, and a mixture adds columns of such names"
            raise ConfigError(msg)
        self._schema = pa.schema([*schema, *added_columns(told)])
        key = digest([sha256, config.shard_mb, config.in_training_order, module_code(MOVE_CODE)])[:16]
        self._folder = filesystem.join(self._work, f"move-{key}")

    def shards(self) -> tuple[ShardRecord, ...]:
        """Return the records of all shards, written or found."""
        parts, tasks = self._parts()
        known: dict[str, dict[str, Any]] = {}
        for task in tasks:
            note = self._known(task)
            if note is not None:
                known[task.path] = note
        wanted = [task for task in tasks if task.path not in known]
        if wanted:
            self._send(parts, {task.part for task in wanted})
            write = WriteShard(
                self._output,
                filesystem.join(self._folder, "parts"),
                self._schema,
                self._config.format,
                {"tamis.mixture_sha256": self._sha256},
            )
            for note in self._engine.map("write the mixture", wanted, write):
                known[note["path"]] = note
                path = filesystem.join(self._output, note["path"])
                told = {**note, "fingerprint": filesystem.info(path).fingerprint}
                write_value(self._note(note["path"]), json.dumps(told).encode())
        filesystem.remove_tree(filesystem.join(self._folder, "parts"))  # as large as the mixture itself
        return tuple(ShardRecord.model_validate(known[task.path]) for task in tasks)

    def _note(self, path: str) -> str:
        return filesystem.join(self._folder, "notes", f"{digest([path, self._config.format])[:24]}.value")

    def _known(self, task: WriteTask) -> dict[str, Any] | None:
        value = read_value(self._note(task.path), [])
        path = filesystem.join(self._output, task.path)
        if value is None or not filesystem.exists(path):
            return None
        note: dict[str, Any] = json.loads(value)
        same = filesystem.info(path).fingerprint == note.pop("fingerprint")
        return note if same or filesystem.sha256(path) == note["sha256"] else None

    def _parts(self) -> tuple[Any, list[WriteTask]]:
        """Return the part of each document, and the parts."""
        plan, index = self._prepared.plan, self._prepared.index
        bytes_ = index.text_bytes[plan.order]
        limit = max(1, int(self._config.shard_mb * 1e6))
        parts = np.empty(len(plan.order), np.int64)
        tasks: list[WriteTask] = []
        ending = "parquet" if self._config.format == "parquet" else "jsonl.zst"
        for name, chosen in self._files():
            number = _cut(bytes_[chosen], limit)
            first = len(tasks)
            parts[chosen] = number + first
            bounds = np.searchsorted(number, np.arange(int(number[-1]) + 2 if len(number) else 1))
            for part, (begin, end) in enumerate(itertools.pairwise(bounds.tolist())):
                rows = chosen[begin:end]
                tasks.append(
                    WriteTask(
                        first + part,
                        f"{MIXED}/{name}part-{part:05d}.{ending}",
                        tuple(np.unique(index.shard[plan.order[rows]]).tolist()),
                        len(rows),
                        int(bytes_[rows].sum()),
                        tuple(index.names[i] for i in np.unique(plan.group[rows])),
                    )
                )
        return parts, tasks

    def _files(self) -> Iterator[tuple[str, Any]]:
        """Yield the folder (with a slash) and the documents of each series of shards."""
        plan = self._prepared.plan
        if self._config.in_training_order:
            yield "", np.arange(len(plan.order))
            return
        for number, name in enumerate(self._prepared.index.names):
            chosen = np.flatnonzero(plan.group == number)
            if len(chosen):
                yield f"group={quote(name, safe='')}/", chosen

    def _send(self, parts: Any, wanted: set[int]) -> None:
        """Have each source shard send what the wanted parts take of it."""
        plan, index = self._prepared.plan, self._prepared.index
        names = pa.array(index.names, pa.string())
        position = np.arange(len(plan.order))
        needed = np.isin(parts, sorted(wanted))
        shards = index.shard[plan.order]
        by_shard = np.lexsort((position, parts, shards))
        by_shard = by_shard[needed[by_shard]]
        bounds = np.searchsorted(shards[by_shard], np.arange(len(self._prepared.selection.shards) + 1))
        tasks = []
        for number, shard in enumerate(self._prepared.selection.shards):
            mine = by_shard[bounds[number] : bounds[number + 1]]
            if not len(mine):
                continue
            documents = plan.order[mine]
            table = pa.Table.from_arrays(
                [
                    pa.array(parts[mine]),
                    pa.array(position[mine]),
                    pa.array(index.row[documents]),
                    names.take(pa.array(plan.group[mine])),
                    pa.array(plan.stage[mine]),
                    pa.array(plan.passes[mine]),
                    pa.array(index.tokens[documents]),
                ],
                schema=ORDER_SCHEMA,
            )
            path = filesystem.join(self._folder, f"order-{number:06d}.arrow")
            write_batches(path, ORDER_SCHEMA, table.to_batches())
            tasks.append(SendTask(number, shard, path, filesystem.join(self._folder, "parts")))
        self._engine.map("send documents", tasks, SendShard(self._schema))


def _cut(sizes: Any, limit: int) -> Any:
    """Return the part of each document: a part ends with the document before the one that would exceed the limit."""
    parts = np.empty(len(sizes), np.int64)
    ends = np.cumsum(sizes)
    at = part = 0
    while at < len(sizes):
        before = int(ends[at - 1]) if at else 0
        stop = max(at + 1, int(np.searchsorted(ends, before + limit, "right")))
        parts[at:stop] = part
        at, part = stop, part + 1
    return parts
