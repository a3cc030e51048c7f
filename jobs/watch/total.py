"""Adds the manifests of increments up to that of their corpus."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tamis.jobs.manifest.file import FATES, MANIFEST, manifest_and_digest
from tamis.jobs.run.accounting import CARD, as_selected
from tamis.jobs.watch.corpus import INCREMENTS, CorpusRecord, increment_folder
from tamis.pipeline.storage import filesystem
from tamis.schemas.manifest import Counts, Manifest, ParentRecord, PassRecord, StepRecord

__all__ = ["Joined", "increments_of", "total", "write_total"]

BY_INCREMENT = "by_increment"
"""Among a step's metrics in the sum: what each increment says, where there are several."""


class Joined(NamedTuple):
    """An increment of a corpus, or a run that another one builds on.

    Attributes:
        manifest: its own.
        sha256: of that.
    """

    manifest: Manifest
    sha256: str

    def parent(self, path: str) -> ParentRecord:
        """Return what is told of it by a run that builds on it.

        Args:
            path: of its folder, relative to the other's.
        """
        one = self.manifest
        return ParentRecord(
            path=path,
            sha256=self.sha256,
            started=one.started,
            files=len(one.inputs),
            read=one.read,
            selected=one.selected,
            rejected=one.rejected,
            errors=one.errors,
        )


def increments_of(folder: str, record: CorpusRecord, known: Mapping[str, Joined] | None = None) -> dict[str, Joined]:
    """Return a corpus's increments by their names, in order.

    Args:
        folder: of the corpus.
        record: what is remembered of it.
        known: those that were read before; what has joined stays as it is.

    Raises:
        RunError: if one is gone.
    """
    known = known or {}
    return {
        name: known.get(name) or Joined(*manifest_and_digest(increment_folder(folder, name)))
        for name in record.increments
    }


def write_total(folder: str, record: CorpusRecord, increments: Mapping[str, Joined]) -> Manifest:
    """Write the manifest of a corpus, unless it stands there already, and return it."""
    manifest = total(record, increments)
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


def total(record: CorpusRecord, joined: Mapping[str, Joined]) -> Manifest:
    """Return the sum of increments: counts added, shards and inputs of all of them, in their order.

    Thresholds are those that all increments share; what each of them found is among the metrics.

    Args:
        record: what is remembered of the corpus.
        joined: its increments by name; at least one.
    """
    increments = {name: one.manifest for name, one in joined.items()}
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
        parents=tuple(one.parent(f"{INCREMENTS}/{name}") for name, one in joined.items()),
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
