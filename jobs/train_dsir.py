"""`tamis train dsir`: fits the ratio of target to raw pool once, for many runs."""

from collections.abc import Mapping, Sequence

import typer

from jobs.corpus import texts
from pipeline.formats.options import ReadOptions
from scorers.dsir import DsirModel
from scorers.dsir_features import NgramCounter, NgramFeatures

__all__ = ["train_dsir"]


def train_dsir(
    raw: Sequence[str],
    targets: Mapping[str, Sequence[str]],
    folder: str,
    features: NgramFeatures,
    *,
    text: str = "text",
    target_text: str = "text",
    smoothing: float = 0.0,
    max_ngrams: int | None = None,
) -> DsirModel:
    """Count n-grams of pool and targets, fit, and save the model's folder.

    Args:
        raw: files of the raw pool.
        targets: name to files; one target alone needs no name ("").
        folder: where to save.
        features: what to count.
        text: the pool's text field.
        target_text: the targets' text field.
        smoothing: pseudo-count of the targets.
        max_ngrams: n-grams to fit each side on.

    Raises:
        DataError: if pool or target are empty.
        InputError: if files can't be read.
    """
    counts = {}
    for name, paths in targets.items():
        counter = NgramCounter(features, max_ngrams)
        for batch in texts(paths, ReadOptions(text=target_text), f"target {name}".strip()):
            if not counter.add(batch):
                break
        counts[name] = counter.counts
    pool = NgramCounter(features, max_ngrams)
    for batch in texts(raw, ReadOptions(text=text), "raw pool"):
        if not pool.add(batch):
            break
    model = DsirModel.fit(
        pool.counts,
        counts[""] if list(counts) == [""] else counts,
        smoothing=smoothing,
        ngrams=features.ngrams,
        hash=features.hash,
        tokens=features.tokens,
    )
    model.save(folder)
    total = sum(int(found.sum()) for found in counts.values())
    typer.echo(f"{folder}: {pool.total:,} n-grams of the pool, {total:,} of targets")
    return model
