"""Places every step of a run: in folders named by the digest of all that determines their content."""

from collections.abc import Sequence
from typing import Any

from tamis.jobs.run.plan import Plan, steps_of
from tamis.pipeline.code import module_code, step_code
from tamis.pipeline.passes.read import ReadFolders
from tamis.pipeline.passes.stage import Fetched, ModelPath, Stage
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.place import Place
from tamis.schemas.base import digest
from tamis.schemas.step import Decides

__all__ = ["READ_CODE", "Placed", "place_stages"]

READ_CODE = "tamis.pipeline.passes.read"
SCORE_CODE = "tamis.pipeline.passes.annotate"


class Placed:
    """The places of a run.

    Attributes:
        stages: of the steps, in order; the first is `extract`, whose state is the reader's.
        read: of what readers keep.
        read_code: digest of the code that reads.
    """

    def __init__(self, stages: Sequence[Stage], read: ReadFolders, read_code: str):
        self.stages = tuple(stages)
        self.read = read
        self.read_code = read_code


def place_stages(plan: Plan, work: str) -> Placed:
    """Place every step.

    A step's columns depend on the step's scoring options, its models, the text, and (unless all rows are scored) on
    which rows were alive; its row states on its whole config too. A changed threshold leaves the columns as they are.
    What follows a decision over the corpus depends on the corpus as well, which is in the names of the files.
    """
    config = plan.config
    code = module_code(READ_CODE)
    text = digest([code, config.extract.model_dump(mode="json"), str(plan.input_columns)])
    read = ReadFolders(_folder(work, 0, "read", text))
    state = columns = text
    over_corpus = False
    first, *steps = plan.steps
    _, *declared = steps_of(plan.declared)
    stages = [Stage(0, first, {}, None, Place(read.of("documents")))]
    digests = plan.model_digests()
    for index, (step, given) in enumerate(zip(steps, declared, strict=True), start=1):
        models = digests.get(step.label, {})
        before = columns if config.score == "all" else state
        decides = step.marked(Decides)
        scored_by = {option: sha256 for option, sha256 in models.items() if option.partition(".")[0] not in decides}
        parts: list[Any] = [
            before,
            step.verb,
            step.scoring_options(),
            scored_by,
            step_code(step),
            module_code(SCORE_CODE),
        ]
        columns_follow = over_corpus and config.score != "all"
        if step.fits:
            parts += [state]
            columns_follow = True
        computes = bool(step.columns(plan.model_paths(step.label)).names)
        scoring = digest(parts)
        state = digest([scoring, state, given.model_dump(mode="json"), models, config.seed])
        columns = digest([columns, scoring])
        over_corpus = over_corpus or step.over_corpus or step.fits
        stages.append(
            Stage(
                index,
                step,
                _models(plan, step.label),
                Place(_folder(work, index, f"{step.label}-columns", scoring), columns_follow) if computes else None,
                Place(_folder(work, index, f"{step.label}-state", state), over_corpus),
                _folder(work, index, f"{step.label}-decision", state),
                _folder(work, index, f"{step.label}-fit", scoring),
            )
        )
    return Placed(stages, read, code)


def _models(plan: Plan, label: str) -> dict[str, ModelPath]:
    """Return option to model; one that was fetched is fetched again by workers that lack it."""
    return {
        option: Fetched(found.reference, found.path)
        if "://" in found.reference and filesystem.is_local(found.path) and not filesystem.is_local(found.reference)
        else found.path
        for option, found in plan.models.get(label, {}).items()
    }


def _folder(work: str, index: int, name: str, value: str) -> str:
    return filesystem.join(work, f"{index:02d}-{name}-{value[:16]}")
