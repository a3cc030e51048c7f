"""Repeated substrings, lines and paragraphs: MB of text a CPU-second on one pinned core, and memory.

    python benchmarks/repeats.py [--documents FILE.jsonl[.zst]] [--megabytes 50] [--core N]

Texts are in memory already, in eight shards; the hash space is cut into eight partitions; compilation is left out.
"""

import itertools
import resource
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are
sys.path.append(str(ROOT))

from benchmarks.corpus import arguments, documents, pinned
from tamis.scorers.dedup.near_duplicates import Shard
from tamis.scorers.dedup.paragraphs import RepeatedParagraphs
from tamis.scorers.dedup.substrings import RepeatedSubstrings


def main() -> None:
    options = pinned(arguments(__doc__, 50))
    texts = documents(options.documents, options.megabytes, language=None)
    size = texts.nbytes / 1e6
    ids = np.random.default_rng(1).integers(0, 2**63, (len(texts), 2)).astype(np.uint64)
    cuts = np.linspace(0, len(texts), 9).astype(int)
    shards = [Shard(texts[a:b], ids[a:b]) for a, b in itertools.pairwise(cuts)]
    for name, finder in (
        ("substrings of 500 bytes", RepeatedSubstrings()),
        ("substrings of 100 bytes", RepeatedSubstrings(100)),
        ("lines", RepeatedParagraphs()),
        ("paragraphs", RepeatedParagraphs("paragraphs")),
    ):
        finder.find([Shard(texts[:20], ids[:20])] * 2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        found = finder.find(shards, partitions=8)
        seconds = time.process_time() - start
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
        gone = sum(int((one.ends - one.starts).sum()) for one in found)
        print(
            f"{name:26} {size / seconds:7.1f} MB/s, {gone} bytes of {size:.1f} MB go, "
            f"{more / size:.1f} bytes of memory a byte beyond the texts"
        )


main()
