"""The documents that PreSelect's models are measured on: drawn once, kept as shards under digests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa

from tamis.jobs.provenance import code_digest
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.passes.inputs import SourceShard
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile, write_table
from tamis.pipeline.training.draw import ROWS_SCHEMA, DrawnShard, DrawTask, IndexTask, draw_documents, index_documents
from tamis.schemas.base import digest
from tamis.schemas.errors import DataError
from tamis.schemas.preselect_training import PreselectTraining
from tamis.scorers.preselect.predictive_strength import sample_domains
from tamis.scorers.text.noise import id_words

__all__ = ["Sample", "draw_sample"]


@dataclass(frozen=True)
class Sample:
    """The documents drawn.

    Attributes:
        shards: their files.
        unreadable: records of the inputs that couldn't be read.
    """

    shards: tuple[DrawnShard, ...]
    unreadable: int

    @property
    def documents(self) -> int:
        """Their number."""
        return sum(shard.documents for shard in self.shards)


def draw_sample(config: PreselectTraining, source: Sequence[SourceShard], engine: Engine, work: str) -> Sample:
    """Draw the documents, or find them drawn.

    Args:
        config: what to draw.
        source: the inputs' source shards.
        engine: where passes run.
        work: the folder for index and sample.

    Raises:
        DataError: if the inputs hold no document with a text.
        InputError: if a file can't be read.
    """
    corpus = digest([code_digest(), [shard.key for shard in source]])[:16]
    size = max(1, round(config.losses.shard_mb * 1e6))
    drawing = digest([corpus, config.seed, config.sample.model_dump(mode="json"), size])[:16]
    folder = filesystem.join(work, f"sample-{drawing}")
    done = filesystem.join(folder, "sample.json")
    if not filesystem.exists(done):
        tasks, unreadable = _indexed(source, engine, filesystem.join(work, f"index-{corpus}"))
        drawn = engine.map("draw documents", _chosen(config, tasks, folder, size), draw_documents)
        shards = sorted((shard for found in drawn for shard in found), key=lambda shard: str(shard["name"]))
        with filesystem.write_atomically(done) as stream:
            stream.write(orjson.dumps({"shards": shards, "unreadable": unreadable}))
    with filesystem.open_binary(done) as stream:
        stored = orjson.loads(stream.read())
    sample = Sample(tuple(DrawnShard(**shard) for shard in stored["shards"]), stored["unreadable"])
    if not sample.shards:
        paths = ", ".join(path for entry in config.inputs for path in entry.path)
        msg = f"there is no document to measure models on in {paths}: check the files and the text field"
        raise DataError(msg)
    return Sample(tuple(shard.inside(folder) for shard in sample.shards), sample.unreadable)


def _indexed(source: Sequence[SourceShard], engine: Engine, folder: str) -> tuple[list[IndexTask], int]:
    """Index all source shards; return where, and how many records couldn't be read."""
    tasks = [IndexTask(shard, filesystem.join(folder, f"{shard.index:06d}.arrow")) for shard in source]
    engine.map("index documents", [task for task in tasks if not filesystem.exists(task.path)], index_documents)
    errors = 0
    for task in tasks:
        with ColumnFile(task.path) as file:
            errors += IndexTask.errors(file.schema)
    return tasks, errors


def _chosen(config: PreselectTraining, indexes: Sequence[IndexTask], folder: str, shard_bytes: int) -> list[DrawTask]:
    """Draw from the whole index and write the rows of each source shard; a record that occurs twice counts once."""
    tables = []
    for number, task in enumerate(indexes):
        with ColumnFile(task.path) as file:
            table = file.read().replace_schema_metadata(None)
        tables.append(table.append_column("shard", pa.array(np.full(table.num_rows, number))))
    if not sum(table.num_rows for table in tables):
        return []
    index = pa.concat_tables(tables)
    _, first = np.unique(id_words(index.column("doc_id")), axis=0, return_index=True)
    index = index.take(pa.array(np.sort(first)))
    drawn = sample_domains(
        index.column("doc_id"),
        index.column("domain").to_pylist(),
        n_domains=config.sample.domains,
        per_domain=config.sample.per_domain,
        seed=config.seed,
    )
    rows = index.column("row").to_numpy()[drawn]
    owners = index.column("shard").to_numpy()[drawn]
    tasks = []
    for number, task in enumerate(indexes):
        mine = rows[owners == number]
        if len(mine):
            path = filesystem.join(folder, "rows", f"{task.shard.index:06d}.arrow")
            write_table(path, pa.Table.from_arrays([pa.array(mine)], schema=ROWS_SCHEMA))
            tasks.append(DrawTask(task.shard, path, folder, shard_bytes))
    return tasks
