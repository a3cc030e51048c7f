"""Adds the manifests of increments up to that of their corpus."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tamis.jobs.manifest.file import FATES, MANIFEST, read_manifest
from tamis.jobs.run.accounting import CARD, as_selected
from tamis.jobs.watch.corpus import INCREMENTS, CorpusRecord, increment_folder
from tamis.pipeline.storage import filesystem
from tamis.schemas.manifest import Counts, Manifest, ParentRecord, PassRecord, StepRecord

__all__ = ["BY_INCREMENT", "increments_of", "parent_record", "total", "write_total"]

BY_INCREMENT = "by_increment"
"""Among a step's metrics in the sum: what each increment says, where there are several."""


def parent_record(folder: str, path: str) -> ParentRecord:
    """Return what is told of a run by one that builds on it.

    Args:
        folder: the run's.
        path: the same, relative to the other's folder.
    """
    manifest = read_manifest(folder)
    with filesystem.open_binary(filesystem.join(folder, MANIFEST)) as stream:
        sha256 = hashlib.sha256(stream.read()).hexdigest()
    return ParentRecord(
        path=path,
        sha256=sha256,
        started=manifest.started,
        files=len(manifest.inputs),
        read=manifest.read,
        selected=manifest.selected,
        rejected=manifest.rejected,
        errors=manifest.errors,
    )


def increments_of(folder: str, record: CorpusRecord) -> dict[str, Manifest]:
    """Return name to manifest of a corpus's increments, in order.

    Raises:
        RunError: if one is gone.
    """
    return {name: read_manifest(increment_folder(folder, name)) for name in record.increments}


def write_total(folder: str, record: CorpusRecord) -> Manifest:
    """Write the manifest of a corpus, unless it stands there already, and return it."""
    manifest = total(folder, record, increments_of(folder, record))
    path = filesystem.join(folder, MANIFEST)
    content = manifest.model_dump_json(indent=1).encode() + b"\n"
    if filesystem.exists(path):
        with filesystem.open_binary(path) as stream:
            if stream.read() == content:
                return manifest
    with filesystem.write_atomically(filesystem.join(folder, CARD)) as stream:
        stream.write(_card(record).encode())
    with filesystem.write_atomically(path) as stream:
        stream.write(content)
    return manifest


def _card(record: CorpusRecord) -> str:
    """Return what says to `datasets.load_dataset` which files belong together: those of the increments alone."""
    lines = ["configs:"]
    for fate in FATES:
        lines += [f"- config_name: {fate}", "  data_files:"]
        lines += [f"  - {INCREMENTS}/{name}/{fate}/**/*.parquet" for name in record.increments]
        lines += ["  default: true"] * (fate == "selected")
    return "\n".join(lines) + "\n"


def total(folder: str, record: CorpusRecord, increments: Mapping[str, Manifest]) -> Manifest:
    """Return the sum of increments: counts added, shards and inputs of all of them, in their order.

    Thresholds are those that all increments share; what each of them found is among the metrics.

    Args:
        folder: of the corpus.
        record: what is remembered of it.
        increments: name to manifest; at least one.
    """
    manifests = list(increments.values())
    last = manifests[-1]
    below = {name: f"{INCREMENTS}/{name}/" for name in increments}
    shards = tuple(
        shard.model_copy(update={"path": below[name] + shard.path})
        for name, one in increments.items()
        for shard in one.shards
    )
    tables = tuple(
        table.model_copy(update={"path": below[name] + table.path})
        for name, one in increments.items()
        for table in one.tables
    )
    several = len(increments) > 1
    return Manifest(
        name=record.name,
        config_sha256=record.config_sha256,
        config=record.config,
        source_config=record.source_config,
        folder=record.folder,
        provenance=last.provenance,
        inputs=tuple(file for one in manifests for file in one.inputs),
        models=record.models,
        **{what: sum(getattr(one, what) for one in manifests) for what in ("read", "selected", "rejected", "errors")},
        text_bytes=sum(one.text_bytes for one in manifests),
        sources=_added_up([one.sources for one in manifests]),
        steps=_steps(increments),
        mixture=as_selected(shards),
        shards=shards,
        tables=tables,
        warnings=tuple(
            f"increment {name}: {told}" if several else told
            for name, one in increments.items()
            for told in one.warnings
        ),
        started=manifests[0].started,
        seconds=round(sum(one.seconds for one in manifests), 3),
        passes=_passes(manifests),
        parents=tuple(parent_record(increment_folder(folder, name), f"{INCREMENTS}/{name}") for name in increments),
    )


def _added_up(counts: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for one in counts:
        for source, mine in one.items():
            found.setdefault(source, Counter()).update(mine)
    return {source: dict(found[source]) for source in sorted(found)}


def _in_order(lists: Sequence[Sequence[str]]) -> list[str]:
    """Return the names of all lists, each behind the one that it follows where it first stands."""
    found: list[str] = []
    for names in lists:
        place = 0
        for name in names:
            if name in found:
                place = found.index(name) + 1
            else:
                found.insert(place, name)
                place += 1
    return found


def _steps(increments: Mapping[str, Manifest]) -> tuple[StepRecord, ...]:
    found = []
    for label in _in_order([[step.label for step in one.steps] for one in increments.values()]):
        records = {name: step for name, one in increments.items() for step in one.steps if step.label == label}
        first = next(iter(records.values()))
        thresholds = {
            rule: value
            for rule, value in first.thresholds.items()
            if all(rule in one.thresholds and one.thresholds[rule] == value for one in records.values())
        }
        metrics: dict[str, Any] = dict(first.metrics)
        if len(increments) > 1:
            own = {
                name: {
                    "thresholds": {k: v for k, v in one.thresholds.items() if k not in thresholds},
                    "metrics": one.metrics,
                }
                for name, one in records.items()
            }
            told = {name: {k: v for k, v in one.items() if v} for name, one in own.items()}
            metrics = {BY_INCREMENT: {name: one for name, one in told.items() if one}} if any(told.values()) else {}
        found.append(
            StepRecord(
                label=label,
                verb=first.verb,
                counts=_counts(list(records.values())),
                seconds=round(sum(one.seconds for one in records.values()), 3),
                thresholds=thresholds,
                metrics=metrics,
            )
        )
    return tuple(found)


def _counts(records: Sequence[StepRecord]) -> tuple[Counts, ...]:
    numbers: dict[str, Counter[str]] = {}
    rejected: dict[str, Counter[str]] = {}
    for record in records:
        for one in record.counts:
            mine = numbers.setdefault(one.source, Counter())
            mine.update(documents=one.documents, kept=one.kept, errors=one.errors)
            rejected.setdefault(one.source, Counter()).update(one.rejected)
    return tuple(
        Counts(
            source=source,
            documents=mine["documents"],
            kept=mine["kept"],
            rejected=dict(sorted(rejected[source].items())),
            errors=mine["errors"],
        )
        for source, mine in sorted(numbers.items())
    )


def _passes(manifests: Sequence[Manifest]) -> tuple[PassRecord, ...]:
    found = []
    for name in _in_order([[record.name for record in one.passes] for one in manifests]):
        records = [record for one in manifests for record in one.passes if record.name == name]
        found.append(
            PassRecord(
                name=name,
                step=records[0].step,
                tasks=sum(one.tasks for one in records),
                cpu_seconds=round(sum(one.cpu_seconds for one in records), 3),
            )
        )
    return tuple(found)
