"""Checks what a run came from: its config by digest, its inputs and models where they lie."""

from collections.abc import Iterable, Iterator, Sequence

from tamis.jobs.provenance import code_digest
from tamis.jobs.run.paths import Places
from tamis.jobs.run.plan import find_models
from tamis.pipeline.steps.registry import parse_config
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import digest
from tamis.schemas.config import Config, significant
from tamis.schemas.errors import ConfigError, InputError, ModelError
from tamis.schemas.manifest import InputRecord, Manifest, ModelRecord
from tamis.schemas.secrets import REDACTED

__all__ = ["check_config", "input_problems", "model_problems", "undigested_inputs"]


def _model_digests(models: Iterable[ModelRecord]) -> dict[str, dict[str, str]]:
    digests: dict[str, dict[str, str]] = {}
    for model in models:
        digests.setdefault(model.step, {})[model.option] = model.sha256
    return digests


def check_config(manifest: Manifest) -> tuple[list[str], list[str]]:
    """Return failures and notes on the config: the resolved one by its digest, and that it comes from the given one."""
    failures: list[str] = []
    notes: list[str] = []
    found = digest(significant(manifest.config))
    if found != manifest.config_sha256:
        failures.append(f"the recorded config has the digest {found}, the manifest says {manifest.config_sha256}")
    try:
        again = parse_config(manifest.source_config).digest(_model_digests(manifest.models))
    except ConfigError as error:
        again = ""
        problem = f"the config as it was given can't be parsed: {error}"
    else:
        problem = (
            f"the config as it was given has the digest {again} with the recorded models, not {manifest.config_sha256}"
        )
    if again == manifest.config_sha256:
        return failures, notes
    if manifest.provenance.code_sha256 == code_digest():
        failures.append(problem)
    else:
        notes.append(f"{problem}; it was written by another version of the program ({manifest.provenance.tamis})")
    return failures, notes


def input_problems(manifest: Manifest, *, thorough: bool) -> Iterator[str]:
    """Yield a sentence for each input file that is missing or changed: by its size, and if `thorough` by its digest."""
    for record in manifest.inputs:
        if REDACTED in record.path:  # told by `undigested_inputs`
            continue
        problem = _input_problem(record, thorough=thorough)
        if problem:
            yield f"input {record.path} {problem}"


def undigested_inputs(manifest: Manifest) -> Iterator[str]:
    """Yield a sentence on the inputs whose content nothing in the manifest proves, if there are any."""
    hidden = sum(REDACTED in record.path for record in manifest.inputs)
    if hidden:
        those = "1 input" if hidden == 1 else f"{hidden:,} inputs"
        yield f"not looked at: {those} whose addresses had credentials, which the manifest doesn't keep"
    paths = [record.path for record in manifest.inputs if record.sha256 is None and REDACTED not in record.path]
    if paths:
        those = "1 input was" if len(paths) == 1 else f"{len(paths):,} inputs were"
        yield (
            f"not checked by content: {those} recorded without a SHA-256, such as {paths[0]}: only what the server "
            "tells of a file (an etag, or size and time) was compared"
        )


def _input_problem(record: InputRecord, *, thorough: bool) -> str | None:
    try:
        now = filesystem.info(record.path)
        if record.bytes is not None and now.size is not None and now.size != record.bytes:
            return f"has {now.size:,} bytes now, recorded are {record.bytes:,}"
        if not thorough:
            return None
        if record.sha256 is None:
            same = now.fingerprint == record.fingerprint
            return None if same else f"was changed: it is {now.fingerprint} now, recorded is {record.fingerprint}"
        sha256 = filesystem.sha256(record.path)
    except InputError:
        return "is no longer there, or can't be read"
    return None if sha256 == record.sha256 else f"was changed: its SHA-256 is {sha256}, recorded is {record.sha256}"


def model_problems(manifest: Manifest, folders: tuple[str, ...], *, thorough: bool) -> Iterator[str]:
    """Yield a sentence for each model that is missing or, if `thorough`, changed."""
    if not thorough:
        for record in manifest.models:
            local = "://" not in record.reference and record.reference.startswith(("/", "."))
            if local and not filesystem.exists(record.reference):
                yield f"model {record.reference} of step {record.step} is no longer there"
        return
    try:
        config = parse_config(manifest.source_config)
    except ConfigError:  # told with the config
        return
    for step in config.steps:
        recorded = [record for record in manifest.models if record.step == step.label]
        if recorded:
            yield from _changed_models(config, Places(folders), step.label, recorded)


def _changed_models(config: Config, places: Places, label: str, recorded: Sequence[ModelRecord]) -> Iterator[str]:
    steps = tuple(step for step in config.steps if step.label == label)
    try:
        found = find_models(config.model_copy(update={"steps": steps}), places)[label]
    except (InputError, ModelError) as error:
        yield str(error)
        return
    for record in recorded:
        now = found.get(record.option)
        if now is None or now.sha256 != record.sha256:
            told = "nothing" if now is None else now.sha256
            yield f"model {record.reference} of step {label} was changed: it is {told}, recorded is {record.sha256}"
