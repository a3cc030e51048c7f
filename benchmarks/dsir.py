"""DSIR: Tamis beside the authors' package `data-selection`, on the same documents and one core.

    taskset -c 1 python benchmarks/dsir.py [--data FOLDER] [--megabytes 40] [--domain law] [--reference PYTHON]
    [--weights 100_000_000]

Speed: MB of text a CPU-second for fitting and weighing, with the fast hash and with SHA-256 (bit-equal to the
reference). Quality: the pool is the English documents of the development corpus, the target some of the documents
of one domain; reported are that domain's share among the documents drawn and the KL reduction against a random draw
(features: SHA-256 buckets, the reference's own), means over draws. Scale: a draw from synthetic weights, its passes
and its peak memory. `--data` names the folder with `dev.jsonl.zst` (default: the environment variable TAMIS_DEV_DATA,
else ../shared/data). `--reference` names a Python that has `data-selection` and NLTK older than 3.10.3, which changed
its tokenizer; without it the reference is left out.
"""

import argparse
import io
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zstandard

sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")  # this folder has modules named as libraries are

from tamis.scorers.dsir.divergence import kl_reduction
from tamis.scorers.dsir.features import HashName, NgramFeatures
from tamis.scorers.dsir.model import DsirModel, Normalise, ngram_counts
from tamis.scorers.dsir.sampling import DsirSampling
from tamis.scorers.selection.order_statistics import Partial
from tamis.scorers.selection.selection import TopDocuments

DRAWS = 5
TARGETS = ["encyclopedia", "law", "recipes", "speeches", "techdoc", "news", "maths", "manpages", "email"]

REFERENCE = """
import json, pathlib, sys, time
from data_selection import HashedNgramDSIR
work, k, draws = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
model = HashedNgramDSIR([str(work / "raw.jsonl")], [str(work / "target.jsonl")], str(work / "cache"), num_proc=1)
seconds = {}
for name, step in (("fit", lambda: model.fit_importance_estimator(num_tokens_to_fit="all")),
                   ("weights", model.compute_importance_weights)):
    start = time.process_time()
    step()
    seconds[name] = time.process_time() - start
drawn = []
for i in range(draws):
    model.resample(str(work / f"out{i}"), k, str(work / f"resample{i}"))
    drawn.append([json.loads(line)["id"] for path in sorted((work / f"out{i}").glob("*.jsonl")) for line in
    path.open()])
from importlib.metadata import version
versions = ", ".join(f"{name} {version(name)}" for name in ("data-selection", "nltk"))
print("RESULT", json.dumps({"seconds": seconds, "drawn": drawn, "versions": versions}))
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    data = Path(os.environ.get("TAMIS_DEV_DATA", beside))
    arguments.add_argument("--data", type=Path, default=data)
    arguments.add_argument("--megabytes", type=float, default=40)
    arguments.add_argument("--domain", default="law")
    arguments.add_argument("--reference", type=Path)
    arguments.add_argument("--weights", type=int, default=100_000_000)
    arguments.add_argument("--targets", nargs="*", default=TARGETS, metavar="DOMAIN")
    arguments.add_argument("--target-documents", type=int, help="of each target, so many at most")
    arguments.add_argument("--only-targets", action="store_true", help="leave speeds and the large draw out")
    options = arguments.parse_args()
    targets(options.data, options.megabytes, options.targets, options.target_documents)
    if options.only_targets:
        return
    scale(options.weights)
    pool, target = documents(options.data, options.megabytes, options.domain)
    quality(pool, target, options.domain, options.reference)


def documents(folder: Path, megabytes: float, domain: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return pool and target: half of the domain's documents are the target, the others in the pool with the rest."""
    with (folder / "dev.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        rows = [row for line in lines if (row := json.loads(line))["lang"] == "en"]
    random.Random(0).shuffle(rows)
    pool: list[dict[str, Any]] = []
    target: list[dict[str, Any]] = []
    left = megabytes * 1e6
    members = 0
    for row in rows:
        members += row["domain"] == domain
        if row["domain"] == domain and members % 2:
            target.append(row)
        elif left > 0:
            pool.append(row)
            left -= len(row["text"].encode())
    return pool, target


def cpu(function: Callable[[], Any]) -> float:
    """Return the CPU-seconds of the best of three runs."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best


def quality(pool: list[dict[str, Any]], target: list[dict[str, Any]], domain: str, reference: Path | None) -> None:
    """Print speeds, domain shares and KL reductions."""
    texts = pa.array([row["text"] for row in pool], pa.large_string())
    wanted = [row["text"] for row in target]
    ids = [blake2b(row["id"].encode(), digest_size=16).hexdigest() for row in pool]
    domains = np.array([row["domain"] for row in pool])
    megabytes = sum(len(row["text"].encode()) for row in pool) / 1e6
    both = megabytes + sum(len(text.encode()) for text in wanted) / 1e6
    k = len(pool) // 20
    print(f"pool {len(pool)} documents, {megabytes:.1f} MB; target {len(wanted)}; {k} drawn, mean of {DRAWS} draws")
    plain = NgramFeatures(hash="sha256")
    target_counts = ngram_counts(wanted, plain)
    chance = [np.random.default_rng(i).permutation(len(pool))[:k] for i in range(DRAWS)]
    by_chance = [ngram_counts(texts.take(pa.array(rows)), plain) for rows in chance]

    def report(name: str, masks: list[np.ndarray[Any, Any]]) -> None:
        drawn = [ngram_counts(texts.filter(pa.array(mask)), plain) for mask in masks]
        gain = np.mean([kl_reduction(target_counts, *pair) for pair in zip(drawn, by_chance, strict=True)])
        share, base = np.mean([(domains[mask] == domain).mean() for mask in masks]), (domains == domain).mean()
        print(f"  {name}: share of {domain} {share:.3f} (pool {base:.3f}), KL reduction {gain:.3f} nats")

    hashes: list[HashName] = ["fast", "sha256"]
    for hash_name in hashes:
        features = NgramFeatures(hash=hash_name)

        def fit(features: NgramFeatures = features) -> DsirModel:
            return DsirModel.fit(ngram_counts(texts, features), ngram_counts(wanted, features), hash=features.hash)

        model = fit()
        weights, lengths = model.weights_and_lengths(texts)
        fitting, weighing = cpu(fit), cpu(partial(model.log_weights, texts))
        print(f"tamis, {hash_name}: fit {both / fitting:.1f} MB/s, weights {megabytes / weighing:.1f} MB/s")
        masks = []
        for seed in range(DRAWS):
            sampling = DsirSampling(TopDocuments(k), seed=seed)
            while (task := sampling.next_pass()) is not None:
                sampling.advance(task.accumulate(weights, ids, lengths))
            masks.append(sampling.decision().choose(weights, ids, lengths) == 0)
        report(f"tamis, {hash_name}", masks)
    if reference is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("raw", pool), ("target", target)):
            with (Path(folder) / f"{name}.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(json.dumps({"id": row["id"], "text": row["text"]}) + "\n" for row in rows)
        command = [str(reference), "-c", REFERENCE, folder, str(k), str(DRAWS)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result = json.loads(output.split("RESULT ")[1])
    fitting, weighing = result["seconds"]["fit"], result["seconds"]["weights"]
    print(f"{result['versions']}: fit {both / fitting:.2f} MB/s, weights {megabytes / weighing:.2f} MB/s")
    names = np.array([row["id"] for row in pool])
    report("data-selection", [np.isin(names, drawn) for drawn in result["drawn"]])


def targets(folder: Path, megabytes: float, domains: list[str], most: int | None) -> None:
    """Print for several targets what each way to let length enter draws, as many as the pool has of the target's kind.

    `recall` is the share of the pool's documents of the target's domain (those long enough) that are drawn, which is
    the precision, too; `KL` the reduction of the divergence from the target against a draw of as many by chance, in
    nats; `length` the mean tokens of what is drawn over those of the domain's documents in the pool.
    """
    plain = NgramFeatures()
    ways: dict[str, tuple[Normalise, bool]] = {
        "none (reference)": ("none", False), "chunk": ("chunk", False), "token": ("token", False),
        "none, top_k": ("none", True), "chunk, top_k": ("chunk", True), "token, top_k": ("token", True),
    }  # fmt: skip
    print(f"{'target':<14}{'drawn':>6} " + "".join(f"{name:>26}" for name in ways))
    print(f"{'':<14}{'':>6} " + "".join(f"{'recall     KL  length':>26}" for _ in ways))
    means: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for domain in domains:
        pool, target = documents(folder, megabytes, domain)
        target = target[:most]
        texts = pa.array([row["text"] for row in pool], pa.large_string())
        ids = [blake2b(row["id"].encode(), digest_size=16).hexdigest() for row in pool]
        member = np.array([row["domain"] == domain for row in pool])
        target_counts = ngram_counts([row["text"] for row in target], plain)
        model = DsirModel.fit(ngram_counts(texts, plain), target_counts)
        weights = {way: model.weights_and_lengths(texts, normalise=way) for way in ("none", "chunk", "token")}
        lengths = weights["none"][1]
        long_enough = lengths >= 100
        wanted = member & long_enough
        k = int(wanted.sum())
        by_chance = [np.random.default_rng(i).permutation(np.flatnonzero(long_enough))[:k] for i in range(DRAWS)]
        chance = [ngram_counts(texts.take(pa.array(rows)), plain) for rows in by_chance]
        cells = []
        for name, (way, top_k) in ways.items():
            found = []
            for seed in range(1 if top_k else DRAWS):
                sampling = DsirSampling(TopDocuments(k), seed=seed, top_k=top_k)
                while (task := sampling.next_pass()) is not None:
                    sampling.advance(task.accumulate(weights[way][0], ids, lengths))
                drawn = sampling.decision().choose(weights[way][0], ids, lengths) == 0
                gain = kl_reduction(target_counts, ngram_counts(texts.filter(pa.array(drawn)), plain), chance[seed])
                found.append(((drawn & wanted).sum() / k, gain, lengths[drawn].mean() / lengths[wanted].mean()))
            mean = tuple(np.mean(found, axis=0).tolist())
            means[name].append(mean)
            cells.append(f"{mean[0]:>12.3f}{mean[1]:>7.3f}{mean[2]:>7.2f}")
        print(f"{domain:<14}{k:>6} " + "".join(cells), flush=True)
    print(
        f"{'mean':<14}{'':>6} "
        + "".join("{:>12.3f}{:>7.3f}{:>7.2f}".format(*np.mean(m, axis=0)) for m in means.values())
    )


def scale(count: int) -> None:
    """Draw 1 % of synthetic weights that no memory holds at once, shard by shard; print passes and peak memory."""
    size = 1_000_000

    def shard(number: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        rng = np.random.default_rng(number)
        rows = min(size, count - number * size)
        return rng.normal(-300, 200, rows), rng.integers(0, 2**64, (rows, 2), np.uint64)

    shards = range(-(-count // size))
    start = time.process_time()
    sampling = DsirSampling(TopDocuments(count // 100), seed=7)
    passes = 0
    while (task := sampling.next_pass()) is not None:
        passes += 1
        sampling.advance(Partial.merge(task.accumulate(*shard(number)) for number in shards))
    decision = sampling.decision()
    drawn = sum(int((decision.choose(*shard(number)) == 0).sum()) for number in shards)
    seconds = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{drawn} drawn from {count} weights: {passes} passes and the draw, {seconds:.0f} CPU-s, peak {memory:.2f} GB"
    )


if __name__ == "__main__":
    main()
