"""The deduplicating steps in whole runs: CPU-seconds of each beyond reading and writing, on one pinned core.

    python benchmarks/duplicate_steps.py [--documents FILE.jsonl[.zst]] [--megabytes 100] [--short 0] [--core N]

Every step runs by itself over the same texts, all of its passes counted: scoring, what changes hands, decisions,
rewritten texts. `--short` adds a run of near_dedup over so many documents of 200 bytes, one in ten nearly a copy of the
one before. Peak memory is that of the process, libraries and compiled kernels included.
"""

import json
import resource
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are
sys.path.append(str(ROOT))

from benchmarks.corpus import arguments, documents, pinned
from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config

STEPS = {
    "exact_dedup": {"exact_dedup": {}},
    "near_dedup, fineweb": {"near_dedup": {"preset": "fineweb"}},
    "near_dedup, dolma3": {"near_dedup": {"preset": "dolma3"}},
    "paragraph_dedup, lines": {"paragraph_dedup": {"unit": "lines"}},
    "paragraph_dedup": {"paragraph_dedup": {}},
    "substring_dedup": {"substring_dedup": {}},
}


def main() -> None:
    parser = arguments(__doc__, 100)
    parser.add_argument("--short", type=int, default=0)
    options = pinned(parser)
    with tempfile.TemporaryDirectory(prefix="tamis-benchmark-") as name:
        folder = Path(name)
        texts = documents(options.documents, options.megabytes).to_pylist()
        write(folder / "warm.jsonl", texts[:50] * 2)
        write(folder / "texts.jsonl", texts)
        for label, step in STEPS.items():
            run(folder / "warm.jsonl", step, folder / "warm")
            run(folder / "texts.jsonl", step, folder / label, label)
        if options.short:
            write(folder / "short.jsonl", short(options.short))
            label = f"near_dedup, {options.short} short"
            run(folder / "short.jsonl", STEPS["near_dedup, fineweb"], folder / label, label)


def short(count: int) -> Iterable[str]:
    """Yield texts of 28 words."""
    draw = np.random.default_rng(2)
    words = np.array([f"word{i}" for i in range(50_000)])
    last = words[:28]
    for i in range(count):
        if i % 10 == 9:
            last = last.copy()
            last[draw.integers(28)] = "changed"
        else:
            last = words[draw.zipf(1.3, 28) % 50_000]
        yield " ".join(last)


def write(path: Path, texts: Iterable[str]) -> None:
    with path.open("w") as file:
        file.writelines(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts))


def run(path: Path, step: dict, output: Path, label: str | None = None) -> None:
    """Run one step into a folder; print what it took, where it has a label."""
    plain = {"inputs": [{"path": str(path), "source": "web"}], "steps": [step]}
    manifest = execute(make_plan(parse_config(plain), plain), str(output), Engine(f"{output}/work/passes")).manifest
    (verb,) = step
    seconds = sum(one.cpu_seconds for one in manifest.passes if one.step == verb)
    if label is not None:
        size = manifest.text_bytes / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{label:30} {seconds:7.2f} CPU-s {size / seconds:8.1f} MB/s, peak memory {peak:.2f} GB", flush=True)


main()
