"""What gradients are taken of: documents cut into chunks, batches of them, and their losses.

A document's tokens, a start token before them, are cut into chunks of at most `context` tokens that overlap by one, so
that every token is predicted exactly once. A chunk's loss is the mean over the tokens it predicts; padding is fed at
the end of shorter chunks and never counted. A document without a token has no chunk.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.causal.models import context_limit, start_token, text_tokens
from tamis.scorers.text.texts import Texts, as_list

__all__ = [
    "Batch",
    "Chunk",
    "SampleLosses",
    "batch_limit",
    "chunk_batches",
    "chunk_losses",
    "cut_chunks",
    "influence_context",
    "token_bytes",
]

_SLICE = 256
"""Positions whose logits are held in double precision at a time."""
_BATCH_BYTES = 1 << 30
"""Of a batch's activations and logits, about."""


class Chunk(NamedTuple):
    """A run of a document's tokens.

    Attributes:
        document: the document's position among those that were cut.
        tokens: two or more; the first is only context.
    """

    document: int
    tokens: list[int]

    @property
    def counted(self) -> int:
        """How many tokens are predicted."""
        return len(self.tokens) - 1


@dataclass(frozen=True)
class Batch:
    """Samples that go through the model together.

    Attributes:
        inputs: what the losses are computed from; tokens (samples, positions) for chunks.
        positions: bool tensor (samples, positions), False for padding; None: a sample is one position, or there is no
            padding.
        weights: float64 tensor (samples,), what a sample counts in a mean over samples: its tokens.
        order: which samples these are.
    """

    inputs: Any
    positions: Any
    weights: Any
    order: tuple[int, ...]


SampleLosses: TypeAlias = Callable[[Any, Batch], Any]
"""From model and batch to a tensor (samples,) of losses, each of its own sample alone."""


def influence_context(model: Any, context: int | None) -> int:
    """Return the most tokens in a chunk: what is asked for, else what the model takes.

    Raises:
        ConfigError: if it is out of range, or nothing is asked for and the model's config doesn't say.
    """
    limit = context_limit(model.config)
    if context is None and limit is None:
        msg = "the model's config says nothing of its context: give `context`"
        raise ConfigError(msg)
    size = min(value for value in (context, limit) if value is not None)
    if size < 2 or (context is not None and size < context):
        msg = f"context is {context}: it must be from 2 to the {limit} tokens that the model takes"
        raise ConfigError(msg)
    return size


def token_bytes(config: Any) -> int:
    """Return what a token's activations and logits take in a batch, about, by the model's `transformers` config."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    return 12 * int(text.vocab_size) + 64 * int(text.hidden_size) * int(text.num_hidden_layers)


def batch_limit(config: Any, batch_tokens: int) -> int:
    """Return the most tokens in a batch: as many as are asked for, unless a large model's take too much memory."""
    return min(batch_tokens, max(1, _BATCH_BYTES // token_bytes(config)))


def cut_chunks(tokenizer: Any, texts: Texts, *, context: int, most: int | None = None) -> list[Chunk]:
    """Cut documents into chunks.

    Args:
        tokenizer: of the model; special tokens are not added but for the start token.
        texts: the documents.
        context: most tokens in a chunk, at least 2.
        most: most chunks of a document, from its start; None: all.

    Raises:
        ModelError: if the tokenizer has no token to start a document with.
    """
    start = start_token(tokenizer)
    chunks: list[Chunk] = []
    for number, text in enumerate(as_list(texts)):
        tokens = [start, *text_tokens(tokenizer, text)] if text else [start]
        cuts = range(0, len(tokens) - 1, context - 1)
        chunks.extend(Chunk(number, tokens[first : first + context]) for first in cuts[:most])
    return chunks


def chunk_batches(chunks: Sequence[Chunk], batch_tokens: int, device: Any = "cpu") -> Iterator[Batch]:
    """Yield batches, longest chunks first (equal lengths need no padding), ties in the order given.

    Args:
        chunks: the chunks.
        batch_tokens: most tokens in a batch, padding included; a chunk alone may be longer.
        device: where the tensors shall be.
    """
    import torch

    order = sorted(range(len(chunks)), key=lambda i: -len(chunks[i].tokens))
    first = 0
    while first < len(order):
        longest = len(chunks[order[first]].tokens)
        batch = order[first : first + max(1, batch_tokens // longest)]
        first += len(batch)
        tokens = torch.zeros((len(batch), longest), dtype=torch.long)
        positions = torch.zeros((len(batch), longest), dtype=torch.bool)
        for row, i in enumerate(batch):
            size = len(chunks[i].tokens)
            tokens[row, :size] = torch.tensor(chunks[i].tokens)
            positions[row, :size] = True
        weights = positions.sum(dim=1).double() - 1
        yield Batch(tokens.to(device), positions.to(device), weights.to(device), tuple(batch))


def chunk_losses(model: Any, batch: Batch) -> Any:
    """Return the mean loss of the counted tokens of each chunk, a tensor (chunks,).

    Without gradients the sums over vocabulary and tokens are in double precision, as differences of losses are wanted.

    Raises:
        ModelError: if a loss isn't finite.
    """
    import torch

    tokens, positions = batch.inputs, batch.positions
    logits = model(input_ids=tokens, attention_mask=positions.long(), use_cache=False).logits
    rows = []
    for row, target, real in zip(logits[:, :-1], tokens[:, 1:], positions[:, 1:], strict=True):
        size = int(real.sum())
        if torch.is_grad_enabled():
            wide = row[:size] if row.dtype == torch.float64 else row[:size].float()
            rows.append(torch.nn.functional.cross_entropy(wide, target[:size]))
            continue
        total = torch.zeros((), dtype=torch.float64, device=row.device)
        for first in range(0, size, _SLICE):
            after = min(size, first + _SLICE)
            wide = row[first:after].double()
            total = total + torch.nn.functional.cross_entropy(wide, target[first:after], reduction="sum")
        rows.append(total / size)
    losses = torch.stack(rows)
    if not bool(torch.isfinite(losses).all()):
        msg = "the proxy model gives a chunk no finite loss: load it with dtype float32, or train it anew"
        raise ModelError(msg)
    return losses
