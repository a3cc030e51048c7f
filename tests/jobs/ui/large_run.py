"""A run of very many documents made without running anything: shards as a run leaves them, and their manifest."""

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.schemas.manifest import Manifest
from tamis.schemas.tables import DOCUMENT_SCHEMA, REJECTED_SCHEMA, described
from tests.jobs.handmade import make_run, save, write_shard

SOURCES = ("books", "crawl", "encyclopedia", "forum", "news", "web")
LANGUAGES = ("en", "de", "fr", "es", "zh", "ar", "hi", "ru")
SCORES = [
    described("language", pa.string(), "the language"),
    described("language_score", pa.float32(), "how sure"),
    *(described(f"score_{name}", pa.float64(), f"score {name}") for name in "abcdefgh"),
    described("text_words", pa.int64(), "words"),
]
PART = 125_000
TEXT = 128 << 20
"""Bytes of text in a shard, about."""
GROUP = 32 << 20
"""Bytes of text in a row group, as a run cuts them."""
THRESHOLD = 0.3


def make_large_run(run: Path, documents: int, length: int = 40) -> Manifest:
    """Write a run of so many documents of so many words, two thirds selected, in shards sorted by `doc_id`."""
    manifest = make_run(run, [], errors=0)
    draw = np.random.default_rng(7)
    shards: list[dict[str, Any]] = []
    counts = {source: {"read": 0, "selected": 0, "rejected": 0, "errors": 0} for source in SOURCES}
    words = np.array(["river", "stone", "bright", "window", "letter", "garden", "winter", "music", "paper", "silver"])
    part = min(PART, max(1, TEXT // (6 * length)))
    for number, start in enumerate(range(0, documents, part)):
        rows = min(part, documents - start)
        ids = sorted(hashlib.md5(str(start + i).encode()).hexdigest() for i in range(rows))
        source = draw.integers(0, len(SOURCES), rows)
        picked = words[draw.integers(0, len(words), (rows, length))]
        texts = [f"document {i[:8]} " + " ".join(row) for i, row in zip(ids, picked.tolist(), strict=True)]
        score = draw.random((8, rows))
        columns = {
            "doc_id": pa.array(ids),
            "url": pa.array([f"https://host{int(i[:2], 16)}.example/{i}" for i in ids]),
            "source": pa.array(SOURCES).take(pa.array(source)),
            "text": pa.array(texts, pa.large_string()),
            "timestamp": pa.array([dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * rows, pa.timestamp("us", tz="UTC")),
            "meta": pa.array(["{}"] * rows),
            "language": pa.array(LANGUAGES).take(pa.array(draw.integers(0, len(LANGUAGES), rows))),
            "language_score": pa.array(draw.random(rows), pa.float32()),
            **{f"score_{name}": pa.array(score[i]) for i, name in enumerate("abcdefgh")},
            "text_words": pa.array(draw.integers(1, 1000, rows)),
        }
        kept = score[0] >= THRESHOLD
        for fate, mask in (("selected", kept), ("rejected", ~kept)):
            chosen = {name: column.filter(pa.array(mask)) for name, column in columns.items()}
            many = int(mask.sum())
            schema = pa.schema([*DOCUMENT_SCHEMA, *SCORES])
            if fate == "rejected":
                reason = {"step": pa.array(["language"] * many), "rule": pa.array(["score_a_min"] * many)}
                reason |= {"value": chosen["score_a"], "threshold": pa.array([THRESHOLD] * many)}
                chosen |= reason
                schema = pa.schema(
                    [*REJECTED_SCHEMA, *DOCUMENT_SCHEMA.remove(3).remove(0).remove(0).remove(0), *SCORES]
                )
            table = pa.table({name: chosen[name] for name in schema.names}, schema)
            path = f"{fate}/part-{number:05d}.parquet"
            size = int(sum(len(text) for text in chosen["text"].to_pylist()))
            record = {"path": path, "fate": fate, "sources": list(SOURCES), "text_bytes": size}
            group = max(1, GROUP * table.num_rows // max(GROUP, size))
            shards.append(record | write_shard(run / path, table, manifest.config_sha256, min(group, PART)))
            for place, name in enumerate(SOURCES):
                counts[name][fate] += int((source[mask] == place).sum())
    for mine in counts.values():
        mine["read"] = mine["selected"] + mine["rejected"]
    totals = {name: sum(mine[name] for mine in counts.values()) for name in ("read", "selected", "rejected")}
    steps = []
    for step in manifest.steps:
        fell = step.label == "language"
        each = [
            {
                "source": name, "documents": mine["read"] if step.label != "exact_dedup" else mine["selected"],
                "kept": mine["read"] if step.label == "extract" else mine["selected"],
                "rejected": {"score_a_min": mine["rejected"]} if fell else {},
            }
            for name, mine in counts.items()
        ]  # fmt: skip
        thresholds = {"score_a_min": THRESHOLD} if fell else {}
        steps.append(step.model_dump() | {"counts": each, "thresholds": thresholds})
    changed = manifest.model_dump() | totals | {"sources": counts, "shards": shards, "steps": steps}
    made = Manifest.model_validate(changed | {"text_bytes": sum(s["text_bytes"] for s in shards)})
    save(run, made)
    return made
