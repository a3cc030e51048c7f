"""The last pass of a run: holds what was read against what was written, and writes the manifest."""

import datetime as dt
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tamis.jobs.manifest.file import FATES, MANIFEST
from tamis.jobs.run.folder import remove_others
from tamis.jobs.run.lost_languages import lost_languages
from tamis.jobs.run.tables import write_tables
from tamis.pipeline.corpus.context import Outcome, Report
from tamis.pipeline.graph.passes import Values
from tamis.pipeline.passes.annotate import StageNote, join_notes
from tamis.pipeline.passes.inputs import INPUTS, inspected_files, read_file_list
from tamis.pipeline.passes.parts import COUNT, Summary, summaries
from tamis.pipeline.passes.stage import READ, ReadNote, read_notes, stored_shards
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import BalanceError
from tamis.schemas.manifest import (
    Counts,
    InputRecord,
    Manifest,
    ModelRecord,
    ParentRecord,
    PassRecord,
    Provenance,
    ShardRecord,
    StepRecord,
    TableRecord,
)
from tamis.schemas.secrets import redacted
from tamis.schemas.wording import counted

__all__ = ["CARD", "Finish", "RunRecord", "StepPlan", "as_selected"]

CARD = ".huggingface.yaml"
"""Says to `datasets.load_dataset`, given a run's folder, which of its files belong together."""


@dataclass(frozen=True)
class StepPlan:
    """What is known of a step before the run.

    Attributes:
        label: its name.
        verb: its key in the config.
        rules: the names of its rules, by position.
        thresholds: of the rules that it applies by itself.
        reports: what is told of its decisions.
    """

    label: str
    verb: str
    rules: tuple[str, ...]
    thresholds: Mapping[str, Any]
    reports: tuple[Report, ...]


@dataclass(frozen=True)
class RunRecord:
    """What the manifest says that is known before the run; see `Manifest`.

    Attributes:
        output: the run's folder.
        folder: where relative paths of the config lead from, relative to the run's folder.
        files: the list of input files.
        name: of the run.
        config_sha256: of the config.
        identity: of the plan.
        config: resolved.
        source_config: as given.
        provenance: what runs.
        models: (step, option, reference, digest) of each.
        steps: in order.
        annotated: passes whose notes say what steps cost.
        passes: (name, step) of all before this one.
        started: when the run began, in UTC.
        clock: the same on the driver's clock.
        warnings: what was found before.
        parents: runs that it builds on.
    """

    output: str
    folder: str | None
    files: str
    name: str
    config_sha256: str
    identity: str
    config: Mapping[str, Any]
    source_config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    models: tuple[tuple[str, str, str, str], ...]
    steps: tuple[StepPlan, ...]
    annotated: tuple[str, ...]
    passes: tuple[tuple[str, str], ...]
    started: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))
    clock: float = field(default_factory=time.time)
    warnings: tuple[str, ...] = ()
    parents: tuple[ParentRecord, ...] = ()


@dataclass(frozen=True)
class Finish:
    """The work of the last pass."""

    record: RunRecord

    def __call__(self, task: None, values: Values) -> bytes:
        """Check the balance, delete shards of earlier runs, write the manifest and return it as JSON.

        Raises:
            BalanceError: naming the source whose records don't add up, or the folder whose rows don't.
        """
        del task
        manifest = _Account(self.record, values).manifest()
        remove_others(self.record.output, {one.path for one in manifest.files})
        with filesystem.write_atomically(filesystem.join(self.record.output, CARD)) as stream:
            stream.write(_card().encode())
        told = manifest.model_dump_json(indent=1).encode() + b"\n"
        with filesystem.write_atomically(filesystem.join(self.record.output, MANIFEST)) as stream:
            stream.write(told)
        return told


def _card() -> str:
    lines = ["configs:"]
    for fate in FATES:
        lines += [f"- config_name: {fate}", f"  data_files: {fate}/**/*.parquet"]
        lines += ["  default: true"] * (fate == "selected")
    return "\n".join(lines) + "\n"


class _Account:
    def __init__(self, record: RunRecord, values: Values):
        self._record = record
        self._values = values
        self._read: Sequence[ReadNote] = read_notes(values[READ])
        self._shards = stored_shards(values[READ])
        self._summaries: Sequence[Summary] = summaries(values[COUNT])
        notes = json.loads(join_notes([values[name] for name in record.annotated]))
        self._notes = {label: StageNote(**note) for label, note in notes["notes"].items()}
        self._damaged = [text for note in self._read for text in note.damaged] + notes["damaged"]
        self._outcomes: dict[str, list[Outcome]] = {
            step.label: [report(values) for report in step.reports] for step in record.steps
        }

    def manifest(self) -> Manifest:
        """Return the manifest of a run whose records balance."""
        record = self._record
        written = [json.loads(line) for name in ("write", "errors") for line in self._values[name].splitlines()]
        repeated = sum(part.pop("repeated_ids", 0) * (part["fate"] == "selected") for part in written)
        shards = tuple(sorted((ShardRecord.model_validate(part) for part in written), key=lambda r: r.path))
        counts = self._counts()
        _check(counts, shards)
        totals = {name: sum(source[name] for source in counts.values()) for name in ("read", *FATES)}
        return Manifest(
            name=record.name,
            config_sha256=record.config_sha256,
            plan_sha256=record.identity,
            config=dict(record.config),
            source_config=dict(record.source_config),
            folder=record.folder,
            provenance=Provenance.model_validate(record.provenance),
            inputs=tuple(self._inputs()),
            models=tuple(
                ModelRecord(step=step, option=option, reference=reference, sha256=sha256)
                for step, option, reference, sha256 in record.models
            ),
            **totals,
            text_bytes=sum(summary.text_bytes for summary in self._summaries),
            sources=counts,
            steps=tuple(self._steps()),
            mixture=as_selected(shards),
            shards=shards,
            tables=tuple(self._tables()),
            warnings=tuple(redacted(told) for told in self._warnings(repeated)),
            parents=record.parents,
            started=record.started,
            seconds=round(time.time() - record.clock, 3),
            passes=tuple(self._passes()),
        )

    def _warnings(self, repeated: int) -> Iterator[str]:
        yield from self._record.warnings
        yield from (f"{text}: it was made again" for text in dict.fromkeys(self._damaged))
        for outcomes in self._outcomes.values():
            for outcome in outcomes:
                yield from outcome.warnings
        odd = Counter[tuple[str, str]]()
        for note in self._read:
            for file in note.files:
                odd.update({(note.source, kind): count for kind, count in file.notes.items()})
        for (source, kind), count in sorted(odd.items()):
            told = f"{counted(count, 'time')} {kind.replace('_', ' ')}"
            yield f"source {source}: {told}; see the inputs' notes in the manifest"
        yield from self._copies()
        languages = Counter[tuple[str, int, int]]()
        for summary in self._summaries:
            languages.update(summary.languages)
        yield from lost_languages(languages, self._record.steps)
        if repeated:
            shares = "shares its" if repeated == 1 else "share their"
            told = f"{counted(repeated, 'selected document')} {shares} doc_id with another"
            yield f"at least {told}: a source's ids must be unique"

    def _copies(self) -> Iterator[str]:
        """Yield a sentence if input files have the same content: a file named twice, a link, or a copy."""
        known: dict[str, str] = {}
        pairs: list[tuple[str, str]] = []
        for file in self._inputs():
            if file.sha256 is not None and file.records:
                told = f"{file.path} (source {file.source})"
                first = known.setdefault(file.sha256, told)
                if first != told:
                    pairs.append((first, told))
        if pairs:
            files = "1 input file has" if len(pairs) == 1 else f"{len(pairs):,} input files have"
            first, second = pairs[0]
            yield f"{files} the content of another, such as {second} of {first}: its documents are there twice"

    def _counts(self) -> dict[str, dict[str, int]]:
        """Return read, selected, rejected and errors by source: what readers counted, and how the rows fell."""
        _, files = read_file_list(self._record.files)
        counts = {file.source: dict.fromkeys(("read", *FATES), 0) for file in files}
        for note in self._read:
            mine = counts[note.source]
            mine["read"] += sum(file.records for file in note.files)
            mine["errors"] += note.errors
        for shard, summary in zip(self._shards, self._summaries, strict=True):
            mine = counts[shard.source]
            mine["selected"] += sum(rows for rows, _ in summary.selected)
            mine["rejected"] += sum(rows for rows, _ in summary.rejected)
            mine["errors"] += summary.failed
        return counts

    def _inputs(self) -> Iterator[InputRecord]:
        _, files = read_file_list(self._record.files)
        records = Counter[int]()
        skipped: dict[int, Counter[str]] = {}
        notes: dict[int, Counter[str]] = {}
        for note in self._read:
            for told in note.files:
                records[told.file] += told.records
                skipped.setdefault(told.file, Counter()).update(told.skipped)
                notes.setdefault(told.file, Counter()).update(told.notes)
        for found in inspected_files(self._record.files, self._values[INPUTS]):
            file = files[found.file]
            yield InputRecord(
                path=redacted(file.path),
                source=file.source,
                bytes=file.size,
                sha256=found.sha256,
                fingerprint=file.fingerprint,
                records=records[found.file],
                skipped=dict(sorted(skipped.get(found.file, Counter()).items())),
                notes=dict(sorted(notes.get(found.file, Counter()).items())),
            )

    def _steps(self) -> Iterator[StepRecord]:
        fates: dict[str, Counter[tuple[int, int]]] = {}
        for shard, summary in zip(self._shards, self._summaries, strict=True):
            fates.setdefault(shard.source, Counter()).update(summary.fates)
        documents = {source: mine.total() for source, mine in fates.items()}
        reading = StageNote(seconds=sum(note.seconds for note in self._read))
        for index, step in enumerate(self._record.steps):
            counts = []
            for source, mine in sorted(fates.items()):
                rejected = {step.rules[r]: n for (s, r), n in sorted(mine.items()) if s == index and r >= 0}
                errors = sum(n for (s, r), n in mine.items() if s == index and r < 0)
                before = documents[source]
                documents[source] = before - sum(rejected.values()) - errors
                counts.append(
                    Counts(source=source, documents=before, kept=documents[source], rejected=rejected, errors=errors)
                )
            note = reading if index == 0 else self._notes.get(step.label, StageNote())
            thresholds = dict(step.thresholds)
            metrics: dict[str, Any] = {}
            for outcome in self._outcomes[step.label]:
                thresholds |= outcome.thresholds
                metrics |= outcome.metrics
            yield StepRecord(
                label=step.label,
                verb=step.verb,
                counts=tuple(counts),
                seconds=round(note.seconds, 3),
                thresholds=thresholds,
                metrics=metrics,
            )

    def _tables(self) -> Iterator[TableRecord]:
        """Write what decisions leave beside the shards."""
        for label, outcomes in self._outcomes.items():
            found = {name: table for outcome in outcomes for name, table in outcome.tables.items()}
            yield from write_tables(self._record.output, label, found, self._record.config_sha256)

    def _passes(self) -> Iterator[PassRecord]:
        """Yield what each pass cost."""
        for name, step in self._record.passes:
            spent = self._values.spent[name]
            yield PassRecord(name=name, step=step, tasks=spent.tasks, cpu_seconds=round(spent.cpu_seconds, 3))


def _check(counts: Mapping[str, Mapping[str, int]], records: Sequence[ShardRecord]) -> None:
    """Compare what was read with what was written.

    Raises:
        BalanceError: naming the source whose records don't add up, or the folder whose rows don't.
    """
    for source, mine in counts.items():
        ended = mine["selected"] + mine["rejected"] + mine["errors"]
        if mine["read"] != ended:
            msg = (
                f"source {source}: {mine['read']} records were read, but {mine['selected']} selected + "
                f"{mine['rejected']} rejected + {mine['errors']} errors = {ended}"
            )
            raise BalanceError(msg)
    for folder in FATES:
        expected = sum(mine[folder] for mine in counts.values())
        rows = sum(record.rows for record in records if record.fate == folder)
        if rows != expected:
            msg = f"{folder}/ holds {rows} rows where {expected} were counted"
            raise BalanceError(msg)


def as_selected(records: Sequence[ShardRecord]) -> dict[str, Any]:
    """Return each source's share of the selected text bytes."""
    sizes: dict[str, int] = {}
    for record in records:
        if record.fate == "selected" and record.sources:  # one that is empty has none
            source = record.sources[0]
            sizes[source] = sizes.get(source, 0) + record.text_bytes
    total = sum(sizes.values())
    shares = {source: round(size / total, 9) if total else 0.0 for source, size in sorted(sizes.items())}
    return {"method": "as selected", "unit": "text bytes", "bytes": sizes, "proportions": shares}
