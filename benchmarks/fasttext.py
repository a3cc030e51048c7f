"""fastText scoring and language identification: Tamis beside the fastText library, in MB of text a CPU-second.

    taskset -c 1 python benchmarks/fasttext.py [--data FOLDER] [--work FOLDER] [--megabytes 40] [--only language]

A classifier with two-word n-grams (dimension 100, two million buckets: about 1 GB) learns to tell short English
documents of the development corpus from long ones, and scores those it wasn't trained on. Language identification
runs on documents of about 3 KB in all languages: both sides on the whole text, then both on its first 2,000
characters. Both sides are measured alike, the best of three runs; the greatest difference of scores stands beneath.
`--data` names the folder with `dev.jsonl.zst` (default: the environment variable TAMIS_DEV_DATA, else
../shared/data). The model is kept in `--work` for the next time. At the end two processes map the classifier at once,
and their memory is read from the kernel (Linux): what they share is counted once.
"""

import argparse
import importlib.metadata
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")  # this folder has modules named as libraries are

import fasttext

from tamis.scorers.fasttext.model import FastTextModel
from tamis.scorers.language.identify import DEFAULT_PREFIX, LanguageIdentifier, packaged_model

ROOT = Path(__file__).resolve().parents[1]
LABEL = "__label__1"
WORKER = """
import sys
from tamis.scorers.fasttext.model import FastTextModel
model = FastTextModel(sys.argv[1])
model.score(open(sys.argv[2], encoding="utf-8").read().split("\\0"), label="__label__1")
print("ready", flush=True)
sys.stdin.read()
"""


def documents(folder: Path) -> list[dict[str, Any]]:
    """Read the development corpus, in an order that is always the same."""
    with (folder / "dev.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        rows = [json.loads(line) for line in lines]
    random.Random(0).shuffle(rows)
    return rows


def classifier(rows: list[dict[str, Any]], work: Path, megabytes: float) -> Path:
    """Train a model that tells long documents from short ones, unless `work` has it."""
    path = work / f"classifier-{megabytes:g}.bin"
    if not path.exists():
        size = 0
        train = work / "train.txt"
        with train.open("w", encoding="utf-8") as file:
            for row in rows:
                label = int(len(row["text"]) > 1500)
                size += file.write(f"__label__{label} {row['text'].replace(chr(10), ' ')}\n")
                if size > megabytes * 1e6:
                    break
        started = time.process_time()
        model = fasttext.train_supervised(str(train), epoch=3, lr=0.1, wordNgrams=2, thread=1, verbose=0)
        model.save_model(str(path))
        train.unlink()
        print(f"trained on {size / 1e6:.0f} MB in {time.process_time() - started:.0f} CPU-s")
    return path


def measure(name: str, texts: list[str], run: Callable[[], Any]) -> Any:
    """Print the rate of the best of three runs and return what the last one returned."""
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    run()
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        result = run()
        best = min(best, time.process_time() - started)
    print(f"  {name:<44} {megabytes / best:8.1f} MB/s {len(texts) / best:10,.0f} documents/s")
    return result


def memory_of(processes: list["subprocess.Popen[str]"]) -> list[dict[str, int]]:
    """Return resident, proportional and private memory of each process, in kB."""
    found = []
    for process in processes:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
        values = {name.rstrip(":"): int(value) for name, value, *_ in map(str.split, lines)}
        found.append(
            {
                "resident": values["Rss"],
                "proportional": values["Pss"],
                "private": values["Private_Clean"] + values["Private_Dirty"],
            }
        )
    return found


def classify(rows: list[dict[str, Any]], work: Path, megabytes: float) -> None:
    """Score documents by a large classifier, and see what memory two processes take."""
    english = [row for row in rows if row["lang"] == "en"]
    path = classifier(english, work, megabytes)
    unseen = [row["text"] for row in english[-6000:]]

    started = time.process_time()
    ours = FastTextModel(path)
    print(f"classifier of {path.stat().st_size / 1e6:,.0f} MB, ready after {time.process_time() - started:.2f} CPU-s")
    library = fasttext.load_model(str(path))
    lines = [text.replace("\n", " ") for text in unseen]
    labels, probabilities = measure("library, list of documents", unseen, lambda: library.predict(lines, k=-1))
    measure("library, document by document", unseen, lambda: [library.predict(line, k=-1) for line in lines])
    scores = measure("Tamis", unseen, lambda: ours.score(unseen, label=LABEL))
    reference = [row[list(names).index(LABEL)] for names, row in zip(labels, probabilities, strict=True)]
    print(f"  greatest difference {np.abs(scores - np.array(reference)).max():.1e}")

    if Path("/proc/self/smaps_rollup").exists():
        sample = work / "sample.txt"
        sample.write_text("\0".join(unseen[:2000]), encoding="utf-8")
        command = [sys.executable, "-c", WORKER, str(path), str(sample)]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        processes: list[subprocess.Popen[str]] = []
        for count in (1, 2):
            processes.append(
                subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            assert processes[-1].stdout is not None
            processes[-1].stdout.readline()
            used = memory_of(processes)
            total = sum(row["proportional"] for row in used)
            own = used[-1]["private"]
            print(f"{count} worker(s): {total / 1e3:,.0f} MB in all, {own / 1e3:,.0f} MB of it the last one's own")
        for process in processes:
            process.communicate()


def identify(rows: list[dict[str, Any]]) -> None:
    """Identify the languages of whole documents, and of their beginnings."""
    texts = [row["text"] for row in rows if 2500 <= len(row["text"].encode()) <= 3500]
    print(f"language identification, {len(texts):,} documents of about 3 KB")
    library = fasttext.load_model(str(packaged_model()))
    lines = [text.replace("\n", " ") for text in texts]
    labels, probabilities = measure("library, whole documents", texts, lambda: library.predict(lines))
    whole = LanguageIdentifier(prefix=None)
    batch = measure("Tamis, whole documents", texts, lambda: whole.score(texts))
    same = [f"__label__{name}" for name in batch.column("language").to_pylist()] == [row[0] for row in labels]
    difference = np.abs(batch.column("language_score").to_numpy() - np.array([row[0] for row in probabilities])).max()
    print(f"  same languages: {same}, greatest difference {difference:.1e}")
    prefix = LanguageIdentifier()
    starts = [line[:DEFAULT_PREFIX] for line in lines]
    print("  the same, MB of whole documents")
    measure(f"library, first {DEFAULT_PREFIX} characters", texts, lambda: library.predict(starts))
    measure(f"Tamis, first {DEFAULT_PREFIX} characters", texts, lambda: prefix.score(texts))


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description="fastText scoring: Tamis beside the library")
    default = os.environ.get("TAMIS_DEV_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "tamis-benchmark-fasttext")
    parser.add_argument("--megabytes", type=float, default=40)
    parser.add_argument("--only", choices=("classifier", "language"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rows = documents(options.data)
    print(f"library: fasttext-community {importlib.metadata.version('fasttext-community')}")
    if options.only != "language":
        classify(rows, options.work, options.megabytes)
    if options.only != "classifier":
        identify(rows)


if __name__ == "__main__":
    main()
