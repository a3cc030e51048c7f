"""What a run into a folder would replace there: the finished run of another config, other inputs or another program."""

from dataclasses import dataclass

from tamis.jobs.manifest.differences import config_changes
from tamis.jobs.manifest.file import read_manifest
from tamis.jobs.run.plan import Plan
from tamis.jobs.run.untouched import earlier_manifest
from tamis.jobs.watch.corpus import refuse_corpus
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError, RunError
from tamis.schemas.manifest import Manifest
from tamis.schemas.secrets import redacted_all

__all__ = ["Replaced", "refuse_replacing", "replaced_run"]

SHOWN = 3
"""Changed options that a sentence names; of the others it gives the number."""


@dataclass(frozen=True)
class Replaced:
    """A finished run in the folder of another.

    Attributes:
        manifest: its manifest.
        changes: of the config, such as `steps.language.min_score was 0.5 and is 0.8`; none if it is inputs or program
            that changed.
    """

    manifest: Manifest
    changes: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"the run of {self.manifest.started} ({self.manifest.selected:,} selected of {self.manifest.read:,} read)"
        )

    @property
    def why(self) -> str:
        """What is different now, as a sentence's part."""
        if not self.changes:
            return "its inputs, their times or the program changed"
        more = len(self.changes) - SHOWN
        return "; ".join(self.changes[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def replaced_run(plan: Plan, output: str) -> Replaced | None:
    """Return the finished run in a folder that a plan's run would replace; None if there is none, or it is the same.

    Raises:
        ConfigError: if the folder holds a corpus that grows, which nothing replaces.
    """
    if filesystem.is_local(output):  # on a store it costs a request, and is asked for once the run begins
        refuse_corpus(output)
    try:
        manifest = read_manifest(output)
    except RunError:
        earlier = earlier_manifest(output)
        if earlier is None:
            return None
        manifest = Manifest.model_validate_json(earlier)
    if manifest.plan_sha256 == plan.identity:
        return None
    if manifest.config_sha256 == plan.digest:
        return Replaced(manifest, ())
    now = redacted_all(plan.declared.resolved(plan.model_digests()))
    changes = config_changes(manifest, now, [step.label for step in plan.steps])
    return Replaced(manifest, tuple(changes) or ("a model's content changed",))


def refuse_replacing(plan: Plan, output: str, instead: str) -> Replaced | None:
    """Return what a run would replace, unless it is a run of another config, which is nobody's to throw away unasked.

    Args:
        plan: the plan.
        output: the run's folder.
        instead: what to do, as the end of a sentence.

    Raises:
        ConfigError: saying what would be replaced.
    """
    found = replaced_run(plan, output)
    if found is not None and found.changes:
        msg = f"{output} holds {found} with another config ({found.why}): {instead}"
        raise ConfigError(msg)
    return found
