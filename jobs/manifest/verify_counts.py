"""Holds the numbers of a manifest against each other, and against the rows that its shards really hold."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from tamis.jobs.manifest.file import FATES
from tamis.schemas.manifest import Manifest

__all__ = ["Keys", "balance", "mixture", "recount"]

READ = "read"
"""What error records call the reader, which is no step of the config."""
SHARE_TOLERANCE = 1e-8
"""The manifest rounds shares to nine decimals."""

Keys = Counter[tuple[str, ...]]
"""Rows by source (of selected), by source, step and rule (of rejected), by step (of errors)."""


def balance(manifest: Manifest) -> Iterator[str]:
    """Yield a sentence for all numbers of the manifest that contradict each other: by source, from step to step."""
    if not manifest.balanced:
        told = f"{manifest.selected:,} selected + {manifest.rejected:,} rejected + {manifest.errors:,} errors"
        yield f"the run doesn't balance: {manifest.read:,} read isn't {told}"
    for name in (READ, *FATES):
        total = sum(counts.get(name, 0) for counts in manifest.sources.values())
        if total != getattr(manifest, name):
            yield f"{name}: the sources add up to {total:,}, the run says {getattr(manifest, name):,}"
    records = Counter[str]()
    for record in manifest.inputs:
        records[record.source] += record.records
    for source, counts in manifest.sources.items():
        ended = sum(counts.get(fate, 0) for fate in FATES)
        if counts.get(READ, 0) != ended:
            yield f"source {source} doesn't balance: {counts.get(READ, 0):,} read, but {ended:,} ended"
        if records[source] != counts.get(READ, 0):
            yield f"source {source}: {counts.get(READ, 0):,} read, but its inputs hold {records[source]:,} records"
        yield from _chain(manifest, source, counts)
    yield from _shard_totals(manifest)


def _chain(manifest: Manifest, source: str, totals: Mapping[str, int]) -> Iterator[str]:
    """Follow a source's documents from step to step."""
    came: int | None = None
    before = ""
    rejected = errors = 0
    for step in manifest.steps:
        for counts in step.counts:
            if counts.source != source:
                continue
            fell = sum(counts.rejected.values())
            rejected += fell
            errors += counts.errors
            if came is None:
                errors += totals.get(READ, 0) - counts.documents
            elif counts.documents != came:
                yield f"step {step.label}, source {source}: {counts.documents:,} came, but {before} kept {came:,}"
            if counts.documents != counts.kept + fell + counts.errors:
                told = f"{counts.kept:,} kept + {fell:,} rejected + {counts.errors:,} errors"
                where = f"step {step.label}, source {source}"
                yield f"{where} doesn't balance: {counts.documents:,} documents came, which isn't {told}"
            came, before = counts.kept, step.label
    ends = (("selected", came or 0), ("rejected", rejected), ("errors", errors))
    for name, counted in ends:
        if counted != totals.get(name, 0):
            yield f"source {source}: the steps add up to {counted:,} {name}, the source says {totals.get(name, 0):,}"


def _shard_totals(manifest: Manifest) -> Iterator[str]:
    for fate in FATES:
        rows = sum(record.rows for record in manifest.shards if record.fate == fate)
        if rows != getattr(manifest, fate):
            yield f"{fate}/ holds {rows:,} rows by the list of shards, the run says {getattr(manifest, fate):,}"


def recount(manifest: Manifest, found: Mapping[str, Keys]) -> Iterator[str]:
    """Yield a sentence for every count that the rows of the shards contradict.

    Args:
        manifest: whose counts are held against the rows.
        found: by path of the shard, the rows it holds.
    """
    real: dict[str, Keys] = {fate: Counter() for fate in FATES}
    for record in manifest.shards:
        real[record.fate].update(found[record.path])
    selected: Keys = Counter({(source,): counts.get("selected", 0) for source, counts in manifest.sources.items()})
    yield from _unequal(real["selected"], selected, lambda key: f"source {key[0]}", "selected")
    rejected: Keys = Counter()
    errors: Keys = Counter()
    for step in manifest.steps:
        for counts in step.counts:
            errors[step.label,] += counts.errors
            for rule, number in counts.rejected.items():
                rejected[counts.source, step.label, rule] += number
    if manifest.steps:
        errors[READ,] = manifest.read - sum(counts.documents for counts in manifest.steps[0].counts)
    where = "step {1}, source {0}, rule {2}".format
    yield from _unequal(real["rejected"], rejected, lambda key: where(*key), "rejected")
    yield from _unequal(real["errors"], errors, lambda key: f"step {key[0]}", "errors")


def _unequal(real: Keys, recorded: Keys, where: Callable[[tuple[str, ...]], str], what: str) -> Iterator[str]:
    for key in sorted({*real, *recorded}):
        if real[key] != recorded[key]:
            yield f"{where(key)}: the shards hold {real[key]:,} {what}, recorded are {recorded[key]:,}"


def mixture(manifest: Manifest) -> Iterator[str]:
    """Yield a sentence for every source whose share the shards contradict, where it is measured in bytes of text."""
    recorded: Mapping[str, int] | None = manifest.mixture.get("bytes")
    if recorded is None:
        return
    real = Counter[str]()
    for record in manifest.shards:
        if record.fate == "selected":
            real[", ".join(record.sources)] += record.text_bytes
    total = sum(real.values())
    shares: Mapping[str, float] = manifest.mixture.get("proportions", {})
    for source in sorted({*real, *recorded}):
        share = real[source] / max(1, total)
        if real[source] != recorded.get(source, 0):
            yield f"mixture: {source} has {real[source]:,} bytes of text, recorded are {recorded.get(source, 0):,}"
        elif abs(shares.get(source, share) - share) > SHARE_TOLERANCE:
            yield f"mixture: {source} has a share of {share:.9f}, recorded is {shares[source]}"
