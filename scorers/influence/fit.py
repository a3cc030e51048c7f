"""From a reference set and a sample of the pool to the direction that candidates are scored along."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.schemas.base import canonical_json
from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.influence.curvature import (
    BlockCurvature,
    CurvatureKind,
    Damping,
    EigenvalueSums,
    collect_curvature,
    collect_eigenvalues,
    each_factorised,
    factorise,
    inverse_product,
)
from tamis.scorers.influence.gradients import reference_gradient
from tamis.scorers.influence.layers import FACTOR_BYTES, Attention, Block, block_groups, find_blocks
from tamis.scorers.influence.samples import Chunk, batch_limit, chunk_batches, cut_chunks, influence_context
from tamis.scorers.influence.scores import InfluenceScorer, Method
from tamis.scorers.text.texts import Texts

__all__ = ["InfluenceDirection", "InfluenceOptions", "fit_direction"]

_FORMAT = "tamis-influence-1"


@dataclass(frozen=True)
class InfluenceOptions:
    """What influence is computed from.

    Attributes:
        curvature: `none` (a dot product of gradients), `kfac` or `ekfac`.
        damping: added to the curvature's eigenvalues; a share of their mean if `relative`.
        relative: see `damping`.
        attention: query, key and value projections `fused` in one block, or `split`.
        layers: a regular expression for the names of the modules that count; None: all linear layers.
        head: whether the output head counts.
        context: most tokens in a chunk; None: what the model takes.
        batch_tokens: most tokens in a batch, padding included.
        chunks: most chunks of a document, from its start; None: all.

    Raises:
        ConfigError: if a value is out of range.
    """

    curvature: CurvatureKind = "kfac"
    damping: float = 0.1
    relative: bool = True
    attention: Attention = "fused"
    layers: str | None = None
    head: bool = False
    context: int | None = None
    batch_tokens: int = 4096
    chunks: int | None = None

    def __post_init__(self) -> None:
        if self.curvature not in ("none", "kfac", "ekfac"):
            msg = f"unknown curvature {self.curvature!r}: choose 'none', 'kfac' or 'ekfac'"
            raise ConfigError(msg)
        if self.batch_tokens < 1 or (self.chunks is not None and self.chunks < 1):
            msg = f"batch_tokens and chunks must be at least 1, got {self.batch_tokens} and {self.chunks}"
            raise ConfigError(msg)
        Damping(self.damping, self.relative)

    def blocks(self, model: Any) -> list[Block]:
        """Return the model's blocks.

        Raises:
            ConfigError: if an option doesn't fit the model.
            ModelError: if no layer is found.
        """
        return find_blocks(model, attention=self.attention, head=self.head, layers=self.layers)


@dataclass(frozen=True, eq=False)
class InfluenceDirection:
    """The direction that candidates are scored along, in float32, and what it was made with.

    Attributes:
        options: how it was made.
        blocks: block name to matrix.
        reference_tokens: tokens of the reference set.
        pool_tokens: tokens of the sample of the pool; 0 without curvature.
    """

    options: InfluenceOptions
    blocks: Mapping[str, npt.NDArray[np.float32]]
    reference_tokens: int
    pool_tokens: int

    def scorer(
        self,
        model: Any,
        tokenizer: Any,
        *,
        method: Method = "difference",
        cosine: bool = False,
        chunks: int | None = None,
        alone: bool = False,
    ) -> InfluenceScorer:
        """Return what scores candidates; the arguments are those of `InfluenceScorer`, `chunks` else the options' own.

        Raises:
            ConfigError: if an option is out of range.
            ModelError: if the direction is of another model.
        """
        return InfluenceScorer(
            model,
            tokenizer,
            self.options.blocks(model),
            self.blocks,
            context=self.options.context,
            batch_tokens=self.options.batch_tokens,
            method=method,
            cosine=cosine,
            chunks=self.options.chunks if chunks is None else chunks,
            alone=alone,
        )

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the direction: equal ones give the same scores with the same model."""
        found = sha256()
        for part in self._parts():
            found.update(part)
        return found.hexdigest()

    def to_bytes(self, before: bytes = b"") -> bytes:
        """Return the direction as bytes, equal for equal directions, after what shall stand before it."""
        file = io.BytesIO()
        file.write(before)
        for part in self._parts():
            file.write(part)
        return file.getvalue()

    def _parts(self) -> Iterator[bytes]:
        head = {
            "format": _FORMAT,
            "options": asdict(self.options),
            "blocks": list(self.blocks),
            "reference_tokens": self.reference_tokens,
            "pool_tokens": self.pool_tokens,
        }
        yield canonical_json(head).encode() + b"\n"
        for matrix in self.blocks.values():
            file = io.BytesIO()
            np.save(file, np.ascontiguousarray(matrix, "<f4"), allow_pickle=False)
            yield file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "InfluenceDirection":
        """Return the direction that `to_bytes` wrote.

        Raises:
            DataError: if the bytes aren't one.
        """
        file = io.BytesIO(data)
        try:
            head = json.loads(file.readline())
            if head["format"] != _FORMAT:
                raise ValueError(head["format"])
            options = InfluenceOptions(**head["options"])
            blocks = {name: np.load(file, allow_pickle=False) for name in head["blocks"]}
            return cls(options, blocks, int(head["reference_tokens"]), int(head["pool_tokens"]))
        except (KeyError, TypeError, ValueError, EOFError) as error:
            msg = f"this isn't a stored direction of influence ({error}): fit it again"
            raise DataError(msg) from error


def fit_direction(
    model: Any,
    tokenizer: Any,
    reference: Texts,
    pool: Texts,
    options: InfluenceOptions | None = None,
    *,
    factor_bytes: int = FACTOR_BYTES,
) -> InfluenceDirection:
    """Fit the direction in one process.

    Curvature is computed for a few layers at a time, from the last to the first, so that memory doesn't grow with
    their number: the sample goes through the model once for each group of layers (twice, with EK-FAC), and backward
    only as far as the group's first layer.

    Args:
        model: a causal language model of transformers, partly trained, in float32, on the device where it shall run.
        tokenizer: its tokenizer.
        reference: the documents whose loss is to fall.
        pool: a sample of the documents that may be selected, for the curvature; some hundred chunks do.
        options: how.
        factor_bytes: of curvature that are held at a time; any number gives the same direction.

    Raises:
        ConfigError: if an option doesn't fit the model.
        DataError: if the reference set, or the sample where curvature is wanted, has no text.
        ModelError: if a loss, gradient or curvature isn't finite.
    """
    chosen = options or InfluenceOptions()
    blocks = chosen.blocks(model)
    context = influence_context(model, chosen.context)
    wanted = cut_chunks(tokenizer, reference, context=context, most=chosen.chunks)
    size = batch_limit(model.config, chosen.batch_tokens)
    found = reference_gradient(model, blocks, chunk_batches(wanted, size, model.device)).take_mean()
    sample = cut_chunks(tokenizer, pool, context=context, most=chosen.chunks) if chosen.curvature != "none" else []
    if chosen.curvature != "none":
        for group in block_groups(blocks, factor_bytes):
            for name, matrix in _solved(model, group, sample, size, found, chosen):
                found[name] = matrix
    bad = [name for name, matrix in found.items() if not np.isfinite(matrix).all()]
    if bad:
        msg = f"the direction of the layer {bad[0]} isn't finite: raise the damping"
        raise ModelError(msg)
    return InfluenceDirection(
        chosen, found, sum(chunk.counted for chunk in wanted), sum(chunk.counted for chunk in sample)
    )


def _solved(
    model: Any,
    group: Sequence[Block],
    sample: Sequence[Chunk],
    size: int,
    gradient: Mapping[str, npt.NDArray[np.float32]],
    options: InfluenceOptions,
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yield (H + damping)^-1 g of each block of a group; only the group's curvature is held."""
    damping = Damping(options.damping, options.relative)
    sums = collect_curvature(model, group, chunk_batches(sample, size, model.device))
    eigenvalues: EigenvalueSums | None = None
    found: Iterator[tuple[str, BlockCurvature]] = each_factorised(sums, consume=True)
    if options.curvature == "ekfac":
        whole = factorise(sums, consume=True)
        eigenvalues = collect_eigenvalues(model, group, chunk_batches(sample, size, model.device), whole)
        found = iter(whole.items())
    for name, own in found:
        solved = inverse_product({name: gradient[name]}, {name: own}, eigenvalues=eigenvalues, damping=damping)
        yield name, solved[name].astype(np.float32)
