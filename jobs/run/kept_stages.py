"""What earlier runs left in a folder that a plan's run would take from there."""

from dataclasses import dataclass
from pathlib import Path

from tamis.jobs.run.execute import finished_run
from tamis.jobs.run.plan import Plan
from tamis.jobs.run.stages import place_stages
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.place import Place

__all__ = ["KeptStages", "kept_stages"]


@dataclass(frozen=True)
class KeptStages:
    """Finished work of this config, models and program; of a shard whose input changed, none of it is taken.

    Attributes:
        finished: whether the run is finished, so that there is nothing to do.
        shards: step to the number of shards whose documents, columns or decisions are kept.
    """

    finished: bool
    shards: dict[str, int]


def kept_stages(plan: Plan, output: str, cache: str | None = None) -> KeptStages:
    """Count what is kept.

    Args:
        plan: the plan.
        output: the run's folder.
        cache: the folder of finished stages that `--cache` would name: that of several runs, or a run's.
    """
    finished = finished_run(plan, output) is not None
    found: dict[str, int] = {}
    for folder in [cache, filesystem.join(cache, "work")] if cache else [filesystem.join(output, "work")]:
        if not filesystem.is_local(folder) or not Path(filesystem.local_path(folder)).is_dir():
            continue
        for stage in place_stages(plan, folder).stages:
            many = max(map(_files, (stage.columns, stage.state)))
            if many:
                found[stage.step.label] = max(many, found.get(stage.step.label, 0))
    return KeptStages(finished, found)


def _files(place: Place | None) -> int:
    if place is None:
        return 0
    return sum(1 for _ in Path(filesystem.local_path(place.folder)).glob("*.arrow"))
