"""`tamis train preselect`: from a sample of documents and several language models to the classifier of PreSelect.

Sample, losses, strength, examples, training. The files of each part are named by digests of what they were made from,
so that a rerun goes on where the last one stopped, and another model in the config costs that model alone. Shum et al.
2025, arXiv:2503.00808.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tamis.jobs.config_file import load_plain
from tamis.jobs.provenance import version
from tamis.jobs.run.inspect import InspectedInputs, inspect_inputs
from tamis.jobs.run.paths import led
from tamis.jobs.run.plan import Plan, make_plan
from tamis.jobs.train.preselect_losses import FoundCausalModel, Measured, find_causal_models, measure
from tamis.jobs.train.preselect_sample import Sample, draw_sample
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile
from tamis.pipeline.training.draw import SAMPLE_SCHEMA
from tamis.pipeline.training.losses import forget_models
from tamis.schemas.base import validate
from tamis.schemas.errors import ConfigError, DataError
from tamis.schemas.preselect_training import PreselectTraining
from tamis.schemas.tables import described
from tamis.scorers.fasttext.model import MODEL_FILE
from tamis.scorers.fasttext.training import FastTextOptions, TrainingReport, train_classifier
from tamis.scorers.models.folder import MODEL_FILE as DESCRIPTION
from tamis.scorers.models.folder import ModelFolder, read_model_folder, write_model_folder
from tamis.scorers.preselect.predictive_strength import Examples, pick_examples, predictive_strength
from tamis.scorers.preselect.train import NEGATIVE, POSITIVE

__all__ = ["LOSSES", "WORK", "PreselectResult", "load_training", "train_preselect"]

KIND = "preselect"
LOSSES = "losses.parquet"
WORK = ".work"
"""Hidden, since runs digest the folder as a model."""
ROW_GROUP = 65_536
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")


@dataclass(frozen=True)
class PreselectResult:
    """What the training left.

    Attributes:
        model: the folder's description.
        report: how well the classifier tells the examples apart.
        documents: measured.
        positives: documents of strength 1, of which examples were picked.
        unreadable: records of the inputs that couldn't be read.
        measured: a line a model, in rising order of their scores.
    """

    model: ModelFolder
    report: TrainingReport
    documents: int
    positives: int
    unreadable: int
    measured: tuple[Measured, ...]


def load_training(path: str, overrides: Sequence[str] = ()) -> PreselectTraining:
    """Read a config file, whose models and output lead from its own folder.

    Args:
        path: a local path or a URL.
        overrides: "key=value" with a dotted key, such as `fasttext.dim=16`.

    Raises:
        ConfigError: one sentence naming file and key.
    """
    plain, _ = led(load_plain(path, overrides), path, ("models.*.path",), "runs/preselect")
    try:
        return validate(PreselectTraining, plain, "config")
    except ConfigError as error:
        msg = f"{path}: {error}"
        raise ConfigError(msg) from None


def train_preselect(
    config: PreselectTraining, engine: Engine, folder: str, *, fresh: bool = False, config_file: str | None = None
) -> PreselectResult:
    """Measure, pick and train.

    Args:
        config: what to do.
        engine: where passes run.
        folder: the model's folder, local: `model.bin`, `model.json`, `training.json`, `losses.parquet`, and `.work`
            with what a rerun goes on from.
        fresh: forget what earlier calls left in `.work`.
        config_file: where the config was read, whose folder its relative paths of inputs belong to.

    Raises:
        ConfigError: if torch or transformers is missing, two models are the same, or options don't fit a model.
        InputError: if input files are missing or unreadable.
        ModelError: if a model is missing or can't be loaded, or the folder holds another kind of model.
        DataError: if there is no document, or none of strength 1, or none below.
    """
    if not filesystem.is_local(folder) or Path(folder).is_file():
        msg = f"{folder}: the classifier needs a local folder: give --output"
        raise ConfigError(msg)
    if (Path(folder) / DESCRIPTION).exists():
        read_model_folder(Path(folder), kind=KIND, verify=False)  # another kind of model is left alone
    work = filesystem.join(folder, WORK)
    if fresh:
        filesystem.remove_tree(work)
    models = find_causal_models(config)
    plan = make_plan(parse_config({"inputs": config.inputs}), {}, config_file)
    for note in plan.notes:
        if engine.progress is not None:
            engine.progress.note(note)
    inspected = inspect_inputs(plan, engine, work)
    sample = draw_sample(config, inspected.shards, engine, work)
    measured = []
    for model in models:
        measured.append(measure(model, sample, config.losses, engine, work))
        forget_models()
    table = _table(sample, measured)
    losses = np.column_stack([table.column(one.name).to_numpy() for one in measured])
    strength = predictive_strength(losses, [model.config.score for model in models])
    examples = _pick(strength, table, config)
    filesystem.remove(filesystem.join(folder, DESCRIPTION))  # no model while it is half of the old and half of the new
    report = _train(
        config, sample, table, examples, folder, _provenance(config, plan, inspected, models, strength, examples)
    )
    _write_losses(filesystem.join(folder, LOSSES), table, strength, examples)
    found = {**report.provenance, "held_out": report.held_out, "accuracy": report.accuracy}
    settings = {"label": POSITIVE, "newline": "blank"}
    made = write_model_folder(Path(folder), kind=KIND, files=[MODEL_FILE], settings=settings, provenance=found)
    positives = int((strength == 1).sum())
    return PreselectResult(made, report, table.num_rows, positives, sample.unreadable, tuple(measured))


def _table(sample: Sample, measured: Sequence[Measured]) -> pa.Table:
    """Join the sample's documents, without text, with the losses, in the order of their ids.

    The first of equals become examples, and ids are hashes: so these come from anywhere in the sample.
    """
    names = [name for name in SAMPLE_SCHEMA.names if name != "text"]
    parts = []
    for shard in sample.shards:
        with ColumnFile(shard.name, names) as file:
            parts.append(file.read().select(names))
    table = pa.concat_tables(parts)
    for one in measured:
        field = described(one.name, pa.float64(), "loss under this model in bits a code point", nullable=False)
        table = table.append_column(field, one.losses.column("bits_per_character"))
    return table.take(pc.sort_indices(table.column("doc_id"))).combine_chunks()


def _pick(strength: npt.NDArray[np.float64], table: pa.Table, config: PreselectTraining) -> Examples:
    options = config.examples
    if not options.balance_domains:
        return pick_examples(strength, limit=options.limit)
    try:
        return pick_examples(strength, domains=table.column("domain").to_pylist(), limit=options.limit)
    except DataError:
        pick_examples(strength)  # tells that there is nothing to pick from at all
        strong, weak = int((strength == 1).sum()), int((strength < 1).sum())
        msg = (
            f"{strong:,} documents have predictive strength 1 and {weak:,} less, "
            "but no domain has both: set examples.balance_domains to false, or measure more documents of a domain"
        )
        raise DataError(msg) from None


def _train(
    config: PreselectTraining,
    sample: Sample,
    table: pa.Table,
    examples: Examples,
    folder: str,
    provenance: dict[str, Any],
) -> TrainingReport:
    """Train on the texts of the examples, which alone are read."""
    ids = table.column("doc_id").combine_chunks()
    positive, negative = (ids.take(pa.array(side)) for side in examples)
    texts: list[str] = []
    labels: list[str] = []
    for shard in sample.shards:
        with ColumnFile(shard.name, ["doc_id", "text"]) as file:
            documents = file.read()
        for wanted, label in ((positive, POSITIVE), (negative, NEGATIVE)):
            chosen = documents.filter(pc.is_in(documents.column("doc_id"), value_set=wanted)).column("text").to_pylist()
            texts += chosen
            labels += [label] * len(chosen)
    options = FastTextOptions(**config.fasttext.model_dump())
    held_out = config.examples.held_out
    return train_classifier(texts, labels, folder, options=options, held_out=held_out, provenance=provenance)


def _write_losses(path: str, table: pa.Table, strength: npt.NDArray[np.float64], examples: Examples) -> None:
    labels = np.full(table.num_rows, -1, np.int8)
    labels[examples.positive], labels[examples.negative] = 1, 0
    about = "share of the pairs of models whose losses agree with their scores"
    table = table.append_column(described("strength", pa.float64(), about), pa.array(strength))
    about = "1: a positive example, 0: a negative one, null: neither"
    table = table.append_column(described("label", pa.int8(), about), pa.array(labels, mask=labels < 0))
    with filesystem.write_atomically(path) as stream:
        pq.write_table(table, stream, compression="zstd", row_group_size=ROW_GROUP)


def _provenance(
    config: PreselectTraining,
    plan: Plan,
    found: InspectedInputs,
    models: Sequence[FoundCausalModel],
    strength: npt.NDArray[np.float64],
    examples: Examples,
) -> dict[str, Any]:
    """Return what the classifier was made from: names and digests, no paths of this machine."""
    return {
        "tamis": version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "config_sha256": config.digest({model.config.name: model.sha256 for model in models}),
        "seed": config.seed,
        "inputs": [
            {
                "source": f.source,
                "name": f.path.rsplit("/", 1)[-1],
                "bytes": f.size,
                "sha256": one.sha256 or f.fingerprint,
            }
            for f, one in zip(plan.files, found.files, strict=True)
        ],
        "models": [
            {"name": m.config.name, "score": m.config.score, "bytes": m.bytes, "sha256": m.sha256} for m in models
        ],
        "sample": {**config.sample.model_dump(mode="json"), "documents": len(strength)},
        "losses": config.losses.model_dump(mode="json", include={"context", "stride", "dtype"}),
        "examples": {
            "balance_domains": config.examples.balance_domains,
            "limit": config.examples.limit,
            "each": len(examples.positive),
            "strength_1": int((strength == 1).sum()),
            "strongest_negative": float(strength[examples.negative].max()),
        },
    }
