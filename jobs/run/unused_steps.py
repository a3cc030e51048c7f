"""Steps that may not be meant as they are given: that select nothing, or next to nothing."""

from collections.abc import Sequence

from tamis.jobs.run.plan import Plan
from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.loaded import annotator_of

__all__ = ["idle_steps", "tiny_percentiles"]


def idle_steps(plan: Plan) -> tuple[str, ...]:
    """Return a sentence for each step that has options to reject by, given none, and whose columns nobody reads.

    A step may be there for its columns alone, which are written; but one that was meant to select and got no
    threshold looks the same.
    """
    return tuple(
        f"step {step.label} can't reject a document without `keep` or a threshold, and no later step reads its "
        "columns: it only adds them"
        for number, step in enumerate(plan.steps)
        if _idle(plan, step, plan.steps[number + 1 :])
    )


def tiny_percentiles(plan: Plan) -> tuple[str, ...]:
    """Return a sentence for each step whose percentiles look like shares: `[0, 0.5]` keeps half a percent."""
    ranges = ((step.label, step.kept.percentile) for step in plan.steps)
    return tuple(
        f"step {label} keeps {found[1] - found[0]:g} % of the documents: percentiles are from 0 to 100, and "
        f"`fraction: {found[1]:g}` is a share"
        for label, found in ranges
        if found is not None and found[1] <= 1
    )


def _idle(plan: Plan, step: Step, later: Sequence[Step]) -> bool:
    selects = step.kept_column is not None or "keep" in type(step).model_fields
    if not selects or step.can_reject or step.rewrites:
        return False
    made = {*step.columns(plan.model_paths(step.label)).names, *step.corpus_columns.names}
    return made.isdisjoint(name for other in later for name in _reads(plan, other))


def _reads(plan: Plan, step: Step) -> set[str]:
    found = {*step.reads, *step.kept.by}
    # What a step groups by, weighs or combines is an option that names a column, or several.
    for value in step.model_dump(mode="json").values():
        found |= {one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)}
    if not step.fits:
        annotator = annotator_of(step, plan.model_paths(step.label))
        found |= set(annotator.requires) if annotator is not None else set()
    return found
