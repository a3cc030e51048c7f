"""What a run would do: its files, models and steps; built before any work, without reading an input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from tamis.jobs.provenance import code_digest
from tamis.jobs.run.paths import Places, places_of
from tamis.pipeline.code import step_code
from tamis.pipeline.formats.columns import column_schema
from tamis.pipeline.formats.options import InputColumn, ReadOptions, data_suffixes
from tamis.pipeline.passes.inputs import PlannedFile, PlannedInput, inspect_file, raise_problems
from tamis.pipeline.steps.base import FoundFile, Step
from tamis.pipeline.steps.registry import plugged_in
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import digest
from tamis.schemas.config import Config, InputConfig
from tamis.schemas.errors import ConfigError, InputError
from tamis.schemas.extract import ExtractConfig
from tamis.schemas.manifest import ParentRecord
from tamis.schemas.secrets import REDACTED, redacted
from tamis.schemas.wording import counted
from tamis.scorers.extraction.html import ExtractOptions

__all__ = ["KnownFiles", "Plan", "check_inputs", "find_models", "make_plan", "plan_from", "read_options", "steps_of"]

KnownFiles: TypeAlias = Mapping[int, Sequence[filesystem.FileInfo]]
"""By position of an entry among the config's inputs, the files that it names; an entry that lacks has none."""
LIMIT_BYTES, UNKNOWN_BYTES = 256 << 10, 64 << 20
"""Of a run with a `limit`: bytes of input files a document, and what a file counts for whose size isn't known."""


@dataclass(frozen=True)
class Plan:
    """All that is known before the work begins.

    Attributes:
        config: the config as it is run: with numbers where a step takes its model's own threshold.
        declared: the config as it was given, defaults filled in; what the manifest records and digests.
        plain: the config as it was given.
        inputs: the entries of the config's inputs.
        files: the input files in canonical order: by source, then path.
        models: step label to {option: model}.
        digest: SHA-256 of everything in the config that can change a result.
        folders: absolute ones in which relative paths of inputs are looked up, in their order.
        notes: sentences on paths that were found elsewhere than beside the config.
        warnings: what the manifest is to say of the plan: that a trial left files out.
        parents: runs that it builds on.
    """

    config: Config
    declared: Config
    plain: Mapping[str, Any]
    inputs: tuple[PlannedInput, ...]
    files: tuple[PlannedFile, ...]
    models: Mapping[str, Mapping[str, FoundFile]]
    digest: str
    folders: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    parents: tuple[ParentRecord, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps, in order."""
        return steps_of(self.config)

    def model_paths(self, label: str) -> dict[str, str]:
        """Return option to path for a step's models."""
        return {option: model.path for option, model in self.models.get(label, {}).items()}

    def model_digests(self) -> dict[str, dict[str, str]]:
        """Return step label to {option: SHA-256}."""
        return {label: {o: m.sha256 for o, m in models.items()} for label, models in self.models.items()}

    @property
    def input_columns(self) -> pa.Schema:
        """The columns that inputs bring by `columns:`, those of all inputs together, by name.

        Raises:
            ConfigError: if two inputs give one name two types.
        """
        found: dict[str, pa.Field] = {}
        for entry in self.inputs:
            for column in column_schema(entry.options.columns):
                known = found.setdefault(column.name, column)
                if known.type != column.type:
                    told = f"{column.name} is {column.type} here and {known.type} in another input"
                    msg = f"input {entry.source}: columns: {told}"
                    raise ConfigError(msg)
        return pa.schema([found[name] for name in sorted(found)])

    @property
    def identity(self) -> str:
        """SHA-256 of all that a run follows from, as far as it is known before it: config, models, files, program."""
        files = [[file.source, redacted(file.path), file.fingerprint] for file in self.files]
        output = self.config.output.model_dump(mode="json")
        code = [code_digest(), *(step_code(step) for step in self.steps if step.verb in plugged_in())]
        # A changed mixture changes no shard of the run, but what its manifest records.
        mixture = [] if self.config.mixture is None else [self.config.mixture.model_dump(mode="json")]
        parents = [parent.model_dump(mode="json") for parent in self.parents]
        return digest([self.digest, self.config.name, output, files, code, *mixture, *parents])


def steps_of(config: Config) -> tuple[Step, ...]:
    """Return the steps of a config that `parse_config` built.

    Raises:
        ConfigError: if one isn't a whole step.
    """
    for step in config.steps:
        if not isinstance(step, Step):
            msg = f"step {step.label} has options alone: build the config with parse_config"
            raise ConfigError(msg)
    return tuple(step for step in config.steps if isinstance(step, Step))


def find_models(config: Config, places: Places | None = None) -> dict[str, dict[str, FoundFile]]:
    """Resolve all references of all steps: step label to {option: model}.

    Args:
        config: as it was given.
        places: where its paths are looked up; in the working folder if absent.

    Raises:
        ModelError: if a model is missing, or can't be fetched.
    """
    places = places or places_of(None)
    return {
        step.label: places.as_named(step, places.step(step).find_all()) for step in steps_of(config) if step.references
    }


def read_options(entry: InputConfig, extract: ExtractConfig) -> ReadOptions:
    """Return how the reader is to read one input."""
    return ReadOptions(
        format=entry.format,
        text=entry.text,
        id=entry.id,
        url=entry.url,
        timestamp=entry.timestamp,
        columns=tuple(InputColumn(name, c.field or name, c.type) for name, c in entry.columns.items()),
        html=entry.html,
        encoding=entry.encoding,
        delimiter=entry.delimiter,
        statuses=extract.statuses,
        content_types=extract.content_types,
        extract=ExtractOptions(
            engine=extract.engine,
            main_content=extract.main_content,
            max_page_bytes=extract.max_page_bytes,
            timeout=extract.timeout,
            min_characters=extract.min_characters,
        ),
        max_record_bytes=entry.limits.max_record_bytes,
        max_expansion=entry.limits.max_expansion,
    )


def make_plan(config: Config, plain: Mapping[str, Any], config_file: str | None = None) -> Plan:
    """Find files and models; opens no input.

    Args:
        config: the config, as `parse_config` builds it.
        plain: the config as it was given.
        config_file: where it was read, whose folder its relative paths belong to; None for the working folder.

    Raises:
        ConfigError: if a file is listed twice with different options, or the environment lacks a variable.
        InputError: if an input names no file.
        ModelError: if a model is missing or broken.
    """
    return plan_from(config, plain, places_of(config_file))


def plan_from(config: Config, plain: Mapping[str, Any], places: Places, known: KnownFiles | None = None) -> Plan:
    """Do what `make_plan` does, with paths looked up in given places.

    Args:
        config: the config, as `parse_config` builds it.
        plain: the config as it was given.
        places: where its paths are looked up.
        known: the files that its inputs name, where they were listed before; listed if absent.
    """
    models = find_models(config, places)
    steps = tuple(places.step(step).resolved(models.get(step.label, {})) for step in steps_of(config))
    with filesystem.relative_to(places.folders):
        inputs, files = _files(places.inputs(config), known)
    every = len(files)
    if config.limit is not None:
        files = _trial(files, len(inputs), config.limit, config.seed)
    read = f"{len(files):,} of {counted(every, 'input file')} {'is' if len(files) == 1 else 'are'} read"
    told = f"limit: {read}, and at most {counted(config.limit or 0, 'document')} drawn"
    digests = {label: {o: m.sha256 for o, m in found.items()} for label, found in models.items()}
    # A threshold that a model brings follows from the model, whose content is in the digest.
    run_as = config.model_copy(update={"steps": steps})
    warnings = (told,) if config.limit is not None else ()
    sha256 = config.digest(digests)
    return Plan(run_as, config, plain, inputs, files, models, sha256, places.folders, places.notes, warnings)


def _files(config: Config, known: KnownFiles | None = None) -> tuple[tuple[PlannedInput, ...], tuple[PlannedFile, ...]]:
    inputs = tuple(
        PlannedInput(entry.source, read_options(entry, config.extract), entry.unreadable == "record")
        for entry in config.inputs
    )
    found: dict[tuple[str, str], PlannedFile] = {}
    for number, entry in enumerate(config.inputs):
        try:
            listed = filesystem.expand(entry.path, suffixes=data_suffixes()) if known is None else known.get(number, ())
        except InputError as error:
            hidden = next((path for path in entry.path if "://" in path and REDACTED in path), None)
            why = f"; manifests keep no credentials, so {hidden} has none: write it with ${{VAR}}" if hidden else ""
            msg = f"input {entry.source}: {error}{why}"
            raise InputError(msg) from None
        for info in listed:
            key = (entry.source, info.path)
            if key in found:
                if inputs[found[key].input].options != inputs[number].options:
                    msg = f"input {entry.source}: {info.path} is listed twice with different options"
                    raise ConfigError(msg)
                continue
            found[key] = PlannedFile(number, entry.source, info.path, info.size, info.fingerprint)
    return inputs, tuple(found[key] for key in sorted(found))


def _trial(files: tuple[PlannedFile, ...], inputs: int, limit: int, seed: int) -> tuple[PlannedFile, ...]:
    """Return the files that a trial reads, in their order: of each input as many as may hold its share of documents.

    They are drawn by a hash of the seed and their names, so that a trial sees no one end of a crawl alone.
    """
    chosen: set[tuple[str, str]] = set()
    for number in range(inputs):
        mine = [file for file in files if file.input == number]
        room = limit * LIMIT_BYTES / inputs
        for file in sorted(mine, key=lambda file: digest([seed, file.source, redacted(file.path)])):
            chosen.add((file.source, file.path))
            room -= file.size if file.size is not None else UNKNOWN_BYTES
            if room <= 0:
                break
    return tuple(file for file in files if (file.source, file.path) in chosen)


def check_inputs(plan: Plan, limit: int | None = None) -> int:
    """Look at the beginnings of the input files here and now, as `tamis plan` does; a run lets its workers do it.

    Args:
        plan: the plan.
        limit: so many files at most, evenly spread; all if None.

    Returns:
        How many were looked at.

    Raises:
        InputError: naming every file that can't be read.
    """
    step = 1 if limit is None else max(1, -(-len(plan.files) // limit))
    looked = range(0, len(plan.files), step)
    with filesystem.relative_to(plan.folders):
        found = [inspect_file(i, plan.files[i], plan.inputs[plan.files[i].input], hashing=False) for i in looked]
    raise_problems([one.problem for one in found if one.problem is not None])
    return len(looked)
