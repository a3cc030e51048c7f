"""What a run would do: its files, source shards, models and stages; built before any work, from the inputs alone."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from tamis.jobs.models import FoundModel, find_models
from tamis.jobs.provenance import code_digest
from tamis.pipeline.corpus.barriers import barrier_columns, has_barrier
from tamis.pipeline.formats.options import ReadOptions, Split, data_suffixes, format_of
from tamis.pipeline.formats.reader import plan_splits
from tamis.pipeline.passes.decide import step_rules
from tamis.pipeline.passes.stage import SourceShard, Stage
from tamis.pipeline.steps.annotators import annotator
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import digest, nearest
from tamis.schemas.config import Config, InputConfig
from tamis.schemas.errors import ConfigError, InputError, ModelError
from tamis.schemas.keep import Keep
from tamis.schemas.steps import (
    DsirStep,
    ExtractStep,
    HeuristicsStep,
    LanguageStep,
    PerplexityStep,
    RulesStep,
    StepConfig,
)
from tamis.schemas.tables import DOCUMENT_SCHEMA
from tamis.scorers.dsir.model import dsir_schema
from tamis.scorers.extraction.html import ExtractOptions
from tamis.scorers.language.identify import UNDETERMINED, LanguageIdentifier
from tamis.scorers.models.folder import read_model_folder

__all__ = ["Plan", "PlannedFile", "check_steps", "make_plan", "read_options", "stages"]

SHOWN_PROBLEMS = 10
SHARD_BYTES = 128 << 20
"""Bytes of input in one source shard, where a file can be cut; a constant, since shards must not follow the machine."""


@dataclass(frozen=True)
class PlannedFile:
    """One input file."""

    source: str
    path: str
    size: int | None
    fingerprint: str
    sha256: str | None
    options: ReadOptions
    record_unreadable: bool = False


@dataclass(frozen=True)
class Plan:
    """All that is known before the work begins.

    Attributes:
        config: the config as it is run: with numbers where a step takes its model's own threshold.
        declared: the config as it was given, defaults filled in; what the manifest records and digests.
        plain: the config as it was given.
        files: the input files in canonical order: by source, then path.
        shards: the source shards in canonical order.
        models: step label to {option: model}.
        digest: SHA-256 of everything in the config that can change a result.
        schema: the columns that the steps add, in order.
    """

    config: Config
    declared: Config
    plain: Mapping[str, Any]
    files: tuple[PlannedFile, ...]
    shards: tuple[SourceShard, ...]
    models: Mapping[str, Mapping[str, FoundModel]]
    digest: str
    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))

    def model_paths(self, label: str) -> dict[str, str]:
        """Return option to path for a step's models."""
        return {option: model.path for option, model in self.models.get(label, {}).items()}

    def model_digests(self) -> dict[str, dict[str, str]]:
        """Return step label to {option: SHA-256}."""
        return {label: {o: m.sha256 for o, m in models.items()} for label, models in self.models.items()}


def read_options(entry: InputConfig, extract: ExtractStep) -> ReadOptions:
    """Return how the reader is to read one input."""
    return ReadOptions(
        format=entry.format,
        text=entry.text,
        id=entry.id,
        url=entry.url,
        timestamp=entry.timestamp,
        html=entry.html,
        encoding=entry.encoding,
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


def make_plan(config: Config, plain: Mapping[str, Any], *, hash_inputs: bool) -> Plan:
    """Find files and models, cut source shards, and try every stage on no rows.

    Args:
        config: the config.
        plain: the config as it was given.
        hash_inputs: digest the input files' bytes, as a run does; costs one read of each.

    Raises:
        ConfigError: if the steps don't fit together.
        InputError: if input files are missing, unreadable, or of no known format.
        ModelError: if a model is missing or broken.
    """
    models = find_models(config)
    declared = config
    config = _with_model_thresholds(config, models)
    paths = {label: {o: m.path for o, m in found.items()} for label, found in models.items()}
    schema = check_steps(config, paths)
    files = _files(config, hash_inputs=hash_inputs)
    shards: list[SourceShard] = []
    for file, splits in zip(files, _splits(files), strict=True):
        for split in splits:
            identity = [file.source, file.path, file.sha256 or file.fingerprint, str(split), str(file.options)]
            shards.append(SourceShard(len(shards), file.source, split, file.options, digest(identity)[:24]))
    digests = {label: {o: m.sha256 for o, m in found.items()} for label, found in models.items()}
    # A threshold that a model brings follows from the model, whose content is in the digest.
    return Plan(config, declared, plain, tuple(files), tuple(shards), models, declared.digest(digests), schema)


def _splits(files: Sequence[PlannedFile]) -> list[list[Split]]:
    """Return the parts of each file.

    Raises:
        InputError: naming every file that can't be read, if their input doesn't want such files as error records.
    """
    found = []
    problems = []
    for file in files:
        try:
            info = filesystem.FileInfo(file.path, file.size, file.fingerprint)
            found.append(plan_splits(info, file.options, SHARD_BYTES))
        except InputError as error:
            if file.record_unreadable:
                found.append([Split(file.path, *format_of(file.path, file.options))])
            else:
                problems.append(str(error))
    if len(problems) > 1:
        shown = "\n  ".join(problems[:SHOWN_PROBLEMS])
        more = f"\n  and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
        hint = "`unreadable: record` of their input makes them error records"
        msg = f"{len(problems)} input files can't be read ({hint}):\n  {shown}{more}"
        raise InputError(msg)
    if problems:
        raise InputError(problems[0])
    return found


def _with_model_thresholds(config: Config, models: Mapping[str, Mapping[str, FoundModel]]) -> Config:
    """Return the config with numbers where a step keeps what its model's own threshold doesn't call harmful.

    Raises:
        ModelError: if a model has no threshold.
    """
    steps = []
    for step in config.steps:
        if not isinstance(step, PerplexityStep) or step.threshold is None:
            steps.append(step)
            continue
        found = models[step.label].get("model")
        settings = read_model_folder(Path(found.path)).settings if found is not None else {}
        if "threshold" not in settings:
            msg = (
                f"step {step.label}: the model {step.model} has no threshold of its own: "
                "train it with `tamis train lm --harmful`, or give `keep: {min: ...}`"
            )
            raise ModelError(msg)
        keep = step.keep.model_copy(update={"min": float(settings["threshold"])})
        steps.append(step.model_copy(update={"keep": keep}))
    return config.model_copy(update={"steps": tuple(steps)})


def _files(config: Config, *, hash_inputs: bool) -> list[PlannedFile]:
    found: dict[tuple[str, str], PlannedFile] = {}
    for entry in config.inputs:
        options = read_options(entry, config.extract)
        try:
            listed = filesystem.expand(entry.path, suffixes=data_suffixes())
        except InputError as error:
            msg = f"input {entry.source}: {error}"
            raise InputError(msg) from None
        for info in listed:
            key = (entry.source, info.path)
            if key in found:
                if found[key].options != options:
                    msg = f"input {entry.source}: {info.path} is listed twice with different options"
                    raise ConfigError(msg)
                continue
            sha256 = filesystem.sha256(info.path) if hash_inputs and filesystem.is_local(info.path) else None
            record = entry.unreadable == "record"
            found[key] = PlannedFile(
                entry.source, info.path, info.size, info.fingerprint, sha256, options, record_unreadable=record
            )
    return [found[key] for key in sorted(found)]


def check_steps(config: Config, models: Mapping[str, Mapping[str, str]]) -> pa.Schema:
    """Try every step on a batch of no rows, as the run will call them, and return the columns that they add.

    Loads the models, so that a broken one is found now and not in an hour.

    Raises:
        ConfigError: if a step or rule reads a column that nothing before it computes, or two steps add the same one.
    """
    available = {f.name: f for f in DOCUMENT_SCHEMA}
    added: dict[str, pa.Field] = {}
    for step in config.steps:
        for column in _added_columns(step, models.get(step.label, {}), available):
            if column.name in added and column.name != "text":
                msg = f"step {step.label}: the column {column.name} is already there: give the step another `name`"
                raise ConfigError(msg)
            available[column.name] = column
            if column.name not in DOCUMENT_SCHEMA.names:
                added[column.name] = column
        if isinstance(step, LanguageStep) and step.keep is not None:
            _check_languages(step, models.get(step.label, {}))
        for name in _keep(step).by:
            _require(name, available, f"step {step.label}: keep.by")
        for rule in step_rules(step) if isinstance(step, HeuristicsStep | RulesStep) else ():
            where = f"step {step.label}: rule {rule.reason!r}"
            _require(rule.column, available, where)
            kind = available[rule.column].type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
                msg = f"{where}: column {rule.column!r} holds {kind}, and rules compare numbers"
                raise ConfigError(msg)
    return pa.schema([f for f in added.values() if not _internal(f)])


def _added_columns(step: StepConfig, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> list[pa.Field]:
    fitted_later = isinstance(step, DsirStep) and "model" not in models
    scorer = None if fitted_later else annotator(step, models)
    fields = []
    if isinstance(step, DsirStep) and fitted_later:
        fields += list(dsir_schema(tuple(step.targets) if isinstance(step.target, dict) else ()))
    if scorer is not None:
        for name in scorer.requires:
            _require(name, available, f"step {step.label}")
        empty = pa.schema([available[name] for name in scorer.requires]).empty_table().to_batches()
        batch = empty[0] if empty else _no_rows([available[name] for name in scorer.requires])
        result = scorer.annotate(batch)
        if result.schema.names != scorer.schema.names or result.num_rows:
            msg = f"step {step.label}: declares {scorer.schema.names} but computes {result.schema.names}"
            raise ConfigError(msg)
        fields += list(scorer.schema)
    return fields + list(barrier_columns(step)) if has_barrier(step) else fields


def _no_rows(fields: list[pa.Field]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in fields], schema=pa.schema(fields))


def _check_languages(step: LanguageStep, models: Mapping[str, str]) -> None:
    """Refuse a language that the model doesn't have, since every document would fall.

    Raises:
        ConfigError: naming the nearest one that it has.
    """
    known = [*LanguageIdentifier(models.get("model")).languages, UNDETERMINED]
    for code in step.keep or ():
        if code not in known:
            close = difflib.get_close_matches(code, known, n=3, cutoff=0.3)
            hint = f", such as {', '.join(close)}" if close else ""
            msg = f"step language: keep: the model has no language {code!r}; it has {len(known)} codes{hint}"
            raise ConfigError(msg)


def _internal(column: pa.Field) -> bool:
    return bool(column.metadata and column.metadata.get(b"internal"))


def _keep(step: StepConfig) -> Keep:
    keep = getattr(step, "keep", None)
    return keep if isinstance(keep, Keep) else Keep()


def _require(name: str, available: Mapping[str, pa.Field], where: str) -> None:
    if name not in available:
        msg = f"{where}: no column {name!r} at this point{nearest(name, list(available))}"
        raise ConfigError(msg)


def stages(plan: Plan, work: str) -> list[Stage]:
    """Place every step: folders named by the digest of all that determines their content.

    A step's columns depend on the step's scoring options, its models, the text, and (unless all rows are scored) on
    which rows were alive; its row states on its whole config too. A changed threshold leaves the columns as they are.
    """
    config = plan.config
    read = config.extract.model_dump(mode="json")
    text = digest([code_digest(), read])
    state = text
    corpus = digest([shard.key for shard in plan.shards])
    placed = [
        Stage(0, config.extract, {}, None, _folder(work, 0, "read", text), _folder(work, 0, "errors", text)),
    ]
    digests = plan.model_digests()
    for index, step in enumerate(config.steps[1:], start=1):
        models = digests.get(step.label, {})
        before = text if config.score == "all" else state
        scoring = digest([before, step.verb, _scoring_options(step), models])
        everything: list[Any] = [scoring, state, step.model_dump(mode="json"), models]
        if has_barrier(step) or isinstance(step, DsirStep):
            everything += [corpus, config.seed]
            if isinstance(step, DsirStep):
                scoring = digest([scoring, state, corpus])
        state = digest(everything)
        placed.append(
            Stage(
                index,
                step,
                plan.model_paths(step.label),
                _folder(work, index, f"{step.label}-columns", scoring),
                _folder(work, index, f"{step.label}-state", state),
                _folder(work, index, f"{step.label}-errors", scoring),
            )
        )
    return placed


def _scoring_options(step: StepConfig) -> dict[str, Any]:
    """Return the options that can change a step's columns: not what it keeps of them."""
    hidden = {"keep", "min_score", "thresholds", "rules"}
    if step.references:  # their digests count instead, wherever they lie
        hidden |= {"model", "tokenizer", "target", "bad_words"}
    options = step.model_dump(mode="json", exclude=hidden)
    if isinstance(step, HeuristicsStep):
        options["columns"] = sorted({rule.column for rule in step_rules(step)})
    return options


def _folder(work: str, index: int, label: str, name: str) -> str:
    return filesystem.join(work, f"{index:02d}-{label}-{name[:16]}")
