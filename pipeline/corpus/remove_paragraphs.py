"""Repeated lines or paragraphs taken out over the whole corpus: keys, with what each shard has of them, change hands.

Where an earlier run has a line or paragraph, that one counts as the first copy: all copies in this run go.

Memory is bounded by a shard's different keys and by the keys of a partition.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.clusters import batch_rows, cut_rows
from tamis.pipeline.corpus.context import Corpus, Decision
from tamis.pipeline.corpus.earlier import EarlierPart, EveryPart, Indexes, IndexOptions, every_part
from tamis.pipeline.corpus.leave_index import IndexPlace, index_passes
from tamis.pipeline.corpus.rewrite_text import CutText, Rewritten, cut_schema, kept_batches
from tamis.pipeline.corpus.unfinished import Unfinished
from tamis.pipeline.graph.passes import Done, Exchange, Node, Values
from tamis.pipeline.passes.shard_reader import ColumnReader
from tamis.pipeline.passes.stage import READ, stored_shards
from tamis.pipeline.storage.place import Shard
from tamis.schemas.tables import internal
from tamis.scorers.dedup.bands import partition_of
from tamis.scorers.dedup.copies import KeyTally
from tamis.scorers.dedup.cuts import Cuts
from tamis.scorers.dedup.near_duplicates import document_numbers
from tamis.scorers.dedup.paragraphs import RepeatedParagraphs
from tamis.scorers.text.noise import id_words
from tamis.scorers.text.texts import Texts

__all__ = ["ParagraphColumns", "RemoveParagraphs", "paragraph_memory", "remove_paragraphs"]

KEYS_PER_PARTITION = 2_000_000
BYTES_PER_KEY = 40
"""Text for which there is a key, about: fewer partitions than there might be, more than most texts need."""
_KEY_MEMORY = 200
"""Bytes of a key while those of a shard or partition are compared."""
_SHARD_TEXT = 32 << 20

_SENT = pa.schema(
    [(name, pa.uint64()) for name in ("key", "id_hi", "id_lo", "document", "place", "copies", "documents")]
)
"""What a shard has of a key; see `KeyTally`."""
_RETURNED = pa.schema([(name, pa.uint64()) for name in ("key", "document", "place")])
"""A key whose copies go, and where its first copy is."""
_SEEN = pa.schema([("key", pa.uint64()), ("copies", pa.int64()), ("documents", pa.int64())])
"""What an index has: a key, how many copies of it a shard has, and in how many documents."""
_ELSEWHERE = np.uint64(2**64 - 1)
"""In place of the number of the document that has the first copy, where an earlier run has it."""


class ParagraphColumns:
    """The keys of each text's lines or paragraphs, as a column `<name>_units`: 8 bytes each, 0 where it takes no part.

    Args:
        repeats: what counts as a repeat.
        name: what the column's name begins with.
    """

    def __init__(self, repeats: RepeatedParagraphs, *, name: str):
        self._repeats = repeats
        told = internal(f"{name}_units", pa.large_binary(), "hashes of the text's lines or paragraphs")
        self.schema = pa.schema([told])

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return the column."""
        units = self._repeats.units(texts)
        bounds = np.searchsorted(units.texts, np.arange(len(texts) + 1)) * 8
        buffers = [None, pa.py_buffer(bounds.astype(np.int64)), pa.py_buffer(units.keys.astype("<u8"))]
        column = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(texts), buffers)
        return pa.RecordBatch.from_arrays([column], schema=self.schema)


def _keys(column: pa.LargeBinaryArray) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return the keys of a column without nulls, and where each text's begin (texts + 1,)."""
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int64, len(column) + 1, 8 * column.offset) if len(column) else np.zeros(1, int)
    raw = np.frombuffer(data, "<u8", int(bounds[-1] - bounds[0]) // 8, int(bounds[0])) if bounds[-1] else np.zeros(0)
    return raw.astype(np.uint64), (bounds - bounds[0]) // 8


@dataclass(frozen=True)
class RemoveParagraphs:
    """What a step that removes repeated paragraphs was asked for.

    Attributes:
        repeats: what counts as a repeat, and what goes.
        prefix: what the columns' names begin with.
        least: code points that must be left of a text.
        spans: whether what went is kept in a column.
        index: what earlier runs have seen, and where what this one saw goes.
    """

    repeats: RepeatedParagraphs
    prefix: str
    least: int
    spans: bool
    index: IndexOptions = field(default_factory=IndexOptions)

    @property
    def units(self) -> str:
        """The column of `ParagraphColumns`."""
        return f"{self.prefix}_units"


def paragraph_memory(text_bytes: int, seen: int = 0) -> int:
    """Return about the bytes that a worker takes for so many bytes of text, and so many keys of earlier runs."""
    keys = max(1, min(KEYS_PER_PARTITION, text_bytes // BYTES_PER_KEY + seen))
    return _KEY_MEMORY * max(keys, min(text_bytes, _SHARD_TEXT) // BYTES_PER_KEY)


@dataclass(frozen=True)
class _Partitions:
    unfinished: str
    indexes: Indexes

    def __call__(self, values: Values) -> int:
        """Return into how many partitions keys are cut, which depends on the corpus alone; none if all is done."""
        parts = every_part(values, self.indexes)
        keys = sum(one.rows if isinstance(one, EarlierPart) else one.text_bytes // BYTES_PER_KEY for one in parts)
        return max(1, -(-keys // KEYS_PER_PARTITION)) if values[self.unfinished] else 0


@dataclass(frozen=True)
class _SendKeys:
    """What a shard has of each key, by partition."""

    reader: ColumnReader
    units: str
    repeats: RepeatedParagraphs

    def __call__(self, shard: Shard, partitions: int, values: Values) -> Sequence[pa.RecordBatch]:
        """Return one batch a partition."""
        del values
        if not partitions:
            return []
        if isinstance(shard, EarlierPart):
            shard.check()
            tally = _seen_tally(shard)
        else:
            tally = _shard_tally(shard, self.reader, self.units, self.repeats)
        table = np.column_stack([tally.keys, tally.ids, tally.documents, *(c.astype(np.uint64) for c in tally[3:])])
        return cut_rows(table, partition_of(tally.keys, partitions), partitions, _SENT)


def _shard_tally(shard: Shard, reader: ColumnReader, units: str, repeats: RepeatedParagraphs) -> KeyTally:
    """Return what a shard has of each key."""
    tallies = []
    for batch, rows in kept_batches(reader, shard):
        keys, bounds = _keys(batch.column(units))
        texts = np.repeat(np.arange(len(rows)), np.diff(bounds))
        numbers = document_numbers(shard.index, int(rows[-1]) + 1)[rows] if len(rows) else np.zeros(0, np.uint64)
        tallies.append(repeats.tally(texts, keys, numbers, id_words(batch.column("doc_id"))))
    return KeyTally.joined(tallies)


def _seen_tally(part: EarlierPart) -> KeyTally:
    """Return what a part of an index has of each key; where in its run is of no account."""
    keys, copies, documents = (np.asarray(part.read([name]).column(name).to_numpy()) for name in _SEEN.names)
    none = np.zeros(len(keys), np.int64)
    numbers = np.full(len(keys), _ELSEWHERE)
    return KeyTally(keys.astype(np.uint64), np.zeros((len(keys), 2), np.uint64), numbers, none, copies, documents)


def _tally(batch: pa.RecordBatch) -> KeyTally:
    table = batch_rows([batch], _SENT)
    places, copies, documents = table[:, 4:].T.astype(np.int64)
    return KeyTally(table[:, 0], table[:, 1:3], table[:, 3], places, copies, documents)


@dataclass(frozen=True)
class _MatchKeys:
    """The keys of a partition whose copies go."""

    repeats: RepeatedParagraphs

    def __call__(self, batches: Sequence[pa.RecordBatch], values: Values) -> Sequence[pa.RecordBatch]:
        """Return a batch of `_RETURNED` a shard: of the keys that it has."""
        tallies = [_tally(batch) for batch in batches]
        found = self.repeats.repeated(tallies).in_order()
        shards = len(stored_shards(values[READ]))
        earlier = np.concatenate([np.zeros(0, np.uint64), *(tally.keys for tally in tallies[shards:])])
        first = np.where(np.isin(found.keys, earlier), _ELSEWHERE, found.documents)
        table = np.column_stack([found.keys, first, found.places.astype(np.uint64)])
        answers = []
        for tally in tallies:
            places = np.searchsorted(found.keys, tally.keys)
            known = places < len(found.keys)
            known[known] = found.keys[places[known]] == tally.keys[known]
            columns = [pa.array(np.ascontiguousarray(column)) for column in table[places[known]].T]
            answers.append(pa.RecordBatch.from_arrays(columns, schema=_RETURNED))
        return answers


@dataclass(frozen=True)
class _TakeOut:
    """Takes the copies out of a shard's texts."""

    work: CutText
    units: str
    repeats: RepeatedParagraphs

    def __call__(self, shard: Shard, batches: Sequence[pa.RecordBatch], values: Values) -> Done:
        """Return the line of `CutText`; nothing for a part of an index."""
        del values
        if isinstance(shard, EarlierPart):
            return Done()
        table = batch_rows(batches, _RETURNED)
        table = table[np.argsort(table[:, 0])]
        none = np.zeros(len(table), np.int64)
        repeated = KeyTally(
            np.ascontiguousarray(table[:, 0]),
            np.zeros((len(table), 2), np.uint64),
            np.ascontiguousarray(table[:, 1]),
            table[:, 2].astype(np.int64),
            none,
            none,
        )

        def find(batch: pa.RecordBatch, rows: npt.NDArray[np.int64]) -> Cuts:
            keys, _ = _keys(batch.column(self.units))
            numbers = document_numbers(shard.index, int(rows[-1]) + 1)[rows] if len(rows) else np.zeros(0, np.uint64)
            return self.repeats.spans(self.repeats.located(batch.column("text"), keys), repeated, numbers)

        return self.work(shard, find)


@dataclass(frozen=True)
class _SeenKeys:
    """Makes the part of a shard, or copies one of an index.

    Attributes:
        reader: of the keys, and of the row states before.
        units: column of the keys.
        repeats: what counts as a repeat.
    """

    reader: ColumnReader
    units: str
    repeats: RepeatedParagraphs

    def __call__(self, shard: Shard, place: IndexPlace) -> tuple[pa.Table, int]:
        """Return the part, and how many documents its rows stand for."""
        del place
        if isinstance(shard, EarlierPart):
            shard.check()
            table = shard.read(_SEEN.names)
        else:
            tally = _shard_tally(shard, self.reader, self.units, self.repeats).in_order()
            table = pa.table([tally.keys, tally.counts, tally.holders], schema=_SEEN)
        return table, int(table.column("documents").to_numpy().sum())


def remove_paragraphs(corpus: Corpus, options: RemoveParagraphs) -> Decision:
    """Take repeated lines or paragraphs out of the rows alive, and write texts, columns and row states."""
    stage, indexes = corpus.stage, options.index.read
    text, columns = stage.place("whole-text" if corpus.score_all else "text"), stage.place("columns")
    read = ColumnReader.of(corpus.state, corpus.columns, ["text", options.units])
    work = CutText(stage, read, text, columns, options.prefix, options.least, options.spans, corpus.score_all)
    unfinished = corpus.each_shard("finished work", Unfinished(work.places))
    name = f"{stage.label}: repeats"
    parts: dict[str, Any] = {"units": options.units, "repeats": options.repeats}
    small = ColumnReader.of(corpus.state, corpus.columns, [options.units])
    exchange = Exchange(
        name=name,
        tasks=EveryPart(indexes),
        partitions=_Partitions(unfinished.name, indexes),
        send=_SendKeys(small, **parts),
        match=_MatchKeys(options.repeats),
        receive=_TakeOut(work, **parts),
        sent=_SENT,
        returned=_RETURNED,
        folder=stage.place("exchange").folder,
        inputs=(READ, unfinished.name),
        after=corpus.after,
        step=stage.label,
    )
    added = dict.fromkeys(cut_schema(options.prefix, spans=options.spans).names, columns) | {"text": text}
    what = f"{options.repeats.unit} that others have too"
    if options.index.folder is None:
        report = Rewritten(stage.label, name, what)
        return Decision((unfinished, exchange), added, report, (name,))
    written, listing = index_passes(stage, options.index, _SeenKeys(small, **parts), (name,))
    nodes: tuple[Node, ...] = (unfinished, exchange, written, listing)
    return Decision(nodes, added, Rewritten(stage.label, name, what, listing.name), (name, listing.name))
