"""Writes `tests/golden/minhash_datasketch.json` with datasketch 2.0: `python make_minhash_golden.py FILE`."""

import json
import sys
from pathlib import Path

from datasketch import MinHash
from datasketch.hashfunc import sha1_hash32, sha1_hash64
from datasketch.lsh import _optimal_param

sys.path[:0] = [str(Path(__file__).resolve().parents[3])]
from tests.scorers.dedup.shingle_twin import shingle_texts  # noqa: E402

TEXTS = [
    "The quick brown fox jumps over the lazy dog, and the lazy dog does not mind the 3rd jump at all.",
    "the quick brown fox jumps over the lazy dog and the lazy dog does not mind the 4th jump at all",
    "Élan vital, naïve façade: 12,345 cœurs à l'œuvre — déjà vu encore une fois, n'est-ce pas?",
    "東京都は日本の首都です。人口は1400万人。 Tokyo is big and it is old and it is new.",
    "one two three four",
    "one two three four five",
    "repeat after me " * 40,
]


def main() -> None:
    cases = []
    for scheme in ("affine32", "affine64", "legacy"):
        for unit, size in (("words", 5), ("words", 2), ("characters", 7)):
            for seed in (1, 42):
                signatures = []
                for text in TEXTS:
                    hashed = sha1_hash64 if scheme == "affine64" else sha1_hash32
                    made = MinHash(32, seed, hashfunc=hashed, scheme=scheme)
                    for shingle in shingle_texts(text, unit, size, "simplified"):
                        made.update(shingle.encode())
                    signatures.append([int(v) for v in made.hashvalues])
                cases.append({"scheme": scheme, "unit": unit, "size": size, "seed": seed, "signatures": signatures})
    optimal = [
        [threshold, permutations, fp, *_optimal_param(threshold, permutations, fp, 1 - fp)]
        for threshold in (0.3, 0.5, 0.7, 0.72, 0.8, 0.9, 0.95)
        for permutations in (16, 64, 128)
        for fp in (0.5, 0.2)
    ]
    Path(sys.argv[1]).write_text(json.dumps({"texts": TEXTS, "cases": cases, "optimal": optimal}) + "\n")


main()
