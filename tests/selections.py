"""What a run decided, in a form that can be held against what it decided before."""

import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb

__all__ = ["decisions"]


def decisions(run: Path) -> dict[str, Any]:
    """Return a run's counts, thresholds, and the digest of every document's fate, value and threshold."""
    query = f"""
        SELECT doc_id, 'selected', '', '', NULL::DOUBLE, NULL::DOUBLE
        FROM read_parquet('{run}/selected/*/*.parquet', hive_partitioning = false)
        UNION ALL SELECT doc_id, 'rejected', step, rule, value, threshold
        FROM read_parquet('{run}/rejected/*.parquet') ORDER BY ALL
    """
    rows = duckdb.connect().execute(query).fetchall()
    told = "\n".join("\t".join(shown(cell) for cell in row) for row in rows)
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    return {
        "documents": len(rows),
        "sha256": hashlib.sha256(told.encode()).hexdigest(),
        "sources": manifest["sources"],
        "thresholds": {step["label"]: step["thresholds"] for step in manifest["steps"] if step["thresholds"]},
    }


def shown(cell: object) -> str:
    """Return a value with nine digits: what more there is follows the machine."""
    return "" if cell is None else f"{cell:.9g}" if isinstance(cell, float) else str(cell)
