"""What a proxy model takes, known from its config alone: memory, and the work of scoring a chunk."""

import time
from dataclasses import dataclass
from pathlib import Path

from tamis.scorers.causal.models import empty_causal_model, load_causal_model, resolve_device
from tamis.scorers.causal.threads import one_thread
from tamis.scorers.influence.fit import InfluenceOptions
from tamis.scorers.influence.layers import FACTOR_BYTES, block_groups, influence_memory
from tamis.scorers.influence.samples import batch_limit, influence_context, token_bytes

__all__ = ["ProxySize", "chunk_seconds", "proxy_size"]


@dataclass(frozen=True)
class ProxySize:
    """The size of a proxy and of the work with it.

    Attributes:
        parameters: their number.
        context: tokens of a chunk, at most.
        fitting: bytes while the direction is fitted.
        scoring: bytes while documents are scored.
        activations: bytes of a token's activations and logits in a batch, about.
        batch: tokens of a batch, at most.
        groups: of layers whose curvature is held at a time.
    """

    parameters: int
    context: int
    fitting: int
    scoring: int
    activations: int
    batch: int
    groups: int


_sizes: dict[tuple[str, InfluenceOptions], ProxySize] = {}


def proxy_size(path: str | Path, options: InfluenceOptions) -> ProxySize:
    """Return the size of a proxy; its weights aren't loaded.

    Args:
        path: folder or GGUF file.
        options: of influence.

    Raises:
        ConfigError: if an option doesn't fit the model, or torch or transformers is missing.
        ModelError: if its config can't be loaded or no layer is found.
    """
    key = (str(path), options)
    if key not in _sizes:
        model = empty_causal_model(path)
        blocks = options.blocks(model)
        need = influence_memory(model, blocks, options.curvature)
        groups = len(block_groups(blocks, FACTOR_BYTES))
        context = influence_context(model, options.context)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        batch = max(context, batch_limit(model.config, options.batch_tokens))
        _sizes[key] = ProxySize(
            parameters,
            context,
            need["curvature"],
            need["scoring"],
            token_bytes(model.config),
            batch,
            groups,
        )
    return _sizes[key]


def chunk_seconds(path: str | Path, context: int, device: str) -> tuple[float, str]:
    """Return how long it takes to score a chunk, by doing so, and on what: `core` or the device.

    Args:
        path: of the proxy.
        context: tokens of the chunk.
        device: as PyTorch calls it, or `auto`.

    Raises:
        ConfigError: if there is no such device.
        ModelError: if the model can't be loaded.
    """
    import torch

    where = resolve_device(device)
    model = load_causal_model(path, device=where).model
    tokens = torch.arange(context, device=where).remainder(int(model.config.get_text_config().vocab_size))[None]
    best = float("inf")
    with one_thread(), torch.no_grad():
        for _ in range(3):
            began = time.perf_counter()
            for _ in range(2):
                float(model(input_ids=tokens, use_cache=False).logits[0, -1].double().logsumexp(dim=0))
            best = min(best, time.perf_counter() - began)
    return best, "core" if where == "cpu" else where
