"""Decontamination: MB of text a CPU-second on one pinned core, and what is found of planted items by kind.

    python benchmarks/contamination.py [--documents FILE.jsonl[.zst]] [--megabytes 50] [--planted FOLDER] [--core N]

`--planted` holds `evals.jsonl.gz` (`question`), `train.jsonl.gz` (`id`, `text`) and `truth.json` (id to kind and item);
default: `contamination` in the folder of development corpora. A third of those documents hold an item, so their speed
is that of the worst case; documents of `--documents` hold hardly any.
"""

import gzip
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are
sys.path.append(str(ROOT))

from benchmarks.corpus import arguments, documents, pinned
from tamis.scorers.contamination.decon import DeconScore, Item
from tamis.scorers.contamination.find import Aligned, NGrams
from tamis.scorers.contamination.index import ContaminationIndex
from tamis.scorers.text.texts import as_buffer

KINDS = ("verbatim", "qa", "case", "spaces", "edit1", "edit3", "edit6", "split", "half", "decoy", "clean")


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def main() -> None:
    parser = arguments(__doc__, 50)
    folder = Path(os.environ.get("TAMIS_DEV_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--planted", type=Path, default=folder / "contamination")
    options = pinned(parser)
    items = [record["question"] for record in lines(options.planted / "evals.jsonl.gz")]
    records = lines(options.planted / "train.jsonl.gz")
    truth = json.loads((options.planted / "truth.json").read_text())
    planted = as_buffer([record["text"] for record in records])
    web = as_buffer(documents(options.documents, options.megabytes, language=None))
    start = time.process_time()
    index = ContaminationIndex.build(items)
    print(f"index of {len(index)} items: {time.process_time() - start:.2f} CPU-s")
    print(f"{'found (as a part)':12}", *(f"{kind:>9}" for kind in KINDS), "planted MB/s", "web MB/s")
    classical, decon = NGrams(items), DeconScore([Item(text) for text in items])
    for name, find in (
        ("aligned", lambda texts: Aligned().find(texts, index)),
        ("13-grams", classical.find),
        ("decon", decon.find),
    ):
        find(as_buffer(["warm up"]))
        speeds = []
        for texts in (planted, web):
            start = time.process_time()
            hits = find(texts)
            speeds.append(texts.offsets[-1] / 1e6 / (time.process_time() - start))
            if texts is planted:
                whole = {records[d]["id"] for d in hits.documents[hits.whole].tolist()}
                parts = {records[d]["id"] for d in hits.documents.tolist()} - whole
        found, part = Counter(truth[i][0] for i in whole), Counter(truth[i][0] for i in parts)
        print(f"{name:18}", *(f"{found[k]:>4} ({part[k]:2})" for k in KINDS), *(f"{speed:9.1f}" for speed in speeds))


main()
