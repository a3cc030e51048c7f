"""Runs carried out, and what they left."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config
from tamis.schemas.manifest import Manifest

__all__ = ["digests", "every_row", "ran"]


def ran(plain: dict[str, Any], folder: Path, **options: Any) -> Manifest:
    """Run a config into a folder, with options of the engine."""
    engine = Engine(f"{folder}/work/passes", **options)
    return execute(make_plan(parse_config(plain), plain), str(folder), engine).manifest


def every_row(manifest: Manifest, folder: Path) -> list[dict[str, Any]]:
    """Return all documents, selected and rejected, with their fate, by id."""
    found = []
    for shard in manifest.shards:
        if shard.fate != "errors":
            table = pq.read_table(folder / shard.path, partitioning=None)
            found += [row | {"fate": shard.fate} for row in table.to_pylist()]
    return sorted(found, key=lambda row: row["doc_id"])


def digests(manifest: Manifest) -> dict[str, str]:
    """Return the SHA-256 of each shard."""
    return {shard.path: shard.sha256 for shard in manifest.shards}
