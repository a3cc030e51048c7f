"""Influence of candidates: how much a small step on a candidate lowers the loss of the reference set.

    score(z) = g_r^T (H + damping)^-1 g_z = <u, g_z>

g_z is the gradient of the candidate's loss, g_r the reference set's, u the direction from
`tamis.scorers.influence.curvature.inverse_product`. Positive: a step on z lowers the reference loss (influence
functions: Koh and Liang 2017, arXiv 1703.04730, with the sign turned round).

The product is a directional derivative of the candidate's loss along u, so it needs neither a gradient nor its storage:

| method | what it costs | how exact |
| --- | --- | --- |
| `difference` | two forward passes: [L(theta + e u) - L(theta - e u)] / 2e | 1e-3 of the largest score in float32 |
| `forward` | one pass in forward-mode differentiation | rounding |
| `backward` | a forward and a backward pass | rounding; gives the gradient's length as well, for `cosine` |
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.influence.gradients import Flow, flows, sample_gradients
from tamis.scorers.influence.layers import Block
from tamis.scorers.influence.samples import (
    Batch,
    Chunk,
    SampleLosses,
    batch_limit,
    chunk_batches,
    chunk_losses,
    cut_chunks,
    influence_context,
)
from tamis.scorers.text.texts import Texts

__all__ = ["InfluenceScorer", "Method", "SampleScores", "Steps", "parameter_direction", "sample_scores"]

Floats = TypeVar("Floats", bound=np.floating[Any])
Method: TypeAlias = Literal["difference", "forward", "backward"]
_METHODS = ("difference", "forward", "backward")


class SampleScores(NamedTuple):
    """Scores of samples, in the order of their numbers.

    Attributes:
        scores: float64 (samples,), <u, g_z>.
        weights: float64 (samples,), what each counts in a mean: its tokens.
        norms: float64 (samples,), lengths of g_z; NaN unless the method is `backward`.
    """

    scores: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    norms: npt.NDArray[np.float64]


def parameter_direction(
    blocks: Sequence[Block], direction: Mapping[str, npt.NDArray[Floats]]
) -> dict[str, npt.NDArray[Floats]]:
    """Return a direction by parameter name, each in its parameter's layout (rows that are in no block are zero).

    Floating-point types stay as they are.

    Raises:
        ModelError: if a block has no direction or one of another shape.
    """
    whole: dict[str, npt.NDArray[Floats]] = {}
    sizes: dict[str, int] = {}
    for block in blocks:
        for part in block.parts:
            count = part.outputs if part.rows is None else max(part.rows) + 1
            sizes[part.module] = max(sizes.get(part.module, 0), count)
    for block in blocks:
        matrix = direction.get(block.name)
        if matrix is None or matrix.shape != block.shape:
            shown = "is missing" if matrix is None else f"has shape {matrix.shape}"
            msg = f"the direction of {block.name} {shown} where {block.shape} is needed: fit it for this model"
            raise ModelError(msg)
        for part, weight, bias in block.parameters(matrix):
            rows = np.arange(part.outputs) if part.rows is None else np.array(part.rows)
            pairs = (
                [(part.weight, weight)]
                if part.bias is None or bias is None
                else [(part.weight, weight), (part.bias, bias)]
            )
            for name, values in pairs:
                place = whole.setdefault(name, np.zeros((sizes[part.module], *values.shape[1:]), values.dtype))
                place[rows] += values
    transposed = {part.weight for block in blocks for part in block.parts if part.transposed}
    return {name: np.ascontiguousarray(place.T) if name in transposed else place for name, place in whole.items()}


def step_size(model: Any, direction: Mapping[str, npt.NDArray[Floats]], share: float = 1e-3) -> float:
    """Return the step along a direction (by parameter) that moves its parameters by `share` of their length.

    0 for a direction of zeros.
    """
    parameters = dict(model.named_parameters())
    size = math.sqrt(sum(float(parameters[name].detach().double().pow(2).sum()) for name in direction))
    length = _length(direction)
    return share * size / length if length else 0.0


def _length(direction: Mapping[str, npt.NDArray[Floats]]) -> float:
    return math.sqrt(sum(float((matrix.astype(np.float64) ** 2).sum()) for matrix in direction.values()))


def sample_scores(
    model: Any,
    blocks: Sequence[Block],
    direction: Mapping[str, npt.NDArray[Floats]],
    batches: Iterable[Batch],
    *,
    method: Method = "difference",
    step: float = 1e-3,
    losses: SampleLosses = chunk_losses,
) -> SampleScores:
    """Score samples along a direction.

    Args:
        model: a torch module; its parameters are the same bits afterwards.
        blocks: its blocks.
        direction: block to matrix, as `inverse_product` returns it.
        batches: the samples.
        method: see the module.
        step: for `difference`: how far to go, as a share of the length of the parameters.
        losses: of samples.

    Raises:
        ConfigError: if the method is unknown, the step out of range, or the parameters are of too few bits to move.
        ModelError: if the direction doesn't fit the model or a score isn't finite.
    """
    if method not in _METHODS or not 0 < step < 1:
        msg = f"method must be one of {', '.join(_METHODS)} and step between 0 and 1, got {method!r} and {step}"
        raise ConfigError(msg)
    batches = list(batches)
    norms = None
    if method == "backward":
        values, norms = _backward(model, blocks, direction, batches, losses)
    else:
        named = parameter_direction(blocks, direction)
        _refuse_few_bits(model, named)
        if method == "difference":
            values = _difference(model, Steps.along(model, named, step), batches, losses)
        else:
            values = _forward(model, named, batches, losses)
    return _told(batches, values, norms)


def _refuse_few_bits(model: Any, named: Mapping[str, npt.NDArray[Floats]]) -> None:
    unfit = [name for name, tensor in model.named_parameters() if name in named and tensor.element_size() < 4]
    if unfit:
        msg = f"the parameter {unfit[0]} has too few bits to be moved a little: load the model with dtype float32"
        raise ConfigError(msg)


def _told(
    batches: Sequence[Batch], values: npt.NDArray[np.float64], norms: npt.NDArray[np.float64] | None
) -> SampleScores:
    """Return scores in the order of the samples' numbers."""
    norms = np.full(len(values), np.nan) if norms is None else norms
    order = np.array([i for batch in batches for i in batch.order], np.int64)
    weights = np.array([weight for batch in batches for weight in batch.weights.tolist()], np.float64)
    if not np.isfinite(values).all():
        msg = f"the influence of sample {order[~np.isfinite(values)][0]} isn't finite: train the proxy model anew"
        raise ModelError(msg)
    back = np.argsort(order, kind="stable")
    return SampleScores(values[back], weights[back], norms[back])


class Steps(NamedTuple):
    """How far each parameter goes for a difference, ready to be added.

    Attributes:
        size: the factor by which the direction was multiplied; 0 for a direction of zeros.
        tensors: by parameter name, in the parameters' own types and on their device.
    """

    size: float
    tensors: dict[str, Any]

    @classmethod
    def along(cls, model: Any, named: Mapping[str, npt.NDArray[Floats]], share: float) -> "Steps":
        """Return the steps along a direction (by parameter) that move parameters by `share` of their length."""
        import torch

        size = step_size(model, named, share)
        tensors = {}
        for name, tensor in model.named_parameters():
            if name in named:
                moved = named[name].astype(np.float64) * size
                tensors[name] = torch.from_numpy(moved).to(device=tensor.device, dtype=tensor.dtype)
        return cls(size, tensors)


@contextmanager
def _moved(model: Any, steps: Mapping[str, Any]) -> Iterator[Any]:
    """Give a function that moves the parameters by a factor of the steps; then restore the copy."""
    import torch

    parameters = {name: tensor for name, tensor in model.named_parameters() if name in steps}
    saved = {name: tensor.detach().clone() for name, tensor in parameters.items()}

    def move(sign: float) -> None:
        with torch.no_grad():
            for name, tensor in parameters.items():
                torch.add(saved[name], steps[name], alpha=sign, out=tensor.data)

    try:
        yield move
    finally:
        with torch.no_grad():
            for name, tensor in parameters.items():
                tensor.data.copy_(saved[name])


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, flag in training:
            module.training = flag


def _difference(
    model: Any, steps: Steps, batches: Sequence[Batch], losses: SampleLosses
) -> npt.NDArray[np.float64]:
    import torch

    if steps.size == 0.0:
        return np.zeros(sum(len(batch.order) for batch in batches))
    sides = []
    with _evaluating(model), _moved(model, steps.tensors) as move, torch.no_grad():
        for sign in (1.0, -1.0):
            move(sign)
            parts = [losses(model, batch).double().cpu().numpy() for batch in batches]
            sides.append(np.concatenate([np.zeros(0), *parts]))
    values: npt.NDArray[np.float64] = (sides[0] - sides[1]) / (2.0 * steps.size)
    return values


def _forward(
    model: Any,
    named: Mapping[str, npt.NDArray[Floats]],
    batches: Sequence[Batch],
    losses: SampleLosses,
) -> npt.NDArray[np.float64]:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    parameters = {name: tensor.detach() for name, tensor in model.named_parameters()}
    moved = {name: parameters[name] for name in named}
    tangents = {
        name: torch.tensor(named[name], device=tensor.device, dtype=tensor.dtype) for name, tensor in moved.items()
    }
    parts = [np.zeros(0)]
    with _evaluating(model), sdpa_kernel(SDPBackend.MATH):
        for batch in batches:

            def value(own: Any, batch: Batch = batch) -> Any:
                def call(*args: Any, **options: Any) -> Any:
                    return torch.func.functional_call(model, {**parameters, **own}, args, options)

                return losses(call, batch)

            _, tangent = torch.func.jvp(value, (moved,), (tangents,))
            parts.append(tangent.detach().double().cpu().numpy())
    return np.concatenate(parts)


def _backward(
    model: Any,
    blocks: Sequence[Block],
    direction: Mapping[str, npt.NDArray[Floats]],
    batches: Sequence[Batch],
    losses: SampleLosses,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    import torch

    parameter_direction(blocks, direction)  # checks shapes
    matrices: dict[str, Any] = {}
    values, norms = [np.zeros(0)], [np.zeros(0)]
    for batch in batches:
        found, _ = flows(model, blocks, batch, losses)
        dots = torch.zeros(len(batch.order), dtype=torch.float64, device=batch.weights.device)
        squares = torch.zeros_like(dots)
        for name, flow in found.items():
            if name not in matrices:
                matrices[name] = torch.tensor(direction[name], dtype=flow.inputs.dtype, device=flow.inputs.device)
            dots += _dots(flow, matrices[name])
            squares += _squares(flow)
        values.append(dots.cpu().numpy())
        norms.append(squares.sqrt().cpu().numpy())
    return np.concatenate(values), np.concatenate(norms)


def _dots(flow: Flow, matrix: Any) -> Any:
    """Return <matrix, gradient> of each sample: sum over positions of g_t^T U a_t."""
    import torch

    found = ((flow.outputs @ matrix) * flow.inputs).sum(dim=(1, 2), dtype=torch.float64)
    if flow.tokens is not None:
        looked = matrix[flow.tokens][..., : flow.embedded.shape[-1]]
        found = found + (looked * flow.embedded).sum(dim=(1, 2), dtype=torch.float64)
    return found


def _squares(flow: Flow) -> Any:
    """Return the squared length of each sample's gradient: sum over t, t' of (a_t . a_t') (g_t . g_t')."""
    import torch

    positions, outputs, inputs = flow.inputs.shape[1], flow.outputs.shape[-1], flow.inputs.shape[-1]
    if flow.tokens is not None or positions * (outputs + inputs) > outputs * inputs:
        return sample_gradients(flow).pow(2).sum(dim=(1, 2), dtype=torch.float64)
    taken = flow.inputs @ flow.inputs.transpose(1, 2)
    given = flow.outputs @ flow.outputs.transpose(1, 2)
    return (taken * given).sum(dim=(1, 2), dtype=torch.float64).clamp(min=0)


class InfluenceScorer:
    """Scores documents by their influence on a reference loss; conforms to `tamis.scorers.base.Scorer`.

    Adds `quad_influence` (float64: the mean of the chunks' scores, weighted by their tokens; null for a text without a
    token) and `quad_tokens` (int64: tokens that were scored). A chunk's score depends on the chunks it is batched with
    in its last bits only, unless `alone`.

    Args:
        model: a causal language model of transformers, in float32, on the device where it shall run.
        tokenizer: its tokenizer.
        blocks: the blocks that the direction was made for.
        direction: block to matrix, as `inverse_product` returns it.
        context: most tokens in a chunk; None: what the model takes.
        chunks: most chunks of a document that are scored, from its start; None: all.
        batch_tokens: most tokens in a batch, padding included.
        method: see the module.
        cosine: divide by the lengths of direction and candidate's gradient (method `backward`): loud chunks, such as
            very short ones, then don't win by their gradient's length.
        step: for `difference`: how far to go, as a share of the length of the parameters.
        alone: batch a document's chunks with no other's: a score then depends on its document to the last bit.

    Raises:
        ConfigError: if an option is out of range, or `cosine` is asked of another method.
        ModelError: if the direction doesn't fit the model.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        blocks: Sequence[Block],
        direction: Mapping[str, npt.NDArray[np.floating[Any]]],
        *,
        context: int | None = None,
        chunks: int | None = None,
        batch_tokens: int = 4096,
        method: Method = "difference",
        cosine: bool = False,
        step: float = 1e-3,
        alone: bool = False,
    ) -> None:
        if batch_tokens < 1 or (chunks is not None and chunks < 1):
            msg = f"batch_tokens and chunks must be at least 1, got {batch_tokens} and {chunks}"
            raise ConfigError(msg)
        if cosine and method != "backward":
            msg = f"the cosine needs the candidate's gradient, which method {method!r} doesn't compute: use 'backward'"
            raise ConfigError(msg)
        named = parameter_direction(blocks, direction)
        self._length = _length(named)
        self._model, self._tokenizer = model, tokenizer
        self._blocks, self._direction = list(blocks), direction
        self._steps: Steps | None = None
        if method == "difference":  # all that this method needs of the direction, so that it is held once
            _refuse_few_bits(model, named)
            self._steps, self._direction = Steps.along(model, named, step), {}
        self._context = influence_context(model, context)
        self._chunks, self._batch_tokens = chunks, batch_limit(model.config, batch_tokens)
        self._method, self._cosine, self._alone = method, cosine, alone

    @property
    def schema(self) -> pa.Schema:
        """Columns `quad_influence` (float64) and `quad_tokens` (int64)."""
        return pa.schema(
            [pa.field("quad_influence", pa.float64()), pa.field("quad_tokens", pa.int64(), nullable=False)]
        )

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return influence and tokens of each text.

        Raises:
            ModelError: if a loss or a score isn't finite.
        """
        chunks = cut_chunks(self._tokenizer, texts, context=self._context, most=self._chunks)
        batches = self._batches(chunks)
        found = self._scored(list(batches))
        scores = found.scores
        if self._cosine:
            lengths = found.norms * self._length
            scores = np.divide(scores, lengths, out=np.zeros_like(scores), where=lengths > 0)
        documents = np.array([chunk.document for chunk in chunks], np.int64)
        rows = len(texts)
        sums = np.bincount(documents, scores * found.weights, minlength=rows)
        tokens = np.bincount(documents, found.weights, minlength=rows)
        means = np.divide(sums, tokens, out=np.zeros(rows), where=tokens > 0)
        return pa.record_batch(
            [pa.array(means, mask=tokens == 0), pa.array(tokens.astype(np.int64))], schema=self.schema
        )

    def _scored(self, batches: Sequence[Batch]) -> SampleScores:
        if self._steps is None:
            return sample_scores(self._model, self._blocks, self._direction, batches, method=self._method)
        return _told(batches, _difference(self._model, self._steps, batches, chunk_losses), None)

    def _batches(self, chunks: Sequence[Chunk]) -> Iterator[Batch]:
        device = self._model.device
        if not self._alone:
            yield from chunk_batches(chunks, self._batch_tokens, device)
            return
        first = 0
        for _, mine in itertools.groupby(chunks, key=lambda chunk: chunk.document):
            own = list(mine)
            for batch in chunk_batches(own, self._batch_tokens, device):
                yield replace(batch, order=tuple(first + place for place in batch.order))
            first += len(own)
