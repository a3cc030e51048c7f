"""A model of harmful text, from labelled documents to a threshold that was tested on sites it hasn't seen.

Jansen et al. 2022 (arXiv:2212.10440): train an n-gram model on harmful documents alone; a document it finds easy (a
low perplexity) is harmful. The documents are those that a URL list or a column names. What decides whether such a
model works is text from sites that weren't in its training, so hosts (or sources) are parted into training,
validation and test.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.models.folder import ModelFolder, write_model_folder
from tamis.scorers.perplexity.calibration import SPLITS, Calibration, Metrics, calibrate, evaluate, group_split
from tamis.scorers.perplexity.normalize import NormalizerSpec
from tamis.scorers.perplexity.perplexity import Mode, NgramPerplexity, Policy
from tamis.scorers.perplexity.plot import plot_perplexities
from tamis.scorers.perplexity.training import TrainedModel, train_lm
from tamis.scorers.urls.lists import UrlList, host_of

__all__ = ["LabelledDocuments", "TrainedHarmful", "label_documents", "train_harmful"]

_PLOT = "perplexity.svg"


@dataclass(frozen=True, slots=True)
class LabelledDocuments:
    """Documents with a label and the group that must not be split.

    Attributes:
        texts: the texts.
        harmful: whether each is harmful.
        groups: its host, else its source.
    """

    texts: Sequence[str]
    harmful: npt.NDArray[np.bool_]
    groups: Sequence[str]


@dataclass(frozen=True, slots=True)
class TrainedHarmful:
    """A trained and calibrated model of harmful text.

    Attributes:
        folder: its model folder; `settings["threshold"]` is the threshold.
        model: how the language model was trained.
        calibration: the threshold, chosen on the validation groups.
        validation: its metrics there.
        test: its metrics on the test groups, None if no labelled documents are in them.
        documents: split to harmful and clean documents.
    """

    folder: ModelFolder
    model: TrainedModel
    calibration: Calibration
    validation: Metrics
    test: Metrics | None
    documents: Mapping[str, tuple[int, int]]


def label_documents(
    batches: Iterable[pa.RecordBatch | pa.Table],
    *,
    urls: UrlList | None = None,
    label: str | None = None,
    text: str = "text",
    group: str | None = None,
) -> LabelledDocuments:
    """Label documents as harmful by a URL list or by a column.

    Args:
        batches: documents, with the columns named here and `url` for the list.
        urls: documents whose `url` it names are harmful.
        label: a column that says so: booleans, or numbers that aren't 0, or strings that are `harmful`, `1`, `true`
            or `yes`; documents where it is null are left out.
        text: the column of texts.
        group: the column of groups; None for the host of `url`, and where there is none for `source`.

    Raises:
        ConfigError: unless exactly one of `urls` and `label` is given.
        DataError: if a column is missing.
    """
    if (urls is None) == (label is None):
        msg = "harmful documents are named by a URL list or by a label column: give one of the two"
        raise ConfigError(msg)
    texts: list[str] = []
    flags: list[bool] = []
    groups: list[str] = []
    for batch in batches:
        rows = [str(value or "") for value in _column(batch, text)]
        addresses = _column(batch, "url") if "url" in batch.schema.names else [None] * batch.num_rows
        if urls is not None:
            _column(batch, "url")
            labels: list[bool | None] = urls.matches(addresses).tolist()
        else:
            labels = [_flag(value) for value in _column(batch, label or "")]
        if group is not None:
            names = [str(value) for value in _column(batch, group)]
        else:
            sources = _column(batch, "source") if "source" in batch.schema.names else [""] * batch.num_rows
            names = [host_of(url) or str(source or "") for url, source in zip(addresses, sources, strict=True)]
        for row, flag, name in zip(rows, labels, names, strict=True):
            if flag is not None and row:
                texts.append(row)
                flags.append(flag)
                groups.append(name)
    return LabelledDocuments(texts, np.array(flags, np.bool_), groups)


def train_harmful(
    documents: LabelledDocuments,
    folder: Path,
    *,
    validation: float = 0.1,
    test: float = 0.1,
    splits: Mapping[str, str] | None = None,
    seed: int = 0,
    candidates: int | None = None,
    order: int = 5,
    normalizer: NormalizerSpec = "none",
    mode: Mode = "oscar",
    policy: Policy = "document",
    pieces: int | None = None,
    use_lmplz: bool | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> TrainedHarmful:
    """Train a model on the training groups' harmful documents, choose its threshold, test it, and write its folder.

    The folder also gets a plot of both classes' perplexities on the test groups (`perplexity.svg`).

    Args:
        documents: labelled documents, harmful and clean ones.
        folder: the folder to write.
        validation: the share of groups to choose the threshold on.
        test: the share of groups to test it on.
        splits: group to `train`, `validation` or `test`, instead of by hash; groups it lacks are left out.
        seed: of the split by hash.
        candidates: as in `calibrate`.
        order: the longest n-grams.
        normalizer: the normaliser; production uses none.
        mode: the convention of scoring; `oscar` is production's.
        policy: what a sentence is.
        pieces: as in `train_lm`.
        use_lmplz: likewise.
        provenance: where the documents come from, to store.

    Raises:
        DataError: if there are no harmful documents to train on, or not both kinds to choose the threshold on.
        ConfigError: for a split of another name, or wrong options.
    """
    if splits is None:
        split = group_split(documents.groups, validation=validation, test=test, seed=seed)
    else:
        split = np.array([splits.get(group, "") for group in documents.groups], object)
        unknown = set(splits.values()) - set(SPLITS)
        if unknown:
            msg = f"a group is in one of {', '.join(SPLITS)}, not {sorted(unknown)[0]!r}"
            raise ConfigError(msg)
    rows = {name: np.flatnonzero(split == name) for name in SPLITS}
    counts = {name: _counts(documents.harmful[found]) for name, found in rows.items()}
    if not counts["train"][0]:
        msg = "no document in the training groups is harmful; give more documents, another list, or another split"
        raise DataError(msg)
    if not all(counts["validation"]):
        missing = "harmful" if not counts["validation"][0] else "clean"
        msg = (
            f"no document in the validation groups is {missing}, so no threshold can be chosen: there are "
            f"{len(set(documents.groups))} groups (hosts or sources); give more of them, a larger share, or name "
            "the splits"
        )
        raise DataError(msg)
    model = train_lm(
        (documents.texts[i] for i in rows["train"].tolist() if documents.harmful[i]),
        folder,
        order=order,
        normalizer=normalizer,
        mode=mode,
        policy=policy,
        pieces=pieces,
        use_lmplz=use_lmplz,
    )
    scorer = NgramPerplexity(folder, name="harmful")
    scores = {name: _perplexities(scorer, documents, rows[name]) for name in SPLITS[1:]}
    calibration = calibrate(scores["validation"], documents.harmful[rows["validation"]], candidates=candidates)
    tested = None
    if all(counts["test"]):
        tested = evaluate(scores["test"], documents.harmful[rows["test"]], calibration.threshold)
    shown = "test" if tested is not None else "validation"
    plot_perplexities(
        scores[shown],
        documents.harmful[rows[shown]],
        folder / _PLOT,
        threshold=calibration.threshold,
        title=f"{shown} groups, none of them in training",
    )
    written = write_model_folder(
        folder,
        kind=model.folder.kind,
        files=[*model.folder.files, _PLOT],
        settings={**model.folder.settings, "harmful": "below", "threshold": calibration.threshold},
        provenance={
            **model.folder.provenance,
            "split": {name: {"harmful": harmful, "clean": clean} for name, (harmful, clean) in counts.items()},
            "split_seed": None if splits is not None else seed,
            "validation": asdict(calibration.best),
            "test": None if tested is None else asdict(tested),
            "sweep": _sweep(calibration),
            **(provenance or {}),
        },
    )
    return TrainedHarmful(written, model, calibration, calibration.best, tested, counts)


def _column(batch: pa.RecordBatch | pa.Table, name: str) -> list[Any]:
    if name not in batch.schema.names:
        msg = f"the documents have no column {name!r}; they have {', '.join(batch.schema.names)}"
        raise DataError(msg)
    return batch.column(name).to_pylist()  # type: ignore[no-any-return]


def _flag(value: Any) -> bool | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.strip().lower() in ("harmful", "1", "true", "yes")
    return bool(value)


def _counts(harmful: npt.NDArray[np.bool_]) -> tuple[int, int]:
    return int(harmful.sum()), int((~harmful).sum())


def _perplexities(
    scorer: NgramPerplexity, documents: LabelledDocuments, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    column = scorer.score([documents.texts[i] for i in rows.tolist()]).column("harmful_perplexity")
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _sweep(calibration: Calibration, points: int = 100) -> list[tuple[float, float]]:
    """Return at most so many points of the sweep, evenly spread."""
    chosen = np.unique(np.linspace(0, len(calibration.thresholds) - 1, points).astype(int))
    return [(calibration.thresholds[i], calibration.macro_f1[i]) for i in chosen]
