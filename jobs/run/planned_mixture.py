"""The mixture that a config asks for, as a plan can tell it: of the finished run, of a sample, or by sizes of files."""

from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from tamis.jobs.manifest.file import read_manifest, shard_path, shards_of
from tamis.jobs.mix.folder import holds_mixture, read_mixture
from tamis.jobs.mix.forecast import Amounts, Forecast, forecast, forecast_json
from tamis.jobs.mix.selection import index_memory, tokenizer_of
from tamis.jobs.mix.with_run import FOLDER
from tamis.jobs.run.memory import text_by_source
from tamis.jobs.run.plan import Plan
from tamis.pipeline.mixing.index import column_values
from tamis.pipeline.steps.base import DOCUMENT_BYTES
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import RunError
from tamis.schemas.manifest import Manifest
from tamis.schemas.mixture import MixtureConfig

__all__ = ["group_amounts", "made_mixture", "planned_mixture"]


def group_amounts(
    config: MixtureConfig, manifest: Manifest, folder: str, scale: Mapping[str, float] | None = None
) -> dict[str, Amounts]:
    """Return what each group of a finished run's selection has.

    Args:
        config: names the column, and what counts tokens.
        manifest: of the run.
        folder: of the run.
        scale: source to what its figures stand for, if the run is one over a sample; 1 if absent.
    """
    tokenizer = tokenizer_of(config)
    root = config.by.split(".")[0]
    found: dict[str, Amounts] = {}
    for shard in shards_of(manifest, "selected"):
        with filesystem.open_binary(shard_path(folder, shard)) as stream:
            table = pq.read_table(stream, columns=sorted({root, "source", "text"}))
        for batch in table.to_batches():
            texts = batch.column("text")
            tokens = [0] * len(texts) if tokenizer is None else tokenizer.counts(texts).tolist()
            sizes = pc.binary_length(texts).to_pylist()
            names = column_values(batch, config.by).to_pylist()
            for name, source, size, count in zip(names, batch.column("source").to_pylist(), sizes, tokens, strict=True):
                group = str(name) if name is not None else config.missing or "(none)"
                times = 1.0 if scale is None else scale.get(source, 1.0)
                had = found.get(group, Amounts(0, 0))
                found[group] = Amounts(had.documents + times, had.bytes + size * times, had.tokens + count * times)
    return found


def made_mixture(plan: Plan, output: str) -> dict[str, Any] | None:
    """Return the sections of the mixture that was made of the finished run, if it is the one that is asked for."""
    folder = filesystem.join(output, FOLDER)
    if plan.config.mixture is None or not holds_mixture(folder):
        return None
    try:
        made = read_mixture(folder)
    except RunError:
        return None
    if made.source_config != plan.plain.get("mixture"):
        return None
    notes = [text for text in made.warnings if text not in made.mixture["notes"]]
    return {
        "known": "made",
        "method": made.mixture["method"],
        **{name: made.mixture[name] for name in ("unit", "budget", "total", "groups")},
        "repetition": made.repetition,
        "notes": [*made.mixture["notes"], *notes],
    }


def planned_mixture(
    plan: Plan, output: str, *, finished: bool, sample: Mapping[str, Amounts] | None = None
) -> dict[str, Any] | None:
    """Return what a plan tells of the config's mixture, JSON values; None if it asks for none.

    Args:
        plan: the plan.
        output: the run's folder.
        finished: whether the run is finished, and nothing of it changed.
        sample: what each group has by a sample.

    Raises:
        ConfigError: if proportions name a group that the data hasn't.
        DataError: if a group can't give what it should, and the config refuses that.
    """
    config = plan.config.mixture
    if config is None:
        return None
    told = _planned(plan, config, output, finished=finished, sample=sample)
    documents = sum(group["documents"] for group in told["groups"])
    epochs = {group["name"]: group.get("epochs", 1.0) for group in told["groups"]}
    taken = sum(group["documents"] * epochs[group["name"]] for group in told["groups"])
    return told | {"documents": documents, "memory": index_memory(documents, round(taken))}


def _planned(
    plan: Plan, config: MixtureConfig, output: str, *, finished: bool, sample: Mapping[str, Amounts] | None
) -> dict[str, Any]:
    if finished:
        made = made_mixture(plan, output)
        if made is not None:
            return made
        return forecast_json(forecast(config, group_amounts(config, read_manifest(output), output), "run"))
    if sample is not None:
        return forecast_json(forecast(config, sample, "sample"))
    if config.by != "source":
        told = f"groups by {config.by} are known once documents are read: estimate them with --sample"
        return {"known": "files", "method": "", "groups": [], "notes": [told]}
    return forecast_json(_by_files(plan, config))


def _by_files(plan: Plan, config: MixtureConfig) -> Forecast:
    found = {
        source: Amounts(size / DOCUMENT_BYTES, size, size / 4 if config.tokenizer is not None else 0.0)
        for source, size in text_by_source(plan).items()
    }
    told = forecast(config, found, "files")
    tokens = ", and tokens had four bytes each" if config.unit == "tokens" else ""
    rough = f"sizes are those of the files, as if no document fell{tokens}: --sample estimates them"
    return Forecast(told.known, told.method, told.sizes, told.blend, told.repetition, (rough, *told.notes))
