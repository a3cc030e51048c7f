"""The linear layers of a model as blocks of its curvature: which parameters, and in what layout.

A block is one matrix (outputs, inputs), with one column more for the bias where there is one: a bias is a weight of an
input that is always 1. Attention's query, key and value projections are one block with 3 d outputs (d + 2 d_kv with
grouped queries), whether the model holds them as one matrix or as three, since they share their input and their output
gradients go together (Zhang et al., ICLR 2025, arXiv 2409.16986); `attention="split"` makes three blocks of them.
Embeddings, positions and norms are left out; the head, which has the vocabulary as outputs, is left out unless asked
for.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, ModelError

__all__ = ["FACTOR_BYTES", "Attention", "Block", "Part", "block_groups", "find_blocks", "influence_memory"]

Attention: TypeAlias = Literal["fused", "split"]
"""Query, key and value projections as one block with their cross-covariances, or as three blocks."""

_SEPARATE = ("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("q_lin", "k_lin", "v_lin")
_ONE_AFTER_THE_OTHER = ("c_attn", "qkv_proj", "Wqkv", "wqkv", "in_proj_qkv")
_BY_HEAD = ("query_key_value",)
_MOST_OUTPUTS = 16384
FACTOR_BYTES = 512 << 20
"""Of curvature that is held at a time, about."""


@dataclass(frozen=True)
class Part:
    """The rows that a module gives to a block.

    Attributes:
        module: the module's name.
        weight: the parameter's name, the first of its names if it is tied.
        bias: the bias parameter's name, if there is one.
        transposed: the parameter is (inputs, outputs), as GPT-2 has it.
        rows: which of the module's outputs; None: all of them.
        outputs: how many these are.
    """

    module: str
    weight: str
    bias: str | None
    transposed: bool
    rows: tuple[int, ...] | None
    outputs: int


@dataclass(frozen=True)
class Block:
    """A block of the curvature.

    Attributes:
        name: unique; the module's, or that of what holds the projections.
        parts: modules whose outputs are stacked, all with the same input.
        inputs: columns of the weights, without the one for the bias.
        bias: whether there is a bias.
        embedding: the name of the embedding module whose matrix this is as well (a tied head).
    """

    name: str
    parts: tuple[Part, ...]
    inputs: int
    bias: bool
    embedding: str | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, the bias's column included."""
        return sum(part.outputs for part in self.parts), self.inputs + self.bias

    def parameters(self, matrix: npt.NDArray[Any]) -> Iterator[tuple[Part, npt.NDArray[Any], npt.NDArray[Any] | None]]:
        """Yield for each part its rows of `matrix` as weights (outputs, inputs) and bias (outputs,)."""
        first = 0
        for part in self.parts:
            rows = matrix[first : first + part.outputs]
            yield part, rows[:, : self.inputs], rows[:, self.inputs] if self.bias else None
            first += part.outputs


def find_blocks(
    model: Any, *, attention: Attention = "fused", head: bool = False, layers: str | None = None
) -> list[Block]:
    """Return the blocks of a model, in the order of its modules.

    Args:
        model: a torch module; GPT-2, GPT-NeoX, Llama, Qwen and their kin are known by their layers' names.
        attention: see `Attention`.
        head: whether the output head counts.
        layers: a regular expression; only modules whose name it is found in.

    Raises:
        ConfigError: if an option is unknown, `layers` is no regular expression, or the head is too large.
        ModelError: if no layer is found.
    """
    if attention not in ("fused", "split"):
        msg = f"unknown attention {attention!r}: choose 'fused' or 'split'"
        raise ConfigError(msg)
    try:
        wanted = re.compile(layers or "")
    except re.error as error:
        msg = f"layers {layers!r} is no regular expression: {error}"
        raise ConfigError(msg) from error
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    tables = {id(module): name for name, module in _embeddings(model)}
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    found: dict[str, Block] = {}
    for name, module in model.named_modules():
        if not _is_linear(module) or not wanted.search(name) or (module is output and not head):
            continue
        part = _part(name, module, names)
        if module is output and part.outputs > _MOST_OUTPUTS:
            msg = (
                f"the head has {part.outputs} outputs, and its factor would take {part.outputs**2 * 8 / 1e9:.0f} GB: "
                "leave it out"
            )
            raise ConfigError(msg)
        tied = None
        if output is not None and module is output:
            tied = next((tables[id(other)] for _, other in _embeddings(model) if other.weight is output.weight), None)
        inputs = module.weight.shape[0 if part.transposed else 1]
        found[name] = Block(name, (part,), inputs, part.bias is not None, tied)
    if attention == "fused":
        found = _fused(found)
    else:
        found = {block.name: block for whole in found.values() for block in _split(model, whole)}
    if not found:
        msg = f"the model has no linear layer{f' whose name has {layers!r} in it' if layers else ''}: name others"
        raise ModelError(msg)
    return list(found.values())


def _embeddings(model: Any) -> list[tuple[str, Any]]:
    import torch

    return [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Embedding)]


def _is_linear(module: Any) -> bool:
    import torch

    return isinstance(module, torch.nn.Linear) or (type(module).__name__ == "Conv1D" and module.weight.ndim == 2)


def _part(name: str, module: Any, names: dict[int, str]) -> Part:
    transposed = type(module).__name__ == "Conv1D"
    bias = getattr(module, "bias", None)
    outputs = module.weight.shape[1 if transposed else 0]
    return Part(name, names[id(module.weight)], None if bias is None else names[id(bias)], transposed, None, outputs)


def _fused(found: dict[str, Block]) -> dict[str, Block]:
    """Put separate query, key and value projections of one parent together."""
    out: dict[str, Block] = {}
    done: set[str] = set()
    for name, block in found.items():
        if name in done:
            continue
        parent, _, last = name.rpartition(".")
        trio = next((trio for trio in _SEPARATE if last in trio), None)
        members = [found.get(f"{parent}.{other}" if parent else other) for other in trio] if trio else []
        three = [member for member in members if member is not None]
        if len(three) == 3 and len({(member.inputs, member.bias) for member in three}) == 1:
            label = f"{parent}.qkv" if parent else "qkv"
            out[label] = Block(label, tuple(member.parts[0] for member in three), block.inputs, block.bias)
            done.update(member.name for member in three)
        else:
            out[name] = block
    return out


def _split(model: Any, block: Block) -> list[Block]:
    """Cut one matrix of query, key and value projections into three blocks."""
    part = block.parts[0]
    last = block.name.rpartition(".")[2]
    if last not in _ONE_AFTER_THE_OTHER + _BY_HEAD:
        return [block]
    config = getattr(model, "config", None)
    heads = getattr(config, "num_attention_heads", None)
    groups = getattr(config, "num_key_value_heads", None) or heads
    if last in _BY_HEAD:
        if heads is None or groups != heads or part.outputs % (3 * heads):
            msg = f"the layout of {block.name} isn't known: use attention 'fused'"
            raise ModelError(msg)
        order = np.arange(part.outputs).reshape(heads, 3, -1)
        rows = [order[:, i].reshape(-1) for i in range(3)]
    else:
        shares = (heads, groups, groups) if heads and groups else (1, 1, 1)
        if part.outputs % sum(shares):
            msg = f"the layout of {block.name} isn't known: use attention 'fused'"
            raise ModelError(msg)
        size = part.outputs // sum(shares)
        cuts = np.cumsum([0, *shares]) * size
        rows = [np.arange(cuts[i], cuts[i + 1]) for i in range(3)]
    return [
        Block(
            f"{block.name}.{name}",
            (Part(part.module, part.weight, part.bias, part.transposed, tuple(chosen.tolist()), len(chosen)),),
            block.inputs,
            block.bias,
        )
        for name, chosen in zip(("q", "k", "v"), rows, strict=True)
    ]


def block_groups(blocks: Sequence[Block], most: int) -> list[list[Block]]:
    """Return the blocks in groups whose curvature is held at a time, the last blocks first.

    Args:
        blocks: in the order of the model.
        most: bytes of a group's factors in float64; a block alone may have more.
    """
    groups: list[list[Block]] = []
    room = 0
    for block in reversed(blocks):
        need = _curvature_bytes(block)
        if not groups or need > room:
            groups.append([])
            room = most
        groups[-1].append(block)
        room -= need
    return groups


def _curvature_bytes(block: Block, curvature: str = "ekfac") -> int:
    """Return the bytes of both factors, or of their eigenvectors, and of EK-FAC's eigenvalues."""
    outputs, inputs = block.shape
    return 8 * (outputs**2 + inputs**2 + (outputs * inputs if curvature == "ekfac" else 0))


def influence_memory(
    model: Any, blocks: Sequence[Block], curvature: str = "ekfac", factor_bytes: int = FACTOR_BYTES
) -> dict[str, int]:
    """Return the bytes that a worker needs beside activations; the model may be on the `meta` device.

    Args:
        model: the model.
        blocks: its blocks.
        curvature: `none`, `kfac` or `ekfac`.
        factor_bytes: of curvature that are held at a time.

    Returns:
        `curvature` (model, the gradient's sums, then the gradient and a group's curvature, and what the largest block's
        eigenvectors take while they are found) and `scoring` (model, saved copy and direction).
    """
    own = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    wide = sum(outputs * inputs for outputs, inputs in (block.shape for block in blocks))
    held = 0
    if curvature != "none":
        groups = block_groups(blocks, factor_bytes)
        alone = max(max(outputs**2, inputs**2) + outputs * inputs for outputs, inputs in (b.shape for b in blocks))
        held = max(sum(_curvature_bytes(block, curvature) for block in group) for group in groups) + 3 * 8 * alone
    return {"curvature": own + max(8 * wide, 4 * wide + held), "scoring": own + 2 * 4 * wide}
