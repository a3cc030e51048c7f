"""The whole run as a process tree: CPU-seconds, MB of text a CPU-second, and peak memory, at one size and at several.

    python benchmarks/pipeline.py --documents corpus.jsonl.zst [--copies 1 3] [--steps '[exact_dedup]'] [--workers 1]

Every run is `tamis run` on one pinned core, from inputs to shards and manifest, start-up included. `--copies N` lists
the file N times as N sources, so that cost and memory can be compared at growing size.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import yaml
from process_tree import measure  # beside this file

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src")}
CLI = "from tamis.jobs.cli.app import main; main()"


def main() -> None:
    """Print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", required=True, help="a JSONL file, compressed or not")
    parser.add_argument("--copies", type=int, nargs="+", default=[1])
    parser.add_argument("--steps", action="append", help="a YAML list of steps; repeatable; default: none")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--text", default="text")
    parser.add_argument("--core", type=int, default=1, help="-1: not pinned")
    options = parser.parse_args()
    core = None if options.core < 0 else options.core
    head = ("copies", 6), ("text MB", 9), ("CPU s", 8), ("wall s", 8), ("MB/CPU-s", 9), ("peak MB", 8), ("selected", 9)
    print(f"{'steps':50}", *(f"{name:>{width}}" for name, width in head))
    for steps in options.steps or ["[]"]:
        for copies in options.copies:
            with tempfile.TemporaryDirectory(prefix="tamis-bench-") as folder:
                config = {
                    "inputs": [
                        {"path": options.documents, "source": f"copy{i}", "text": options.text} for i in range(copies)
                    ],
                    "steps": yaml.safe_load(steps),
                }
                path = Path(folder) / "config.yaml"
                path.write_text(yaml.safe_dump(config))
                run = f"{folder}/run"
                command = [sys.executable, "-c", CLI, "run", str(path), "-o", run]
                cost = measure([*command, "--workers", str(options.workers)], core=core, environment=ENVIRONMENT)
                manifest = json.loads((Path(run) / "manifest.json").read_text())
                text = manifest["text_bytes"] / 1e6
                print(
                    f"{steps[:50]:50} {copies:6} {text:9.1f} {cost.cpu:8.2f} {cost.wall:8.2f} {text / cost.cpu:9.1f} "
                    f"{cost.peak / 1e6:8.0f} {manifest['selected']:9,}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
