"""Texts for the benchmarks of deduplication and its like."""

import argparse
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import zstandard

__all__ = ["arguments", "documents", "pin", "pinned"]


def pin(core: int | None = None) -> int:
    """Pin this process to a core (the last one it may use, unless one is given); return it."""
    chosen = max(os.sched_getaffinity(0)) if core is None else core
    os.sched_setaffinity(0, {chosen})
    return chosen


def arguments(about: str | None, megabytes: float) -> argparse.ArgumentParser:
    """Return the options that benchmarks over `documents` share: which texts, how many megabytes, on which core."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path)
    parser.add_argument("--megabytes", type=float, default=megabytes)
    parser.add_argument("--core", type=int)
    return parser


def pinned(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the options given, with this process pinned to the core, which is told."""
    options = parser.parse_args()
    print(f"core {pin(options.core)}")
    return options


def documents(path: Path | None, megabytes: float, *, language: str | None = "en") -> pa.LargeStringArray:
    """Return the first texts of a JSONL file, plain or zstd, up to that many megabytes of UTF-8.

    Without a file, of `dev.jsonl.zst` of the folder that TAMIS_DEV_DATA names, else of ../shared/data; `language` keeps
    only records whose `lang` is that, where they have one.
    """
    folder = Path(os.environ.get("TAMIS_DEV_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    texts, size = [], 0
    for record in _records(path or folder / "dev.jsonl.zst"):
        if language is None or record.get("lang", language) == language:
            texts.append(record["text"])
            size += len(record["text"].encode())
            if size >= megabytes * 1e6:
                break
    return pa.array(texts, pa.large_string())


def _records(path: Path) -> Iterator[dict[str, str]]:
    with path.open("rb") as file:
        raw = zstandard.ZstdDecompressor().stream_reader(file) if path.suffix == ".zst" else file
        yield from map(json.loads, io.TextIOWrapper(raw, encoding="utf-8"))
