"""The config of an increment: the files that it reads, the index that it takes, the thresholds that hold for it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tamis.jobs.run.paths import Places
from tamis.jobs.run.plan import KnownFiles, steps_of
from tamis.jobs.watch.corpus import CorpusRecord, increment_folder, path_from
from tamis.jobs.watch.files import FoundFile
from tamis.pipeline.steps.base import Earlier, Step
from tamis.pipeline.steps.registry import parse_config
from tamis.pipeline.steps.seen import IndexedStep
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import digest
from tamis.schemas.config import Config, significant
from tamis.schemas.manifest import Manifest
from tamis.schemas.secrets import redacted_all

__all__ = ["deciding_digest", "frozen_from", "frozen_steps", "increment_config", "known_of", "plain_steps"]


def deciding_digest(config: Config, models: Mapping[str, Mapping[str, str]]) -> str:
    """Return the SHA-256 of what decides about a document that was read: the config but for its inputs."""
    resolved = config.resolved({label: dict(found) for label, found in models.items()})
    told = significant(redacted_all(resolved))
    told.pop("inputs")
    return digest(told)


def plain_steps(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return steps as a config has them, without what is the default."""
    return [{step.verb: step.model_dump(mode="json", by_alias=True, exclude_defaults=True)} for step in steps]


def frozen_steps(config: Config, record: CorpusRecord | None, folder: str, places: Places) -> list[Step]:
    """Return the steps of a config, with what was found for them held fast where the config says so.

    Args:
        config: whose `watch.thresholds` says so.
        record: what is remembered; None before the first increment.
        folder: of the corpus.
        places: where relative paths lead from.

    Raises:
        ConfigError: if a step finds something that can't be held fast.
    """
    steps = list(steps_of(config))
    if config.watch is None or config.watch.thresholds == "estimate":
        return steps
    found = []
    for step in steps:
        if not (step.over_corpus or step.fits):
            found.append(step)
            continue
        thresholds = record.frozen.get(step.label, {}) if record is not None else {}
        model = record.frozen_models.get(step.label) if record is not None else None
        where = None if model is None else path_from(places.folders[0], filesystem.join(folder, model))
        found.append(step.frozen(Earlier(thresholds, where)))
    return found


def increment_config(
    config: Config,
    plain: Mapping[str, Any],
    steps: Sequence[Step],
    files: Sequence[FoundFile],
    before: str | None,
    folder: str,
    places: Places,
) -> tuple[Config, dict[str, Any]]:
    """Return the config of an increment, parsed and plain.

    Args:
        config: of the corpus.
        plain: the same as it was given.
        steps: what is done, see `frozen_steps`.
        files: what is read.
        before: name of the increment before; None for the first.
        folder: of the corpus.
        places: where relative paths lead from.
    """
    by_input: dict[int, list[str]] = defaultdict(list)
    for file in files:
        by_input[file.input].append(file.info.path)
    inputs = [
        config.inputs[number].model_dump(mode="json", exclude_defaults=True) | {"path": paths}
        for number, paths in sorted(by_input.items())
    ]
    made = []
    for step in steps:
        frozen = config.watch is not None and config.watch.thresholds == "frozen"
        left = step.leaving() if frozen or isinstance(step, IndexedStep) else step
        if before is not None and isinstance(left, IndexedStep):
            run = path_from(places.folders[0], increment_folder(folder, before))
            left = left.changed(index=[run])
        made.append(left)
    # What is new may all have been there before, which is no failure; the mixture is the whole corpus's affair.
    without = ("inputs", "steps", "output", "watch", "mixture", "limit", "allow_empty")
    derived = {key: value for key, value in plain.items() if key not in without}
    derived |= {"inputs": inputs, "steps": plain_steps(made), "allow_empty": True}
    derived["output"] = config.output.model_dump(mode="json", exclude={"path"}, exclude_defaults=True)
    return parse_config(derived), derived


def known_of(config: Config, files: Sequence[FoundFile]) -> KnownFiles:
    """Return the files of an increment's config by its inputs, which name them one by one."""
    infos = {(file.source, file.info.path): file.info for file in files}
    return {number: [infos[one.source, path] for path in one.path] for number, one in enumerate(config.inputs)}


def frozen_from(steps: Sequence[Step], manifest: Manifest, before: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return step to the thresholds that hold from now on: those that held, and what an increment found beside them.

    Args:
        steps: of the config.
        manifest: of the increment.
        before: what held; a group that it lacks, or for which nothing could be found, takes what was found now.
    """
    found: dict[str, Any] = {}
    now = {record.label: record.thresholds for record in manifest.steps}
    for step in steps:
        if step.over_corpus or step.fits:
            found[step.label] = _held(before.get(step.label, {}), now.get(step.label, {}))
    return found


def _held(before: Any, now: Any) -> Any:
    """Return `before` with what it lacks taken from `now`; both JSON."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return {**now, **{key: _held(value, now.get(key)) for key, value in before.items()}}
    return now if before is None else before
