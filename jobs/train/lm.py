"""`tamis train lm`: n-gram models of good text or of harmful text, from files, into model folders."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.jobs.documents import Observer, documents, ignore, texts
from tamis.jobs.provenance import version
from tamis.jobs.train.training_files import training_files
from tamis.pipeline.formats.options import ReadOptions
from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.perplexity.buckets import percentile_table, store_percentiles
from tamis.scorers.perplexity.harmful import TrainedHarmful, label_documents, train_harmful
from tamis.scorers.perplexity.perplexity import NgramPerplexity
from tamis.scorers.perplexity.training import TrainedModel, train_lm
from tamis.scorers.urls.lists import UrlList

__all__ = ["add_percentiles", "train_harmful_lm", "train_quality_lm"]


def _provenance(paths: Sequence[str], options: ReadOptions) -> dict[str, Any]:
    """Return what files a model was trained on, by name and digest."""
    return {"tamis": version(), "text_field": options.text, "files": training_files(paths)}


def train_quality_lm(
    paths: Sequence[str],
    folder: Path,
    options: ReadOptions,
    *,
    order: int = 5,
    normalizer: str | None = None,
    mode: str | None = None,
    policy: str | None = None,
    tokenizer: Path | None = None,
    pieces: int | None = None,
    use_lmplz: bool | None = None,
    keep_arpa: bool = True,
    observe: Observer = ignore,
) -> TrainedModel:
    """Train a model of the files' text and write its folder; the options are those of `train_lm`.

    Raises:
        DataError: if there is no text.
        ConfigError: for options that contradict each other.
    """
    chosen: dict[str, Any] = {"normalizer": normalizer, "mode": mode, "policy": policy}
    return train_lm(
        texts(paths, options, "training text", observe=observe),
        folder,
        order=order,
        tokenizer=tokenizer,
        pieces=pieces,
        use_lmplz=use_lmplz,
        keep_arpa=keep_arpa,
        provenance=_provenance(paths, options),
        **{name: value for name, value in chosen.items() if value is not None},
    )


def add_percentiles(
    folder: Path,
    paths: Sequence[str],
    options: ReadOptions,
    *,
    language: str | None,
    source: str | None,
    observe: Observer = ignore,
) -> int:
    """Store a table of perplexity percentiles in a model's folder, for buckets; return the number of documents.

    Args:
        folder: the model's folder.
        paths: sample documents of the kind that will be scored.
        options: how they are read.
        language: the field that holds a document's language, for percentiles of each; one table for all if None.
        source: the field that holds its source, likewise.
        observe: told of records that can't be read.

    Raises:
        ModelError: if no document has a perplexity.
    """
    model = NgramPerplexity(folder, name="model")
    values: list[np.ndarray[Any, Any]] = []
    fields_of = {"language": language, "source": source}
    labels: dict[str, list[str | None]] = {name: [] for name in fields_of}
    for batch in documents(paths, options, observe=observe):
        values.append(model.score(batch.column("text")).column("model_perplexity").to_numpy(zero_copy_only=False))
        rows = _meta(batch)
        for name, field in fields_of.items():
            labels[name] += [None if field is None else _text(row.get(field)) for row in rows]
    perplexity = np.concatenate(values) if values else np.zeros(0)
    if model.folder is None or not np.isfinite(perplexity).any():
        msg = f"{folder}: none of the sample documents has a perplexity, so there are no percentiles to store"
        raise ModelError(msg)
    known = {name: None if field is None else labels[name] for name, field in fields_of.items()}
    table = percentile_table(pa.array(perplexity), known["language"], known["source"])
    store_percentiles(model.folder, table)
    return len(perplexity)


def _meta(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    return [json.loads(meta) if meta else {} for meta in batch.column("meta").to_pylist()]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _with_fields(batches: Iterator[pa.RecordBatch], names: Sequence[str]) -> Iterator[pa.Table]:
    """Yield documents with some fields of their `meta` as columns."""
    for batch in batches:
        table = pa.Table.from_batches([batch])
        fields = _meta(batch)
        for name in names:
            values = [_text(row.get(name)) for row in fields]
            known = table.schema.get_field_index(name)
            if known < 0:
                table = table.append_column(name, pa.array(values, pa.string()))
            elif any(value is not None for value in values):  # a record's own field, such as its source, goes first
                table = table.set_column(known, name, pa.array(values, pa.string()))
        yield table


def read_splits(path: Path) -> dict[str, str]:
    """Return group to split, from a YAML or JSON file that names the groups of each: `train: [a.example]` and so on.

    Raises:
        ConfigError: if it can't be read, isn't of that form, or names a group twice.
    """
    import yaml

    form = "name the groups of each part, such as `train: [a.example, b.example]`, `validation: [...]`, `test: [...]`"
    try:
        told = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        msg = f"--splits {path}: it can't be read ({str(error).splitlines()[0]})"
        raise ConfigError(msg) from None
    if not isinstance(told, Mapping) or not all(isinstance(groups, list) for groups in told.values()):
        msg = f"--splits {path}: {form}"
        raise ConfigError(msg)
    found: dict[str, str] = {}
    for split, groups in told.items():
        for group in map(str, groups):
            if found.setdefault(group, str(split)) != split:
                msg = f"--splits {path}: the group {group!r} is in {found[group]} and in {split}: no group is split"
                raise ConfigError(msg)
    return found


def train_harmful_lm(
    paths: Sequence[str],
    folder: Path,
    options: ReadOptions,
    *,
    label: str | None = None,
    url_list: str | None = None,
    group: str | None = None,
    order: int | None = None,
    seed: int = 0,
    validation: float = 0.2,
    test: float = 0.2,
    splits: Path | None = None,
    contrast: bool = False,
    normalizer: str | None = None,
    pieces: int | None = None,
    tokenizer: Path | None = None,
    use_lmplz: bool | None = None,
    observe: Observer = ignore,
) -> TrainedHarmful:
    """Train a model of harmful text, choose its threshold on unseen hosts, and measure it on others.

    The options are those of `train_harmful`; `splits` is a file for `read_splits`. Unless `group` names a field,
    documents of a host belong together, and those without a URL by their record's field `source`.

    Raises:
        ConfigError: unless a label field or a URL list says what is harmful; or the splits can't be read.
        DataError: if there are too few documents or hosts of either kind.
    """
    if (label is None) == (url_list is None):
        msg = "say what is harmful: --label FIELD, or --url-list FOLDER in the form of UT1 (domains, urls)"
        raise ConfigError(msg)
    named = [name for name in (label, group or "source") if name is not None]
    chosen: dict[str, Any] = {} if normalizer is None else {"normalizer": normalizer}
    batches = _with_fields(documents(paths, options, observe=observe), named)
    labelled = label_documents(
        batches, urls=None if url_list is None else UrlList.read(Path(url_list)), label=label, group=group
    )
    return train_harmful(
        labelled,
        folder,
        order=order,
        seed=seed,
        validation=validation,
        test=test,
        splits=None if splits is None else read_splits(splits),
        contrast=contrast,
        pieces=pieces,
        tokenizer=tokenizer,
        use_lmplz=use_lmplz,
        **chosen,
        provenance=_provenance(paths, options),
    )
