"""Estimates what a plan needs in memory and on disk, from its files, steps and models alone."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from tamis.jobs.run.plan import Plan
from tamis.pipeline.formats.options import format_of
from tamis.pipeline.formats.reader import EXPANSION
from tamis.pipeline.steps.base import DOCUMENT_BYTES, Memory
from tamis.schemas.errors import InputError, RunError
from tamis.schemas.wording import counted

__all__ = ["Need", "estimate", "refuse_what_does_not_fit", "step_costs", "text_by_source"]

BASE = 350 << 20
"""Bytes of a worker process with its libraries and compiled kernels."""
BATCHES = 200 << 20
"""Bytes of the batches that a worker holds at once, with what is computed from them."""


@dataclass(frozen=True)
class Need:
    """Bytes that a run takes.

    Attributes:
        worker: private memory of each worker.
        shared: models, mapped once for all workers of a machine.
        disk: of the work folder.
        documents: about how many there are.
        largest: the step that takes most of a worker's memory, and how much of it; None if none takes any.
        steps: of each step.
    """

    worker: int
    shared: int
    disk: int
    documents: int
    largest: tuple[str, int] | None = None
    steps: Mapping[str, Memory] = field(default_factory=dict)


def estimate(plan: Plan, *, documents: int | None = None, text: float | None = None) -> Need:
    """Return what a plan needs; a worker's batches and the texts of a row group or two are bounded by construction.

    Args:
        plan: the plan.
        documents: about how many there are; by the size of their text if None.
        text: bytes of their text; by the files' sizes and compression if None.
    """
    text = sum(text_by_source(plan).values()) if text is None else text
    documents = int(text / DOCUMENT_BYTES) if documents is None else documents
    needs = {step.label: step.memory(documents, plan.models.get(step.label, {})) for step in plan.steps}
    shard = min(plan.config.output.shard_mb * 1e6, text, 128 << 20)
    most = max(needs, key=lambda label: needs[label].worker)
    return Need(
        worker=BASE + BATCHES + int(shard) + needs[most].worker,
        shared=sum(need.shared for need in needs.values()),
        disk=int(text * 0.6),
        documents=documents,
        largest=(most, needs[most].worker) if needs[most].worker else None,
        steps=needs,
    )


def text_by_source(plan: Plan) -> dict[str, float]:
    """Return about the bytes of text of each source, by its files' sizes and compression."""
    found: dict[str, float] = {}
    for file in plan.files:
        try:
            _, codec = format_of(file.path, plan.inputs[file.input].options)
        except InputError:  # said when the file is looked at
            codec = None
        found[file.source] = found.get(file.source, 0.0) + (file.size or 0) * EXPANSION[codec]
    return found


def step_costs(plan: Plan, documents: int) -> dict[str, tuple[str, ...]]:
    """Return what steps say of what is dear about them, by label; those that say nothing are left out."""
    steps = plan.steps
    told = {
        step.label: step.costs(documents, plan.models.get(step.label, {}), steps[:number])
        for number, step in enumerate(steps)
    }
    return {label: sentences for label, sentences in told.items() if sentences}


def refuse_what_does_not_fit(need: Need, workers: int) -> None:
    """Refuse a local run that this machine's memory can't hold.

    Raises:
        RunError: naming the step that takes most, and what would help.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    total = need.worker * workers + need.shared
    if total <= memory:
        return
    step = f"step {need.largest[0]} takes {need.largest[1] / 1e9:.1f} GB of it" if need.largest else "models take most"
    msg = (
        f"the run needs about {total / 1e9:.1f} GB of memory with {counted(workers, 'worker')}, and this machine has "
        f"{memory / 1e9:.1f} GB: {step}; take fewer workers, or a machine or an engine with more"
    )
    raise RunError(msg)
