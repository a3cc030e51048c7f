"""Near-duplicates: MB of text a CPU-second on one pinned core, beside datasketch.

    python benchmarks/near_duplicates.py [--documents FILE.jsonl[.zst]] [--megabytes 100] [--peer-megabytes 2]
                                         [--datasketch FOLDER] [--short 1000000] [--core N]

Texts are in memory already; compilation is left out. `signatures` are made of a batch of texts; `whole` adds bands,
candidate pairs, verification where the recipe has it, components, and the decision on every document: all of the step
but reading and writing. A tenth of the texts are near-duplicates of others, at similarities that are drawn. datasketch
is given shingles that are cut already, of the first `--peer-megabytes`, where `--datasketch` names a folder to import
it from (or it is installed). `--short` documents of 200 bytes each are signed and matched last, with the peak of
memory.
"""

import argparse
import itertools
import random
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are
sys.path.append(str(ROOT))

from benchmarks.corpus import arguments, documents, pinned
from tamis.scorers.dedup.bands import Bands, optimal_bands
from tamis.scorers.dedup.minhash import MinHash, Permutations
from tamis.scorers.dedup.near_duplicates import NearDuplicates, Shard, document_numbers
from tamis.scorers.dedup.shingles import Shingles


def planted(texts: pa.Array, share: float) -> pa.Array:
    """Return the texts with near-duplicates of that share of them added."""
    draw = random.Random(1)
    copies = []
    for text in texts.take(pa.array(sorted(draw.sample(range(len(texts)), int(share * len(texts)))))).to_pylist():
        words = text.split(" ")
        for _ in range(int(len(words) * draw.choice([0, 0.002, 0.01, 0.02, 0.05]))):
            words[draw.randrange(len(words))] = "changed"
        copies.append(" ".join(words))
    return pa.concat_arrays([texts, pa.array(copies, pa.large_string())])


def shards_of(texts: pa.Array, count: int) -> list[Shard]:
    ids = np.random.default_rng(1).integers(0, 2**63, (len(texts), 2)).astype(np.uint64)
    cuts = np.linspace(0, len(texts), count + 1).astype(int)
    return [Shard(texts[a:b], ids[a:b]) for a, b in itertools.pairwise(cuts)]


def timed(name: str, megabytes: float, run, best_of: int = 3):
    least = float("inf")
    for _ in range(best_of):
        start = time.process_time()
        value = run()
        least = min(least, time.process_time() - start)
    print(f"{name:58} {least:8.2f} CPU-s {megabytes / least:8.1f} MB/s", flush=True)
    return value


def main() -> None:
    parser = arguments(__doc__, 100)
    parser.add_argument("--peer-megabytes", type=float, default=2)
    parser.add_argument("--datasketch", type=Path)
    parser.add_argument("--short", type=int, default=1_000_000)
    options = pinned(parser)
    texts = planted(documents(options.documents, options.megabytes), 0.1)
    size = texts.nbytes / 1e6
    print(f"{len(texts)} documents, {size:.1f} MB; recall at 0.7, 0.8, 0.9: ", end="")
    print(
        ", ".join(
            f"{b.bands} x {b.rows}: {[round(b.recall(s), 3) for s in (0.7, 0.8, 0.9)]}"
            for b in (Bands(14, 8), Bands(26, 11))
        )
    )
    for name, shingles, permutations in (
        ("signatures, 14 x 8, 5 words", Shingles(), Permutations(112)),
        ("signatures, 26 x 11, 5 words", Shingles(), Permutations(286)),
        ("signatures, 14 x 8, 5 words, SHA-1", Shingles(hash="sha1"), Permutations(112)),
        ("signatures, 14 x 8, 5 words, affine64", Shingles(), Permutations(112, scheme="affine64")),
        ("signatures, 14 x 8, 5 words, legacy permutations", Shingles(), Permutations(112, scheme="legacy")),
        ("signatures, 14 x 8, 24 characters", Shingles("characters", 24), Permutations(112)),
    ):
        signer = MinHash(shingles, permutations)
        signer.sign(["one two three four five six"])
        timed(name, size, lambda signer=signer: signer.sign(texts))
    shards = shards_of(texts, 8)
    for name, recipe in (
        ("whole, fineweb (14 x 8)", NearDuplicates.preset("fineweb")),
        ("whole, fineweb, verified by shingles at 0.8", NearDuplicates(verify="shingles")),
        ("whole, fineweb, verified, link kept", NearDuplicates(verify="shingles", link="kept")),
        ("whole, dolma3 (26 x 11, verified)", NearDuplicates.preset("dolma3")),
    ):
        recipe.find([Shard(texts[:50], shards[0].ids[:50])] * 2)
        found = timed(name, size, lambda recipe=recipe: recipe.find(shards, partitions=4))
        removed = sum(int((kept != document_numbers(i, len(kept))).sum()) for i, kept in enumerate(found.kept))
        largest = max(map(max, found.sizes))
        print(
            f"    removed {removed}, edges {len(found.edges.a)}, largest cluster {largest}, left out {found.left_out}"
        )
    start = time.process_time()
    optimal_bands(0.7, 128)
    print(f"optimal bands for 128 permutations: {time.process_time() - start:.2f} CPU-s")
    peer(options, documents(options.documents, options.peer_megabytes))
    if options.short:
        draw = np.random.default_rng(2)
        words = np.array([f"word{i}" for i in range(50_000)])
        short = pa.array(
            [" ".join(words[draw.zipf(1.3, 28) % 50_000]) for _ in range(options.short)], pa.large_string()
        )
        shards = shards_of(short, 16)
        timed(
            f"whole, fineweb, {options.short} short documents",
            short.nbytes / 1e6,
            lambda: NearDuplicates().find(shards, partitions=8),
            1,
        )
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def peer(options: argparse.Namespace, texts: pa.Array) -> None:
    """Time datasketch's signatures of 112 permutations, by its own SHA-1 and shingles that are cut already."""
    if options.datasketch:
        sys.path.append(str(options.datasketch))
    try:
        import datasketch
    except ImportError:
        print("datasketch isn't installed")
        return
    cut = [
        [" ".join(w[i : i + 5]).encode() for i in range(len(w) - 4)]
        for w in (text.split() for text in texts.to_pylist())
    ]
    timed(
        f"signatures, datasketch {datasketch.__version__}, shingles already cut",
        texts.nbytes / 1e6,
        lambda: datasketch.MinHash.bulk(cut, num_perm=112),
        1,
    )


main()
