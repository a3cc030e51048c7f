"""What grows with the corpus: plan and graph at up to 100,000 files, and whole runs over many files and sources.

    python benchmarks/scaling.py [--files 1000 10000 100000] [--shards 1000 10000 100000] [--runs 1 200 2000]
        [--sources 1 20 200]

`--files`: lists so many small files, plans them, builds the graph and translates it for a distant engine, without
reading one: seconds, memory, bytes of the list of files and of the graph; the cost a file must not grow. `--shards`:
what the readers of so many source shards would tell, joined as an engine joins it and turned into the tasks of a pass,
without text: the cost a shard must not grow, nor the value beyond what a side input can be. `--runs` and
`--sources`: `tamis run` over the same documents in so many files, or in so many inputs: CPU-seconds of the tree.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from process_tree import Cost, measure  # beside this file

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src")}
CLI = "from tamis.jobs.cli.app import main; main()"
STEPS = [{"language": {}}, "exact_dedup", {"heuristics": {"presets": ["gopher_quality"]}}]
DOCUMENTS = 2000


def plan_files(folder: str) -> None:
    """Plan what lies in a folder, in this process, and print what that cost; run by `main` in a process of its own."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from tamis.jobs.run.build import file_list
    from tamis.jobs.run.execute import graph_of
    from tamis.jobs.run.plan import make_plan
    from tamis.pipeline.graph.beam import SpreadPasses
    from tamis.pipeline.graph.failures import Failures
    from tamis.pipeline.passes.inputs import write_file_list
    from tamis.pipeline.steps.registry import parse_config

    before, began = time.process_time(), time.monotonic()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plain = {"inputs": [{"path": folder, "source": "web"}], "steps": STEPS}
    plan = make_plan(parse_config(plain), plain)
    with tempfile.TemporaryDirectory() as run:
        graph = graph_of(plan, run)
        path = file_list(run, plan)
        write_file_list(path, plan.inputs, plan.files)
        listed = Path(path).stat().st_size
        pipeline = beam.Pipeline(options=PipelineOptions([]))
        _ = pipeline | SpreadPasses(graph, Failures(f"{run}/failure"))
        proto = pipeline.to_runner_api().ByteSize()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    told = {
        "files": len(plan.files),
        "cpu": time.process_time() - before,
        "wall": time.monotonic() - began,
        "memory": grown << 10,
        "listed": listed,
        "graph": proto,
    }
    print(json.dumps(told))


def simulate_shards(shards: int) -> dict[str, float]:
    """Join what so many source shards' readers would tell, and list the tasks that follow, in this process."""
    from tamis.pipeline.graph.beam import _Join
    from tamis.pipeline.graph.passes import Spent, Values, pack_value, unpack_value
    from tamis.pipeline.passes.stage import READ, Cut, FileNote, ReadNote, StoredShards

    def packed(index: int) -> bytes:
        cuts = (Cut(25_000, 120_000_000, 40, f"part-{index:06d}.arrow"),)
        note = ReadNote(index, "web", f"{index:032x}", cuts, (FileNote(index, 25_000, {}, {}, {}),), 0, 1.5)
        return pack_value(note.to_line(), Spent(1, 1.5))

    parts = [packed(index) for index in range(shards)]
    began = time.process_time()
    join = _Join(b"".join)
    accumulator = join.create_accumulator()
    for part in parts:
        accumulator = join.add_input(accumulator, part)
    value, _ = unpack_value(join.extract_output(accumulator))
    joined = time.process_time() - began
    tasks = len(list(StoredShards()(Values({READ: value}))))
    if tasks != shards:
        sys.exit(f"{shards} shards came to {tasks} tasks")
    return {"joined": joined, "listed": time.process_time() - began - joined, "value": len(value)}


def main() -> None:
    """Print a line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--shards", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--runs", type=int, nargs="*", default=[1, 200, 2000])
    parser.add_argument("--sources", type=int, nargs="*", default=[1, 20, 200])
    parser.add_argument("--core", type=int, default=1, help="-1: not pinned")
    parser.add_argument("--plan", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plan:
        plan_files(options.plan)
        return
    core = None if options.core < 0 else options.core
    if options.files:
        print(f"{'files':>8} {'plan CPU s':>11} {'us a file':>10} {'memory MB':>10} {'list MB':>8} {'graph kB':>9}")
    for files in options.files:
        with tempfile.TemporaryDirectory(prefix="tamis-scaling-") as folder:
            for number in range(files):
                inner = Path(folder) / f"{number // 1000:04d}"
                inner.mkdir(exist_ok=True)
                (inner / f"{number:06d}.jsonl").write_text('{"text": "a few words"}\n')
            command = [sys.executable, __file__, "--plan", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
            told = json.loads(done.stdout)
            print(
                f"{files:8,} {told['cpu']:11.2f} {told['cpu'] / files * 1e6:10.0f} {told['memory'] / 1e6:10.0f} "
                f"{told['listed'] / 1e6:8.1f} {told['graph'] / 1e3:9.0f}",
                flush=True,
            )
    if options.shards:
        print(f"{'shards':>8} {'join CPU s':>11} {'tasks CPU s':>12} {'us a shard':>11} {'value MB':>9}")
    for shards in options.shards:
        told = simulate_shards(shards)
        each = (told["joined"] + told["listed"]) / shards * 1e6
        joined, listed, value = told["joined"], told["listed"], told["value"] / 1e6
        print(f"{shards:8,} {joined:11.2f} {listed:12.2f} {each:11.0f} {value:9.1f}", flush=True)
    for what, sizes in (("files", options.runs), ("sources", options.sources)):
        if sizes:
            print(f"{DOCUMENTS:,} documents in so many {what}\n{what:>8} {'CPU s':>8} {'wall s':>8} {'peak MB':>8}")
        for size in sizes:
            with tempfile.TemporaryDirectory(prefix="tamis-scaling-") as folder:
                cost = run_over(Path(folder), size, what, core)
                print(f"{size:8,} {cost.cpu:8.2f} {cost.wall:8.2f} {cost.peak / 1e6:8.0f}", flush=True)


def run_over(folder: Path, size: int, what: str, core: int | None) -> Cost:
    """Run over the same documents in so many files of one source, or in so many sources of a file each."""
    texts = [f"document {n} of a corpus, with some words to count. " * 20 for n in range(DOCUMENTS)]
    lines = [json.dumps({"id": n, "text": text}) for n, text in enumerate(texts)]
    inputs = []
    for number in range(size):
        path = folder / f"{number:05d}.jsonl"
        path.write_text("\n".join(lines[number::size]))
        inputs.append({"path": str(path), "source": f"s{number:05d}" if what == "sources" else "web"})
    if what == "files":
        inputs = [{"path": str(folder / "*.jsonl"), "source": "web"}]
    config = folder / "config.yaml"
    config.write_text(json.dumps({"inputs": inputs, "steps": STEPS}))
    command = [sys.executable, "-c", CLI, "run", str(config), "--output", str(folder / "run")]
    return measure(command, core=core, environment=ENVIRONMENT)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))
    main()
