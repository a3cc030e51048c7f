"""Small run folders made by hand: what a run leaves, without running anything."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.pipeline.steps.registry import parse_config
from tamis.schemas.manifest import Manifest
from tamis.schemas.tables import DOCUMENT_SCHEMA, ERROR_SCHEMA, REJECTED_SCHEMA, described

SCORES = [
    described("language", pa.string(), "the language"),
    described("language_score", pa.float32(), "how sure"),
    described("dup_cluster", pa.binary(16), "cluster of duplicates"),
]
DOCUMENTS = [
    # id, source, text, fate: (step, rule, value, threshold) where it fell
    ("a0", "web", "First text, kept.", None),
    ("a1", "web", "Second text,\nwith a \x1b[31mline\x1b[0m break and ünïcode.", None),
    ("a2", "web", "Bon jour.", ("language", "language", 0.9, None)),
    ("a3", "web", "Hm.", ("language", "language_score_min", 0.25, 0.65)),
    ("a4", "web", "First text, kept.", ("exact_dedup", "duplicate", None, None)),
    ("b0", "books", "A book.", None),
    ("b1", "books", "Un livre.", ("language", "language", 0.75, None)),
]
STEPS = ("extract", "language", "exact_dedup")


def write_shard(path: Path, table: pa.Table, config_sha256: str, group: int | None = None) -> dict[str, Any]:
    """Write one shard as a run does, and return what its record says of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {b"tamis.config_sha256": config_sha256.encode()}
    pq.write_table(table.cast(table.schema.with_metadata(metadata)), path, row_group_size=group, compression="zstd")
    data = path.read_bytes()
    return {"rows": table.num_rows, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def make_run(
    run: Path,
    documents: Any = DOCUMENTS,
    *,
    errors: int = 1,
    min_score: float = 0.65,
    inputs: Path | None = None,
    name: str = "handmade",
) -> Manifest:
    """Write a run folder with shards and manifest; each document is (id, source, text, fate)."""
    folder = inputs or run.parent / "inputs"
    folder.mkdir(parents=True, exist_ok=True)
    sources = sorted({source for _, source, _, _ in documents} | {"web"})
    plain = {
        "name": name,
        "inputs": [{"path": str(folder / f"{source}.jsonl"), "source": source} for source in sources],
        "steps": [{"language": {"keep": ["en"], "min_score": min_score}}, "exact_dedup"],
        "output": {"path": str(run)},
    }
    config = parse_config(plain)
    digest = config.digest({})
    records = []
    for source in sources:
        mine = [d for d in documents if d[1] == source]
        path = folder / f"{source}.jsonl"
        path.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, _, t, _ in mine))
        broken = errors if source == "web" else 0
        records.append(
            {
                "path": str(path),
                "source": source,
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "fingerprint": "size:1",
                "records": len(mine) + broken,
                "skipped": {"empty": 2},
            }
        )
    shards = [*_selected(run, documents, digest), *_rejected(run, documents, digest), *_errors(run, errors, digest)]
    manifest = Manifest.model_validate(
        {
            "name": name,
            "config_sha256": digest,
            "config": config.resolved({}),
            "source_config": plain,
            "provenance": _provenance(),
            "inputs": records,
            "models": [],
            "read": len(documents) + errors,
            "selected": sum(fate is None for *_, fate in documents),
            "rejected": sum(fate is not None for *_, fate in documents),
            "errors": errors,
            "text_bytes": sum(len(text.encode()) for _, _, text, _ in documents),
            "sources": {source: _source_counts(documents, source, errors) for source in sources},
            "steps": [_step(documents, position, sources, min_score) for position in range(len(STEPS))],
            "mixture": _mixture(documents),
            "shards": sorted(shards, key=lambda s: str(s["path"])),
            "warnings": ["a warning of the run"],
            "started": "2026-01-01T00:00:00+00:00",
            "seconds": 1.5,
        }
    )
    save(run, manifest)
    return manifest


def save(run: Path, manifest: Manifest) -> None:
    """Write the manifest."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "manifest.json").write_text(manifest.model_dump_json(indent=1))


def edit(run: Path, change: Any) -> None:
    """Change the manifest's JSON in place."""
    path = run / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def _provenance() -> dict[str, Any]:
    from tamis.jobs.provenance import provenance

    return provenance().model_dump()


def _document(doc_id: str, source: str, text: str) -> dict[str, Any]:
    return {
        "doc_id": doc_id,
        "url": f"https://{source}.example/{doc_id}",
        "source": source,
        "text": text,
        "timestamp": None,
        "meta": '{"n": 1}',
        "language": "en",
        "language_score": 0.875,
        "dup_cluster": doc_id.encode()[:16].ljust(16, b"\0"),
    }


def _selected(run: Path, documents: Any, digest: str) -> list[dict[str, Any]]:
    shards = []
    for source in sorted({d[1] for d in documents}):
        rows = [_document(i, s, t) for i, s, t, fate in documents if s == source and fate is None]
        if rows:
            table = pa.Table.from_pylist(rows, pa.schema([*DOCUMENT_SCHEMA, *SCORES]))
            path = f"selected/source={source}/part-00000.parquet"
            size = sum(len(row["text"].encode()) for row in rows)
            record = {"path": path, "fate": "selected", "sources": [source], "text_bytes": size}
            shards.append(record | write_shard(run / path, table, digest))
    return shards


def _rejected(run: Path, documents: Any, digest: str) -> list[dict[str, Any]]:
    rows = [
        _document(i, s, t) | dict(zip(("step", "rule", "value", "threshold"), fate, strict=True))
        for i, s, t, fate in documents
        if fate is not None
    ]
    if not rows:
        return []
    rest = [DOCUMENT_SCHEMA.field("timestamp"), DOCUMENT_SCHEMA.field("meta"), *SCORES]
    table = pa.Table.from_pylist(rows, pa.schema([*REJECTED_SCHEMA, *rest]))
    path = "rejected/part-00000.parquet"
    size = sum(len(row["text"].encode()) for row in rows)
    sources = sorted({row["source"] for row in rows})
    record = {"path": path, "fate": "rejected", "sources": sources, "text_bytes": size}
    return [record | write_shard(run / path, table, digest)]


def _errors(run: Path, errors: int, digest: str) -> list[dict[str, Any]]:
    if not errors:
        return []
    row = {"uri": "web.jsonl", "record": "line 9", "step": "read", "error": "invalid_json", "detail": "no JSON"}
    table = pa.Table.from_pylist([row] * errors, ERROR_SCHEMA)
    path = "errors/part-00000.parquet"
    record = {"path": path, "fate": "errors", "sources": ["web"], "text_bytes": 0}
    return [record | write_shard(run / path, table, digest)]


def _source_counts(documents: Any, source: str, errors: int) -> dict[str, int]:
    mine = [fate for _, s, _, fate in documents if s == source]
    broken = errors if source == "web" else 0
    selected = sum(fate is None for fate in mine)
    return {"read": len(mine) + broken, "selected": selected, "rejected": len(mine) - selected, "errors": broken}


def _step(documents: Any, position: int, sources: list[str], min_score: float) -> dict[str, Any]:
    counts = []
    for source in sources:
        mine = [fate for _, s, _, fate in documents if s == source]
        before = [f for f in mine if f is None or STEPS.index(f[0]) >= position]
        fell = [f[1] for f in before if f is not None and f[0] == STEPS[position]]
        rejected = {rule: fell.count(rule) for rule in sorted(set(fell))}
        counts.append(
            {
                "source": source,
                "documents": len(before),
                "kept": len(before) - len(fell),
                "rejected": rejected,
                "errors": 0,
            }
        )
    thresholds = {"language_score_min": min_score} if STEPS[position] == "language" else {}
    label = STEPS[position]
    return {
        "label": label,
        "verb": label,
        "counts": counts,
        "seconds": 0.5 * position,
        "thresholds": thresholds,
        "metrics": {},
    }


def _mixture(documents: Any) -> dict[str, Any]:
    sizes: dict[str, int] = {}
    for _, source, text, fate in documents:
        if fate is None:
            sizes[source] = sizes.get(source, 0) + len(text.encode())
    total = sum(sizes.values())
    shares = {source: round(size / max(1, total), 9) for source, size in sorted(sizes.items())}
    return {"method": "as selected", "unit": "text bytes", "bytes": sizes, "proportions": shares}
