"""Exact deduplication of many short documents by a whole run: CPU-seconds, wall seconds and the peak of memory.

    python benchmarks/exact_documents.py FOLDER [--documents 15000000] [--core N]

`FOLDER` is made, and takes about 300 bytes of disk a document, which can be deleted afterwards. Documents are made of a
sentence with numbers in it, 80 bytes or so each; one in five is a copy of another, so that 80 % are left. The run reads
JSONL, hashes, finds groups over the whole input and writes Parquet; `read` is the same run without the step, so that
the difference is the step's. Published for comparison: fastdedup needs 175 s and 688 MB for 14.9 million documents of
FineWeb on a core, DuckDB 475 s and 21.9 GB. Those documents are longer, so they take longer to read and to hash: at the
rate of `benchmarks/duplicate_steps.py`.
"""

import argparse
import itertools
import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are
sys.path.append(str(ROOT))

from benchmarks.process_tree import measure

FILES = 30


def write_documents(folder: Path, count: int) -> int:
    """Write the documents, as files of JSONL; return their bytes of text."""
    draw = np.random.default_rng(15)
    size = 0
    originals = count - count // 5
    bounds = np.linspace(0, count, FILES + 1).astype(int)
    for number, (first, last) in enumerate(itertools.pairwise(bounds.tolist())):
        path = folder / f"part-{number:02d}.jsonl"
        names = np.arange(first, last)
        copies = names >= originals
        names[copies] = draw.integers(0, originals, int(copies.sum()))
        with path.open("w") as file:
            for name in names.tolist():
                text = f"Entry {name} of the register, filed under {name * 2654435761 % 999983}, was seen by nobody."
                size += len(text)
                file.write(f'{{"text":"{text}"}}\n')
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=15_000_000)
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    inputs = options.folder / "documents"
    inputs.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    size = write_documents(inputs, options.documents)
    print(f"{options.documents:,} documents, {size / 1e6:,.0f} MB of text, made in {time.monotonic() - began:.0f} s")
    tamis = [sys.executable, "-c", "from tamis.jobs.cli.start import main; main()"]
    for name, steps in (("read", []), ("read and exact_dedup", [{"exact_dedup": {}}])):
        config = options.folder / "config.yaml"
        source = [{"path": str(inputs / "*.jsonl"), "source": "made"}]
        config.write_text(json.dumps({"inputs": source, "steps": steps}))
        output = options.folder / "run"
        cost = measure([*tamis, "run", str(config), "--output", str(output), "--workers", "1"], core=options.core)
        told = json.loads((output / "manifest.json").read_text())
        print(
            f"{name:22} {cost.cpu:8.0f} CPU-s {cost.wall:8.0f} s {cost.peak / 1e6:8.0f} MB, "
            f"{told['selected']:,} documents left",
            flush=True,
        )
        shutil.rmtree(output)


main()
