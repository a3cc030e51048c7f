"""From a plan to the graph of its run: all passes, known before anything is read."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from tamis.jobs.provenance import provenance, version
from tamis.jobs.run.accounting import Finish, RunRecord, StepPlan
from tamis.jobs.run.plan import Plan
from tamis.jobs.run.stages import Placed
from tamis.pipeline.code import module_code
from tamis.pipeline.corpus.context import Corpus, Report
from tamis.pipeline.graph.passes import Graph, Node, Pass
from tamis.pipeline.passes.annotate import AnnotateShard, join_notes
from tamis.pipeline.passes.inputs import INPUTS, FileGroups, InspectFiles, SourceShards
from tamis.pipeline.passes.parts import COUNT, ErrorParts, OutputParts, SummariseShard
from tamis.pipeline.passes.read import STORED_SCHEMA, WITH_TEXT, ReadShard
from tamis.pipeline.passes.stage import READ, Stage, StoredShards
from tamis.pipeline.passes.write import WriteErrors, WritePart
from tamis.pipeline.steps.language import LanguageStep
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.place import Place
from tamis.schemas.secrets import redacted, redacted_all
from tamis.schemas.tables import STATE_SCHEMA

__all__ = ["FINISH", "WORK_FILES", "build_graph", "file_list"]

FINISH = "manifest"
"""The last pass, whose value is the manifest."""
WRITE, ERRORS = "write", "errors"
NAMING = ("doc_id", "source")
"""What a decision needs of each document beside the step's own columns: ties are settled by ids, groups are sources."""
SMALL_BITS = 128
WORK_FILES = "inputs"
"""Folder of what is known of the input files, among the finished stages; the list of them is in the work folder."""


def file_list(work: str, plan: Plan) -> str:
    """Return the path of the list of input files: the only place that the tasks of a run come from."""
    return filesystem.join(work, WORK_FILES, f"files-{plan.identity[:16]}.value")


def build_graph(plan: Plan, placed: Placed, schema: pa.Schema, output: str, cache: str) -> Graph:
    """Return the passes of a run.

    Args:
        plan: what to do.
        placed: where the files of its steps go.
        schema: the columns that the steps add.
        output: the run's folder.
        cache: folder of finished stages, which may be that of several runs.
    """
    return _Builder(plan, placed, schema, output, cache).graph()


def _seen_from(output: str, plan: Plan) -> str | None:
    """Return the folder of the config's relative paths as the run's folder sees it; None where that can't be said."""
    if not plan.folders or not filesystem.is_local(output):
        return None
    return os.path.relpath(plan.folders[0], filesystem.absolute(output))


def _small(columns: pa.Schema) -> list[str]:
    """Return the columns that a decision may well read, and that cost little to have twice: numbers and short keys."""
    return [
        field.name
        for field in columns
        if field.name not in STATE_SCHEMA.names
        and (pa.types.is_primitive(field.type) or pa.types.is_fixed_size_binary(field.type))
        and field.type.bit_width <= SMALL_BITS
    ]


@dataclass
class _At:
    """How far the passes built so far have come."""

    state: Place
    columns: dict[str, Place]
    after: str


class _Builder:
    def __init__(self, plan: Plan, placed: Placed, schema: pa.Schema, output: str, cache: str):
        self._plan = plan
        self._placed = placed
        self._schema = schema
        self._output = output
        self._work = filesystem.join(output, "work")
        self._files = file_list(self._work, plan)
        self._known = filesystem.join(cache, WORK_FILES)
        self._nodes: list[Node] = []
        self._annotated: list[str] = []
        self._reports: dict[str, list[tuple[Report, tuple[str, ...]]]] = {}
        self._fitted: dict[int, Stage] = {}
        read = placed.read
        self._documents = Place(read.of("documents"))
        documents = [*STORED_SCHEMA.names, *plan.input_columns.names]
        columns = dict.fromkeys(documents, self._documents) | {"text": Place(read.of("text"), carries=WITH_TEXT)}
        self._original = columns["text"]
        self._at = _At(placed.stages[0].state, columns, READ)

    def graph(self) -> Graph:
        """Return the passes, from the files to the manifest."""
        inspect = InspectFiles(self._files, self._known, self._placed.read_code, self._plan.folders)
        self._nodes.append(Pass(INPUTS, inspect, FileGroups(self._files), step="extract"))
        self._nodes.append(
            Pass(
                READ,
                ReadShard(self._placed.read, self._plan.input_columns, self._plan.folders),
                SourceShards(self._files),
                inputs=(INPUTS,),
                step="extract",
            )
        )
        self._steps()
        self._outputs()
        return Graph(tuple(self._nodes))

    def _steps(self) -> None:
        group: list[Stage] = []
        for stage in self._placed.stages[1:]:
            current = stage
            if stage.step.fits:
                self._annotate(group)
                group = []
                current = self._fit(stage)
            if not stage.step.over_corpus:
                group.append(current)
                continue
            carries = (*NAMING, *_small(stage.step.columns(self._plan.model_paths(stage.label))))
            own = replace(current, state=replace(current.state, folder=f"{current.state.folder}-own", carries=carries))
            self._annotate([*group, own])
            group = []
            self._decide(current)
        self._annotate(group)

    def _corpus(self, stage: Stage) -> Corpus:
        config, at = self._plan.config, self._at
        score_all = config.score == "all"
        return Corpus(stage, at.state, dict(at.columns), config.seed, (at.after,), score_all, self._output)

    def _fit(self, stage: Stage) -> Stage:
        fit = stage.step.fit(self._corpus(stage))
        self._nodes += fit.nodes
        self._at.after = fit.nodes[-1].name
        if fit.report is not None:
            self._reports.setdefault(stage.label, []).append((fit.report, fit.reads))
        return replace(stage, models={**stage.models, **fit.models})

    def _annotate(self, group: list[Stage]) -> None:
        if not group:
            return
        name = " + ".join(stage.label for stage in group)
        work = AnnotateShard(tuple(group), self._at.state, dict(self._at.columns), self._plan.config.score == "all")
        steps = group[0].label if len(group) == 1 else name
        self._nodes.append(Pass(name, work, StoredShards(), join_notes, (READ,), (self._at.after,), steps))
        self._annotated.append(name)
        for stage in group:
            names = stage.step.columns(self._plan.model_paths(stage.label)).names
            if stage.columns is not None:
                self._at.columns |= dict.fromkeys(names, stage.columns)
            self._at.state = stage.state
        self._at.after = name

    def _decide(self, stage: Stage) -> None:
        decision = stage.step.decide(self._corpus(stage))
        self._nodes += decision.nodes
        self._at.state = stage.state
        self._at.columns |= decision.columns
        self._at.after = decision.nodes[-1].name
        if decision.report is not None:
            self._reports.setdefault(stage.label, []).append((decision.report, decision.reads))

    def _outputs(self) -> None:
        plan, at = self._plan, self._at
        stages = self._placed.stages
        labels = [stage.label for stage in stages]
        rules = [stage.step.rule_names for stage in stages]
        metadata = {"tamis.config_sha256": plan.digest, "tamis.version": version()}
        count = SummariseShard(self._documents, at.state, self._languages())
        self._nodes.append(Pass(COUNT, count, StoredShards(), inputs=(READ,), after=(at.after,), small=True))
        write = WritePart(
            self._output,
            filesystem.join(self._work, "written"),
            at.state,
            {name: at.columns[name] for name in ("text", *STORED_SCHEMA.names, *self._schema.names)},
            self._original,
            self._schema,
            labels,
            rules,
            metadata,
            module_code(WritePart.__module__),
        )
        parts = OutputParts(plan.config.output.shard_mb * 1e6)
        self._nodes.append(Pass(WRITE, write, parts, inputs=(READ, COUNT)))
        folders: Mapping[int, Place] = {s.index: s.columns for s in stages if s.columns is not None}
        errors = WriteErrors(self._output, self._placed.read, self._documents, folders, at.state, metadata)
        self._nodes.append(Pass(ERRORS, errors, ErrorParts(), inputs=(READ, COUNT), small=True))
        reads = tuple(dict.fromkeys(n for found in self._reports.values() for _, names in found for n in names))
        inputs = tuple(dict.fromkeys((INPUTS, READ, *self._annotated, COUNT, WRITE, ERRORS, *reads)))
        others = tuple(node.name for node in self._nodes if node.name not in inputs)
        finish = Finish(self._record(tuple(node.name for node in self._nodes)))
        self._nodes.append(Pass(FINISH, finish, inputs=inputs, after=others, small=True))

    def _languages(self) -> tuple[str, Place] | None:
        """Return name and place of the column of languages: `language`, whoever brought it, or a step's by a name."""
        steps = (stage.step for stage in self._placed.stages)
        named = [step.name for step in steps if isinstance(step, LanguageStep)]
        types = {field.name: field.type for field in (*self._plan.input_columns, *self._schema)}
        for name in ["language", *named]:
            if name in self._at.columns and types.get(name) == pa.string():
                return name, self._at.columns[name]
        return None

    def _record(self, passes: tuple[str, ...]) -> RunRecord:
        plan = self._plan
        return RunRecord(
            output=self._output,
            folder=_seen_from(self._output, plan),
            files=self._files,
            name=plan.config.name,
            config_sha256=plan.digest,
            identity=plan.identity,
            config=redacted_all(plan.declared.resolved(plan.model_digests())),
            source_config=redacted_all(dict(plan.plain)),
            provenance=provenance(plan.steps).model_dump(mode="json"),
            models=tuple(
                (label, option, redacted(model.reference), model.sha256)
                for label, found in plan.models.items()
                for option, model in found.items()
            ),
            steps=tuple(
                StepPlan(
                    stage.label,
                    stage.step.verb,
                    stage.step.rule_names,
                    stage.step.bounds,
                    tuple(report for report, _ in self._reports.get(stage.label, ())),
                )
                for stage in self._placed.stages
            ),
            annotated=tuple(self._annotated),
            warnings=plan.warnings,
            parents=plan.parents,
            passes=tuple((name, next(node.step for node in self._nodes if node.name == name)) for name in passes),
        )
