"""Runs a finished run's config again into another folder, and compares the bytes."""

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass

from tamis.jobs.manifest.compare import Comparison, compare
from tamis.jobs.manifest.file import config_folders, read_manifest
from tamis.jobs.run.execute import execute
from tamis.jobs.run.paths import Places
from tamis.jobs.run.plan import plan_from
from tamis.jobs.run.replace import refuse_replacing
from tamis.jobs.watch.corpus import is_corpus
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.graph.progress import Progress
from tamis.pipeline.steps.registry import parse_config
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError
from tamis.schemas.manifest import Manifest

__all__ = ["RerunResult", "rerun"]


@dataclass(frozen=True)
class RerunResult:
    """A run that was repeated.

    Attributes:
        manifest: of the repetition.
        comparison: of the first run with it.
    """

    manifest: Manifest
    comparison: Comparison

    @property
    def same(self) -> bool:
        """Whether all shards have the same bytes."""
        return self.comparison.same_bytes


def rerun(
    run: str,
    output: str,
    *,
    workers: int = 1,
    runner: str = "FnApiRunner",
    options: Sequence[str] = (),
    fresh: bool = False,
    progress: Progress | None = None,
) -> RerunResult:
    """Run a finished run's config again into another folder, and compare the bytes.

    Relative paths lead from where the config lay, where the run's folder still lies beside it as it did, else from
    where the command is given.

    Args:
        run: the finished run's folder.
        output: the folder of the repetition.
        workers: local worker processes.
        runner: name of a Beam runner.
        options: further Beam options.
        fresh: forget what an earlier repetition left in `output`.
        progress: told how far the passes are.

    Raises:
        ConfigError: if `output` is the run's own folder or holds another run, or the recorded config isn't one of this
            version.
        TamisError: whatever stopped the run.
    """
    before = read_manifest(run)
    if is_corpus(run):
        told = f"{before.parents[-1].path}, say" if before.parents else "there is none yet"
        msg = f"{run} is a corpus of several runs: repeat one of its increments ({told})"
        raise ConfigError(msg)
    if _same_place(run, output):
        msg = f"--output {output} is the run itself, which a repetition would overwrite: give another folder"
        raise ConfigError(msg)
    plain = copy.deepcopy(before.source_config)
    try:
        config = parse_config(plain)
    except ConfigError as error:
        told = before.provenance.tamis
        msg = f"{run}: its config was written for tamis {told} and this version refuses it: {error}"
        raise ConfigError(msg) from None
    scratch = filesystem.join(output, "work", "passes")
    engine = Engine(scratch, workers=workers, runner=runner, options=options, progress=progress)
    plan = plan_from(config, plain, Places(config_folders(run, before)))
    refuse_replacing(plan, output, "give another folder with --output")
    manifest = execute(plan, output, engine, fresh=fresh).manifest
    return RerunResult(manifest, compare(run, output))


def _same_place(first: str, second: str) -> bool:
    local = filesystem.is_local(first) and filesystem.is_local(second)
    a, b = (os.path.realpath(filesystem.local_path(p)) if local else p.rstrip("/") for p in (first, second))
    return a == b
