"""What a run would keep, take and leave, estimated from a sample that is run as the whole would be."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tamis.jobs.manifest.file import shard_path, shards_of
from tamis.jobs.mix.forecast import Amounts
from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import Plan
from tamis.jobs.run.sample_inputs import SampledInputs, sample_inputs
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.sample import SampleStep
from tamis.schemas.manifest import Manifest
from tamis.schemas.mixture import MixtureConfig

__all__ = ["SampledPlan", "SampledStep", "run_sample"]

_CLUSTERS = 3
"""Clusters of near-duplicates that are told of."""


@dataclass(frozen=True)
class SampledStep:
    """A step's estimate over the whole input.

    Attributes:
        label: of the step.
        documents: that come to it.
        kept: that it keeps.
        rejected: by rule.
        seconds: CPU time.
    """

    label: str
    documents: int
    kept: int
    rejected: Mapping[str, int]
    seconds: float


@dataclass(frozen=True)
class SampledPlan:
    """Estimates over the whole input from a sample.

    Attributes:
        files: that the sample looked into.
        bytes: of input files in the sample.
        whole_bytes: of all input files.
        documents: that were scored.
        read: records, estimated.
        selected: documents, estimated.
        errors: records, estimated.
        text_bytes: of all documents, estimated.
        steps: in order.
        cpu_seconds: of the whole run.
        work_bytes: of the work folder.
        selected_bytes: of the shards of selected documents.
        other_bytes: of the shards of rejected documents and of errors.
        selected_text_bytes: of the text of selected documents.
        notes: what the sample can't say, and steps at which nothing fell.
        groups: what each group of the config's mixture has, estimated; None without a mixture.
    """

    files: int
    bytes: int
    whole_bytes: int
    documents: int
    read: int
    selected: int
    errors: int
    text_bytes: int
    steps: tuple[SampledStep, ...]
    cpu_seconds: float
    work_bytes: int
    selected_bytes: int
    other_bytes: int
    selected_text_bytes: int
    notes: tuple[str, ...]
    groups: Mapping[str, Amounts] | None = None


def run_sample(plan: Plan, budget: int) -> SampledPlan:
    """Run a plan's steps over a sample of its inputs, in a temporary folder, and scale the figures up by source.

    Args:
        plan: the plan.
        budget: bytes of input files, about.

    Raises:
        TamisError: whatever would stop the run itself, in a sentence.
    """
    with tempfile.TemporaryDirectory(prefix="tamis-plan-") as folder:
        sample = sample_inputs(plan, budget, str(Path(folder) / "inputs"))
        overall = sample.bytes / max(1, sample.whole)
        steps = tuple(_scaled(step, overall) for step in sample.plan.steps)
        # The mixture is told by its groups' sizes, and isn't made of a sample.
        alone = sample.plan.config.model_copy(update={"steps": steps, "mixture": None})
        sampled = replace(sample.plan, config=alone)
        # What is compiled and loaded once would count for all of a small sample's time.
        first = replace(sampled, files=(min(sampled.files, key=lambda file: file.size or 0),))
        _execute(first, str(Path(folder) / "first"))
        output = str(Path(folder) / "run")
        manifest = _execute(sampled, output)
        work = sum(path.stat().st_size for path in (Path(output) / "work").rglob("*") if path.is_file())
        found = _estimates(plan, sample, manifest, work, _text_by_source(manifest, output))
        mixture = plan.config.mixture
        return found if mixture is None else replace(found, groups=_groups(mixture, manifest, output, sample))


def _groups(mixture: MixtureConfig, manifest: Manifest, output: str, sample: SampledInputs) -> dict[str, Amounts]:
    from tamis.jobs.run.planned_mixture import group_amounts

    return group_amounts(mixture, manifest, output, sample.scale)


def _execute(plan: Plan, output: str) -> Manifest:
    with Engine(os.path.join(output, "work", "passes")) as engine:  # noqa: PTH118  (a name, not a path to look at)
        return execute(plan, output, engine).manifest


def _scaled(step: Step, share: float) -> Step:
    """Return a step with the amounts that it keeps scaled down to a share of the input."""
    if isinstance(step, SampleStep):
        if step.fraction is not None:
            return step
        return step.model_copy(update={"documents": max(1, round((step.kept.documents or 1) * share))})
    keep = step.kept
    amounts = {name: value for name in ("documents", "bytes", "tokens") if (value := getattr(keep, name)) is not None}
    if not amounts or "keep" not in type(step).model_fields:
        return step
    scaled = {name: max(1, round(value * share)) if value else 0 for name, value in amounts.items()}
    return step.model_copy(update={"keep": keep.model_copy(update=scaled)})


def _text_by_source(manifest: Manifest, output: str) -> dict[str, int]:
    """Return the bytes of text of each source's documents, the rejected ones among them."""
    found: dict[str, int] = {}
    for fate in ("selected", "rejected"):
        for shard in shards_of(manifest, fate):
            table = pq.read_table(shard_path(output, shard), columns=["source", "text"])
            sizes = pa.table({"source": table["source"], "bytes": pc.binary_length(table["text"])})
            for row in sizes.group_by("source").aggregate([("bytes", "sum")]).to_pylist():
                found[row["source"]] = found.get(row["source"], 0) + (row["bytes_sum"] or 0)
    return found


def _estimates(
    plan: Plan, sample: SampledInputs, manifest: Manifest, work: int, texts_read: Mapping[str, int]
) -> SampledPlan:
    scale = sample.scale
    # Files are compressed differently, so that what follows from the text goes by each source's share of it.
    whole = sum(texts_read.values())
    by_bytes = sample.whole / max(1.0, sample.bytes)
    factor = sum(size * scale[source] for source, size in texts_read.items()) / whole if whole else by_bytes

    def total(counts: Mapping[str, float]) -> int:
        return round(sum(number * scale[source] for source, number in counts.items()))

    steps = []
    for step in manifest.steps:
        before = {counts.source: counts.documents for counts in step.counts}
        rejected: dict[str, float] = {}
        for counts in step.counts:
            for rule, number in counts.rejected.items():
                rejected[rule] = rejected.get(rule, 0.0) + number * scale[counts.source]
        kept = total({counts.source: counts.kept for counts in step.counts})
        seconds = step.seconds * factor
        told = {rule: round(number) for rule, number in sorted(rejected.items(), key=lambda item: -item[1])}
        steps.append(SampledStep(step.label, total(before), kept, told, seconds))
    # A copy that ends within a record has one error more than its file.
    errors = {s: max(0, counts["errors"] - sample.broken[s]) for s, counts in manifest.sources.items()}
    cut = {s: counts["errors"] - errors[s] for s, counts in manifest.sources.items()}
    shards = [shard for shard in manifest.shards if shard.fate == "selected" and shard.sources]
    sizes = {s: sum(shard.bytes for shard in shards if shard.sources[0] == s) for s in scale}
    texts = {s: sum(shard.text_bytes for shard in shards if shard.sources[0] == s) for s in scale}
    return SampledPlan(
        files=sample.files,
        bytes=round(sample.bytes),
        whole_bytes=sample.whole,
        documents=sum(counts["read"] - counts["errors"] for counts in manifest.sources.values()),
        read=total({s: counts["read"] - cut[s] for s, counts in manifest.sources.items()}),
        selected=total({s: counts["selected"] for s, counts in manifest.sources.items()}),
        errors=total(errors),
        text_bytes=round(manifest.text_bytes * factor),
        steps=tuple(steps),
        cpu_seconds=sum(spent.cpu_seconds for spent in manifest.passes) * factor,
        work_bytes=round(work * factor),
        selected_bytes=total(sizes),
        other_bytes=round(sum(s.bytes for s in manifest.shards if s.fate != "selected") * factor),
        selected_text_bytes=total(texts),
        notes=tuple(_notes(plan, manifest, whole=sample.bytes >= sample.whole)),
    )


def _notes(plan: Plan, manifest: Manifest, *, whole: bool) -> list[str]:
    found = []
    records = {step.label: step for step in manifest.steps}
    for step in plan.steps:
        record = records[step.label]
        fell = sum(sum(counts.rejected.values()) for counts in record.counts)
        came = sum(counts.documents for counts in record.counts)
        found += _of_duplicates(step.label, record.metrics)
        found += [told for told in manifest.warnings if told.startswith(f"step {step.label}: ")]
        if "dedup" in step.verb and not whole:
            found.append(f"step {step.label}: copies were looked for in the sample alone; the whole input has more")
        elif not came and step.verb != "extract":
            found.append(f"step {step.label}: no document of the sample came to it")
        elif not fell and (step.rules or step.over_corpus) and step.rule_names:
            found.append(f"step {step.label}: nothing of the sample fell to its rules")
    return found


def _of_duplicates(label: str, metrics: Mapping[str, Any]) -> list[str]:
    """Say of a step which share of each source it takes out, and what its largest clusters are."""
    found = []
    removed = metrics.get("removed")
    if isinstance(removed, dict):
        shares = []
        for source, counts in removed.items():
            whole = counts.get("documents", counts.get("bytes", 0))
            if whole:
                shares.append(f"{counts['removed'] / whole:.0%} of {source}")
        if shares:
            found.append(f"step {label}: takes out {', '.join(shares)}")
    largest = metrics.get("largest") or ()
    if largest:
        told = []
        for one in largest[:_CLUSTERS]:
            low = one["lowest_similarity"]
            how = "not compared" if low is None else f"lowest similarity {low:.2f}"
            told.append(f"{one['size']:,} ({how})")
        found.append(f"step {label}: documents of the largest clusters: {', '.join(told)}")
    return found
