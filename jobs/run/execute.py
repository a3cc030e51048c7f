"""Runs a plan: the chain of passes from inputs to shards and manifest, resuming what is there."""

import datetime as dt
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamis.jobs.manifest.file import FATES, MANIFEST, files_of, read_manifest
from tamis.jobs.provenance import provenance, version
from tamis.jobs.run.plan import Plan, stages
from tamis.pipeline.corpus.barrier import Barrier
from tamis.pipeline.corpus.barriers import has_barrier, run_barrier
from tamis.pipeline.corpus.resample import fit_target
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.passes.annotate import AnnotateShard
from tamis.pipeline.passes.decide import rule_names, step_rules
from tamis.pipeline.passes.read import ReadStage
from tamis.pipeline.passes.stage import SourceShard, Stage
from tamis.pipeline.passes.write import SummariseShard, WriteErrors, WritePart, plan_parts
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import BalanceError, ConfigError, RunError
from tamis.schemas.manifest import Counts, InputRecord, Manifest, ModelRecord, ShardRecord, StepRecord
from tamis.schemas.steps import DsirStep

__all__ = ["execute"]

MARKER = "tamis-run"
"""In a work folder: it is ours."""
SHARD = re.compile(r"(selected/source=[^/]+|rejected|errors)/part-\d{5,}\.parquet")

ERROR_ROWS_PER_PART = 500_000


@dataclass
class _Progressed:
    """Where the chain of passes stands."""

    state: str
    columns: dict[str, str] = field(default_factory=dict)
    notes: dict[int, dict[str, Any]] = field(default_factory=dict)
    thresholds: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def execute(plan: Plan, output: str, engine: Engine, *, fresh: bool = False) -> Manifest:
    """Run a plan into a folder.

    Args:
        plan: what to do; its input files are digested.
        output: the run's folder.
        engine: where passes run; its scratch folder lies in the run's work folder.
        fresh: forget what earlier runs left in the work folder.

    Returns:
        The manifest, as written.

    Raises:
        BalanceError: if the records read aren't selected + rejected + errors.
        TamisError: whatever else stopped the run, in a sentence.
    """
    return _Execution(plan, output, engine).run(fresh=fresh)


class _Execution:
    def __init__(self, plan: Plan, output: str, engine: Engine):
        self.plan = plan
        self.output = output
        self.engine = engine
        self.work = filesystem.join(output, "work")
        self.stages = stages(plan, self.work)
        self.documents = self.stages[0].state  # of the reader, which makes documents and first row states
        self.at = _Progressed(ReadStage.state_folder(self.documents))

    def run(self, *, fresh: bool) -> Manifest:
        started = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        began = time.monotonic()
        self._claim()
        if fresh:
            filesystem.remove_tree(self.work)
        with filesystem.write_atomically(filesystem.join(self.work, MARKER)) as stream:
            stream.write(b"This folder belongs to a run of tamis, which may delete what is in it.\n")
        self._sweep()
        # Without its manifest a folder is no finished run: nobody takes half of the new for the whole of the old.
        filesystem.remove(filesystem.join(self.output, MANIFEST))
        self._steps()
        manifest = self._write(started, began)
        with filesystem.write_atomically(filesystem.join(self.output, MANIFEST)) as stream:
            stream.write(manifest.model_dump_json(indent=1).encode() + b"\n")
        return manifest

    def _claim(self) -> None:
        """Refuse a folder that holds somebody else's files where a run's would go.

        Raises:
            ConfigError: naming what is in the way.
        """
        if filesystem.exists(filesystem.join(self.work, MARKER)):
            return
        taken = [name for name in (MANIFEST, *FATES, "work") if filesystem.exists(filesystem.join(self.output, name))]
        if MANIFEST in taken:
            try:
                read_manifest(self.output)
            except RunError:
                pass
            else:  # a finished run whose work folder was removed, as it may be
                taken = ["work"] if "work" in taken else []
        if taken:
            msg = f"{self.output} holds {', '.join(taken)}, not made by tamis: give another folder with --output"
            raise ConfigError(msg)

    def _sweep(self) -> None:
        """Delete half-written files of a run that was killed; they never had a name that anyone reads."""
        if not filesystem.is_local(self.output):
            return
        for name in ("work", *FATES):
            for path in Path(filesystem.local_path(filesystem.join(self.output, name))).rglob(".*.tmp"):
                path.unlink(missing_ok=True)

    # --- the chain of passes ---

    def _steps(self) -> None:
        group: list[Stage] = []
        read: ReadStage | None = ReadStage(self.documents)
        for stage in self.stages[1:]:
            placed = stage
            if isinstance(stage.config, DsirStep) and stage.config.target is not None:
                self._annotate(group, read)
                group, read = [], None
                model, metrics = fit_target(self._barrier(stage), stage.config)
                placed = Stage(**(vars(stage) | {"models": {**stage.models, "model": model}}))
                self.at.metrics.setdefault(stage.label, {}).update(metrics)
            if not has_barrier(stage.config):
                group.append(placed)
                continue
            local = Stage(**(vars(placed) | {"state": placed.state + "-local"}))
            self._annotate([*group, local], read)
            group, read = [], None
            outcome = run_barrier(self._barrier(placed))
            self.at.state = placed.state
            self.at.columns |= outcome.columns
            self.at.thresholds.setdefault(stage.label, {}).update(outcome.thresholds)
            self.at.metrics.setdefault(stage.label, {}).update(outcome.metrics)
            self.at.warnings += outcome.warnings
        self._annotate(group, read)

    def _annotate(self, group: Sequence[Stage], read: ReadStage | None) -> None:
        if not group and read is None:
            return
        label = " + ".join([*(["read"] if read else []), *(stage.label for stage in group)])
        work = AnnotateShard(
            tuple(group), self.documents, self.at.state, dict(self.at.columns), read, self.plan.config.score == "all"
        )
        for note in self.engine.map(label, self.plan.shards, work):
            shard = note.pop("shard")
            self.at.notes.setdefault(shard, {}).update(note)
        for stage in group:
            self.at.columns |= dict.fromkeys(work.columns_of(stage), stage.columns or "")
            self.at.state = stage.state

    def _barrier(self, stage: Stage) -> Barrier:
        return Barrier(
            engine=self.engine,
            shards=self.plan.shards,
            stage=stage,
            documents=self.documents,
            state=self.at.state,
            columns=dict(self.at.columns),
            seed=self.plan.config.seed,
            rows=sum(note["read"]["documents"] for note in self.at.notes.values()),
        )

    # --- the output ---

    def _write(self, started: str, began: float) -> Manifest:
        shards = self.plan.shards
        labels = [stage.label for stage in self.stages]
        rules = [rule_names(stage.config) for stage in self.stages]
        summaries = {
            s["shard"]: s
            for s in self.engine.map("count", shards, SummariseShard(self.documents, self.at.state), small=True)
        }
        metadata = {"tamis.config_sha256": self.plan.digest, "tamis.version": version()}
        writer = WritePart(
            self.output, self.documents, self.at.state, self.at.columns, self.plan.schema, labels, rules, metadata
        )
        max_bytes = self.plan.config.output.shard_mb * 1e6
        parts = [p for fate in ("selected", "rejected") for p in plan_parts(shards, summaries, fate, max_bytes)]
        counts = self._counts(summaries)
        written = self.engine.map("write", parts, writer)
        written += self.engine.map("errors", self._error_parts(), self._error_writer(metadata), small=True)
        repeated = sum(part.pop("repeated_ids", 0) * (part["fate"] == "selected") for part in written)
        if repeated:
            self.at.warnings.append(
                f"at least {repeated:,} selected documents share their doc_id with another: "
                "a source's ids must be unique"
            )
        records = sorted((ShardRecord.model_validate(part) for part in written), key=lambda r: r.path)
        self._check(counts, records)
        self._remove_others({record.path for record in records})
        totals = {name: sum(source[name] for source in counts.values()) for name in ("read", *FATES)}
        return Manifest(
            name=self.plan.config.name,
            config_sha256=self.plan.digest,
            config=self.plan.declared.resolved(self.plan.model_digests()),
            source_config=dict(self.plan.plain),
            provenance=provenance(),
            inputs=self._inputs(),
            models=tuple(
                ModelRecord(step=label, option=option, reference=model.reference, sha256=model.sha256)
                for label, found in self.plan.models.items()
                for option, model in found.items()
            ),
            **totals,
            text_bytes=sum(summary["text_bytes"] for summary in summaries.values()),
            sources=counts,
            steps=self._step_records(summaries),
            mixture=_mixture(records),
            shards=tuple(records),
            warnings=tuple(self.at.warnings),
            started=started,
            seconds=round(time.monotonic() - began, 3),
        )

    def _error_rows(self, shard: SourceShard) -> int:
        return int(self.at.notes[shard.index]["read"]["errors"])

    def _error_parts(self) -> list[tuple[str, list[SourceShard]]]:
        groups: list[list[SourceShard]] = [[]]
        rows = 0
        for shard in self.plan.shards:
            mine = self._error_rows(shard)
            if groups[-1] and rows + mine > ERROR_ROWS_PER_PART:
                groups.append([])
                rows = 0
            groups[-1].append(shard)
            rows += mine
        return [(f"errors/part-{i:05d}.parquet", group) for i, group in enumerate(groups)]

    def _error_writer(self, metadata: Mapping[str, str]) -> WriteErrors:
        folders = {stage.index: stage.errors for stage in self.stages[1:]}
        read = ReadStage.errors_folder(self.documents)
        return WriteErrors(self.output, self.documents, read, folders, self.at.state, metadata)

    def _counts(self, summaries: Mapping[int, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
        """Return read, selected, rejected and errors by source: what readers counted, and how the rows fell."""
        counts: dict[str, dict[str, int]] = {}
        for shard in self.plan.shards:
            mine = counts.setdefault(shard.source, dict.fromkeys(("read", *FATES), 0))
            summary = summaries[shard.index]
            note = self.at.notes[shard.index]["read"]
            mine["read"] += note["records"]
            for fate in ("selected", "rejected"):
                mine[fate] += sum(rows for rows, _ in summary[fate])
            failed = sum(count for key, count in summary["fates"].items() if key.endswith("/-2"))
            mine["errors"] += note["errors"] + failed
        return counts

    def _check(self, counts: Mapping[str, Mapping[str, int]], records: Sequence[ShardRecord]) -> None:
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

    def _remove_others(self, paths: set[str]) -> None:
        """Delete the shards that an earlier run into the same folder left; what has another name stays."""
        for path in list(files_of(self.output)):
            if path not in paths and SHARD.fullmatch(path):
                filesystem.remove(filesystem.join(self.output, path))
        if filesystem.is_local(self.output):  # a source that is gone shouldn't show as an empty folder
            for folder in Path(filesystem.local_path(filesystem.join(self.output, "selected"))).glob("source=*"):
                if not any(folder.iterdir()):
                    folder.rmdir()

    def _inputs(self) -> tuple[InputRecord, ...]:
        records: dict[tuple[str, str], int] = {}
        skipped: dict[tuple[str, str], dict[str, int]] = {}
        for shard in self.plan.shards:
            key = (shard.source, shard.split.path)
            note = self.at.notes[shard.index]["read"]
            records[key] = records.get(key, 0) + note["records"]
            into = skipped.setdefault(key, {})
            for kind, count in note["skipped"].items():
                into[kind] = into.get(kind, 0) + count
        return tuple(
            InputRecord(
                path=file.path,
                source=file.source,
                bytes=file.size,
                sha256=file.sha256,
                fingerprint=file.fingerprint,
                records=records.get((file.source, file.path), 0),
                skipped=skipped.get((file.source, file.path), {}),
            )
            for file in self.plan.files
        )

    def _step_records(self, summaries: Mapping[int, Mapping[str, Any]]) -> tuple[StepRecord, ...]:
        fates: dict[str, dict[tuple[int, int], int]] = {}
        documents: dict[str, int] = {}
        for shard in self.plan.shards:
            mine = fates.setdefault(shard.source, {})
            for key, count in summaries[shard.index]["fates"].items():
                step, rule = map(int, key.split("/"))
                mine[step, rule] = mine.get((step, rule), 0) + count
        for source, mine in fates.items():
            documents[source] = sum(mine.values())
        records = []
        for stage in self.stages:
            counts = []
            for source, mine in sorted(fates.items()):
                names = rule_names(stage.config)
                rejected = {names[r]: n for (s, r), n in sorted(mine.items()) if s == stage.index and r >= 0}
                errors = sum(n for (s, r), n in mine.items() if s == stage.index and r < 0)
                before = documents[source]
                documents[source] = before - sum(rejected.values()) - errors
                counts.append(
                    Counts(
                        source=source, documents=before, kept=documents[source], rejected=rejected, errors=errors
                    )
                )
            note_label = "read" if stage.index == 0 else stage.label
            seconds = sum(note.get(note_label, {}).get("seconds", 0.0) for note in self.at.notes.values())
            thresholds = {rule.reason: rule.threshold for rule in step_rules(stage.config)}
            records.append(
                StepRecord(
                    label=stage.label,
                    verb=stage.config.verb,
                    counts=tuple(counts),
                    seconds=round(seconds, 3),
                    thresholds=thresholds | self.at.thresholds.get(stage.label, {}),
                    metrics=self.at.metrics.get(stage.label, {}),
                )
            )
        return tuple(records)


def _mixture(records: Sequence[ShardRecord]) -> dict[str, Any]:
    """Return each source's share of the selected text bytes."""
    sizes: dict[str, int] = {}
    for record in records:
        if record.fate == "selected":
            source = record.sources[0]
            sizes[source] = sizes.get(source, 0) + record.text_bytes
    total = sum(sizes.values())
    shares = {source: round(size / total, 9) if total else 0.0 for source, size in sorted(sizes.items())}
    return {"method": "as selected", "unit": "text bytes", "bytes": sizes, "proportions": shares}
