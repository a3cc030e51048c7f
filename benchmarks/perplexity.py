"""KenLM perplexity: Tamis beside cc_net's loop, bare KenLM and bare SentencePiece, on the same documents and one core.

    taskset -c 1 python benchmarks/perplexity.py [--data FOLDER] [--train 45] [--test 10] [--pieces 20000]

Prints the libraries' versions and MB of text a CPU-second, the best of three runs on either side. A 5-gram model is
trained on `--train` MB of the English documents of the development corpus, and others of them are scored. "cc_net" is
its algorithm: Python's `str` and `unicodedata` a document, then `kenlm.Model.score`. With `lmplz` on the PATH its CPU
time stands beside the estimator's. `--data` names the folder with `dev.jsonl.zst` (default: the environment variable
TAMIS_DEV_DATA, else ../shared/data).
"""

import argparse
import importlib.metadata
import io
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zstandard

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are

import kenlm
import sentencepiece

from tamis.scorers.ngram.arpa import write_arpa
from tamis.scorers.ngram.estimate import estimate
from tamis.scorers.ngram.kenlm_binary import write_probing
from tamis.scorers.ngram.lmplz import find_lmplz
from tamis.scorers.perplexity.normalize import Normalizer, ccnet, ccnet_batch
from tamis.scorers.perplexity.perplexity import NgramPerplexity
from tamis.scorers.perplexity.training import train_lm
from tamis.scorers.text.spans import text_spans

DIGITS = re.compile(r"\d")
CONTROLS = re.compile("[" + "".join(map(chr, [*range(32), *range(127, 160)])) + "]")
PUNCTUATION = dict(
    zip("，。、„”“«»１」「《》´∶：？！（）；–～’━〈〉【】％►", ",.," + 10 * '"' + "'::?!();-~'-<>[]%-", strict=True)
) | {"—": " - ", "．": ". ", "…": "..."}


def ccnet_loop(text: str) -> str:
    """Normalise as cc_net does it, a character at a time."""
    line = text.strip()
    if not line:
        return line
    line = line.lower()
    line = "".join(c for c in unicodedata.normalize("NFD", line) if unicodedata.category(c) != "Mn")
    line = DIGITS.sub("0", line)
    line = "".join(PUNCTUATION.get(c, c) for c in line)
    return CONTROLS.sub("", line)


def english(folder: Path) -> list[str]:
    """Return the English documents in a fixed random order."""
    texts = []
    with zstandard.open(folder / "dev.jsonl.zst", "rb") as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            row = json.loads(line)
            if row["lang"] == "en" and row["domain"] != "code":
                texts.append(row["text"])
    random.Random(1).shuffle(texts)
    return texts


def cut(texts: list[str], megabytes: float) -> tuple[list[str], list[str]]:
    """Return the first so many megabytes, and the rest."""
    ends = np.cumsum([len(text.encode()) for text in texts])
    place = int(np.searchsorted(ends, megabytes * 1e6)) + 1
    return texts[:place], texts[place:]


def measure(name: str, texts: list[str], run: Callable[[], Any], *, repeat: int = 3) -> Any:
    """Print the rate of the best of some runs after one that warms up; return what the last one returned."""
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    run()
    best = float("inf")
    for _ in range(repeat):
        started = time.process_time()
        result = run()
        best = min(best, time.process_time() - started)
    print(f"  {name:<52} {megabytes / best:8.1f} MB/s {len(texts) / best:9,.0f} documents/s", flush=True)
    return result


def seconds(run: Callable[[], Any]) -> tuple[Any, float]:
    """Return what `run` returns and the CPU seconds it took."""
    started = time.process_time()
    return run(), time.process_time() - started


def training(train: list[str], work: Path) -> None:
    """Print the CPU time of estimation, beside lmplz's."""
    spans = Normalizer("ccnet-blanks").apply(text_spans(train))
    size = len(spans.data) / 1e6
    estimate([Normalizer().apply(text_spans(train[:10]))], order=5, discount_fallback=True)
    found, counting = seconds(lambda: estimate([spans], order=5, discount_fallback=True))
    _, arpa = seconds(lambda: write_arpa(found.arpa, work / "ours.arpa"))
    _, binary = seconds(lambda: write_probing(found.arpa, work / "ours.binary"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    ngrams = sum(len(table.ids) for table in found.arpa.orders)
    print(f"training, order 5, {size:.0f} MB, {found.tokens / 1e6:.1f} M words, {ngrams / 1e6:.1f} M n-grams")
    print(f"  Tamis: estimate {counting:.1f} + ARPA {arpa:.1f} = {counting + arpa:.1f} CPU-s; peak {peak:.1f} GB")
    print(f"  Tamis: binary {binary:.1f} CPU-s")
    program = find_lmplz()
    if program is not None:
        (work / "train.txt").write_bytes(b"".join(text.encode() + b"\n" for text in spans.texts()))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [str(program), "-o", "5", "-S", "4G", "-T", str(work), "--discount_fallback"]
        command += ["--text", str(work / "train.txt"), "--arpa", str(work / "lmplz.arpa")]
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"  lmplz: {after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.1f} CPU-s with ARPA")
    (work / "ours.arpa").unlink()


WORKER = """
import sys
sys.path[0] = sys.argv[1] + "/src"
from tamis.scorers.perplexity.perplexity import NgramPerplexity
scorer = NgramPerplexity(sys.argv[2])
scorer.score([open(sys.argv[3]).read()])
print("ready", flush=True)
sys.stdin.readline()
"""


def sharing(folder: Path, texts: list[str], work: Path) -> None:
    """Print the memory of two processes that score with the same model."""
    (work / "text.txt").write_text("\n".join(texts))
    command = [sys.executable, "-c", WORKER, str(ROOT), str(folder), str(work / "text.txt")]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    size = (folder / "lm.binary").stat().st_size / 1e6
    for worker in workers:
        mapped = private = 0
        inside = False
        for line in Path(f"/proc/{worker.pid}/smaps").read_text().splitlines():
            name, *values = line.split()
            if "-" in name and ":" not in name:
                inside = line.endswith("lm.binary")
            elif inside:
                mapped += int(values[0]) if name == "Rss:" else 0
                private += int(values[0]) if name in ("Private_Clean:", "Private_Dirty:") else 0
        shares = f"{mapped / 1e3:.0f} MB of the model's {size:.0f} mapped, {private / 1e3:.1f} MB private"
        print(f"  process {worker.pid}: {shares}")
    for worker in workers:
        worker.communicate("\n")


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description="KenLM perplexity: Tamis beside cc_net and the bare libraries")
    default = Path(os.environ.get("TAMIS_DEV_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default, help="folder with dev.jsonl.zst")
    parser.add_argument("--train", type=float, default=45.0, help="MB of text to train on")
    parser.add_argument("--test", type=float, default=10.0, help="MB of text to score")
    parser.add_argument("--pieces", type=int, default=20_000, help="pieces of the tokenizer")
    options = parser.parse_args()
    train, rest = cut(english(options.data), options.train)
    test, _ = cut(rest, options.test)
    array = pa.array(test, pa.large_string())
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("kenlm", "sentencepiece")))
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        training(train, work)
        words, pieces = work / "words", work / "pieces"
        train_lm(train, words, order=5, normalizer="ccnet-blanks", keep_arpa=False)
        train_lm(train, pieces, order=5, pieces=options.pieces, keep_arpa=False)
        model, scorer = kenlm.Model(str(words / "lm.binary")), NgramPerplexity(words)
        print(f"normalising, {len(test):,} documents")
        normal = measure("cc_net's loop", test, lambda: [ccnet_loop(text) for text in test])
        assert measure("Tamis, a document at a time", test, lambda: [ccnet(text) for text in test]) == normal
        measure("Tamis, a batch", test, lambda: ccnet_batch(array))
        print(f"words, a model of {(words / 'lm.binary').stat().st_size / 1e6:.0f} MB")
        measure(
            "cc_net: loop, Model.score, length",
            test,
            lambda: [(model.score(line), len(line.split()) + 1) for line in map(ccnet_loop, test)],
        )
        measure("KenLM alone, normalised beforehand", test, lambda: [model.score(line) for line in normal])
        measure("KenLM alone with OOV (full_scores)", test, lambda: [list(model.full_scores(line)) for line in normal])
        measure("Tamis: normalise, score, count, OOV", test, lambda: scorer.score(array))
        bare = NgramPerplexity(words / "lm.binary", normalizer="none", mode="kenlm", policy="document", check=False)
        measure("Tamis without normalising", test, lambda: bare.score(array))
        print(f"{options.pieces:,} pieces")
        processor = sentencepiece.SentencePieceProcessor(model_file=str(pieces / "tokenizer.model"))
        of_pieces, by_pieces = kenlm.Model(str(pieces / "lm.binary")), NgramPerplexity(pieces)
        measure(
            "SentencePiece and KenLM, normalised beforehand",
            test,
            lambda: [of_pieces.score(" ".join(processor.encode(line, out_type=str))) for line in normal],
        )
        measure("Tamis: normalise, pieces, score, count, OOV", test, lambda: by_pieces.score(array))
        print("two processes with one model")
        sharing(words, test[:500], work)


if __name__ == "__main__":
    main()
