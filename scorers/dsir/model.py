"""DSIR: importance weights of documents towards a target (Xie et al. 2023, arXiv 2302.03169).

A document's log weight is the sum over its hashed n-grams of `ln(p + 1e-8) - ln(q + 1e-8)`, where p is the share of the
n-gram's bucket in the target and q its share in the raw pool.
`tamis.scorers.dsir.sampling` draws documents by these weights.
"""

import json
import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.schemas.tables import described
from tamis.scorers.dsir.features import HashName, NgramCounter, NgramFeatures
from tamis.scorers.dsir.lowercase_tokens import Alphabet
from tamis.scorers.dsir.ngram_kernels import add_log_weights
from tamis.scorers.dsir.piece_tokens import PieceTokenizer
from tamis.scorers.kernels.portable_log import natural_logs
from tamis.scorers.text.texts import Texts

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["EPSILON", "DsirModel", "DsirScorer", "Normalise", "dsir_schema", "hashed_ngrams", "ngram_counts"]

EPSILON = 1e-8
"""Added to both probabilities before the logarithm, as in the reference."""

Normalise: TypeAlias = Literal["none", "token", "chunk"]
"""How length enters a document's weight.

`none`: the plain sum, as in the reference; long documents then have large weights of either sign. `token`: the sum
divided by the number of tokens. `chunk`: the sum scaled to one chunk of `chunk_tokens` tokens, `w * min(1,
chunk_tokens / tokens)`: what a chunk of the document weighs on average, which is the scale the paper samples at.
"""

_FORMAT = 1


def hashed_ngrams(
    texts: Texts,
    *,
    ngrams: int = 2,
    buckets: int = 10_000,
    hash: HashName = "fast",  # noqa: A002
    tokens: Alphabet | PieceTokenizer = "wordpunct",
) -> "csr_array":
    """Return how many of each text's n-grams fall into each bucket: (texts, buckets), int64.

    With `sha256` and `wordpunct` the counts equal the reference's `get_ngram_counts`.

    Raises:
        ConfigError: if a parameter is out of range.
        DataError: if a text holds a lone surrogate.
    """
    from scipy.sparse import csr_array  # dear to import, and a run needs none

    features = NgramFeatures(ngrams, buckets, hash, tokens)
    columns = [np.zeros(0, np.int32)]
    sizes = np.zeros(len(texts), np.int64)
    for block in features.blocks(texts):
        columns.append(block.buckets[: block.filled].copy())
        _add_sizes(block.ends, block.first, block.after, block.filled, sizes)
    indices = np.concatenate(columns)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    counts = csr_array((np.ones(len(indices), np.int64), indices, starts), shape=(len(sizes), buckets))
    counts.sum_duplicates()
    return counts


def _add_sizes(ends: npt.NDArray[np.int64], first: int, after: int, filled: int, sizes: npt.NDArray[np.int64]) -> None:
    """Add what a block holds of each document to `sizes`."""
    bounds = np.concatenate([[0], ends[first:after], [filled]])
    parts = np.diff(bounds)
    sizes[first : after + 1] += parts[: len(sizes) - first]


def ngram_counts(
    texts: Texts, features: NgramFeatures | None = None, *, limit: int | None = None
) -> npt.NDArray[np.int64]:
    """Return the bucket counts of all texts together, int64[buckets].

    Args:
        texts: the documents.
        features: what to count; `NgramFeatures()` if absent.
        limit: stop after the first document that takes the number of n-grams above it (see `NgramCounter`).

    Raises:
        DataError: if a text holds a lone surrogate.
    """
    counter = NgramCounter(features or NgramFeatures(), limit)
    counter.add(texts)
    return counter.counts


@dataclass(frozen=True)
class DsirModel:
    """A fitted ratio of target to raw pool, for one target or several.

    Attributes:
        features: what is counted.
        log_ratios: float64 (buckets, targets).
        targets: the targets' names; empty when there is one target without a name.
        raw_counts: (buckets,), as fitted.
        target_counts: (targets, buckets), as fitted, without smoothing.
        smoothing: pseudo-count added to each bucket of the targets.
        unicode_version: of the Python that fitted; tokens of characters assigned later may differ elsewhere.
    """

    features: NgramFeatures
    log_ratios: npt.NDArray[np.float64]
    targets: tuple[str, ...]
    raw_counts: npt.NDArray[Any]
    target_counts: npt.NDArray[Any]
    smoothing: float
    unicode_version: str

    @classmethod
    def fit(
        cls,
        raw_counts: npt.ArrayLike,
        target_counts: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        *,
        smoothing: float = 0.0,
        ngrams: int = 2,
        hash: HashName = "fast",  # noqa: A002
        tokens: Alphabet | PieceTokenizer = "wordpunct",
    ) -> "DsirModel":
        """Fit log ratios to bucket counts.

        `q = raw / sum(raw)`, `p = (target + smoothing) / sum(target + smoothing)`, ratio `ln(p + 1e-8) - ln(q +
        1e-8)`. The raw counts are never smoothed. A bucket empty on both sides has ratio 0 without smoothing.

        Args:
            raw_counts: counts of the raw pool (buckets,).
            target_counts: counts of the target (buckets,); or of several targets by name; or (targets, buckets).
            smoothing: the reference's `target_laplace_smoothing`.
            ngrams: the highest order counted.
            hash: the hash that the counts were made with.
            tokens: the tokens that the counts were made with.

        Raises:
            DataError: if the raw pool or a target has no n-grams, or a count is negative or not finite.
            ConfigError: if `smoothing` is negative or not finite.
        """
        if not (np.isfinite(smoothing) and smoothing >= 0):
            msg = f"smoothing must be a number of at least 0, got {smoothing}"
            raise ConfigError(msg)
        raw = _counts(raw_counts, "the raw pool")
        names: tuple[str, ...]
        if isinstance(target_counts, Mapping):
            names = tuple(target_counts)
            rows = [_counts(counts, f"target {name!r}") for name, counts in target_counts.items()]
        elif np.ndim(target_counts) == 2:
            matrix = np.asarray(target_counts)
            names = tuple(str(i) for i in range(len(matrix)))
            rows = [_counts(counts, f"target {name}") for name, counts in zip(names, matrix, strict=True)]
        else:
            names = ()
            rows = [_counts(target_counts, "the target")]
        if not rows:
            msg = "a DSIR model needs at least one target"
            raise DataError(msg)
        if any(len(row) != len(raw) for row in rows):
            msg = f"raw pool and targets must have as many buckets, not {len(raw)} and {[len(row) for row in rows]}"
            raise DataError(msg)
        features = NgramFeatures(ngrams, len(raw), hash, tokens)
        base = natural_logs(raw / raw.sum() + EPSILON)
        smooth = [row + smoothing for row in rows]
        ratios = np.stack([natural_logs(row / row.sum() + EPSILON) - base for row in smooth], axis=1)
        return cls(features, ratios, names, raw, np.stack(rows), float(smoothing), unicodedata.unidata_version)

    def log_weights(
        self, texts: Texts, *, normalise: Normalise = "none", chunk_tokens: int = 128
    ) -> npt.NDArray[np.float64]:
        """Return the log weight of each text, (texts,), or with named targets (texts, targets).

        Args:
            texts: the documents.
            normalise: how length enters, see `Normalise`.
            chunk_tokens: the tokens of a chunk, for `normalise="chunk"`.

        Raises:
            ConfigError: if `normalise` is unknown or `chunk_tokens` isn't positive.
            DataError: if a text holds a lone surrogate.
        """
        weights, _ = self.weights_and_lengths(texts, normalise=normalise, chunk_tokens=chunk_tokens)
        return weights if self.targets else weights[:, 0]

    def weights_and_lengths(
        self, texts: Texts, *, normalise: Normalise = "none", chunk_tokens: int = 128
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return log weights (texts, targets) and lengths in tokens (texts,); see `log_weights`."""
        if normalise not in ("none", "token", "chunk"):
            msg = f"unknown normalise {normalise!r}: choose 'none', 'token' or 'chunk'"
            raise ConfigError(msg)
        if chunk_tokens < 1:
            msg = f"chunk_tokens must be positive, got {chunk_tokens}"
            raise ConfigError(msg)
        weights = np.zeros((len(texts), self.log_ratios.shape[1]))
        totals = np.zeros(len(texts), np.int64)
        for block in self.features.blocks(texts):
            add_log_weights(
                block.buckets, block.filled, block.first, block.after, block.ends, self.log_ratios, weights, totals
            )
        lengths = self.features.lengths(totals)
        if normalise == "token":
            weights /= np.maximum(lengths, 1)[:, None]
        elif normalise == "chunk":
            weights *= np.minimum(1.0, chunk_tokens / np.maximum(lengths, 1))[:, None]
        return weights, lengths

    @property
    def proportions(self) -> npt.NDArray[np.float64]:
        """The targets' shares of all target n-grams, (targets,): how the reference divides a sample if not told."""
        totals = self.target_counts.sum(axis=1)
        shares: npt.NDArray[np.float64] = totals / totals.sum()
        return shares

    def save(self, folder: Path | str) -> None:
        """Write the model as a folder: `dsir.json`, three `.npy` files, and the tokenizer file if it has one."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "log_ratios.npy", self.log_ratios)
        np.save(folder / "raw_counts.npy", self.raw_counts)
        np.save(folder / "target_counts.npy", self.target_counts)
        tokens = self.features.tokens
        about: dict[str, Any] = {
            "format": _FORMAT,
            "ngrams": self.features.ngrams,
            "buckets": self.features.buckets,
            "hash": self.features.hash,
            "tokens": tokens,
            "smoothing": self.smoothing,
            "targets": list(self.targets),
            "unicode_version": self.unicode_version,
        }
        if isinstance(tokens, PieceTokenizer):
            copy = folder / f"tokenizer{tokens.path.suffix}"
            if copy.resolve() != tokens.path.resolve():
                shutil.copyfile(tokens.path, copy)
            about["tokens"] = {"file": copy.name, "sha256": tokens.digest}
        (folder / "dsir.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path | str) -> "DsirModel":
        """Read what `save` wrote.

        Raises:
            ModelError: if a file is missing, damaged, or of another format.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / "dsir.json").read_text(encoding="utf-8"))
            if about["format"] != _FORMAT:
                msg = f"DSIR model {folder} has format {about['format']}; this version reads format {_FORMAT}"
                raise ModelError(msg)
            tokens = about["tokens"]
            if isinstance(tokens, dict):
                tokenizer = PieceTokenizer(folder / tokens["file"])
                if tokenizer.digest != tokens["sha256"]:
                    msg = f"tokenizer {tokenizer.path} isn't the one that the DSIR model was fitted with"
                    raise ModelError(msg)
                tokens = tokenizer
            features = NgramFeatures(about["ngrams"], about["buckets"], about["hash"], tokens)
            arrays = [
                np.load(folder / f"{name}.npy", allow_pickle=False)
                for name in ("log_ratios", "raw_counts", "target_counts")
            ]
            model = cls(
                features, np.ascontiguousarray(arrays[0], np.float64), tuple(about["targets"]), arrays[1], arrays[2],
                float(about["smoothing"]), str(about["unicode_version"]),
            )  # fmt: skip
        except ModelError:
            raise
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            msg = f"DSIR model folder {folder} can't be read ({error}): fit it again with `tamis train dsir`"
            raise ModelError(msg) from error
        columns = max(len(model.targets), 1)
        shapes = [model.log_ratios.shape, model.raw_counts.shape, model.target_counts.shape]
        buckets = features.buckets
        if shapes != [(buckets, columns), (buckets,), (columns, buckets)] or not np.isfinite(model.log_ratios).all():
            msg = f"the arrays of DSIR model {folder} don't fit its dsir.json: fit it again with `tamis train dsir`"
            raise ModelError(msg)
        return model


def _counts(counts: npt.ArrayLike, whose: str) -> npt.NDArray[Any]:
    values = np.asarray(counts)
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        msg = f"the counts of {whose} must be a vector of numbers"
        raise DataError(msg)
    if not np.isfinite(values).all() or (values < 0).any():
        msg = f"the counts of {whose} must be finite and not negative"
        raise DataError(msg)
    if not values.sum() > 0:
        msg = f"{whose} has no n-grams: no document, or only empty ones"
        raise DataError(msg)
    return values


def dsir_schema(targets: Sequence[str]) -> pa.Schema:
    """Return the columns of `DsirScorer` for targets of these names (none: one target without a name)."""
    names = [f"dsir_log_weight_{name}" for name in targets] or ["dsir_log_weight"]
    what = "log of the ratio of target to raw pool, over hashed n-grams"
    weights = [described(name, pa.float64(), what) for name in names]
    return pa.schema([*weights, described("dsir_tokens", pa.int64(), "tokens, by which short documents are left out")])


class DsirScorer:
    """The scorer of the pipeline: the columns `dsir_log_weight` (or `dsir_log_weight_<target>` each) and `dsir_tokens`.

    `dsir_tokens` is the length by which short documents are left out of the sampling.
    """

    def __init__(self, model: DsirModel, *, normalise: Normalise = "none", chunk_tokens: int = 128) -> None:
        self.model = model
        self.normalise = normalise
        self.chunk_tokens = chunk_tokens
        self.schema = dsir_schema(model.targets)

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return one row a text, with the columns of `schema`."""
        weights, lengths = self.model.weights_and_lengths(
            texts, normalise=self.normalise, chunk_tokens=self.chunk_tokens
        )
        columns = [pa.array(np.ascontiguousarray(column)) for column in weights.T]
        return pa.record_batch([*columns, pa.array(lengths)], schema=self.schema)
