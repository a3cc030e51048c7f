"""Runs a plan: one graph from inputs to shards and manifest, reusing what is there."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from tamis.jobs.manifest.file import FATES, TABLES, read_manifest
from tamis.jobs.provenance import version
from tamis.jobs.run.build import FINISH, build_graph, file_list
from tamis.jobs.run.cache import USERS, alone, cache_folder, shared
from tamis.jobs.run.check import check_steps
from tamis.jobs.run.folder import LOCK, MARKER, claim, owned, refuse_own_inputs, sweep
from tamis.jobs.run.memory import estimate, refuse_what_does_not_fit
from tamis.jobs.run.outcome import problems
from tamis.jobs.run.paths import Places, led_by
from tamis.jobs.run.plan import Plan
from tamis.jobs.run.reach import refuse_out_of_reach
from tamis.jobs.run.stages import place_stages
from tamis.jobs.run.untouched import unfinished
from tamis.jobs.watch.corpus import refuse_corpus
from tamis.pipeline.corpus.earlier import has_index
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.graph.passes import Graph
from tamis.pipeline.graph.told import told
from tamis.pipeline.passes.inputs import write_file_list
from tamis.pipeline.steps.loaded import forget_annotators
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import validate
from tamis.schemas.errors import ConfigError, DamagedError, RunError
from tamis.schemas.manifest import Manifest
from tamis.schemas.mixture import MixtureConfig

__all__ = ["Finished", "execute", "finished_run", "graph_of", "labels_of"]

REPAIRS = 3
"""So many damaged files found on the way are made again; more say that the disk isn't to be trusted."""


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Attributes:
        manifest: as written.
        nothing_to_do: whether it had been finished before, so that nothing was computed or written.
        problems: why it counts as failed, though it is whole: too many errors, nothing read, nothing selected.
    """

    manifest: Manifest
    nothing_to_do: bool = False
    problems: tuple[str, ...] = ()


def graph_of(plan: Plan, output: str, schema: pa.Schema | None = None, *, cache: str | None = None) -> Graph:
    """Return the graph of a plan's run.

    Args:
        plan: the plan.
        output: the run's folder.
        schema: the columns that its steps add; found by trying the steps if absent.
        cache: folder of finished stages; the run's work folder if absent.
    """
    models = {step.label: plan.model_paths(step.label) for step in plan.steps}
    columns = schema or check_steps(plan.steps, models, plan.input_columns)
    stages = cache or filesystem.join(output, "work")
    return build_graph(plan, place_stages(plan, stages), columns, output, stages)


def labels_of(plan: Plan) -> dict[str, str]:
    """Return what a service labels the run's job with, in the characters that labels may have.

    The run (its name and what identifies it: config, inputs, program), the config's digest, and our version.
    """
    run = re.sub("[^a-z0-9]+", "-", plan.config.name.lower()).strip("-")[:40] or "run"
    return {
        "tamis-config": plan.digest[:16],
        "tamis-run": f"{run}-{plan.identity[:16]}",
        "tamis-version": re.sub("[^a-z0-9]+", "_", version().lower())[:63],
    }


def finished_run(plan: Plan, output: str) -> Manifest | None:
    """Return the manifest of a run that is finished and that this plan wouldn't change; None if there is work to do."""
    try:
        manifest = read_manifest(output)
    except RunError:
        return None
    if manifest.plan_sha256 != plan.identity:
        return None
    if not all(filesystem.tells_changes(file.fingerprint) for file in plan.files):
        return None  # only their content says whether they changed, which workers read
    sizes = {f"{name}/{path}": size for name in (*FATES, TABLES) for path, size in _sizes(output, name)}
    if any(sizes.get(shard.path) != shard.bytes for shard in manifest.files):
        return None
    if any("index" in step.metrics and not has_index(output, step.label) for step in manifest.steps):
        return None
    return manifest


def _sizes(output: str, name: str) -> Iterable[tuple[str, int]]:
    return filesystem.below(filesystem.join(output, name)).items()


def execute(plan: Plan, output: str, engine: Engine, *, fresh: bool = False, cache: str | None = None) -> Finished:
    """Run a plan into a folder.

    Args:
        plan: what to do.
        output: the run's folder.
        engine: where the graph runs; its scratch folder lies in the run's work folder.
        fresh: forget what earlier runs left in the work folder.
        cache: a folder of finished stages that runs into several folders share, or one of these runs; what is kept of
            the stages goes to the run's own work folder if absent.

    Raises:
        ConfigError: if both `fresh` and a cache are asked for, or the folders hold somebody else's files.
        BalanceError: if the records read aren't selected + rejected + errors.
        TamisError: whatever else stopped the run, in a sentence.
        LetGo: when its job was submitted and nobody waits for it; the job finishes the run but for its mixture, which
            the same call makes when it is over.
    """
    filesystem.forget()
    refuse_corpus(output)
    refuse_out_of_reach(plan, output, engine.runner, engine.options, cache)
    known = None if fresh else finished_run(plan, output)
    if known is not None:
        return _mixed(Finished(known, nothing_to_do=True), plan, output, engine)
    if fresh and cache is not None:
        msg = "--fresh forgets finished stages and --cache keeps them for several runs: give one of the two"
        raise ConfigError(msg)
    # Workers may stand elsewhere.
    place = filesystem.absolute(output)
    work = filesystem.join(place, "work")
    stages = work if cache is None else filesystem.absolute(cache_folder(cache))
    graph = graph_of(plan, place, cache=stages)
    if engine.local:
        refuse_what_does_not_fit(estimate(plan), engine.workers)
    refuse_own_inputs(output, plan)
    engine.prepare()  # while this process holds no lock that a fork would keep
    claim(output)
    if fresh:
        with owned(output), alone(work):
            filesystem.remove_below(work, keep=(LOCK, MARKER, USERS))
    with owned(output), shared(stages), unfinished(output, alone=engine.local):
        sweep(output)
        write_file_list(file_list(work, plan), plan.inputs, plan.files)
        try:
            finished = Finished(_carried_out(graph, engine, plan, (work, stages)))
        except BaseException:
            engine.close()
            sweep(output)  # what workers had half written when they were ended
            raise
        finally:
            engine.close()
            forget_annotators()
    return _mixed(finished, plan, output, engine, fresh=fresh)


def _mixed(finished: Finished, plan: Plan, output: str, engine: Engine, *, fresh: bool = False) -> Finished:
    """Return a finished run with the mixture that its config asks for, and with what makes it fail."""
    found = problems(finished.manifest, plan.config)
    if plan.config.mixture is None or not finished.manifest.selected:
        return replace(finished, problems=found)
    from tamis.jobs.mix.config import PATHS
    from tamis.jobs.mix.with_run import mix_with_run

    mixture = plan.config.mixture
    if plan.folders:
        mixture = validate(MixtureConfig, led_by(Places(plan.folders), plan.plain["mixture"], PATHS), "mixture")
    try:
        manifest, known = mix_with_run(finished.manifest, mixture, plan.plain["mixture"], output, engine, fresh=fresh)
    finally:
        engine.close()
    return Finished(manifest, finished.nothing_to_do and known, found)


def _carried_out(graph: Graph, engine: Engine, plan: Plan, folders: Sequence[str]) -> Manifest:
    """Carry out the graph; once more where a file of the work folder turned out damaged, which is deleted first.

    Workers are told what the folders of finished stages hold as it begins.
    """
    labels = labels_of(plan)
    repairs = 0
    while True:
        try:
            known = told(graph, filesystem.look(folders))
            value, _ = engine.execute(known, [FINISH], name=plan.config.name, labels=labels)[FINISH]
        except DamagedError as error:
            repairs += 1
            if repairs > REPAIRS:
                raise
            if engine.progress is not None:
                engine.progress.note(f"{error}: it is made again")
            filesystem.forget()
            filesystem.remove(error.path)
        else:
            return Manifest.model_validate_json(value)
