"""What each step costs: MB of text a CPU-second, with the options of the example on its page.

    taskset -c 1 python benchmarks/step_costs.py [--documents FILE] [--warc FILE] [--megabytes 40] [--only VERB ...]

A step's cost is the CPU time of its own passes: that of a run with the step, less that of the same run without it, the
text read, stored and written aside. Each pair runs twice in this process, and the second time counts, with kernels and
models warm. `quad` needs the extra `lm`. Writes `step_costs.json` beside this file, from which
`python docs/build_reference.py` makes the steps' pages.
"""

import argparse
import gzip
import io
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import tamis
from docs.step_pages import example_config, guide_of
from tamis.pipeline.steps.registry import built_in

OUTPUT = Path(__file__).with_name("step_costs.json")
DATA = Path(os.environ.get("TAMIS_DEV_DATA", ROOT.parent / "shared" / "data"))
LEAST = 0.05
"""CPU-seconds below which a difference says only that the step costs next to nothing."""
READING = {"extract"}
"""Measured on pages, in MB of WARC: what others read is text."""
SLOW = {"quad": 2}
"""Megabytes, where fewer say as much."""


def records(path: Path, megabytes: float) -> Iterator[dict[str, Any]]:
    """Yield English records up to so much text."""
    size = 0
    with path.open("rb") as file:
        raw = zstandard.ZstdDecompressor().stream_reader(file)
        for line in io.TextIOWrapper(raw, "utf-8"):
            record = json.loads(line)
            if record.get("lang", "en") == "en":
                yield {name: record.get(name) for name in ("id", "url", "text")} | {"source": record["source"]}
                size += len(record["text"].encode())
                if size >= megabytes * 1e6:
                    return


def decompressed(path: Path) -> int:
    """Return the size of a gzip file's content."""
    with gzip.open(path) as file:
        return sum(map(len, iter(lambda: file.read(1 << 20), b"")))


def own_seconds(config: dict[str, Any], folder: str, verb: str) -> tuple[float, tamis.Run]:
    """Return CPU-seconds of the passes of a run that aren't reading, counting and writing; of `extract`, of reading."""
    run = tamis.run(config | {"output": {"path": folder}, "allow_empty": True, "max_errors": 1}, fresh=True)
    wanted = "step = 'extract'" if verb in READING else "step NOT IN ('', 'extract') AND step IS NOT NULL"
    total = run.sql(f"SELECT coalesce(sum(cpu_seconds), 0)::DOUBLE AS s FROM passes WHERE {wanted}").to_pylist()[0]["s"]
    return total, run


def main() -> None:
    """Measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, default=DATA / "dev.jsonl.zst")
    parser.add_argument("--warc", type=Path, default=DATA / "dev.warc.gz")
    parser.add_argument("--megabytes", type=float, default=40)
    parser.add_argument("--only", nargs="+")
    options = parser.parse_args()
    os.chdir(ROOT)
    known = json.loads(OUTPUT.read_text("utf-8"))["steps"] if OUTPUT.exists() else {}
    with tempfile.TemporaryDirectory(prefix="tamis-costs-") as folder:
        for megabytes in {options.megabytes, *SLOW.values()}:
            with Path(f"{folder}/{megabytes:g}.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(record) + "\n" for record in records(options.documents, megabytes))
        for verb in options.only or built_in():
            config = example_config(verb)
            (told,) = example_config(verb)["steps"][-1].values()
            text = f"{folder}/{SLOW.get(verb, options.megabytes):g}.jsonl"
            path = str(options.warc) if verb in READING else text
            config["inputs"] = [{"path": path, "source": "measured"}]
            if guide_of(verb).before:
                config["steps"][-1][verb]["proxy"] = os.environ["TAMIS_PROXY"]
            without = config | {"steps": config["steps"][:-1]}
            for _ in range(2):
                whole, run = own_seconds(config, f"{folder}/with", verb)
                rest = 0.0 if verb in READING else own_seconds(without, f"{folder}/without", verb)[0]
            text_mb = (decompressed(options.warc) if verb in READING else run.manifest.text_bytes) / 1e6
            own = max(whole - rest, LEAST)
            known[verb] = {
                "mb_a_cpu_second": float(f"{text_mb / own:.2g}"),
                "at_least": own == LEAST,
                "text_mb": round(text_mb, 1),
                "documents": run.manifest.read,
                "options": json.dumps(told).replace('"', ""),
            }
            print(verb, known[verb], f"{whole:.2f} - {rest:.2f} CPU-s", flush=True)
    told = {
        "what": "English text of the development corpora, on one core of a shared AMD EPYC machine",
        "how": "One core of a shared AMD EPYC machine, English text of the development corpora, kernels and models "
        "warm; CPU time of the step's own passes (`benchmarks/step_costs.py`, Python "
        f"{platform.python_version()}). Other machines and texts differ.",
        "steps": dict(sorted(known.items())),
    }
    OUTPUT.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
