"""Heuristics: Tamis beside datatrove and Dolma, in MB of text a CPU-second on one core.

    python benchmarks/heuristics.py [--documents FILE.jsonl[.zst]] [--megabytes 20] [--peer-megabytes 2]
                                    [--datatrove PYTHON] [--dolma PYTHON] [--core N]

The benchmark pins itself to one core (the last one it may use unless `--core` names one) and trusts CPU
time. Texts come from the `text` field of `--documents` (default: the English documents of the development
corpus, in the folder that the environment variable TAMIS_DEV_DATA names, else ../shared/data). Ours are
timed from an Arrow array of texts to an Arrow batch of columns and the decision of every rule, best of
five; compilation is left out. `--datatrove` and `--dolma` name a Python that has the peer (default: this
one); where it is missing its rows are left out. Peers get the first `--peer-megabytes` of the same
documents, already read, and are timed without start-up, best of two passes; their versions are printed.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import zstandard

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are

from tamis.scorers.selection.rules import decide
from tamis.scorers.statistics.columns import DEFAULT_TEXT_COLUMNS
from tamis.scorers.statistics.presets import PRESETS
from tamis.scorers.statistics.text_statistics import TextStatistics

PAPER = ("gopher_quality", "gopher_repetition", "c4", "fineweb")
DATATROVE = ("datatrove_gopher_quality", "datatrove_gopher_repetition", "datatrove_c4", "datatrove_fineweb")

TIMED = """
import json, sys, time
texts = json.load(open(sys.argv[1], encoding="utf-8"))
size = sum(len(text.encode()) for text in texts) / 1e6
def timed(name, one):
    best = float("inf")
    for _ in range(2):
        forget()
        one(texts[0])
        start = time.process_time()
        for text in texts:
            one(text)
        best = min(best, time.process_time() - start)
    print("RESULT", json.dumps([name, size / best]), flush=True)
def forget():
    pass
def version(*names):
    from importlib.metadata import version
    print("VERSION", ", ".join(f"{name} {version(name)}" for name in names), flush=True)
"""
DATATROVE_SCRIPT = (
    TIMED
    + """
from datatrove.data import Document
from datatrove.pipeline import filters
from datatrove.utils.text import split_into_parts
from loguru import logger
logger.remove()
version("datatrove", "spacy")
forget = split_into_parts.cache_clear
made = {"Gopher quality": filters.GopherQualityFilter(), "Gopher repetition":
        filters.GopherRepetitionFilter(), "C4": filters.C4QualityFilter(), "FineWeb":
        filters.FineWebQualityFilter()}
for name, made_filter in made.items():
    timed(name, lambda text: made_filter.filter(Document(text=text, id="0")))
timed("all four", lambda text: [one.filter(Document(text=text, id="0")) for one in made.values()])
"""
)
DOLMA_SCRIPT = (
    TIMED
    + """
import dolma.taggers
from dolma.core.data_types import Document
from dolma.core.registry import TaggerRegistry
version("dolma")
for name, tagger in (("Gopher", "gopher_v1"), ("C4", "c4_v2")):
    made = TaggerRegistry.get(tagger)()
    timed(name, lambda text: made.predict(Document(source="", id="0", text=text)))
"""
)


def read_texts(path: Path, megabytes: float, english_only: bool) -> list[str]:
    """Read texts until there are `megabytes` of them."""
    texts: list[str] = []
    left = megabytes * 1e6
    with path.open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file) if path.suffix == ".zst" else file
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            document = json.loads(line)
            if not document["text"] or (english_only and document.get("lang") != "en"):
                continue
            texts.append(document["text"])
            left -= len(texts[-1].encode())
            if left <= 0:
                break
    return texts


def best_of(runs: int, work: Callable[[], object]) -> float:
    """Return the least CPU-seconds of `runs` runs, after one that compiles."""
    work()
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def ours(array: pa.Array, megabytes: float, columns: Sequence[str], presets: Sequence[str]) -> float:
    """Return our MB a CPU-second for these columns and the decisions of these presets."""
    statistics = TextStatistics(columns)
    rules = [rule for preset in presets for rule in PRESETS[preset]]
    return megabytes / best_of(5, lambda: decide(statistics.score(array), rules))


def peer(python: str, script: str, texts: list[str]) -> list[tuple[str, float]]:
    """Return what the script that runs a peer measured; nothing if the peer isn't installed there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps(texts), encoding="utf-8")
        environment = os.environ | {"NLTK_DATA": folder, "HF_HOME": folder}
        result = subprocess.run(
            [python, "-c", script, str(path)], capture_output=True, text=True, env=environment, check=False
        )
    if result.returncode:
        reason = result.stderr.strip().splitlines()[-1:] or ["it failed without a word"]
        print(f"  left out: {reason[0]}")
    for line in result.stdout.splitlines():
        if line.startswith("VERSION "):
            print(f"  {line[8:]}")
    return [tuple(json.loads(line[7:])) for line in result.stdout.splitlines() if line.startswith("RESULT ")]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--peer-megabytes", type=float, default=2)
    parser.add_argument("--datatrove", default=sys.executable)
    parser.add_argument("--dolma", default=sys.executable)
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    core = max(os.sched_getaffinity(0)) if options.core is None else options.core
    os.sched_setaffinity(0, {core})
    default = Path(os.environ.get("TAMIS_DEV_DATA", ROOT.parent / "shared" / "data")) / "dev.jsonl.zst"
    path = options.documents or default
    if not path.exists():
        sys.exit(f"{path}: no such file; name one with --documents")
    texts = read_texts(path, options.megabytes, english_only=options.documents is None)
    if not texts:
        sys.exit(f"{path}: no texts")
    array = pa.array(texts, pa.large_string())
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts)} documents, {megabytes:.1f} MB, {path.name}, core {core}; MB of text a CPU-second")
    print("tamis, definitions of the papers")
    print(f"  {'all statistics and presets':32}{ours(array, megabytes, DEFAULT_TEXT_COLUMNS, PAPER):8.1f}")
    for names in (*((preset,) for preset in PAPER), *((preset,) for preset in DATATROVE), DATATROVE):
        if names == (DATATROVE[0],):
            print("tamis, definitions of datatrove, fast splitter")
        columns = sorted({rule.column for name in names for rule in PRESETS[name]})
        label = names[0] if len(names) == 1 else "all four"
        print(f"  {label:32}{ours(array, megabytes, columns, names):8.1f}")
    few, left = [], options.peer_megabytes * 1e6
    for text in texts:
        if left <= 0:
            break
        few.append(text)
        left -= len(text.encode())
    for title, python, script in (
        ("datatrove (spaCy)", options.datatrove, DATATROVE_SCRIPT),
        ("dolma", options.dolma, DOLMA_SCRIPT),
    ):
        print(f"{title}, first {len(few)} documents")
        for name, rate in peer(python, script, few):
            print(f"  {name:32}{rate:8.2f}")


if __name__ == "__main__":
    main()
