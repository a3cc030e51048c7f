"""The components of all edges: in memory while they fit, else over files of the machine that finds them.

One task finds them. In memory it takes about 100 bytes an edge; beyond `EDGES_IN_MEMORY` edges are spilled into
partitions and contracted pass by pass, so that memory is bounded by a partition and disk by the edges.
"""

import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.earlier import Indexes, every_part
from tamis.pipeline.corpus.near_edges import own_edges
from tamis.pipeline.graph.passes import Values
from tamis.pipeline.passes.stage import READ, stored_shards
from tamis.pipeline.storage.column_file import write_batches
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.value_file import read_value, write_value
from tamis.scorers.dedup.components import Arcs, connected_components, contract, partition_arcs

__all__ = ["BYTES_PER_EDGE", "EDGES_IN_MEMORY", "FindComponents"]

EDGES_IN_MEMORY = 16_000_000
BYTES_PER_EDGE = 100
"""While components are found in memory."""
LABELS = pa.schema([("document", pa.uint64()), ("label", pa.uint64())])
"""A shard's documents that have an edge, ascending, and the smallest document of each one's component."""

_SHARD = np.uint64(32)


class _EdgesOfShards(Sequence[Arcs]):
    """The edges of each shard, read when they are asked for."""

    def __init__(self, shards: Sequence[Shard], place: Place):
        self._shards = shards
        self._place = place

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, index: Any) -> Any:
        edges = own_edges(self._place, self._shards[index])
        return Arcs(edges.a, edges.b)


class _Spilled(Sequence[Arcs]):
    """Arcs in files, read when they are asked for."""

    def __init__(self, paths: Sequence[Path]):
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        rows = np.fromfile(self.paths[index], np.uint64).reshape(-1, 2)
        return Arcs(np.ascontiguousarray(rows[:, 0]), np.ascontiguousarray(rows[:, 1]))


def _append(path: Path, first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> None:
    with path.open("ab") as stream:
        stream.write(np.column_stack([first, second]).tobytes())


class _Spill:
    """Regroups arcs through files; each exchange deletes what the one before it left."""

    def __init__(self, folder: Path, partitions: int):
        self._folder = folder
        self._partitions = partitions
        self._count = 0
        self._last: tuple[Path, ...] = ()

    def __call__(self, parts: Iterable[Arcs]) -> Sequence[Arcs]:
        self._count += 1
        paths = tuple(self._folder / f"{self._count}-{number}" for number in range(self._partitions))
        for path in paths:
            path.touch()
        for part in parts:
            for path, cut in zip(paths, partition_arcs(part, self._partitions), strict=True):
                _append(path, *cut)
        for path in self._last:
            path.unlink()
        self._last = paths
        return _Spilled(paths)


@dataclass(frozen=True)
class FindComponents:
    """Finds the components of all edges, and leaves each shard the labels of its documents.

    Attributes:
        edges: place of the edges.
        labels: place of the labels.
        counted: pass whose value counts edges, under `keys`.
        keys: see `counted`.
        unfinished: pass whose value is empty where the step is finished.
        limit: edges up to which it is done in memory, and that a partition has beyond.
        indexes: of earlier runs.
    """

    edges: Place
    labels: Place
    counted: str
    keys: tuple[str, ...]
    unfinished: str
    limit: int = EDGES_IN_MEMORY
    indexes: Indexes = ()

    def __call__(self, task: None, values: Values) -> bytes:
        """Write the labels; return JSON: how many documents have an edge, how many edges, whether out of core."""
        del task
        shards = every_part(values, self.indexes)
        if not shards or not stored_shards(values[READ]):
            return json.dumps({"documents": 0, "edges": 0, "out_of_core": False}).encode()
        path = self.labels.of_corpus(shards[0].corpus) + ".value"
        known = None if values[self.unfinished] else read_value(path, [])
        if known is not None:
            return known
        notes = [json.loads(line) for line in values[self.counted].splitlines()]
        edges = sum(note[key] for note in notes for key in self.keys)
        parts = _EdgesOfShards(shards, self.edges)
        documents = self._outside(shards, parts, edges) if edges > self.limit else self._inside(shards, parts)
        told = json.dumps({"documents": documents, "edges": edges, "out_of_core": edges > self.limit}).encode()
        write_value(path, told)
        return told

    def _write(self, shard: Shard, documents: npt.NDArray[np.uint64], labels: npt.NDArray[np.uint64]) -> int:
        batch = pa.RecordBatch.from_arrays([pa.array(documents), pa.array(labels)], schema=LABELS)
        return write_batches(self.labels.file(shard), LABELS, [batch])

    def _inside(self, shards: Sequence[Shard], parts: Sequence[Arcs]) -> int:
        empty = np.zeros(0, np.uint64)
        a, b = (np.concatenate(columns) for columns in zip(Arcs(empty, empty), *parts, strict=True))
        found = connected_components(a, b)
        bounds = np.searchsorted(found.documents, np.arange(len(shards) + 1, dtype=np.uint64) << _SHARD)
        for shard, low, high in zip(shards, bounds[:-1], bounds[1:], strict=True):
            self._write(shard, found.documents[low:high], found.labels[low:high])
        return len(found.documents)

    def _outside(self, shards: Sequence[Shard], parts: Sequence[Arcs], edges: int) -> int:
        with tempfile.TemporaryDirectory(prefix="tamis-components-") as name:
            folder = Path(name)
            stars = contract(parts, _Spill(folder, -(-edges // self.limit)))
            for centres, labels in stars:
                for documents in (centres, np.unique(labels)):  # the smallest of a component leads to itself
                    mine = labels if documents is centres else documents
                    for index in np.unique(documents >> _SHARD).tolist():
                        rows = documents >> _SHARD == index
                        _append(folder / f"shard-{index}", documents[rows], mine[rows])
            total = 0
            for shard in shards:
                path = folder / f"shard-{shard.index}"
                rows = np.fromfile(path, np.uint64).reshape(-1, 2) if path.exists() else np.zeros((0, 2), np.uint64)
                documents, places = np.unique(rows[:, 0], return_index=True)
                total += self._write(shard, documents, np.ascontiguousarray(rows[places, 1]))
        return total
