"""What a plan asks of object stores: requests, bytes, and what they cost by the prices that the config gives."""

import math
import re
from dataclasses import dataclass
from typing import Any

from tamis.jobs.run.memory import Need
from tamis.jobs.run.plan import Plan
from tamis.pipeline.graph.passes import Exchange, Graph
from tamis.pipeline.passes.annotate import AnnotateShard
from tamis.pipeline.passes.inputs import PACKED_BYTES, SHARD_BYTES
from tamis.pipeline.passes.read import CUT_BYTES
from tamis.pipeline.passes.stage import StoredShards
from tamis.pipeline.storage import filesystem
from tamis.schemas.config import PricesConfig

__all__ = ["StoreUse", "store_use"]

READS, WRITES = 3, 1
"""Requests of a pass for each stored shard, about, if each task is done by a process that remembers nothing: in the
demo 2.4 and 1.1; 0.5 and 1.1 in one process that does all."""
READ_FILE, WRITE_SHARD = 3, 5
"""Requests for each input file (looked at, read, looked at again), and those that write what a source shard holds."""
OTHERS = 50
"""Requests besides: looks, listings, the list of files, the manifest."""
SEARCHED = 2
"""Passes that a search takes, of those that it may take; in the demo, and of 10^8 values."""
STORED = 0.6
"""Bytes that a run keeps between passes for each byte of text, most of them the text."""
_SEARCH = re.compile(r"\bpass (\d+)$")


@dataclass(frozen=True)
class StoreUse:
    """What a run asks of object stores.

    Attributes:
        reads: requests that read or look.
        writes: requests that write, list or delete.
        rerun: requests of a rerun that has nothing to do.
        bytes_read: from the stores.
        bytes_written: to them.
        bytes_stored: kept there when the run is over, the work folder included.
        price: of requests, bytes moved, and a month of what is kept, by the config's prices.
    """

    reads: int
    writes: int
    rerun: int
    bytes_read: int
    bytes_written: int
    bytes_stored: int
    price: float


def store_use(plan: Plan, graph: Graph, need: Need, output: str) -> StoreUse | None:
    """Return what a run would ask of object stores; None if nothing of it lies on one.

    Every task is taken to be done by a process that remembers nothing: within one process it is less.

    Args:
        plan: the plan.
        graph: its passes.
        need: what it takes, for the size of its text.
        output: the run's folder.
    """
    far = [file for file in plan.files if not filesystem.is_local(file.path)]
    kept_far = not filesystem.is_local(output)
    if not far and not kept_far:
        return None
    reads = READ_FILE * len(far)
    writes = 0
    text = need.disk / STORED
    bytes_read, bytes_written, rerun = float(sum(file.size or 0 for file in far)), 0.0, len(far) + OTHERS
    if kept_far:
        stored = _stored_shards(plan, text)
        parts = 2 + math.ceil(text / (plan.config.output.shard_mb * 1e6))
        passes = _passes(graph)
        reads += READS * stored * passes + OTHERS
        writes += WRITES * stored * passes + WRITE_SHARD * stored + 2 * parts + OTHERS
        scans = sum(isinstance(getattr(node, "process", None), AnnotateShard) for node in graph.nodes)
        bytes_read += need.disk * (scans + 1)
        bytes_written += need.disk + text * STORED
        rerun += math.ceil(parts / 1000)
    price = _price(plan.config.prices, reads, writes, bytes_read + bytes_written, bytes_written)
    return StoreUse(reads, writes, rerun, int(bytes_read), int(bytes_written), int(bytes_written), price)


def _price(prices: PricesConfig, reads: int, writes: int, moved: float, stored: float) -> float:
    requests = reads * prices.reads_per_million + writes * prices.writes_per_million
    return requests / 1e6 + moved / 1e9 * prices.moved_per_gb + stored / 1e9 * prices.stored_per_gb_month


def _stored_shards(plan: Plan, text: float) -> int:
    """Return about how many shards the reader stores: large files in parts, small ones of an input together."""
    total = sum(file.size or 0 for file in plan.files) or 1
    found = 0
    for number in range(len(plan.inputs)):
        sizes = [(file.size or 0) / total * text for file in plan.files if file.input == number]
        small = sum(size for size in sizes if size < PACKED_BYTES)
        found += math.ceil(small / PACKED_BYTES)
        found += sum(math.ceil(size / min(SHARD_BYTES, CUT_BYTES)) for size in sizes if size >= PACKED_BYTES)
    return max(1, found)


def _passes(graph: Graph) -> int:
    """Return how many passes over all stored shards a run makes: an exchange is two, a search takes its first ones."""
    found = 0
    for node in graph.nodes:
        search = _SEARCH.search(node.name)
        if search is not None and int(search[1]) > SEARCHED:
            continue
        tasks: Any = node.tasks
        over_all = isinstance(tasks, StoredShards) or (search is not None) or isinstance(node, Exchange)
        found += 2 if isinstance(node, Exchange) else int(over_all)
    return found
