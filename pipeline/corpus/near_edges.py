"""Near-duplicates, from signatures to edges: candidate pairs by the bands, and which of them are alike indeed.

Both move rows between shards: first band rows to partitions of the hash space, from where pairs come back to the shards
of their documents; then, with verification, pairs and the shingles of what they name to partitions of the documents,
from where edges come back to the shard of the first document of each. What comes back is kept in a file a shard.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.clusters import batch_rows, cut_rows
from tamis.pipeline.corpus.earlier import EarlierPart, Indexes, every_part
from tamis.pipeline.graph.passes import Done, Values
from tamis.pipeline.passes.shard_reader import ColumnReader, read_columns
from tamis.pipeline.storage.column_file import ColumnFile, writer
from tamis.pipeline.storage.place import Place, Shard
from tamis.scorers.dedup.bands import BandRows
from tamis.scorers.dedup.clusters import Link
from tamis.scorers.dedup.components import number_partitions
from tamis.scorers.dedup.near_duplicates import NearDuplicates, document_numbers
from tamis.scorers.dedup.pairs import Edges, unique_pairs
from tamis.scorers.dedup.shingles import ShingleSets

__all__ = [
    "BANDS",
    "BAND_ROWS_PER_PARTITION",
    "EVIDENCE",
    "EVIDENCE_BYTES_PER_PARTITION",
    "FOUND_EDGES",
    "PAIRS",
    "PAIRS_PER_PARTITION",
    "BandPartitions",
    "EvidencePartitions",
    "MatchBands",
    "MatchEvidence",
    "ReceiveEdges",
    "ReceivePairs",
    "SendBands",
    "SendEvidence",
    "count_notes",
    "evidence_of",
    "own_edges",
]

BAND_ROWS_PER_PARTITION = 4_000_000
"""Of 24 bytes, and 40 while they are matched."""
EVIDENCE_BYTES_PER_PARTITION = 256 << 20
PAIRS_PER_PARTITION = 8_000_000
"""Candidates beyond which each text of a bucket is compared with fewer others: where very many resemble each other."""

BANDS = pa.schema([(name, pa.uint64()) for name in ("key", "document", "digest")])
PAIRS = pa.schema([(name, pa.uint64()) for name in ("a", "b", "kind")])
"""A pair of documents, or, as `b` of one row a partition, how many comparisons were left out."""
_UNLIKE, _SAME, _LEFT_OUT = range(3)
EVIDENCE = pa.schema([("a", pa.uint64()), ("b", pa.uint64()), ("evidence", pa.large_binary())])
"""A pair, or a document (`a`) with its shingles or signature."""
FOUND_EDGES = pa.schema([(name, pa.uint64()) for name in ("a", "b", "similarity")])
"""An edge, and the bits of its similarity."""
EDGES = pa.schema([("a", pa.uint64()), ("b", pa.uint64()), ("similarity", pa.float64()), ("same", pa.bool_())])

_SHARD = np.uint64(32)
_ROW = np.uint64(0xFFFFFFFF)


def count_notes(value: bytes, *keys: str) -> list[int]:
    """Return sums over the lines of JSON that a pass returned."""
    notes = [json.loads(line) for line in value.splitlines()]
    return [sum(note[key] for note in notes) for key in keys]


def _owners(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    return (numbers >> _SHARD).astype(np.int64)


@dataclass(frozen=True)
class BandPartitions:
    """Into how many partitions to cut the hash space: none where the step is finished."""

    unfinished: str
    bands: int
    indexes: Indexes = ()

    def __call__(self, values: Values) -> int:
        """Return the number, which depends on the corpus and the indexes alone."""
        rows = sum(part.rows for part in every_part(values, self.indexes)) * self.bands
        return -(-max(rows, 1) // BAND_ROWS_PER_PARTITION) if values[self.unfinished] else 0


def _words_of(column: pa.FixedSizeBinaryArray, words: int) -> npt.NDArray[np.uint64]:
    """Return the 64-bit words of a column of fixed size without nulls, so many a row."""
    raw = np.frombuffer(column.buffers()[1], "<u8", len(column) * words, column.offset * words * 8)
    return raw.astype(np.uint64)


@dataclass(frozen=True)
class SendBands:
    """A shard's band rows of the rows alive, by partition of the hash space."""

    reader: ColumnReader
    prefix: str
    bands: int
    link: Link

    def __call__(self, shard: Shard, partitions: int, values: Values) -> Sequence[pa.RecordBatch]:
        """Return one batch a partition."""
        del values
        if not partitions:
            return []
        if isinstance(shard, EarlierPart):
            return _cut(self._earlier(shard), partitions)
        found: list[BandRows] = []
        first = 0
        for batch, state, _ in self.reader.read(shard):
            column = batch.column(f"{self.prefix}_bands")
            rows = np.flatnonzero(state.mask & np.asarray(column.is_valid()))
            taken = batch.take(pa.array(rows))
            keys = _words_of(taken.column(f"{self.prefix}_bands"), self.bands)
            numbers = document_numbers(shard.index, first + batch.num_rows)[first + rows]
            digests = taken.column(f"{self.prefix}_digest").to_numpy(zero_copy_only=False).astype(np.uint64)
            found.append(BandRows(keys, np.repeat(numbers, self.bands), np.repeat(digests, self.bands)))
            first += batch.num_rows
        return _cut(BandRows.concatenate(found), partitions)

    def _earlier(self, part: EarlierPart) -> BandRows:
        """Return the band rows of an index; with `link: kept`, of what earlier runs kept."""
        part.check()
        table = part.read(["row", "kept", "digest", "bands"])
        numbers = part.own(table.column("row"))
        if self.link == "kept":
            stays = part.numbers(table.column("kept")) == numbers
            table, numbers = table.filter(pa.array(stays)).combine_chunks(), numbers[stays]
        keys = np.frombuffer(b"".join(table.column("bands").to_pylist()), "<u8").astype(np.uint64)
        digests = table.column("digest").to_numpy().astype(np.uint64)
        return BandRows(keys, np.repeat(numbers, self.bands), np.repeat(digests, self.bands))


def _cut(rows: BandRows, partitions: int) -> list[pa.RecordBatch]:
    parts = rows.split(partitions)
    return [pa.RecordBatch.from_arrays([pa.array(column) for column in part], schema=BANDS) for part in parts]


@dataclass(frozen=True)
class MatchBands:
    """The candidate pairs of a partition, to the shards of their documents."""

    options: NearDuplicates
    indexes: Indexes = ()

    def __call__(self, batches: Sequence[pa.RecordBatch], values: Values) -> Sequence[pa.RecordBatch]:
        """Return a batch of `PAIRS` a shard: to the shard of the first document, and with verification of the other."""
        table = batch_rows(batches, BANDS)
        parts = every_part(values, self.indexes)
        groups = np.array([part.group if isinstance(part, EarlierPart) else 0 for part in parts], np.int64)
        bands = BandRows(*np.ascontiguousarray(table.T))
        found = self.options.candidates(bands, limit=PAIRS_PER_PARTITION, groups=groups)
        rows, owners = [np.array([[0, found.left_out, _LEFT_OUT]], np.uint64)], [np.zeros(1, np.int64)]
        for pairs, kind in ((found.pairs, _UNLIKE), (found.equal, _SAME)):
            marked = np.column_stack([pairs, np.full(len(pairs), kind, np.uint64)])
            here, there = _owners(pairs[:, 0]), _owners(pairs[:, 1])
            rows.append(marked)
            owners.append(here)
            if self.options.verify != "none" and kind == _UNLIKE:
                rows.append(marked[here != there])
                owners.append(there[here != there])
        return cut_rows(np.concatenate(rows), np.concatenate(owners), len(batches), PAIRS) if batches else []


def _edges_batch(edges: Edges) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(column) for column in edges], schema=EDGES)


@dataclass(frozen=True)
class ReceivePairs:
    """Keeps the pairs that a shard's documents are in, as edges that are still to be verified."""

    place: Place
    words: bool
    unfinished: str

    def __call__(self, shard: Shard, batches: Sequence[pa.RecordBatch], values: Values) -> bytes | Done:
        """Write them; return a line of counts, and of how many bytes of evidence they ask for, about."""
        path = self.place.file(shard)
        if not values[self.unfinished]:
            return _known(path)
        table = batch_rows(batches, PAIRS)
        unlike, same = (unique_pairs(np.ascontiguousarray(table[table[:, 2] == kind, :2])) for kind in (_UNLIKE, _SAME))
        named = np.unique(unlike)
        documents = int((_owners(named) == shard.index).sum())
        # of a part of an index, what is compared is nearly all of the file
        unit = 1 if isinstance(shard, EarlierPart) else 2 if self.words else 8
        with writer(path, EDGES) as out:
            out.write_batch(_edges_batch(Edges.of(unlike, np.nan)))
            out.write_batch(_edges_batch(Edges.of(same, 1.0, same=True)))
            out.note = {
                "candidates": int((_owners(unlike[:, 0]) == shard.index).sum()),
                "copies": len(same),
                "left_out": int(table[table[:, 2] == _LEFT_OUT, 1].sum()),
                "ties": _count_ties(shard),
                "evidence": -(-documents * shard.text_bytes * unit // max(1, shard.rows)),
            }
        return json.dumps(out.note).encode() + b"\n"


def _known(path: str) -> Done:
    """Return the counts that a file of an earlier run notes."""
    with ColumnFile(path) as file:
        return Done(json.dumps(file.note).encode() + b"\n", reused=True)


def own_edges(place: Place, shard: Shard) -> Edges:
    """Return the edges that a shard keeps: those whose first document is its own.

    A part of an index keeps beside these the ties of its documents that an earlier run removed to those kept for them,
    with the removed one first.
    """
    with ColumnFile(place.file(shard)) as file:
        table = file.read()
    columns = [table.column(name).to_numpy() for name in EDGES.names]
    mine = _owners(columns[0]) == shard.index
    found = Edges(*columns).take(mine)
    if not isinstance(shard, EarlierPart):
        return found
    return Edges(*(np.concatenate(pair) for pair in zip(found, _ties(shard), strict=True)))


def _ties(part: EarlierPart) -> Edges:
    table = part.read(["row", "kept"])
    numbers, kept = part.own(table.column("row")), part.numbers(table.column("kept"))
    gone = kept != numbers
    return Edges.of(np.column_stack([numbers[gone], kept[gone]]), np.nan)


def _count_ties(shard: Shard) -> int:
    return len(_ties(shard).a) if isinstance(shard, EarlierPart) else 0


@dataclass(frozen=True)
class EvidencePartitions:
    """Into how many partitions to cut the documents that pairs name: by the bytes of their evidence, about."""

    pairs: str
    unfinished: str

    def __call__(self, values: Values) -> int:
        """Return the number; none where there is no pair, or the step is finished."""
        candidates, evidence = count_notes(values[self.pairs], "candidates", "evidence")
        wanted = candidates and values[self.unfinished]
        return -(-max(evidence, 1) // EVIDENCE_BYTES_PER_PARTITION) if wanted else 0


@dataclass(frozen=True)
class SendEvidence:
    """A shard's pairs, by a hash of their first documents, and what is compared of the shard's documents in pairs.

    Attributes:
        options: what is compared.
        pairs: place of the pairs.
        columns: column to place.
        prefix: of the columns of signatures.
    """

    options: NearDuplicates
    pairs: Place
    columns: dict[str, Place]
    prefix: str

    def __call__(self, shard: Shard, partitions: int, values: Values) -> Sequence[pa.RecordBatch]:
        """Return one batch a partition."""
        del values
        if not partitions:
            return []
        with ColumnFile(self.pairs.file(shard)) as file:
            pairs = np.column_stack([file[0].column(name).to_numpy() for name in ("a", "b")]).astype(np.uint64)
        parts = number_partitions(pairs[:, 0], partitions)
        mine = _owners(pairs) == shard.index
        wanted = np.concatenate(
            [np.column_stack([pairs[mine[:, side], side], parts[mine[:, side]].astype(np.uint64)]) for side in (0, 1)]
        )
        wanted = unique_pairs(wanted)
        numbers, inverse = np.unique(wanted[:, 0], return_inverse=True)
        evidence = self._evidence(shard, (numbers & _ROW).astype(np.int64))
        batches = []
        for part in range(partitions):
            sent = pairs[(parts == part) & mine[:, 0]]
            places = inverse[wanted[:, 1] == part]
            columns = [
                np.concatenate([sent[:, 0], numbers[places]]),
                np.concatenate([sent[:, 1], np.zeros(len(places), np.uint64)]),
            ]
            told = pa.concat_arrays([pa.nulls(len(sent), pa.large_binary()), evidence.take(pa.array(places))])
            batches.append(pa.RecordBatch.from_arrays([*map(pa.array, columns), told], schema=EVIDENCE))
        return batches

    def _evidence(self, shard: Shard, rows: npt.NDArray[np.int64]) -> pa.LargeBinaryArray:
        """Return what is compared of some of the shard's rows, ascending."""
        if isinstance(shard, EarlierPart):
            table = shard.read(["row", "evidence"])
            places = np.searchsorted(table.column("row").to_numpy(), rows.astype(np.uint64))
            told = table.column("evidence").take(pa.array(places)).cast(pa.large_binary())
            return pa.concat_arrays([pa.array([], pa.large_binary()), *told.chunks])
        name = "text" if self.options.verify == "shingles" else f"{self.prefix}_minima"
        found = [pa.array([], pa.large_binary())]
        first = 0
        for batch in read_columns(shard, [name], self.columns):
            low, high = np.searchsorted(rows, [first, first + batch.num_rows])
            mine = rows[low:high] - first
            first += batch.num_rows
            if not len(mine):
                continue
            found.append(evidence_of(self.options, batch.column(name), mine))
        return pa.concat_arrays(found)


def evidence_of(options: NearDuplicates, column: pa.Array, rows: npt.NDArray[np.int64]) -> pa.LargeBinaryArray:
    """Return what is compared of some rows.

    Args:
        options: whether it is shingles or signatures.
        column: texts, or signatures.
        rows: ascending.
    """
    if options.verify != "shingles":
        return column.take(pa.array(rows)).cast(pa.binary()).cast(pa.large_binary())
    sets = options.evidence(column, rows)
    buffers = [None, pa.py_buffer(sets.bounds * 8), pa.py_buffer(sets.hashes.astype("<u8"))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(sets), buffers)


@dataclass(frozen=True)
class MatchEvidence:
    """The edges of a partition, to the shards of their first documents."""

    options: NearDuplicates

    def __call__(self, batches: Sequence[pa.RecordBatch], values: Values) -> Sequence[pa.RecordBatch]:
        """Return a batch of `FOUND_EDGES` a shard."""
        del values
        table = pa.Table.from_batches(list(batches), EVIDENCE).combine_chunks()
        numbers = np.column_stack([table.column(name).to_numpy() for name in ("a", "b")]).astype(np.uint64)
        is_pair = np.asarray(table.column("evidence").is_null())
        pairs, documents = numbers[is_pair], numbers[~is_pair, 0]
        order = np.argsort(documents)
        told = table.column("evidence").take(pa.array(np.flatnonzero(~is_pair)[order])).combine_chunks()
        bounds, data = _content(told)
        sets = minima = None
        if self.options.verify == "shingles":
            sets = ShingleSets(bounds // 8, data.view("<u8").astype(np.uint64, copy=False))
        else:
            permutations = self.options.minhash.permutations
            kind = permutations.dtype
            minima = data.view(kind.newbyteorder("<")).astype(kind, copy=False).reshape(-1, permutations.count)
        edges = self.options.edges(pairs, documents[order], sets, minima)
        rows = np.column_stack([edges.a, edges.b, np.ascontiguousarray(edges.similarity).view(np.uint64)])
        return cut_rows(rows, _owners(edges.a), len(batches), FOUND_EDGES) if batches else []


def _content(column: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return offsets and bytes of a large binary array, aligned for any numbers."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    array = pa.concat_arrays([pa.array([], pa.large_binary()), *chunks])
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int64, len(array) + 1, 8 * array.offset) if len(array) else np.zeros(1, np.int64)
    content = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return bounds - bounds[0], content[bounds[0] : bounds[-1]].copy()


@dataclass(frozen=True)
class ReceiveEdges:
    """Keeps a shard's edges: those that were verified, and those between texts of the same shingles."""

    pairs: Place
    place: Place
    unfinished: str

    def __call__(self, shard: Shard, batches: Sequence[pa.RecordBatch], values: Values) -> bytes | Done:
        """Write them; return a line of counts."""
        path = self.place.file(shard)
        if not values[self.unfinished]:
            return _known(path)
        table = batch_rows(batches, FOUND_EDGES)
        found = Edges.of(table[:, :2], np.ascontiguousarray(table[:, 2]).view(np.float64))
        before = own_edges(self.pairs, shard)
        edges = Edges.concatenate([found, before.take(before.same)])
        note = {"edges": len(edges.a), "ties": _count_ties(shard)}
        with writer(path, EDGES) as out:
            out.write_batch(_edges_batch(edges))
            out.note = note
        return json.dumps(note).encode() + b"\n"
