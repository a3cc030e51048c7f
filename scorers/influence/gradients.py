"""Per-sample gradients of a model's linear layers, from what goes into each layer and what comes back to its output.

The gradient of a sample's loss with respect to a layer y = W a is sum_t g_t a_t^T over its positions t, a_t the input
and g_t the loss's gradient at the output. So the gradients of a whole batch come from one backward pass that stops at
activations: no gradient of a parameter is stored.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import DataError, ModelError
from tamis.scorers.influence.layers import Block
from tamis.scorers.influence.samples import Batch, SampleLosses, chunk_losses

__all__ = ["BlockSums", "Flow", "GradientSum", "each_flow", "flows", "reference_gradient", "sample_gradients"]


class Flow(NamedTuple):
    """What goes through a block for a batch; padding is zero in both.

    Attributes:
        inputs: tensor (samples, positions, inputs), with a column of ones if there is a bias.
        outputs: tensor (samples, positions, outputs), gradients of each sample's loss.
        positions: int, how many are no padding.
        tokens: of a tied head: tokens (samples, positions) that the embedding looked up, and
        embedded: gradients at its output (samples, positions, inputs).
    """

    inputs: Any
    outputs: Any
    positions: int
    tokens: Any = None
    embedded: Any = None


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    """Have the model as in use, without gradients of parameters; all is given back as it was."""
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    training = [(module, module.training) for module in model.modules()]
    model.eval()
    for parameter, _ in wanted:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter, flag in wanted:
            parameter.requires_grad = flag
        for module, flag in training:
            module.training = flag


def flows(
    model: Any, blocks: Sequence[Block], batch: Batch, losses: SampleLosses = chunk_losses
) -> tuple[dict[str, Flow], Any]:
    """Run a batch forward and backward.

    Args:
        model: a torch module.
        blocks: its blocks.
        batch: the samples.
        losses: see `tamis.scorers.influence.samples.SampleLosses`.

    Returns:
        block name to what went through it, and the losses, a tensor (samples,).

    Raises:
        ModelError: if a layer isn't used, or sees something else than the batch's positions.
    """
    passed, values = _passed(model, blocks, batch, losses)
    return {block.name: _flow(block, passed, batch) for block in blocks}, values


def each_flow(
    model: Any, blocks: Sequence[Block], batch: Batch, losses: SampleLosses = chunk_losses
) -> Iterator[tuple[str, Flow]]:
    """Yield the names and flows that `flows` returns, one at a time: what a block took is given up after it."""
    passed, _ = _passed(model, blocks, batch, losses)
    left = Counter(name for block in blocks for name in _modules(block))
    for block in blocks:
        yield block.name, _flow(block, passed, batch)
        for name in _modules(block):
            left[name] -= 1
            if not left[name]:
                del passed[name]


def _modules(block: Block) -> set[str]:
    return {part.module for part in block.parts} | ({block.embedding} if block.embedding is not None else set())


def _passed(
    model: Any, blocks: Sequence[Block], batch: Batch, losses: SampleLosses
) -> tuple[dict[str, tuple[Any, Any]], Any]:
    """Return what went into each module and what came back to its output, and the losses."""
    import torch

    names = {name for block in blocks for name in _modules(block)}
    seen: dict[str, list[tuple[Any, Any]]] = {name: [] for name in names}
    handles = []

    def watch(name: str) -> Any:
        def hook(_module: Any, inputs: tuple[Any, ...], output: Any) -> None:
            if not output.requires_grad:
                output.requires_grad = True
            seen[name].append((inputs[0].detach(), output))

        return hook

    try:
        handles = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name in names]
        with _frozen(model), torch.enable_grad():
            values = losses(model, batch)
            outputs = [output for name in sorted(names) for _, output in seen[name]]
            gradients = iter(torch.autograd.grad(values.sum(), outputs, allow_unused=True))
    finally:
        for handle in handles:
            handle.remove()
    passed: dict[str, tuple[Any, Any]] = {}
    for name in sorted(names):
        uses = []
        for taken, output in seen.pop(name):
            gradient = next(gradients)
            uses.append((taken, torch.zeros_like(output) if gradient is None else gradient))
        if not uses:
            msg = f"the layer {name} has no part in the model's loss: leave it out with `layers`"
            raise ModelError(msg)
        passed[name] = _joined(name, uses, batch)
    return passed, values.detach()


def _joined(name: str, uses: list[tuple[Any, Any]], batch: Batch) -> tuple[Any, Any]:
    """Return inputs and output gradients (samples, positions, ...), a layer's uses one after the other."""
    import torch

    samples = len(batch.weights)
    out = []
    for pair in uses:
        for tensor in pair:
            where = tensor.shape[: 2 if batch.positions is not None else 1]
            wanted = (samples,) if batch.positions is None else tuple(batch.positions.shape)
            if tuple(where) != wanted:
                msg = (
                    f"the layer {name} sees {list(tensor.shape)} where {list(wanted)} positions go in (an expert, "
                    "perhaps): leave it out with `layers`"
                )
                raise ModelError(msg)
        out.append(pair)
    if len(out) == 1:
        return out[0]
    return torch.cat([taken for taken, _ in out], dim=1), torch.cat([gradient for _, gradient in out], dim=1)


def _flow(block: Block, passed: dict[str, tuple[Any, Any]], batch: Batch) -> Flow:
    import torch

    taken = passed[block.parts[0].module][0]
    gradients = [
        passed[part.module][1] if part.rows is None else passed[part.module][1][..., list(part.rows)]
        for part in block.parts
    ]
    given = gradients[0] if len(gradients) == 1 else torch.cat(gradients, dim=-1)
    if taken.ndim == 2:  # a sample is one position
        taken, given = taken[:, None], given[:, None]
    count = taken.shape[0] * taken.shape[1]
    ones = torch.ones_like(taken[..., :1]) if block.bias else None
    if batch.positions is not None:
        real = batch.positions.repeat(1, taken.shape[1] // batch.positions.shape[1])[..., None]
        taken, given = torch.where(real, taken, 0.0), torch.where(real, given, 0.0)
        ones = real.to(taken.dtype) if block.bias else None
        count = int(real.sum())
    if ones is not None:
        taken = torch.cat([taken, ones], dim=-1)
    if block.embedding is None:
        return Flow(taken, given, count)
    tokens, embedded = passed[block.embedding]
    if batch.positions is not None:
        embedded = torch.where(batch.positions[..., None], embedded, 0.0)
    return Flow(taken, given, count, tokens, embedded)


def sample_gradients(flow: Flow) -> Any:
    """Return each sample's gradient of a block's matrix, a tensor (samples, outputs, inputs)."""
    import torch

    found = torch.einsum("bto,bti->boi", flow.outputs, flow.inputs)
    if flow.tokens is not None:
        width = flow.embedded.shape[-1]
        for matrix, tokens, embedded in zip(found, flow.tokens, flow.embedded, strict=True):
            matrix[:, :width].index_add_(0, tokens, embedded)
    return found


@dataclass
class BlockSums:
    """Weighted sums by block, float64 (outputs, inputs), and of the samples' weights.

    Sums of shards are merged in a fixed order: addition of floating-point numbers isn't associative.
    """

    NOTHING: ClassVar[str]
    """What is said where there is nothing to add up."""

    blocks: dict[str, npt.NDArray[np.float64]]
    weight: float

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Add sums up, in the order given.

        Raises:
            DataError: if there are none.
        """
        parts = list(parts)
        if not parts:
            raise DataError(cls.NOTHING)
        blocks = {name: np.sum([part.blocks[name] for part in parts], axis=0) for name in parts[0].blocks}
        return cls(blocks, sum(part.weight for part in parts))


@dataclass
class GradientSum(BlockSums):
    """A sum of samples' gradients by block."""

    NOTHING: ClassVar[str] = "there is nothing to sum: the reference set has no text"

    @property
    def mean(self) -> dict[str, npt.NDArray[np.float64]]:
        """The weighted mean gradient of each block.

        Raises:
            DataError: if there was no sample.
        """
        if self.weight <= 0:
            msg = "the reference set has no token: give documents with text"
            raise DataError(msg)
        return {name: matrix / self.weight for name, matrix in self.blocks.items()}

    def take_mean(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the same in float32, taking the sums out one by one, so that both needn't be held together.

        Raises:
            DataError: if there was no sample.
        """
        means: dict[str, npt.NDArray[np.float32]] = {}
        for name in list(self.blocks):
            part = GradientSum({name: self.blocks.pop(name)}, self.weight)
            means[name] = part.mean[name].astype(np.float32)
        return means


def reference_gradient(
    model: Any, blocks: Sequence[Block], batches: Iterable[Batch], losses: SampleLosses = chunk_losses
) -> GradientSum:
    """Sum up the gradients of samples, each weighted by its tokens: of a reference set's mean loss per token.

    Args:
        model: a torch module.
        blocks: its blocks.
        batches: the samples.
        losses: of samples.

    Raises:
        ModelError: if a layer isn't used or a gradient isn't finite.
    """
    import torch

    totals: dict[str, Any] = {}
    weight = 0.0
    for batch in batches:
        weight += float(batch.weights.sum())
        for name, flow in each_flow(model, blocks, batch, losses):
            weighted = flow.outputs * batch.weights.to(flow.outputs.dtype)[:, None, None]
            part = weighted.flatten(0, 1).T @ flow.inputs.flatten(0, 1)
            if flow.tokens is not None:
                embedded = flow.embedded * batch.weights.to(flow.embedded.dtype)[:, None, None]
                part[:, : embedded.shape[-1]].index_add_(0, flow.tokens.flatten(), embedded.flatten(0, 1))
            totals[name] = part.double() if name not in totals else totals[name].add_(part)
    for name, matrix in totals.items():
        if not bool(torch.isfinite(matrix).all()):
            msg = f"the gradient of the layer {name} isn't finite: load the proxy model with dtype float32"
            raise ModelError(msg)
    if not totals:
        totals = {block.name: torch.zeros(block.shape, dtype=torch.float64) for block in blocks}
    return GradientSum({name: matrix.cpu().numpy() for name, matrix in totals.items()}, weight)
