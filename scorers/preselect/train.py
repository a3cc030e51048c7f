"""PreSelect's classifier, from losses of several models on a sample of documents to a model file.

Shum et al. 2025, arXiv:2503.00808: documents whose losses predict the models' benchmark order against those
whose don't.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import DataError
from tamis.scorers.fasttext.training import FastTextOptions, TrainingReport, train_classifier
from tamis.scorers.preselect.predictive_strength import pick_examples, predictive_strength
from tamis.scorers.text.texts import Texts, as_list

__all__ = ["NEGATIVE", "POSITIVE", "train_preselect"]

POSITIVE, NEGATIVE = "__label__1", "__label__0"


def train_preselect(
    texts: Texts,
    losses: npt.ArrayLike,
    benchmark: npt.ArrayLike,
    folder: str | Path,
    *,
    domains: Sequence[str] | None = None,
    limit: int | None = None,
    options: FastTextOptions | None = None,
    held_out: float = 0.1,
    provenance: Mapping[str, Any] | None = None,
) -> TrainingReport:
    """Train the classifier that scores documents by `__label__1`; write `model.bin` and `training.json`.

    Args:
        texts: the sample of documents.
        losses: shape (documents, models), total nats or bits per character; NaN: not measured.
        benchmark: shape (models,), downstream scores.
        folder: where to write.
        domains: domains of the documents, to take as many negatives as positives from each; None: no balance.
        limit: most examples a class; None: all.
        options: training options; None: the paper's.
        held_out: share of the examples to measure accuracy on.
        provenance: recorded in the report.

    Raises:
        ConfigError: if an option isn't valid.
        DataError: if shapes don't match, or no positive or negative document is found.
    """
    documents = as_list(texts)
    strength = predictive_strength(losses, benchmark)
    if len(strength) != len(documents):
        msg = f"losses of {len(strength)} documents were given for {len(documents)} texts"
        raise DataError(msg)
    examples = pick_examples(strength, domains=domains, limit=limit)
    chosen = [*examples.positive.tolist(), *examples.negative.tolist()]
    labels = [POSITIVE] * len(examples.positive) + [NEGATIVE] * len(examples.negative)
    found = {
        "documents": len(documents),
        "benchmark": np.asarray(benchmark, np.float64).tolist(),
        "strongest_negative": float(strength[examples.negative[-1]]),
    }
    return train_classifier(
        [documents[i] for i in chosen],
        labels,
        folder,
        options=options,
        held_out=held_out,
        provenance={**(provenance or {}), "predictive_strength": found},
    )
