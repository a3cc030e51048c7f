"""`tamis train dsir`: fits the ratio of target to raw pool once, for many runs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tamis.jobs.documents import Observer, ignore, texts
from tamis.jobs.provenance import version
from tamis.jobs.train.training_files import training_files
from tamis.pipeline.formats.options import ReadOptions
from tamis.schemas.errors import ConfigError
from tamis.scorers.dsir.features import HashName, NgramCounter, NgramFeatures
from tamis.scorers.dsir.lowercase_tokens import Alphabet
from tamis.scorers.dsir.model import DsirModel
from tamis.scorers.models.folder import MODEL_FILE, ModelFolder, read_model_folder, write_model_folder

__all__ = ["DsirTraining", "features_from", "targets_from", "train_dsir"]

KIND = "dsir"
"""Of the model folder."""
_ADDRESS = re.compile(r"[/\\?*]")
"""What no target's name has."""


@dataclass(frozen=True)
class DsirTraining:
    """A fitted model.

    Attributes:
        model: what was fitted.
        folder: where it lies, with the digests of its files and what it was made from.
        pool_ngrams: n-grams counted in the raw pool.
        target_ngrams: target name to n-grams counted; one target alone is called "".
    """

    model: DsirModel
    folder: ModelFolder
    pool_ngrams: int
    target_ngrams: Mapping[str, int]


def targets_from(options: Sequence[str]) -> dict[str, list[str]]:
    """Return target name to files, from options "files" (one target without a name) or "name=files".

    Raises:
        ConfigError: if targets with and without a name are mixed.
    """
    targets: dict[str, list[str]] = {}
    for option in options:
        name, found, paths = option.partition("=")
        if _ADDRESS.search(name):  # what follows belongs to the address
            name, found, paths = "", "", option
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
    observe: Observer = ignore,
) -> DsirTraining:
    """Count n-grams of pool and targets, fit, and write the model's folder.

    Args:
        raw: files of the raw pool.
        targets: name to files; one target alone needs no name ("").
        folder: where to save: what `DsirModel.save` writes, and `model.json` with digests and provenance.
        features: what to count.
        text: the pool's text field.
        target_text: the targets' text field.
        smoothing: pseudo-count of the targets.
        max_ngrams: n-grams to fit each side on.
        observe: told of records that can't be read.

    Raises:
        DataError: if pool or target are empty.
        InputError: if files can't be read.
        ModelError: if the folder holds another kind of model.
    """
    if (Path(folder) / MODEL_FILE).exists():
        read_model_folder(Path(folder), kind=KIND, verify=False)  # another kind of model is left alone
    counts = {}
    for name, paths in targets.items():
        counter = NgramCounter(features, max_ngrams)
        for batch in texts(paths, ReadOptions(text=target_text), f"target {name}".strip(), observe=observe):
            if not counter.add(batch):
                break
        counts[name] = counter.counts
    pool = NgramCounter(features, max_ngrams)
    for batch in texts(raw, ReadOptions(text=text), "raw pool", observe=observe):
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
    (Path(folder) / MODEL_FILE).unlink(missing_ok=True)  # no model while it is half of the old and half of the new
    model.save(folder)
    totals = {name: int(found.sum()) for name, found in counts.items()}
    provenance = {
        "tamis": version(),
        "max_ngrams": max_ngrams,
        "raw": {"text_field": text, "ngrams": int(pool.total), "files": training_files(raw)},
        "targets": [
            {"name": name, "text_field": target_text, "ngrams": totals[name], "files": training_files(paths)}
            for name, paths in targets.items()
        ],
    }
    made = _model_folder(Path(folder), model, provenance)
    return DsirTraining(model, made, int(pool.total), totals)


def _model_folder(folder: Path, model: DsirModel, provenance: Mapping[str, object]) -> ModelFolder:
    files = ["dsir.json", "log_ratios.npy", "raw_counts.npy", "target_counts.npy"]
    tokens = model.features.tokens
    if not isinstance(tokens, str):
        files.append(f"tokenizer{tokens.path.suffix}")
    settings = {
        "ngrams": model.features.ngrams,
        "buckets": model.features.buckets,
        "hash": model.features.hash,
        "tokens": tokens if isinstance(tokens, str) else tokens.digest,
        "smoothing": model.smoothing,
    }
    return write_model_folder(folder, kind=KIND, files=files, settings=settings, provenance=provenance)
