"""Chooses the perplexity below which a document counts as harmful, and measures how well that does.

Jansen et al. 2022, "Perplexed by Quality" (arXiv:2212.10440): a model of harmful text gives harmful documents a low
perplexity. The threshold is the one with the best macro-averaged F1 on labelled documents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from tamis.schemas.errors import ConfigError, DataError

__all__ = ["SPLITS", "Calibration", "Metrics", "auc", "calibrate", "evaluate", "group_split"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Metrics:
    """How a threshold does on labelled documents; shares, with 0 for a share of nothing.

    Attributes:
        threshold: documents below it count as harmful.
        macro_f1: the mean of both classes' F1.
        accuracy: documents classed right.
        harmful_precision: of those classed as harmful, how many are.
        harmful_recall: of the harmful ones, how many are classed so.
        harmful_f1: harmonic mean of the two.
        clean_precision: of those classed as clean, how many are.
        clean_recall: of the clean ones, how many are classed so.
        clean_f1: harmonic mean of the two.
        harmful: harmful documents.
        clean: clean documents.
        auc: whatever the threshold, how often a harmful document lies below a clean one; see `auc`.
    """

    threshold: float
    macro_f1: float
    accuracy: float
    harmful_precision: float
    harmful_recall: float
    harmful_f1: float
    clean_precision: float
    clean_recall: float
    clean_f1: float
    harmful: int
    clean: int
    auc: float = float("nan")


@dataclass(frozen=True, slots=True)
class Calibration:
    """A chosen threshold and the sweep it comes from.

    Attributes:
        best: the metrics at the chosen threshold.
        thresholds: the candidates, ascending.
        macro_f1: macro-F1 of each.
    """

    best: Metrics
    thresholds: tuple[float, ...]
    macro_f1: tuple[float, ...]

    @property
    def threshold(self) -> float:
        """The chosen threshold."""
        return self.best.threshold


def calibrate(perplexity: Any, harmful: Any, *, candidates: int | None = None) -> Calibration:
    """Choose the threshold with the best macro-F1; of several, the middle of the widest stretch of them.

    Args:
        perplexity: one number a document; NaN never counts as harmful.
        harmful: whether it is.
        candidates: how many thresholds to try, spread evenly over the quantiles of perplexity (the paper tries 100);
            None for every one that parts the documents differently.

    Raises:
        DataError: unless there are both harmful and clean documents with a perplexity.
    """
    values, labels = np.asarray(perplexity, np.float64), np.asarray(harmful, np.bool_)
    known = ~np.isnan(values)
    if not (labels & known).any() or not (~labels & known).any():
        msg = "a threshold needs both harmful and clean documents to be chosen on; one of the two is missing"
        raise DataError(msg)
    thresholds = _candidates(np.unique(values[known]), values[known], candidates)
    score = _macro_f1(*_confusion(values, labels, thresholds))
    best = _widest(thresholds, score >= score.max() - 1e-12)
    return Calibration(evaluate(values, labels, best), tuple(thresholds.tolist()), tuple(score.tolist()))


def evaluate(perplexity: Any, harmful: Any, threshold: float) -> Metrics:
    """Measure a threshold on labelled documents; those with perplexity below it count as harmful, NaN never does."""
    values, labels = np.asarray(perplexity, np.float64), np.asarray(harmful, np.bool_)
    tp, fp, fn, tn = (int(count[0]) for count in _confusion(values, labels, np.array([threshold])))
    total = max(tp + fp + fn + tn, 1)
    harmful_f1, clean_f1 = _share(2 * tp, 2 * tp + fp + fn), _share(2 * tn, 2 * tn + fp + fn)
    return Metrics(
        threshold=float(threshold),
        macro_f1=(harmful_f1 + clean_f1) / 2,
        accuracy=(tp + tn) / total,
        harmful_precision=_share(tp, tp + fp),
        harmful_recall=_share(tp, tp + fn),
        harmful_f1=harmful_f1,
        clean_precision=_share(tn, tn + fn),
        clean_recall=_share(tn, tn + fp),
        clean_f1=clean_f1,
        harmful=tp + fn,
        clean=tn + fp,
        auc=auc(values, labels),
    )


def auc(perplexity: Any, harmful: Any) -> float:
    """Return the area under the curve of recall over false alarms: 0.5 is chance, 1 parts the classes.

    It is the share of pairs of a harmful and a clean document in which the harmful one has the lower value, pairs of
    equal values counted half (Mann and Whitney's U over the number of pairs). NaN counts as above all numbers.

    Args:
        perplexity: one number a document.
        harmful: whether it is.

    Returns:
        NaN unless there are both kinds.
    """
    values, labels = np.asarray(perplexity, np.float64), np.asarray(harmful, np.bool_)
    filled = np.where(np.isnan(values), np.inf, values)
    low, high = filled[labels], np.sort(filled[~labels])
    if not len(low) or not len(high):
        return float("nan")
    above = len(high) - np.searchsorted(high, low, side="right")
    equal = np.searchsorted(high, low, side="right") - np.searchsorted(high, low, side="left")
    return float((above.sum() + equal.sum() / 2) / (len(low) * len(high)))


def group_split(
    groups: Sequence[str | None], *, validation: float = 0.1, test: float = 0.1, seed: int = 0
) -> npt.NDArray[np.object_]:
    """Put documents into `train`, `validation` or `test` by the hash of their group: no group is in two of them.

    Args:
        groups: each document's host or source.
        validation: the share of groups for validation.
        test: the share of groups for the test.
        seed: another seed, another split.

    Raises:
        ConfigError: if the shares leave nothing to train on.
    """
    if validation < 0 or test < 0 or validation + test >= 1:
        msg = f"validation {validation} and test {test} must be shares that leave some groups to train on"
        raise ConfigError(msg)
    names = {group or "" for group in groups}
    places = {name: xxhash.xxh3_64_intdigest(name.encode(), seed) / 2**64 for name in names}
    split = {
        name: SPLITS[1] if place < validation else SPLITS[2] if place < validation + test else SPLITS[0]
        for name, place in places.items()
    }
    return np.array([split[group or ""] for group in groups], object)


def _candidates(
    distinct: npt.NDArray[np.float64], values: npt.NDArray[np.float64], count: int | None
) -> npt.NDArray[np.float64]:
    if count is not None:
        return np.unique(np.quantile(values, np.linspace(0, 1, count)))
    between = (distinct[:-1] + distinct[1:]) / 2
    between = np.where(between > distinct[:-1], between, distinct[1:])  # neighbours without a number between them
    return np.concatenate([distinct[:1], between, [np.nextafter(distinct[-1], np.inf)]])


def _confusion(
    values: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_], thresholds: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return true and false positives, false and true negatives for each threshold."""
    filled = np.where(np.isnan(values), np.inf, values)
    tp = np.searchsorted(np.sort(filled[labels]), thresholds, side="left")
    fp = np.searchsorted(np.sort(filled[~labels]), thresholds, side="left")
    return tp, fp, labels.sum() - tp, (~labels).sum() - fp


def _macro_f1(
    tp: npt.NDArray[np.int64], fp: npt.NDArray[np.int64], fn: npt.NDArray[np.int64], tn: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    wrong = fp + fn
    return (2 * tp / np.maximum(2 * tp + wrong, 1) + 2 * tn / np.maximum(2 * tn + wrong, 1)) / 2


def _widest(thresholds: npt.NDArray[np.float64], good: npt.NDArray[np.bool_]) -> float:
    """Return the middle candidate of the longest run of good ones."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    return float(thresholds[(starts[longest] + ends[longest] - 1) // 2])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
