"""Kronecker-factored curvature of a model's linear layers, and its inverse applied to a gradient.

For a layer y = W a and samples z with weights w_z: A = mean over positions of a a^T, S = mean over samples of
sum over positions of g g^T, and the layer's block of the Fisher matrix is S (x) A, which acts on the row-major
vec(G) as vec(S G A) (K-FAC: Martens and Grosse 2015, arXiv 1503.05671; layers with positions: Eschenhagen et al. 2023,
arXiv 2311.00636). With A = Qa La Qa^T and S = Qs Ls Qs^T,

    (S (x) A + damping)^-1 vec(G) = vec(Qs [(Qs^T G Qa) / (Ls_i La_j + damping)] Qa^T)

EK-FAC (George et al. 2018, arXiv 1806.03884; for influence: Grosse et al. 2023, arXiv 2308.03296) keeps the
eigenvectors and replaces Ls_i La_j by the mean of (Qs^T G_z Qa)_ij^2 over samples, which takes a second pass. Labels
are the true ones (the empirical Fisher). The samples should be drawn from the pool, at a model that is partly trained;
a chunk weighs as much as its tokens.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.influence.gradients import BlockSums, each_flow, sample_gradients
from tamis.scorers.influence.layers import Block
from tamis.scorers.influence.samples import Batch, SampleLosses, chunk_losses

__all__ = [
    "BlockCurvature",
    "CurvatureKind",
    "CurvatureSums",
    "Damping",
    "EigenvalueSums",
    "collect_curvature",
    "collect_eigenvalues",
    "each_factorised",
    "factorise",
    "inverse_product",
]

CurvatureKind: TypeAlias = Literal["none", "kfac", "ekfac"]
"""What the gradient is divided by: nothing (a plain dot product of gradients), K-FAC, or EK-FAC."""

Matrix: TypeAlias = npt.NDArray[np.float64]


_NO_SAMPLE = "there is nothing to estimate the curvature from: give a sample of the pool"


@dataclass(frozen=True)
class Damping:
    """What is added to the eigenvalues of a block.

    Attributes:
        value: above 0.
        relative: `value` is a share of the mean of the block's eigenvalues, as these differ between layers and models
            by orders of magnitude.

    Raises:
        ConfigError: if the value isn't above 0.
    """

    value: float = 0.1
    relative: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.value < float("inf"):
            msg = f"damping must be above 0, got {self.value}"
            raise ConfigError(msg)

    def of(self, eigenvalues: Matrix) -> float:
        """Return the number to add to `eigenvalues`; 0 for a block whose curvature is all zero."""
        return self.value * float(eigenvalues.mean()) if self.relative else self.value


@dataclass
class CurvatureSums:
    """Sums of a a^T and g g^T by block, in float64; those of shards are merged in a fixed order.

    Attributes:
        inputs: block to sum of a a^T (inputs, inputs), the bias's column included.
        outputs: block to weighted sum of g g^T (outputs, outputs).
        positions: block to number of positions.
        weight: sum of the samples' weights.
    """

    inputs: dict[str, Matrix]
    outputs: dict[str, Matrix]
    positions: dict[str, int]
    weight: float

    @staticmethod
    def merge(parts: "Iterable[CurvatureSums]") -> "CurvatureSums":
        """Add sums up, in the order given.

        Raises:
            DataError: if there are none.
        """
        total: CurvatureSums | None = None
        for part in parts:
            if total is None:
                total = CurvatureSums(dict(part.inputs), dict(part.outputs), dict(part.positions), part.weight)
                continue
            for name in part.inputs:
                total.inputs[name] = total.inputs[name] + part.inputs[name]
                total.outputs[name] = total.outputs[name] + part.outputs[name]
                total.positions[name] += part.positions[name]
            total.weight += part.weight
        if total is None:
            raise DataError(_NO_SAMPLE)
        return total

    def to_bytes(self) -> bytes:
        """Return the sums as bytes, equal for equal sums."""
        return _packed(
            [
                *(
                    part
                    for name in self.inputs
                    for part in (_text(name), self.inputs[name], self.outputs[name], np.array(self.positions[name]))
                ),
                np.array(self.weight),
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "CurvatureSums":
        """Return the sums that `to_bytes` wrote."""
        parts = _unpacked(data)
        rows = [parts[i : i + 4] for i in range(0, len(parts) - 1, 4)]
        return cls(
            {_name(row[0]): row[1] for row in rows},
            {_name(row[0]): row[2] for row in rows},
            {_name(row[0]): int(row[3]) for row in rows},
            float(parts[-1]),
        )


@dataclass
class EigenvalueSums(BlockSums):
    """Weighted sums of (Qs^T G_z Qa)^2 by block."""

    NOTHING: ClassVar[str] = _NO_SAMPLE

    def to_bytes(self) -> bytes:
        """Return the sums as bytes, equal for equal sums."""
        parts = [part for name, matrix in self.blocks.items() for part in (_text(name), matrix)]
        return _packed([*parts, np.array(self.weight)])

    @classmethod
    def from_bytes(cls, data: bytes) -> "EigenvalueSums":
        """Return the sums that `to_bytes` wrote."""
        parts = _unpacked(data)
        return cls({_name(parts[i]): parts[i + 1] for i in range(0, len(parts) - 1, 2)}, float(parts[-1]))


def _text(name: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(name.encode(), np.uint8)


def _name(data: npt.NDArray[Any]) -> str:
    return data.tobytes().decode()


def _packed(parts: Sequence[npt.NDArray[Any]]) -> bytes:
    file = io.BytesIO()
    for part in parts:
        np.save(file, part, allow_pickle=False)
    return file.getvalue()


def _unpacked(data: bytes) -> list[npt.NDArray[Any]]:
    file, parts = io.BytesIO(data), []
    while file.tell() < len(data):
        parts.append(np.load(file, allow_pickle=False))
    return parts


@dataclass(frozen=True)
class BlockCurvature:
    """A block's curvature in its eigenbasis.

    Attributes:
        input_vectors: Qa (inputs, inputs), eigenvectors as columns.
        output_vectors: Qs (outputs, outputs).
        eigenvalues: (outputs, inputs), not negative.
    """

    input_vectors: Matrix
    output_vectors: Matrix
    eigenvalues: Matrix

    def solve(self, gradient: Matrix, damping: Damping) -> Matrix:
        """Return (H + damping)^-1 applied to a gradient (outputs, inputs); zeros if curvature and damping are zero."""
        import torch

        # By torch, not by numpy: so that the number of its threads, which the order of sums follows from, is torch's.
        inputs, outputs = torch.from_numpy(self.input_vectors), torch.from_numpy(self.output_vectors)
        rotated: Matrix = (outputs.T @ torch.from_numpy(gradient) @ inputs).numpy()
        whole = self.eigenvalues + damping.of(self.eigenvalues)
        divided = np.divide(rotated, whole, out=np.zeros_like(rotated), where=whole > 0)
        solved: Matrix = (outputs @ torch.from_numpy(divided) @ inputs.T).numpy()
        return solved


def collect_curvature(
    model: Any, blocks: Sequence[Block], batches: Iterable[Batch], losses: SampleLosses = chunk_losses
) -> CurvatureSums:
    """Sum up both factors over samples.

    Args:
        model: a torch module.
        blocks: its blocks.
        batches: the samples.
        losses: of samples.

    Raises:
        ModelError: if a layer isn't used.
        DataError: if there is no sample.
    """
    taken: dict[str, Any] = {}
    given: dict[str, Any] = {}
    positions = dict.fromkeys((block.name for block in blocks), 0)
    weight = 0.0
    for batch in batches:
        weight += float(batch.weights.sum())
        for name, flow in each_flow(model, blocks, batch, losses):
            inputs, outputs = flow.inputs.flatten(0, 1), flow.outputs.flatten(0, 1)
            scale = batch.weights.to(outputs.dtype).repeat_interleave(flow.outputs.shape[1])[:, None]
            a, s = inputs.T @ inputs, (outputs * scale).T @ outputs
            taken[name] = a.double() if name not in taken else taken[name].add_(a)
            given[name] = s.double() if name not in given else given[name].add_(s)
            positions[name] += flow.positions
    if not taken:
        msg = "there is nothing to estimate the curvature from: the sample of the pool has no text"
        raise DataError(msg)
    return CurvatureSums(
        {name: matrix.cpu().numpy() for name, matrix in taken.items()},
        {name: matrix.cpu().numpy() for name, matrix in given.items()},
        positions,
        weight,
    )


def factorise(sums: CurvatureSums, *, consume: bool = False) -> dict[str, BlockCurvature]:
    """Return each block's K-FAC curvature.

    Args:
        sums: of both factors.
        consume: take the factors out of `sums` one by one, so that they needn't be held together with what is made of
            them.

    Raises:
        ModelError: if a sum isn't finite.
    """
    return dict(each_factorised(sums, consume=consume))


def each_factorised(sums: CurvatureSums, *, consume: bool = False) -> Iterator[tuple[str, BlockCurvature]]:
    """Yield the names and curvatures that `factorise` returns, one at a time; the arguments are the same."""
    for name in list(sums.inputs):
        taken, given = sums.inputs[name], sums.outputs[name]
        if not (np.isfinite(taken).all() and np.isfinite(given).all()):
            msg = f"the curvature of the layer {name} isn't finite: load the proxy model with dtype float32"
            raise ModelError(msg)
        if consume:
            del sums.inputs[name], sums.outputs[name]
        la, qa = _eigen(taken / sums.positions[name])
        ls, qs = _eigen(given / sums.weight)
        eigenvalues = np.outer(np.maximum(ls, 0.0), np.maximum(la, 0.0))
        yield name, BlockCurvature(qa, qs, eigenvalues)


def _eigen(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Return eigenvalues, rising, and eigenvectors as columns, of a matrix that is symmetric but for rounding."""
    import torch

    values, vectors = torch.linalg.eigh(torch.from_numpy((matrix + matrix.T) / 2))
    return values.numpy(), vectors.numpy()


def collect_eigenvalues(
    model: Any,
    blocks: Sequence[Block],
    batches: Iterable[Batch],
    curvature: Mapping[str, BlockCurvature],
    losses: SampleLosses = chunk_losses,
) -> EigenvalueSums:
    """Sum up the squares of the samples' gradients in each block's eigenbasis: EK-FAC's second pass.

    Args:
        model: a torch module.
        blocks: its blocks.
        batches: the samples, those of the first pass.
        curvature: what `factorise` returned.
        losses: of samples.

    Raises:
        DataError: if there is no sample.
    """
    import torch

    totals: dict[str, Any] = {}
    bases: dict[str, tuple[Any, Any]] = {}
    weight = 0.0
    for batch in batches:
        weight += float(batch.weights.sum())
        for name, flow in each_flow(model, blocks, batch, losses):
            if name not in bases:
                kind = {"dtype": flow.inputs.dtype, "device": flow.inputs.device}
                own = curvature[name]
                bases[name] = torch.tensor(own.input_vectors, **kind), torch.tensor(own.output_vectors, **kind)
            qa, qs = bases[name]
            if flow.tokens is None:
                rotated = flow._replace(inputs=flow.inputs @ qa, outputs=flow.outputs @ qs)
                squares = sample_gradients(rotated) ** 2
            else:
                squares = (qs.T @ sample_gradients(flow) @ qa) ** 2
            part = torch.einsum("b,boi->oi", batch.weights.to(squares.dtype), squares)
            totals[name] = part.double() if name not in totals else totals[name].add_(part)
    if not totals:
        msg = "there is nothing to estimate the curvature from: the sample of the pool has no text"
        raise DataError(msg)
    return EigenvalueSums({name: matrix.cpu().numpy() for name, matrix in totals.items()}, weight)


def inverse_product(
    gradient: Mapping[str, npt.NDArray[np.floating[Any]]],
    curvature: Mapping[str, BlockCurvature] | None = None,
    *,
    eigenvalues: EigenvalueSums | None = None,
    damping: Damping | None = None,
) -> dict[str, Matrix]:
    """Return (H + damping)^-1 g by block: the direction along which candidates are scored.

    Args:
        gradient: block to gradient (outputs, inputs), as `GradientSum.mean`.
        curvature: what `factorise` returned; None: H is left out and the gradient itself is returned.
        eigenvalues: of the second pass, which makes it EK-FAC.
        damping: see `Damping`.

    Raises:
        ModelError: if a block has no curvature.
    """
    if curvature is None:
        return {name: matrix.astype(np.float64) for name, matrix in gradient.items()}
    missing = [name for name in gradient if name not in curvature]
    if missing:
        msg = f"there is no curvature of the layer {missing[0]}: collect it for the same blocks"
        raise ModelError(msg)
    out = {}
    for name, matrix in gradient.items():
        own = curvature[name]
        if eigenvalues is not None:
            scaled = eigenvalues.blocks[name] / eigenvalues.weight
            own = BlockCurvature(own.input_vectors, own.output_vectors, scaled)
        out[name] = own.solve(matrix.astype(np.float64), damping or Damping())
    return out
