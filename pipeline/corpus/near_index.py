"""The index that `near_dedup` leaves: signatures, what was kept for each document, and sizes of clusters."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tamis.pipeline.corpus.clusters import MATCHES, batch_rows
from tamis.pipeline.corpus.earlier import EarlierPart
from tamis.pipeline.corpus.leave_index import IndexPlace
from tamis.pipeline.corpus.near_edges import evidence_of
from tamis.pipeline.passes.shard_reader import ColumnReader
from tamis.pipeline.storage.column_file import ColumnFile
from tamis.pipeline.storage.place import Place, Shard
from tamis.scorers.dedup.near_duplicates import NearDuplicates
from tamis.scorers.text.noise import id_words

__all__ = ["SeenSignatures"]

SIGNATURES = pa.schema(
    [
        ("row", pa.uint64()),
        ("doc_id", pa.binary(16)),
        ("cluster", pa.binary(16)),
        ("kept", pa.uint64()),
        ("documents", pa.int64()),
        ("digest", pa.uint64()),
        ("bands", pa.binary()),
        ("evidence", pa.binary()),
    ]
)
"""A document: its row, ascending within a part; its id, that of the document kept for it, and that document's part and
row (part << 32 | row); how many documents it stands for (0 where it wasn't kept); the digest of its shingles, the
hashes of its bands, and what pairs are verified by: the hashes of its shingles (8 bytes each), its signature, or
nothing."""
_MADE = ("doc_id", "digest", "bands", "evidence")


@dataclass(frozen=True)
class SeenSignatures:
    """Makes the part of a shard, or anew one of an index.

    Attributes:
        reader: of signatures, of what pairs are verified by, and of the row states before.
        options: of the step.
        prefix: of the columns of signatures.
        matches: place of what was found of each shard and part.
    """

    reader: ColumnReader
    options: NearDuplicates
    prefix: str
    matches: Place

    def __call__(self, shard: Shard, place: IndexPlace) -> tuple[pa.Table, int]:
        """Return the part, and how many documents its rows stand for."""
        return self._earlier(shard, place) if isinstance(shard, EarlierPart) else self._new(shard, place)

    def _new(self, shard: Shard, place: IndexPlace) -> tuple[pa.Table, int]:
        columns = [f"{self.prefix}_bands", f"{self.prefix}_digest"]
        compared = {"shingles": "text", "signatures": f"{self.prefix}_minima", "none": None}[self.options.verify]
        schema = pa.schema([SIGNATURES.field(name) for name in _MADE])
        rows, tables = [np.zeros(0, np.int64)], [schema.empty_table()]
        first = 0
        for batch, state, _ in self.reader.read(shard):
            held = np.flatnonzero(state.mask & np.asarray(batch.column(columns[0]).is_valid()))
            taken = batch.take(pa.array(held))
            ids = [bytes.fromhex(name) for name in taken.column("doc_id").to_pylist()]
            evidence = pa.array([b""] * len(held), pa.large_binary())
            if compared is not None:
                evidence = evidence_of(self.options, batch.column(compared), held)
            made = [pa.array(ids, pa.binary(16)), taken.column(columns[1]), taken.column(columns[0]), evidence]
            tables.append(pa.table([c.cast(f.type) for c, f in zip(made, schema, strict=True)], schema))
            rows.append(held + first)
            first += batch.num_rows
        found = pa.concat_tables(tables).combine_chunks()
        places = np.concatenate(rows)
        return self._joined(shard, found, places, place), len(places)

    def _earlier(self, shard: EarlierPart, place: IndexPlace) -> tuple[pa.Table, int]:
        table = shard.read(["row", *_MADE])
        rows = table.column("row").to_numpy().astype(np.int64)
        return self._joined(shard, table, rows, place), len(table)

    def _joined(
        self,
        shard: Shard,
        table: pa.Table,
        rows: "np.ndarray[tuple[int], np.dtype[np.int64]]",
        place: IndexPlace,
    ) -> pa.Table:
        """Return the table with what was found of the rows; those that were in no cluster stand for themselves.

        Args:
            shard: the task.
            table: what is known of the rows.
            rows: their numbers in the shard, ascending.
            place: where the part goes.
        """
        shards, earlier, position = place
        with ColumnFile(self.matches.file(shard)) as file:
            found = batch_rows(list(file), MATCHES)
        ids = id_words([value.hex() for value in table.column("doc_id").to_pylist()])
        kept = np.uint64(position << 32) + rows.astype(np.uint64)
        cluster, sizes = ids.copy(), np.ones(len(rows), np.int64)
        places = np.searchsorted(rows, found[:, 0].astype(np.int64))
        owners, numbers = found[:, 6] >> np.uint64(32), found[:, 6] & np.uint64(0xFFFFFFFF)
        moved = np.where(owners >= shards, owners - np.uint64(shards), owners + np.uint64(earlier))
        kept[places] = moved << np.uint64(32) | numbers
        cluster[places] = found[:, 1:3]
        sizes[places] = np.where(found[:, 4] == 1, 0, found[:, 3]).astype(np.int64)
        told = {
            "row": pa.array(rows.astype(np.uint64)),
            "cluster": pa.array([bytes(row) for row in cluster.astype(">u8").view("V16").reshape(-1)], pa.binary(16)),
            "kept": pa.array(kept),
            "documents": pa.array(sizes),
        }
        return pa.table([told[name] if name in told else table.column(name) for name in SIGNATURES.names], SIGNATURES)
