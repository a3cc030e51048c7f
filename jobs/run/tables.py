"""Writes the tables that decisions leave beside the shards: clusters, rounds, scores."""

import hashlib
import io
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.jobs.manifest.file import TABLES
from tamis.pipeline.storage import filesystem
from tamis.schemas.manifest import TableRecord

__all__ = ["write_tables"]


def write_tables(output: str, step: str, tables: Mapping[str, pa.Table], config_sha256: str) -> Iterator[TableRecord]:
    """Write a step's tables as Parquet, the same bytes for the same rows, and yield what the manifest says of them.

    Args:
        output: the run's folder.
        step: label of the step, which names their folder.
        tables: by name.
        config_sha256: for the footers.
    """
    for name, table in sorted(tables.items()):
        path = f"{TABLES}/{step}/{name}.parquet"
        marked = table.replace_schema_metadata({b"tamis.config_sha256": config_sha256.encode()})
        buffer = io.BytesIO()
        pq.write_table(marked, buffer, compression="zstd", store_schema=True)
        data = buffer.getvalue()
        with filesystem.write_atomically(filesystem.join(output, path)) as stream:
            stream.write(data)
        sha256 = hashlib.sha256(data).hexdigest()
        yield TableRecord(path=path, step=step, name=name, rows=table.num_rows, bytes=len(data), sha256=sha256)
