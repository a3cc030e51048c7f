"""What PreSelect's models find hard: each model of the config measured on each shard of the sample, once."""

import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tamis.jobs.train.preselect_sample import Sample
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.files import digest_path
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile
from tamis.pipeline.training.losses import LossTask, MeasureLosses, loss_file
from tamis.schemas.base import digest
from tamis.schemas.errors import ConfigError, ModelError, TamisError
from tamis.schemas.preselect_training import LossOptions, MeasuredModel, PreselectTraining
from tamis.scorers.causal.models import check_causal_model
from tamis.scorers.models.hub import resolve

__all__ = ["FoundCausalModel", "Measured", "find_causal_models", "measure"]

COLUMN_VERSION = 1
"""Rises when losses are computed otherwise: columns of another version are measured anew."""


@dataclass(frozen=True)
class FoundCausalModel:
    """A model of the config.

    Attributes:
        config: as given.
        path: its local folder or file.
        sha256: of its files.
        bytes: their size.
    """

    config: MeasuredModel
    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Measured:
    """A model's losses on the sample, and what this call spent on them.

    Attributes:
        name: the model.
        losses: columns `bits_per_character` and `tokens`, a row a document in the sample's order.
        new_tokens: measured by this call; the others had been measured before.
        seconds: wall seconds of that, summed over workers; loading the model isn't counted.
        cpu_seconds: the same in CPU-seconds.
        device: `cpu` or the kind of GPU; None if nothing was left to measure.
    """

    name: str
    losses: pa.Table
    new_tokens: int
    seconds: float
    cpu_seconds: float
    device: str | None

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens a second of one core (CPU time) or of the GPU (wall time); None if nothing was left to measure."""
        seconds = self.cpu_seconds if self.device == "cpu" else self.seconds
        return self.new_tokens / seconds if self.new_tokens and seconds else None


def find_causal_models(config: PreselectTraining) -> list[FoundCausalModel]:
    """Find, check and digest the models, before anything long begins.

    Raises:
        ModelError: if one is missing, or its config or tokenizer can't be loaded.
        ConfigError: if torch or transformers is missing, two models are the same files, or one is too short for
            `context`.
    """
    found: list[FoundCausalModel] = []
    for model in config.models:
        try:
            path = str(resolve(model.path))
            check_causal_model(path, gguf_file=model.gguf_file, context=config.losses.context)
            sha256, size = digest_path(str(Path(path) / model.gguf_file) if model.gguf_file else path)
        except TamisError as error:
            raise type(error)(f"model {model.name}: {error}{_hint(model.path)}") from None
        for other in found:
            if other.sha256 == sha256:
                both = f"{other.config.name} and {model.name}"
                msg = f"{both} are the same files, and equal losses tell nothing: leave one out"
                raise ConfigError(msg)
        found.append(FoundCausalModel(model, path, sha256, size))
    return found


def _hint(reference: str) -> str:
    """Return a word on the hub for what looks like a repository of it and is no file."""
    looks = reference.count("/") == 1 and not reference.startswith((".", "/", "~")) and "://" not in reference
    return f"; a repository of the hub is written hf://{reference}" if looks and not Path(reference).exists() else ""


def measure(model: FoundCausalModel, sample: Sample, options: LossOptions, engine: Engine, work: str) -> Measured:
    """Measure a model on the shards that it wasn't measured on yet.

    Raises:
        ModelError: if the model can't be loaded, or gives no finite loss.
        ConfigError: if an option doesn't fit the model or the machine.
    """
    work_of_shard = MeasureLosses(
        model.path,
        gguf_file=model.config.gguf_file,
        context=options.context,
        stride=options.stride,
        batch_tokens=options.batch_tokens,
        device=options.device,
        dtype=options.dtype,
        threads=options.threads or max(1, len(os.sched_getaffinity(0)) // engine.workers),
    )
    setting = digest([COLUMN_VERSION, options.context, options.stride, options.dtype])[:16]
    folder = filesystem.join(work, f"losses-{setting}")
    tasks = [LossTask(shard.name, loss_file(folder, model.sha256[:32], shard.digest[:32])) for shard in sample.shards]
    missing = [task for task in tasks if not filesystem.exists(task.path)]
    try:
        spent = engine.map(f"losses of {model.config.name}", missing, work_of_shard)
    except (ModelError, ConfigError) as error:
        raise type(error)(f"model {model.config.name}: {error}") from None
    columns = []
    for task in tasks:
        with ColumnFile(task.path) as file:
            columns.append(file.read())
    return Measured(
        model.config.name,
        pa.concat_tables(columns),
        sum(part["tokens"] for part in spent),
        sum(part["seconds"] for part in spent),
        sum(part["cpu_seconds"] for part in spent),
        spent[0]["device"] if spent else None,
    )
