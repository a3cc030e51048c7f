"""What a run over 10^8, 10^9 and 10^10 documents comes to, from measured constants: the tables of docs/scale.md.

    python benchmarks/scale_on_paper.py [--check docs/scale.md]

Constants are below, each with where it was measured; prices are list prices that change, so that a price is told as the
amount of what is paid for, too. `--check` compares the tables with those of a page.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

SIZES = (10**8, 10**9, 10**10)

DOCUMENT = 5_000
"""Bytes of text; 2,000 to 10,000 in crawls of the web."""
PACKED = 0.37
"""Bytes of an input file (zstd) for each byte of text."""
INPUT_FILE = 256e6
"""Bytes of an input file as it lies in a bucket."""
STORED = 128e6
"""Bytes of text of a stored shard: the unit of every pass after the reader."""
WRITTEN = 512e6
"""Bytes of text of a shard of the output."""
SPEED = 6.3e6
"""Bytes of text a core and second: the whole text pipeline over 500 MB."""
PASSES = 16
"""Passes over stored shards in the demo's eight steps, of some 25 in all."""
PER_SHARD_AND_PASS = 4
"""Requests: look, read, write, look; as counted by tests/engines/test_stores.py."""
REQUESTS = 100
"""Requests besides."""
TASK = 134
"""Bytes of a file in the list of input files; benchmarks/scaling.py."""
NOTE = 540
"""Bytes that a stored shard adds to the largest value through a side input: that of the pass `count`, in the demo."""
GRAPH = 2_100_000
"""Bytes of the graph: the demo translated for Dataflow; the same for any number of files."""
KEPT = 0.3
"""Of the text, what is selected and written."""
SIGNATURE = 16
"""Bytes that exact deduplication moves a document: hash and position."""
NEAR = 14 * 16
"""Bytes that near-deduplication moves a document: 14 bands, a hash and a position each."""
WORKER = 1.0e9
"""Bytes of memory a worker process."""
CORE_HOUR, GB_HOUR, SHUFFLE_GB, OPERATION = 0.056, 0.003557, 0.011, 5e-6
"""US dollars, about: a core and a GB of memory for an hour in batch, a GB of shuffle, a write or listing."""
CORE_GB = 4
"""Memory a core of the machines; four are rented, though a worker takes one."""


@dataclass(frozen=True)
class Paper:
    """A run as it comes to on paper; sizes in bytes."""

    documents: int

    @property
    def text(self) -> float:
        """Of all documents."""
        return self.documents * DOCUMENT

    @property
    def files(self) -> int:
        """Input files."""
        return math.ceil(self.text * PACKED / INPUT_FILE)

    @property
    def stored(self) -> int:
        """Stored shards, so the tasks of each pass over them."""
        return max(self.files, math.ceil(self.text / STORED))

    @property
    def written(self) -> int:
        """Shards of the output, with those of rejected documents."""
        return math.ceil(self.text / WRITTEN)

    @property
    def tasks(self) -> int:
        """Of the whole run."""
        return 2 * self.files + PASSES * self.stored + self.written

    @property
    def requests(self) -> int:
        """To the object store."""
        return REQUESTS + 4 * self.files + PER_SHARD_AND_PASS * PASSES * self.stored + 2 * self.written

    @property
    def rerun(self) -> int:
        """Requests of a rerun with nothing to do."""
        return 50 + self.files + self.written

    @property
    def moved(self) -> float:
        """Read from and written to the store: inputs once, stored texts thrice read and once written, the output."""
        return self.text * PACKED * (1 + 4 + 1)

    @property
    def shuffled(self) -> float:
        """Through the engine's shuffle: exact and near deduplication, there and back."""
        return 2.0 * self.documents * (SIGNATURE + NEAR)

    @property
    def list_bytes(self) -> float:
        """Of the list of input files, which is a file that tasks read."""
        return float(self.files * TASK)

    @property
    def largest(self) -> float:
        """The largest value through a side input: notes of all stored shards."""
        return float(self.stored * NOTE)

    @property
    def core_hours(self) -> float:
        """Of computing."""
        return self.text / SPEED / 3600

    @property
    def cost(self) -> float:
        """US dollars at the list prices above, about."""
        compute = self.core_hours * (CORE_HOUR + CORE_GB * GB_HOUR)
        return compute + self.shuffled / 1e9 * SHUFFLE_GB + self.requests * OPERATION


def size(value: float) -> str:
    """Return bytes as people say them."""
    for unit, scale in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{value / scale:,.1f} {unit}"
    return f"{value:.0f} B"


def rows() -> list[list[str]]:
    """Return the rows of the table: a name, then a cell for each size."""
    papers = [Paper(number) for number in SIZES]
    cells = {
        "text": [size(p.text) for p in papers],
        "input files of 256 MB": [f"{p.files:,}" for p in papers],
        "stored shards, so tasks of a pass": [f"{p.stored:,}" for p in papers],
        "tasks of the run": [f"{p.tasks:,}" for p in papers],
        "shards written": [f"{p.written:,}" for p in papers],
        "requests to the store": [f"{p.requests:,}" for p in papers],
        "requests of a rerun with nothing to do": [f"{p.rerun:,}" for p in papers],
        "bytes read and written": [size(p.moved) for p in papers],
        "bytes shuffled": [size(p.shuffled) for p in papers],
        "list of input files": [size(p.list_bytes) for p in papers],
        "largest value through a side input": [size(p.largest) for p in papers],
        "graph": [size(GRAPH) for _ in papers],
        "memory a worker process": [size(WORKER) for _ in papers],
        "core hours": [f"{p.core_hours:,.0f}" for p in papers],
        "cost, about": [f"${p.cost:,.0f}" for p in papers],
    }
    return [[name, *values] for name, values in cells.items()]


def table() -> str:
    """Return the table as Markdown."""
    head = [["documents", *(f"10^{round(math.log10(number))}" for number in SIZES)], ["---"] + ["---:"] * len(SIZES)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [*head, *rows()])


def main() -> None:
    """Print the table, or compare it with a page's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=Path, metavar="PAGE")
    options = parser.parse_args()
    if options.check is None:
        print(table())
    elif table() not in options.check.read_text():
        sys.exit(f"{options.check} has another table: run this script and paste what it prints")


if __name__ == "__main__":
    main()
