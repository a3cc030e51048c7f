"""A model of harmful text, from labelled documents to a threshold that was tested on sites it hasn't seen.

Jansen et al. 2022 (arXiv:2212.10440): train an n-gram model on harmful documents alone; a document it finds easy (a
low perplexity) is harmful. The documents are those that a URL list or a column names. What decides whether such a
model works is text from sites that weren't in its training, so hosts (or sources) are parted into training,
validation and test.

That form sees harmful documents alone, and so takes what is easy for any model for harmful. Trained with `contrast`
there are two models, of the training groups' harmful and clean documents, and what counts is the ratio of their
likelihoods (see `tamis.scorers.perplexity.ratio`): a high one is harmful.
"""

import difflib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from tamis.scorers.perplexity.ratio import LikelihoodRatio
from tamis.scorers.perplexity.training import TrainedModel, train_lm, train_tokenizer
from tamis.scorers.urls.lists import UrlList, host_of

__all__ = ["LabelledDocuments", "TrainedHarmful", "label_documents", "train_harmful"]

CLEAN = "clean"
"""The folder of the model of clean text, in that of the model of harmful text."""
PIECES = 2000
"""Pieces that both models share with a contrast, unless their number, a tokenizer, or words are asked for. Over words
the area under the curve of `benchmarks/harmful.py` is 0.03 to 0.13 less where examples are few: of their words, a
quarter to a third are in neither model."""
_MOST_PIECES = 64_000
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
        folder: its model folder; `settings["threshold"]` is the threshold, `settings["harmful"]` on which side of it
            harmful documents lie: below it, or with a contrast above.
        model: how the language model was trained.
        calibration: the threshold, chosen on the validation groups.
        validation: its metrics there.
        test: its metrics on the test groups, None if no labelled documents are in them.
        documents: split to harmful and clean documents.
        clean: how the model of clean text was trained, None without a contrast. With one, the thresholds of
            `calibration` are of the ratio with its sign changed, below which is harmful.
    """

    folder: ModelFolder
    model: TrainedModel
    calibration: Calibration
    validation: Metrics
    test: Metrics | None
    documents: Mapping[str, tuple[int, int]]
    clean: TrainedModel | None = None

    @property
    def threshold(self) -> float:
        """The threshold as scoring applies it: of the perplexity, or of the ratio."""
        return self.validation.threshold


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
    order: int | None = None,
    normalizer: NormalizerSpec = "none",
    mode: Mode = "oscar",
    policy: Policy = "document",
    pieces: int | None = None,
    tokenizer: Path | None = None,
    contrast: bool = False,
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
        order: the longest n-grams; 5, with a contrast 3 if None.
        normalizer: the normaliser; production uses none.
        mode: the convention of scoring; `oscar` is production's.
        policy: what a sentence is.
        pieces: as in `train_lm`; with a contrast of the training groups' text, and shared by both models: 2,000 if None
            and there is no tokenizer (or as many more as its characters need), and words if 0.
        tokenizer: as in `train_lm`, for both models.
        contrast: train a model of clean text too, in the folder `clean`, and choose the threshold on the ratio.
        use_lmplz: as in `train_lm`.
        provenance: where the documents come from, to store.

    Raises:
        DataError: if there are no harmful documents to train on (with a contrast, not both kinds), or not both kinds to
            choose the threshold on.
        ConfigError: for a split of another name, a group that no document has, or wrong options.
    """
    split = _split(documents, validation, test, splits, seed)
    rows = {name: np.flatnonzero(split == name) for name in SPLITS}
    counts = {name: _counts(documents.harmful[found]) for name, found in rows.items()}
    _check_counts(counts, len(set(documents.groups)), contrast=contrast)
    order = order or (3 if contrast else 5)
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {
        "order": order, "normalizer": normalizer, "mode": mode, "policy": policy, "use_lmplz": use_lmplz,
        "tokenizer": tokenizer, "pieces": pieces,
    }  # fmt: skip
    train = rows["train"].tolist()
    with tempfile.TemporaryDirectory(prefix=".training-", dir=folder) as scratch:
        if contrast and pieces and tokenizer is not None:
            msg = "give a tokenizer or a number of pieces to train one with, not both"
            raise ConfigError(msg)
        if contrast and pieces != 0 and tokenizer is None:
            shared = Path(scratch) / "shared.model"
            _train_shared([documents.texts[i] for i in train], shared, pieces, normalizer=normalizer, policy=policy)
            options["tokenizer"] = shared
        if contrast:
            options["pieces"] = None
        model = train_lm((documents.texts[i] for i in train if documents.harmful[i]), folder, **options)
        clean = None
        if contrast:
            clean_texts = (documents.texts[i] for i in train if not documents.harmful[i])
            clean = train_lm(clean_texts, folder / CLEAN, **options)
    shown: NgramPerplexity | LikelihoodRatio = NgramPerplexity(folder, name="harmful")
    if clean is not None:
        shown = LikelihoodRatio(
            NgramPerplexity(folder, name="harmful"), NgramPerplexity(folder / CLEAN), name="harmful"
        )
    scores = {name: _scores(shown, documents, rows[name]) for name in SPLITS[1:]}
    calibration = calibrate(scores["validation"], documents.harmful[rows["validation"]], candidates=candidates)
    sign = 1 if clean is None else -1
    best = replace(calibration.best, threshold=sign * calibration.threshold)
    tested = None
    if all(counts["test"]):
        found = evaluate(scores["test"], documents.harmful[rows["test"]], calibration.threshold)
        tested = replace(found, threshold=best.threshold)
    plotted = "test" if tested is not None else "validation"
    plot_perplexities(
        sign * scores[plotted],
        documents.harmful[rows[plotted]],
        folder / _PLOT,
        threshold=best.threshold,
        title=f"{plotted} groups, none of them in training",
        ratio=clean is not None,
    )
    settings = {**model.folder.settings, "harmful": "below", "threshold": best.threshold}
    if clean is not None:
        settings |= {"harmful": "above", "contrast": clean.folder.digest}
    written = write_model_folder(
        folder,
        kind=model.folder.kind,
        files=[*model.folder.files, _PLOT],
        settings=settings,
        provenance={
            **model.folder.provenance,
            "split": {name: {"harmful": harmful, "clean": others} for name, (harmful, others) in counts.items()},
            "split_seed": None if splits is not None else seed,
            "validation": asdict(best),
            "test": None if tested is None else asdict(tested),
            "sweep": [(sign * at, score) for at, score in _sweep(calibration)],
            **(provenance or {}),
        },
    )
    return TrainedHarmful(written, model, calibration, best, tested, counts, clean)


def _train_shared(
    texts: Sequence[str], path: Path, pieces: int | None, *, normalizer: NormalizerSpec, policy: Policy
) -> None:
    """Train the tokenizer of both models: of so many pieces, or of the first default that has room for each character.

    Raises:
        ConfigError: if so many pieces can't be made of the texts.
    """
    tried = PIECES if pieces is None else pieces
    while True:
        try:
            train_tokenizer(texts, path, pieces=tried, normalizer=normalizer, policy=policy)
        except ConfigError:
            if pieces is not None or tried >= _MOST_PIECES:
                raise
            tried *= 2
        else:
            return


def _split(
    documents: LabelledDocuments, validation: float, test: float, splits: Mapping[str, str] | None, seed: int
) -> npt.NDArray[np.object_]:
    """Return the split of each document, "" for those that are left out.

    Raises:
        ConfigError: for a split of another name, or groups that no document has.
    """
    if splits is None:
        return group_split(documents.groups, validation=validation, test=test, seed=seed)
    unknown = set(splits.values()) - set(SPLITS)
    if unknown:
        msg = f"a group is in one of {', '.join(SPLITS)}, not {sorted(unknown)[0]!r}"
        raise ConfigError(msg)
    missing = sorted(set(splits) - set(documents.groups))
    if missing:
        close = difflib.get_close_matches(missing[0], set(documents.groups), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        msg = f"no document is of the group {missing[0]!r} that --splits names{hint}"
        raise ConfigError(msg)
    return np.array([splits.get(group, "") for group in documents.groups], object)


def _check_counts(counts: Mapping[str, tuple[int, int]], groups: int, *, contrast: bool) -> None:
    """Refuse a split that leaves nothing to train on, or nothing to choose a threshold on.

    Raises:
        DataError: which says what would help.
    """
    for split, kinds, what in (
        ("train", ("harmful", "clean") if contrast else ("harmful",), "nothing can be learned"),
        ("validation", ("harmful", "clean"), "no threshold can be chosen"),
    ):
        for kind in kinds:
            if counts[split][("harmful", "clean").index(kind)]:
                continue
            told = {"train": "training"}.get(split, split)
            msg = (
                f"no document in the {told} groups is {kind}, so {what}: the split is by group (host, source, or what "
                f"--group names), and there {'is 1 group' if groups == 1 else f'are {groups} groups'}; give documents "
                "of more groups, another --validation, --test or --seed, or name the groups of each part with --splits"
            )
            raise DataError(msg)


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


def _scores(
    scorer: "NgramPerplexity | LikelihoodRatio", documents: LabelledDocuments, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return what is low for harmful documents: perplexities, or ratios with their sign changed."""
    found = scorer.score([documents.texts[i] for i in rows.tolist()])
    if isinstance(scorer, LikelihoodRatio):
        return -np.asarray(found.column("harmful_log_ratio").to_numpy(zero_copy_only=False), np.float64)
    return np.asarray(found.column("harmful_perplexity").to_numpy(zero_copy_only=False), np.float64)


def _sweep(calibration: Calibration, points: int = 100) -> list[tuple[float, float]]:
    """Return at most so many points of the sweep, evenly spread."""
    chosen = np.unique(np.linspace(0, len(calibration.thresholds) - 1, points).astype(int))
    return [(calibration.thresholds[i], calibration.macro_f1[i]) for i in chosen]
