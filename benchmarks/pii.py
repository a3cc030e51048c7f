"""Personal data: MB of text a CPU-second on one pinned core, and recall and false findings on the labelled set.

    python benchmarks/pii.py [--documents FILE.jsonl[.zst]] [--megabytes 50] [--core N]

The labelled set is `tests/golden/pii_labelled.txt`: a finding counts if its span and kind are exact.
"""

import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are
sys.path.append(str(ROOT))

from benchmarks.corpus import arguments, documents, pinned
from tamis.scorers.pii.detect import find_pii
from tamis.scorers.pii.kinds import KINDS
from tamis.scorers.pii.mask import Masker
from tests.scorers.pii.labelled import labelled


def main() -> None:
    options = pinned(arguments(__doc__, 50))
    texts = documents(options.documents, options.megabytes, language=None)
    size = texts.nbytes / 1e6
    find_pii(["a@b.co 1.2.3.4"])
    for kinds in (KINDS, *((kind,) for kind in KINDS)):
        least = float("inf")
        for _ in range(3):
            start = time.process_time()
            spans = find_pii(texts, kinds)
            least = min(least, time.process_time() - start)
        print(f"{', '.join(kinds):40} {size / least:8.1f} MB/s {len(spans.texts):8} found in {size:.0f} MB")
    spans = find_pii(texts)
    start = time.process_time()
    Masker().apply(texts, spans)
    print(f"{'masks':40} {size / (time.process_time() - start):8.1f} MB/s")
    wanted, got = Counter(), Counter()
    right = Counter()
    cases = labelled()
    found = find_pii([text for text, _ in cases])
    seen = {(t, KINDS[k], a, z) for t, a, z, k in zip(*(column.tolist() for column in found), strict=True)}
    expected = {(row, *span) for row, (_, spans) in enumerate(cases) for span in spans}
    for _, kind, _, _ in expected:
        wanted[kind] += 1
    for item in seen:
        got[item[1]] += 1
        right[item[1]] += item in expected
    print(f"\n{'kind':8} {'labelled':>8} {'recall':>7} {'false':>6}")
    for kind in KINDS:
        print(f"{kind:8} {wanted[kind]:8} {right[kind] / wanted[kind]:7.3f} {got[kind] - right[kind]:6}")


main()
