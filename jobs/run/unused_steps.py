"""Steps that could select and, as they are given, can't: nothing falls there, and nothing later reads their columns."""

from collections.abc import Sequence

from tamis.jobs.run.plan import Plan
from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.loaded import annotator_of

__all__ = ["idle_steps"]


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
