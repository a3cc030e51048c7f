"""What a finished run selected, as a mixture sees it: its shards, and a row for each document without its text."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.jobs.manifest.file import read_manifest, shard_path, shards_of
from tamis.pipeline.code import module_code
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.mixing.index import IndexShard, IndexTask
from tamis.pipeline.mixing.lines import lines_file, sampled_bits
from tamis.pipeline.mixing.sample import ROWS_SCHEMA, TakeTask, take_texts
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile, write_table
from tamis.schemas.base import digest, nearest
from tamis.schemas.errors import ConfigError, DataError
from tamis.schemas.manifest import Manifest
from tamis.schemas.mixture import MixtureConfig
from tamis.scorers.mixture.document_tokenizer import DocumentTokenizer
from tamis.scorers.mixture.order import document_order

__all__ = [
    "Index",
    "Sample",
    "Selection",
    "index_memory",
    "index_selection",
    "open_selection",
    "sample_texts",
    "tokenizer_of",
]

DOCUMENT_BYTES, TAKEN_BYTES = 230, 40
"""Memory of the driver for each document (index, order and what is computed from them), and each time it is taken."""
INDEX_CODE = "tamis.pipeline.mixing.index"


@dataclass(frozen=True)
class Selection:
    """The selected documents of a finished run.

    Attributes:
        path: the run's folder.
        manifest: of the run.
        shards: paths of its selected shards.
        sha256: of the digests of these.
        schema: of the documents.
    """

    path: str
    manifest: Manifest
    shards: tuple[str, ...]
    sha256: str
    schema: pa.Schema


@dataclass(frozen=True)
class Index:
    """A row for each selected document, in the order of shards and rows.

    Attributes:
        names: of the groups, sorted.
        group: position of each document's group, int32 (n,).
        words: ids, uint64 (n, 2).
        text_bytes: of the texts, int64 (n,).
        tokens: with the end of the document; 0 where none are counted, int64 (n,).
        quality: float64 (n,), NaN where missing.
        cluster: number of the duplicate cluster, int64 (n,); None if there are no clusters.
        shard: number of the shard, int32 (n,).
        row: in the shard, int64 (n,).
        lines: files of the shards' lines, see `tamis.pipeline.mixing.lines`.
        bits: one line in 2^bits is in them.
    """

    names: tuple[str, ...]
    group: npt.NDArray[np.int32]
    words: npt.NDArray[np.uint64]
    text_bytes: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]
    quality: npt.NDArray[np.float64]
    cluster: npt.NDArray[np.int64] | None
    shard: npt.NDArray[np.int32]
    row: npt.NDArray[np.int64]
    lines: tuple[str, ...] = ()
    bits: int = 0

    @cached_property
    def members(self) -> tuple[npt.NDArray[np.int64], ...]:
        """The documents of each group, by id, so that no sharding shows."""
        order = np.lexsort((self.words[:, 1], self.words[:, 0], self.group))
        bounds = np.searchsorted(self.group[order], np.arange(len(self.names) + 1))
        return tuple(order[a:b] for a, b in itertools.pairwise(bounds.tolist()))

    def sizes(self, unit: str) -> npt.NDArray[np.int64]:
        """Return the documents' sizes in a unit: tokens, bytes or documents."""
        if unit == "documents":
            return np.ones(len(self.group), np.int64)
        return self.tokens if unit == "tokens" else self.text_bytes

    def totals(self, unit: str) -> dict[str, int]:
        """Return the groups' sizes in a unit."""
        sizes = self.sizes(unit)
        return {name: int(sizes[some].sum()) for name, some in zip(self.names, self.members, strict=True)}

    def documents(self) -> dict[str, int]:
        """Return the groups' numbers of documents."""
        return {name: len(some) for name, some in zip(self.names, self.members, strict=True)}


@dataclass(frozen=True)
class Sample:
    """Documents drawn of a group, in the order of a keyed hash.

    Attributes:
        doc_ids: ids.
        texts: texts.
    """

    doc_ids: tuple[str, ...]
    texts: tuple[str, ...]


def index_memory(documents: int, taken: int | None = None) -> int:
    """Return the bytes of memory that planning a mixture takes in the driver.

    Args:
        documents: of the selection.
        taken: of the mixture, repeats included; each once if absent.
    """
    return DOCUMENT_BYTES * documents + TAKEN_BYTES * (documents if taken is None else taken)


def open_selection(run: str) -> Selection:
    """Open a finished run's selection.

    Raises:
        RunError: if the folder holds no finished run.
        DataError: if the run selected nothing.
    """
    manifest = read_manifest(run)
    records = shards_of(manifest, "selected")
    if not records:
        msg = f"{run} selected no document: there is nothing to mix"
        raise DataError(msg)
    with filesystem.open_binary(shard_path(run, records[0])) as stream:
        schema = pq.read_schema(stream).remove_metadata()
    return Selection(
        run,
        manifest,
        tuple(shard_path(run, record) for record in records),
        digest([record.sha256 for record in records]),
        schema,
    )


def tokenizer_of(config: MixtureConfig) -> DocumentTokenizer | None:
    """Return the tokenizer that counts tokens, if the config names one."""
    if config.tokenizer is None:
        return None
    found = DocumentTokenizer(
        config.tokenizer.path, end=config.tokenizer.end, special_tokens=config.tokenizer.special_tokens
    )
    found.end  # noqa: B018  (says now what is wrong with it)
    return found


def index_selection(selection: Selection, config: MixtureConfig, engine: Engine, work: str) -> Index:
    """Index a selection, or find it indexed.

    Args:
        selection: of a run.
        config: names the columns.
        engine: where passes run.
        work: folder of what is kept.

    Raises:
        ConfigError: if there is no such column.
        DataError: if documents have no group, and none is named for them.
    """
    cluster = _cluster_column(selection, config)
    for key, name in (("by", config.by), ("fill.by", config.fill.by)):
        if name is not None:
            _require(selection.schema, name, f"mixture.{key}")
    tokenizer = tokenizer_of(config)
    bits = sampled_bits(sum(record.text_bytes for record in shards_of(selection.manifest, "selected")))
    work_of = IndexShard(config.by, config.fill.by, cluster, tokenizer, bits)
    told = [config.by, config.fill.by, cluster, None if tokenizer is None else tokenizer.digest, bits]
    name = digest([selection.sha256, told, module_code(INDEX_CODE)])[:16]
    folder = filesystem.join(work, f"index-{name}")
    tasks = [
        IndexTask(shard, filesystem.join(folder, f"{number:06d}.arrow"))
        for number, shard in enumerate(selection.shards)
    ]
    missing = [task for task in tasks if not filesystem.exists(task.path)]
    engine.map("index the selection", missing, work_of)
    index = _read(tasks, config, selection, clusters=cluster is not None)
    return replace(index, lines=tuple(lines_file(task.path) for task in tasks), bits=bits)


def _cluster_column(selection: Selection, config: MixtureConfig) -> str | None:
    if config.clusters is not None:
        _require(selection.schema, config.clusters, "mixture.clusters")
        return config.clusters
    return "dup_cluster" if "dup_cluster" in selection.schema.names else None


def _require(schema: pa.Schema, name: str, where: str) -> None:
    root, _, key = name.partition(".")
    if name in schema.names or (key and root in schema.names and pa.types.is_string(schema.field(root).type)):
        return
    told = nearest(name, [column for column in schema.names if column not in ("text", "doc_id")])
    msg = f"{where}: the selected documents have no column {name!r}{told}"
    raise ConfigError(msg)


def _read(tasks: Sequence[IndexTask], config: MixtureConfig, selection: Selection, *, clusters: bool) -> Index:
    tables = []
    shards = []
    rows = []
    for number, task in enumerate(tasks):
        with ColumnFile(task.path) as file:
            table = file.read()
        # A map's pages go when it is closed, and strings take most of them: as numbers of a dictionary they are small.
        for column in ("group", "cluster"):
            place = table.schema.get_field_index(column)
            table = table.set_column(place, column, table.column(column).dictionary_encode())
        tables.append(table)
        shards.append(np.full(table.num_rows, number, np.int32))
        rows.append(np.arange(table.num_rows, dtype=np.int64))
    whole = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    names, codes = _groups(whole.column("group").combine_chunks(), config, selection)
    cluster = None
    if clusters:
        found = whole.column("cluster").combine_chunks().indices
        # A document without a cluster is one of its own.
        alone = -1 - np.arange(len(found), dtype=np.int64)
        known = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        cluster = np.where(known < 0, alone, known)
    words = np.column_stack([whole.column("high").to_numpy(), whole.column("low").to_numpy()])
    numbers = {name: whole.column(name).to_numpy() for name in ("text_bytes", "tokens", "quality")}
    quality = numbers["quality"] if config.fill.best == "high" else -numbers["quality"]
    return Index(
        names,
        codes,
        words,
        numbers["text_bytes"],
        numbers["tokens"],
        quality,
        cluster,
        np.concatenate(shards),
        np.concatenate(rows),
    )


def _groups(
    column: pa.DictionaryArray, config: MixtureConfig, selection: Selection
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    known = column.dictionary.to_pylist()
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    without = int((codes < 0).sum())
    if without and config.missing is None:
        msg = (
            f"{without:,} of {len(codes):,} selected documents of {selection.path} have no {config.by!r}: name a group "
            "for them with `missing`"
        )
        raise DataError(msg)
    if without and config.missing in known:
        msg = f"mixture.missing: {config.missing!r} is the name of a group that is there: choose another"
        raise ConfigError(msg)
    listed = [*known, *([config.missing] if without and config.missing is not None else [])]
    names = sorted(listed)
    rank = {name: number for number, name in enumerate(names)}
    place = np.array([rank[name] for name in listed], np.int32)
    return tuple(names), place[np.where(codes < 0, len(known), codes)]


def sample_texts(
    selection: Selection, index: Index, group: int, most_bytes: float, *, seed: int, engine: Engine, work: str
) -> Sample:
    """Draw documents of a group in the order of a keyed hash, until they have so many bytes of text.

    Args:
        selection: of a run.
        index: its index.
        group: position of the group.
        most_bytes: the last document is the one with which they are reached.
        seed: of the draw.
        engine: where passes run.
        work: folder of what is kept.
    """
    members = index.members[group]
    order = members[document_order(index.words[members], seed=seed)]
    ends = np.cumsum(index.text_bytes[order])
    chosen = order[: int(np.searchsorted(ends, most_bytes)) + 1]
    tasks = []
    for number in np.unique(index.shard[chosen]).tolist():
        rows = np.sort(index.row[chosen[index.shard[chosen] == number]])
        shard = selection.shards[number]
        name = digest([selection.sha256, number, sha256(rows.tobytes()).hexdigest()])[:24]
        path = filesystem.join(work, "samples", f"{name}.arrow")
        wanted = filesystem.join(work, "samples", f"{name}-rows.arrow")
        if not filesystem.exists(path):
            write_table(wanted, pa.Table.from_arrays([pa.array(rows)], schema=ROWS_SCHEMA))
        tasks.append(TakeTask(shard, wanted, path))
    engine.map(
        f"sample {index.names[group]}", [t for t in tasks if not filesystem.exists(t.path)], take_texts, small=True
    )
    found: dict[str, str] = {}
    for task in tasks:
        with ColumnFile(task.path) as file:
            table = file.read()
        found |= dict(zip(table.column("doc_id").to_pylist(), table.column("text").to_pylist(), strict=True))
    ids = [f"{high:016x}{low:016x}" for high, low in index.words[chosen].tolist()]
    return Sample(tuple(ids), tuple(found[doc_id] for doc_id in ids))
