"""`tamis train dsir`: fits the ratio of target to raw pool once, for many runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from tamis.jobs.documents import texts
from tamis.pipeline.formats.options import ReadOptions
from tamis.schemas.errors import ConfigError
from tamis.scorers.dsir.features import HashName, NgramCounter, NgramFeatures
from tamis.scorers.dsir.lowercase_tokens import Alphabet
from tamis.scorers.dsir.model import DsirModel

__all__ = ["features_from", "targets_from", "train_dsir"]


def targets_from(options: Sequence[str]) -> dict[str, list[str]]:
    """Return target name to files, from options "files" (one target without a name) or "name=files".

    Raises:
        ConfigError: if targets with and without a name are mixed.
    """
    targets: dict[str, list[str]] = {}
    for option in options:
        name, found, paths = option.partition("=")
        targets.setdefault(name if found else "", []).append(paths if found else option)
    if "" in targets and len(targets) > 1:
        msg = "--target: give every target a name (name=files), or none"
        raise ConfigError(msg)
    return targets


def features_from(ngrams: int, buckets: int, hash_: str, tokens: str) -> NgramFeatures:
    """Return what to count, from command-line options.

    Raises:
        ConfigError: for an unknown hash, or tokens that are neither a known name nor a file.
    """
    if hash_ not in ("fast", "sha256"):
        msg = f"--hash {hash_}: fast or sha256"
        raise ConfigError(msg)
    named: HashName = "fast" if hash_ == "fast" else "sha256"
    known: dict[str, Alphabet] = {"wordpunct": "wordpunct", "words": "words"}
    if tokens in known:
        return NgramFeatures(ngrams, buckets, named, known[tokens])
    from tamis.scorers.dsir.piece_tokens import PieceTokenizer

    if not Path(tokens).is_file():
        msg = f"--tokens {tokens}: neither wordpunct nor words, and no file of that name"
        raise ConfigError(msg)
    return NgramFeatures(ngrams, buckets, named, PieceTokenizer(Path(tokens)))


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
