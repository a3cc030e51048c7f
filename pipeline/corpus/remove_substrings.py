"""Repeated substrings taken out over the whole corpus: anchors of windows change hands, then the windows in question.

Memory is bounded by the anchors and windows of a partition, and by those windows of a shard whose anchors occur again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.clusters import batch_rows, cut_rows
from tamis.pipeline.corpus.context import Corpus, Decision
from tamis.pipeline.corpus.rewrite_text import CutText, Rewritten, cut_schema, kept_batches
from tamis.pipeline.corpus.unfinished import Unfinished
from tamis.pipeline.graph.passes import Done, Exchange, Values
from tamis.pipeline.passes.shard_reader import ColumnReader
from tamis.pipeline.passes.stage import READ, StoredShards, stored_shards
from tamis.pipeline.storage.column_file import ColumnFile, writer
from tamis.pipeline.storage.place import Place, Shard
from tamis.schemas.tables import internal
from tamis.scorers.dedup.bands import partition_of
from tamis.scorers.dedup.cuts import Cuts
from tamis.scorers.dedup.substrings import Anchors, RepeatedSubstrings, WindowRuns, compare_windows, repeated_anchors
from tamis.scorers.text.noise import id_words
from tamis.scorers.text.texts import Texts, as_buffer

__all__ = ["AnchorColumns", "RemoveSubstrings", "remove_substrings", "substring_memory"]

ANCHORS_PER_PARTITION = 8_000_000
WINDOWS_PER_PARTITION = 4_000_000
_ANCHOR_MEMORY, _WINDOW_MEMORY = 32, 100
"""Bytes of each while those of a partition are compared."""
_SHARE = 4
"""Of a shard's text one byte in so many begins a window in question, for the estimate of memory."""
_SHARD_TEXT = 32 << 20

_HASHES = pa.schema([("hash", pa.uint64())])
_RUNS = pa.schema(
    [*((name, pa.uint64()) for name in ("hash", "document", "id_hi", "id_lo", "start")), ("keys", pa.large_binary())]
)
"""Consecutive windows of one anchor: their document, the first byte of the first, and the key of each."""
_STRETCHES = pa.schema([(name, pa.uint64()) for name in ("row", "start", "count", "first")])
"""Consecutive windows of a shard that are all first copies, or all later ones; see `Stretches`."""


class AnchorColumns:
    """The anchors of each text's windows, as a column `<name>_anchors`.

    For each anchor its hash and the first byte of its first window, 8 bytes each, then how many windows the text has;
    nothing at all for a text that is shorter than a window.

    Args:
        repeats: what counts as a repeat.
        name: what the column's name begins with.
    """

    def __init__(self, repeats: RepeatedSubstrings, *, name: str):
        self._repeats = repeats
        told = internal(f"{name}_anchors", pa.large_binary(), "hashes and places of some of the text's substrings")
        self.schema = pa.schema([told])

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return the column."""
        _, offsets = as_buffer(texts)
        found = self._repeats.anchors(texts)
        counts = np.bincount(found.texts, minlength=len(offsets) - 1)
        words = 2 * counts + (counts > 0)
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(words)])
        out = np.zeros(int(bounds[-1]), "<u8")
        firsts = np.cumsum(counts) - counts
        places = bounds[found.texts] + 2 * (np.arange(len(found.texts)) - firsts[found.texts])
        out[places] = found.hashes
        out[places + 1] = found.starts
        held = counts > 0
        out[bounds[1:][held] - 1] = np.diff(offsets)[held] - self._repeats.length + 1
        buffers = [None, pa.py_buffer(bounds * 8), pa.py_buffer(out)]
        column = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(counts), buffers)
        return pa.RecordBatch.from_arrays([column], schema=self.schema)


class _Runs(NamedTuple):
    """Anchors of some texts, and how many windows each has."""

    anchors: Anchors
    counts: npt.NDArray[np.int64]


def _anchors(column: pa.LargeBinaryArray) -> _Runs:
    """Return what a column of `AnchorColumns` without nulls holds."""
    _, offsets, data = column.buffers()
    if not len(column) or data is None:
        none = np.zeros(0, np.int64)
        return _Runs(Anchors(none.astype(np.uint64), none, none), none)
    bounds = np.frombuffer(offsets, np.int64, len(column) + 1, 8 * column.offset)
    words = np.frombuffer(data, "<u8", int(bounds[-1] - bounds[0]) // 8, int(bounds[0])).astype(np.uint64)
    bounds = (bounds - bounds[0]) // 8
    sizes = np.diff(bounds)
    texts = np.repeat(np.arange(len(column)), sizes // 2)
    skipped = np.cumsum(sizes % 2) - sizes % 2  # the numbers of windows of the texts before
    places = 2 * np.arange(len(texts)) + skipped[texts]
    starts = words[places + 1].astype(np.int64)
    ends = np.empty(len(texts), np.int64)
    ends[:-1] = starts[1:]
    last = np.append(texts[1:] != texts[:-1], True) if len(texts) else np.zeros(0, np.bool_)
    ends[last] = words[places[last] + 2].astype(np.int64)
    return _Runs(Anchors(words[places], texts, starts), ends - starts)


@dataclass(frozen=True)
class RemoveSubstrings:
    """What a step that removes repeated substrings was asked for.

    Attributes:
        repeats: what counts as a repeat.
        prefix: what the columns' names begin with.
        least: code points that must be left of a text.
        spans: whether what went is kept in a column.
    """

    repeats: RepeatedSubstrings
    prefix: str
    least: int
    spans: bool

    @property
    def anchors(self) -> str:
        """The column of `AnchorColumns`."""
        return f"{self.prefix}_anchors"


def substring_memory(text_bytes: int) -> int:
    """Return about the bytes that a worker takes for a corpus of so many bytes of text."""
    anchors = _ANCHOR_MEMORY * min(ANCHORS_PER_PARTITION, text_bytes)
    windows = _WINDOW_MEMORY * min(WINDOWS_PER_PARTITION, text_bytes // _SHARE)
    return max(anchors, windows, 3 * 8 * min(text_bytes, _SHARD_TEXT) // _SHARE)


@dataclass(frozen=True)
class _AnchorPartitions:
    unfinished: str
    each: int

    def __call__(self, values: Values) -> int:
        """Return into how many partitions anchors are cut, which depends on the corpus alone; none if all is done."""
        text = sum(shard.text_bytes for shard in stored_shards(values[READ]))
        return max(1, -(-text // (self.each * ANCHORS_PER_PARTITION))) if values[self.unfinished] else 0


@dataclass(frozen=True)
class _SendAnchors:
    """A shard's different anchors, those that it has several times twice, by partition."""

    reader: ColumnReader
    column: str

    def __call__(self, shard: Shard, partitions: int, values: Values) -> Sequence[pa.RecordBatch]:
        """Return one batch a partition."""
        del values
        if not partitions:
            return []
        found = [np.zeros(0, np.uint64)]
        found += [_anchors(batch.column(self.column)).anchors.hashes for batch, _ in kept_batches(self.reader, shard)]
        none = np.zeros(0, np.int64)
        hashes = Anchors(np.concatenate(found), none, none).to_send()
        return cut_rows(hashes[:, None], partition_of(hashes, partitions), partitions, _HASHES)


class _MatchAnchors:
    """The anchors of a partition that are repeated."""

    def __call__(self, batches: Sequence[pa.RecordBatch], values: Values) -> Sequence[pa.RecordBatch]:
        """Return a batch of `_HASHES` a shard: of those that it has."""
        del values
        sent = [batch.column(0).to_numpy() for batch in batches]
        repeated = repeated_anchors(np.concatenate([np.zeros(0, np.uint64), *sent]))
        return [pa.RecordBatch.from_arrays([pa.array(np.intersect1d(one, repeated))], schema=_HASHES) for one in sent]


@dataclass(frozen=True)
class _KeepAnchors:
    """Keeps which of a shard's anchors are repeated, and counts the windows that have one."""

    reader: ColumnReader
    column: str
    place: Place
    unfinished: str

    def __call__(self, shard: Shard, batches: Sequence[pa.RecordBatch], values: Values) -> bytes:
        """Write them; return a line of JSON."""
        if not values[self.unfinished]:
            return b""
        repeated = np.sort(np.ascontiguousarray(batch_rows(batches, _HASHES)[:, 0]))
        windows = 0
        for batch, _ in kept_batches(self.reader, shard):
            runs = _anchors(batch.column(self.column))
            windows += int(runs.counts[_among(runs.anchors.hashes, repeated)].sum())
        with writer(self.place.file(shard), _HASHES) as out:
            out.write_batch(pa.RecordBatch.from_arrays([pa.array(repeated)], schema=_HASHES))
        return json.dumps({"windows": windows}).encode() + b"\n"


def _among(hashes: npt.NDArray[np.uint64], known: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return which hashes are among some ascending ones."""
    if not len(known):
        return np.zeros(len(hashes), np.bool_)
    found: npt.NDArray[np.bool_] = known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)] == hashes
    return found


@dataclass(frozen=True)
class _WindowPartitions:
    anchors: str
    unfinished: str

    def __call__(self, values: Values) -> int:
        """Return into how many partitions windows are cut; none if none has a repeated anchor, or all is done."""
        windows = sum(json.loads(line)["windows"] for line in values[self.anchors].splitlines())
        return -(-windows // WINDOWS_PER_PARTITION) if values[self.unfinished] else 0


@dataclass(frozen=True)
class _SendWindows:
    """The keys of a shard's windows that have a repeated anchor, by partition of the anchors."""

    reader: ColumnReader
    column: str
    repeated: Place
    repeats: RepeatedSubstrings

    def __call__(self, shard: Shard, partitions: int, values: Values) -> Sequence[pa.RecordBatch]:
        """Return one batch a partition."""
        del values
        if not partitions:
            return []
        with ColumnFile(self.repeated.file(shard)) as file:
            repeated = file[0].column(0).to_numpy()
        found: list[list[pa.RecordBatch]] = [[] for _ in range(partitions)]
        for batch, rows in kept_batches(self.reader, shard):
            anchors = _anchors(batch.column(self.column)).anchors
            ids = id_words(batch.column("doc_id"))
            runs = self.repeats.windows(batch.column("text"), anchors, repeated, rows.astype(np.uint64))
            if not len(runs.keys):
                continue
            for part, mine in enumerate(runs.split(partitions)):
                if len(mine.keys):
                    found[part].append(_runs_batch(shard, mine, ids[np.searchsorted(rows, mine.documents)]))
        return [_joined(parts) for parts in found]


def _runs_batch(shard: Shard, runs: WindowRuns, ids: npt.NDArray[np.uint64]) -> pa.RecordBatch:
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(runs.counts)]) * 8
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(runs.keys.astype("<u8"))]
    keys = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(runs.counts), buffers)
    numbers = np.uint64(shard.index << 32) + runs.documents
    words = [runs.hashes, numbers, ids[:, 0].copy(), ids[:, 1].copy(), runs.starts.astype(np.uint64)]
    return pa.RecordBatch.from_arrays([*map(pa.array, words), keys], schema=_RUNS)


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.Table.from_batches(list(batches), _RUNS).combine_chunks()
    empty = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in _RUNS], schema=_RUNS)
    return table.to_batches()[0] if table.num_rows else empty


class _MatchWindows:
    """The copies among the windows of a partition."""

    def __call__(self, batches: Sequence[pa.RecordBatch], values: Values) -> Sequence[pa.RecordBatch]:
        """Return a batch of `_STRETCHES` a shard."""
        del values
        if not batches:
            return []
        table = _joined(batches)
        hashes, documents, high, low, starts = (table.column(name).to_numpy() for name in _RUNS.names[:5])
        keys = table.column("keys")
        _, offsets, data = keys.buffers()
        bounds = np.frombuffer(offsets, np.int64, len(keys) + 1, 8 * keys.offset) if len(keys) else np.zeros(1, int)
        raw = np.frombuffer(data, "<u8", int(bounds[-1] - bounds[0]) // 8, int(bounds[0])) if len(keys) else hashes
        runs = WindowRuns(
            hashes, documents, starts.astype(np.int64), np.diff(bounds) // 8, raw.astype(np.uint64, copy=False)
        )
        named, first = np.unique(documents, return_index=True)
        found = compare_windows(runs, named, np.column_stack([high[first], low[first]]))
        rows = found.documents & np.uint64(0xFFFFFFFF)
        words = [rows, found.starts.astype(np.uint64), found.counts.astype(np.uint64), found.first.astype(np.uint64)]
        owners = (found.documents >> np.uint64(32)).astype(np.int64)
        return cut_rows(np.column_stack(words), owners, len(batches), _STRETCHES)


@dataclass(frozen=True)
class _TakeOut:
    """Takes the copies out of a shard's texts."""

    work: CutText
    repeats: RepeatedSubstrings

    def __call__(self, shard: Shard, batches: Sequence[pa.RecordBatch], values: Values) -> Done:
        """Return the line of `CutText`."""
        del values
        table = batch_rows(batches, _STRETCHES).astype(np.int64)
        table = table[np.lexsort((table[:, 1], table[:, 0]))]

        def find(batch: pa.RecordBatch, rows: npt.NDArray[np.int64]) -> Cuts:
            low, high = np.searchsorted(table[:, 0], [rows[0], rows[-1] + 1]) if len(rows) else (0, 0)
            mine = np.ascontiguousarray(table[low:high].T)
            places = np.searchsorted(rows, mine[0])
            return self.repeats.spans(batch.column("text"), places, mine[1], mine[2], mine[3] == 1)

        return self.work(shard, find)


def remove_substrings(corpus: Corpus, options: RemoveSubstrings) -> Decision:
    """Take repeated substrings out of the rows alive, and write texts, columns and row states."""
    stage, repeats = corpus.stage, options.repeats
    text, columns = stage.place("whole-text" if corpus.score_all else "text"), stage.place("columns")
    repeated = stage.place("repeated")
    read = ColumnReader.of(corpus.state, corpus.columns, ["text"])
    work = CutText(stage, read, text, columns, options.prefix, options.least, options.spans, corpus.score_all)
    unfinished = corpus.each_shard("finished work", Unfinished(work.places))
    small = ColumnReader.of(corpus.state, corpus.columns, [options.anchors])
    both = ColumnReader.of(corpus.state, corpus.columns, ["text", options.anchors])
    each = max(1, (repeats.length - repeats.size) // 2)
    anchors = Exchange(
        name=f"{stage.label}: anchors",
        tasks=StoredShards(),
        partitions=_AnchorPartitions(unfinished.name, each),
        send=_SendAnchors(small, options.anchors),
        match=_MatchAnchors(),
        receive=_KeepAnchors(small, options.anchors, repeated, unfinished.name),
        sent=_HASHES,
        returned=_HASHES,
        folder=stage.place("anchors-exchange").folder,
        inputs=(READ, unfinished.name),
        after=corpus.after,
        step=stage.label,
    )
    windows = Exchange(
        name=f"{stage.label}: repeats",
        tasks=StoredShards(),
        partitions=_WindowPartitions(anchors.name, unfinished.name),
        send=_SendWindows(both, options.anchors, repeated, repeats),
        match=_MatchWindows(),
        receive=_TakeOut(work, repeats),
        sent=_RUNS,
        returned=_STRETCHES,
        folder=stage.place("windows-exchange").folder,
        inputs=(READ, unfinished.name, anchors.name),
        after=corpus.after,
        step=stage.label,
    )
    added = dict.fromkeys(cut_schema(options.prefix, spans=options.spans).names, columns) | {"text": text}
    report = Rewritten(stage.label, windows.name, f"substrings of at least {repeats.length} bytes that it has again")
    return Decision((unfinished, anchors, windows), added, report, (windows.name,))
