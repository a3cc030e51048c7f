"""Whether the workers of a service can see what a run reads and writes: before anything is sent there."""

import os
from collections.abc import Sequence
from pathlib import Path

from tamis.jobs.run.plan import Plan
from tamis.pipeline.graph.dataflow import DATAFLOW, option_problems
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError
from tamis.schemas.secrets import redacted

__all__ = ["refuse_out_of_reach"]

IN_IMAGE = "TAMIS_IN_IMAGE"
"""Environment variable: absolute folders that the workers' image holds as this machine does, divided by colons."""
SHOWN = 3
"""Input files that a sentence names, at most."""


def _baked(path: str) -> bool:
    """Return whether a local path lies in a folder that workers have from their image."""
    folders = [Path(folder) for folder in os.environ.get(IN_IMAGE, "").split(":") if folder.startswith("/")]
    local = Path(os.path.normpath(filesystem.local_path(path)))
    return local.is_absolute() and any(local.is_relative_to(folder) for folder in folders)


def _hidden(path: str) -> bool:
    return filesystem.is_local(path) and not _baked(path)


def out_of_reach(plan: Plan, output: str, cache: str | None = None) -> list[str]:
    """Return what workers elsewhere couldn't see, a part of a sentence each.

    Args:
        plan: the plan.
        output: the run's folder; written to, so that an image can't hold it.
        cache: the folder of finished stages, if it isn't the run's own.
    """
    problems = []
    if filesystem.is_local(output):
        problems.append(f"the output {output} is local: give --output=gs://BUCKET/FOLDER")
    if cache is not None and filesystem.is_local(cache):
        problems.append(f"the cache {cache} is local: give --cache gs://BUCKET/FOLDER")
    for label, models in plan.models.items():
        for option, found in models.items():
            # What isn't a local path is fetched by each worker that lacks it.
            if "://" not in found.reference.removeprefix("file://") and _hidden(found.path):
                problems.append(f"step {label}: {option}: {found.reference} is local")
    inputs = [file.path for file in plan.files if _hidden(file.path)]
    shown = ", ".join(redacted(path) for path in inputs[:SHOWN])
    if inputs:
        more = f" and {len(inputs) - SHOWN:,} more" if len(inputs) > SHOWN else ""
        problems.append(f"inputs: {shown}{more} {'is' if len(inputs) == 1 else 'are'} local")
    return problems


def refuse_out_of_reach(plan: Plan, output: str, runner: str, options: Sequence[str], cache: str | None = None) -> None:
    """Refuse a run on a service whose workers couldn't carry it out, with all that is wrong in one sentence.

    Args:
        plan: the plan.
        output: the run's folder.
        runner: the runner's name; only Dataflow's workers are known to share no folder with this machine.
        options: Beam options.
        cache: see `out_of_reach`.

    Raises:
        ConfigError: naming each path and option.
    """
    if runner != DATAFLOW:
        return
    wrong = option_problems(options)
    hidden = out_of_reach(plan, output, cache)
    told = []
    if wrong:
        told.append(f"the runner {runner} refuses its options: {'; '.join(wrong)}")
    if hidden:
        advice = f"put them on gs://, or into the workers' image and its folder into {IN_IMAGE}"
        told.append(f"Dataflow's workers can't see everything: {'; '.join(hidden)}; {advice}")
    if told:
        raise ConfigError("; ".join(told))
