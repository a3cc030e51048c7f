"""Bits per character of texts under a causal language model of transformers: losses that compare across tokenizers.

BPC = total loss in nats / (characters * ln 2), characters being Python's `len(text)`. Every document is scored on its
own. Its tokens are preceded by one start token, so that the first one has a probability as well and each character is
paid for exactly once: the tokenizer's beginning-of-text token, else its end-of-text token (which separated documents in
training). A document longer than the model's context is scored in windows that overlap: a token is counted in the first
window that holds it, where it sees all earlier tokens or at least `context - stride` of them.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.causal.models import context_limit, load_causal_model, load_tokenizer, start_token, text_tokens
from tamis.scorers.text.texts import Texts, as_list

if TYPE_CHECKING:
    import torch

__all__ = ["Losses", "bits_per_character", "measure_losses"]


class Losses(NamedTuple):
    """What texts cost a model.

    Attributes:
        nats: float64 of shape (texts,), minus the log-probability of all tokens after the start token; 0 for an
            empty text.
        tokens: int64 of shape (texts,), how many those are.
        characters: int64 of shape (texts,), code points.
    """

    nats: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]
    characters: npt.NDArray[np.int64]

    @property
    def bits_per_character(self) -> npt.NDArray[np.float64]:
        """Nats as bits a character, shape (texts,); NaN for an empty text."""
        bits = np.full(len(self.nats), np.nan)
        np.divide(self.nats, self.characters * math.log(2), out=bits, where=self.characters > 0)
        return bits


class _Window(NamedTuple):
    """A run of tokens to feed to the model.

    Attributes:
        text: position of the text.
        tokens: the tokens, the first of which is only context.
        counted: how many of the last tokens are counted here.
    """

    text: int
    tokens: list[int]
    counted: int


def bits_per_character(
    model: Any,
    texts: Texts,
    *,
    tokenizer: Any = None,
    context: int | None = None,
    stride: int | None = None,
    batch_tokens: int = 4096,
) -> npt.NDArray[np.float64]:
    """Return the bits per character of each text; NaN for an empty text.

    The arguments are those of `measure_losses`.

    Raises:
        ConfigError: if `context`, `stride` or `batch_tokens` is out of range.
        ModelError: if the model can't be loaded, the tokenizer has no start token, or a loss isn't finite.
    """
    losses = measure_losses(
        model, texts, tokenizer=tokenizer, context=context, stride=stride, batch_tokens=batch_tokens
    )
    return losses.bits_per_character


def measure_losses(
    model: Any,
    texts: Texts,
    *,
    tokenizer: Any = None,
    context: int | None = None,
    stride: int | None = None,
    batch_tokens: int = 4096,
) -> Losses:
    """Measure the total loss of each text: minus the log-probability of all its tokens after the start token.

    Args:
        model: a `transformers` causal language model, on the device where it shall run, or its local folder.
        texts: the documents.
        tokenizer: its tokenizer; None: the one in the folder that the model came from. Special tokens are not added,
            nor is a special token's name in a text read as one.
        context: most tokens in a window, the start token included; None: what the model's config says.
        stride: tokens that a further window counts, from 1 to `context - 1`; None: half of `context`.
            `context - 1` is the fastest, 1 gives every token the longest context.
        batch_tokens: most tokens in a batch, padding included; a window alone may be longer. Each takes memory
            for a number per entry of the vocabulary.

    Raises:
        ConfigError: if `context`, `stride` or `batch_tokens` is out of range.
        ModelError: if the model can't be loaded, the tokenizer has no start token, or a loss isn't finite.
    """
    documents = as_list(texts)
    model, tokenizer = _loaded(model, tokenizer)
    context, stride = _sizes(model, context, stride)
    if batch_tokens < 1:
        msg = f"batch_tokens is {batch_tokens}: it must be at least 1"
        raise ConfigError(msg)
    start = start_token(tokenizer)
    counts = np.zeros(len(documents), np.int64)
    windows: list[_Window] = []
    for i, text in enumerate(documents):
        if text:
            tokens = text_tokens(tokenizer, text)
            counts[i] = len(tokens)
            windows.extend(_windows(i, [start, *tokens], context, stride))
    windows.sort(key=lambda window: -len(window.tokens))  # equal lengths need no padding; the largest batch comes first
    losses = np.zeros(len(documents), np.float64)
    for batch in _batches(windows, batch_tokens):
        for window, loss in zip(batch, _window_losses(model, batch), strict=True):
            if not math.isfinite(loss):
                msg = f"the language model {_name(model)} gives text {window.text} of the batch no finite loss"
                raise ModelError(msg)
            losses[window.text] += loss
    return Losses(losses, counts, np.array([len(text) for text in documents], np.int64))


def _loaded(model: Any, tokenizer: Any) -> tuple[Any, Any]:
    """Return model and tokenizer, from local files where they are named and not given."""
    if isinstance(model, str | Path):
        loaded = load_causal_model(model)
        return loaded.model, loaded.tokenizer if tokenizer is None else tokenizer
    return model, load_tokenizer(_name(model)) if tokenizer is None else tokenizer


def _name(model: Any) -> str:
    return getattr(model.config, "_name_or_path", "") or type(model).__name__


def _sizes(model: Any, context: int | None, stride: int | None) -> tuple[int, int]:
    limit = context_limit(model.config)
    if context is None:
        if limit is None:
            msg = f"the config of {_name(model)} says nothing of its context: give `context`"
            raise ConfigError(msg)
        context = limit
    if context < 2 or (limit is not None and context > limit):
        msg = f"context is {context}: it must be from 2 to {limit if limit is not None else 'the model’s length'}"
        raise ConfigError(msg)
    stride = max(1, context // 2) if stride is None else stride
    if not 1 <= stride < context:
        msg = f"stride is {stride}: it must be from 1 to {context - 1}, one less than the context"
        raise ConfigError(msg)
    return context, stride


def _windows(text: int, tokens: list[int], context: int, stride: int) -> Iterator[_Window]:
    """Cut a text's tokens, start token first; each later token is counted once."""
    done = 1
    while done < len(tokens):
        stop = min(len(tokens), context if done == 1 else done + stride)
        yield _Window(text, tokens[max(0, stop - context) : stop], stop - done)
        done = stop


def _batches(windows: list[_Window], batch_tokens: int) -> Iterator[list[_Window]]:
    """Group windows, longest first, so that number times longest stays within the limit."""
    first = 0
    while first < len(windows):
        size = max(1, batch_tokens // len(windows[first].tokens))
        yield windows[first : first + size]
        first += size


def _window_losses(model: Any, batch: list[_Window]) -> list[float]:
    """Return the loss of the counted tokens of each window; padding on the right is never seen by a causal model."""
    import torch

    device = model.device
    longest = len(batch[0].tokens)
    tokens = torch.zeros((len(batch), longest), dtype=torch.long)
    mask = torch.zeros_like(tokens)
    counted = torch.zeros((len(batch), longest - 1), dtype=torch.bool)
    for i, window in enumerate(batch):
        size = len(window.tokens)
        tokens[i, :size] = torch.tensor(window.tokens)
        mask[i, :size] = 1
        counted[i, size - 1 - window.counted : size - 1] = True
    tokens, mask, counted = tokens.to(device), mask.to(device), counted.to(device)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
            losses = _token_losses(logits[:, :-1], tokens[:, 1:])
            sums = torch.where(counted, losses, 0.0).double().sum(dim=1)
    finally:
        model.train(training)
    result: list[float] = sums.tolist()
    return result


def _token_losses(logits: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
    """Return minus the log-probabilities of the targets in single precision, a row at a time to bound memory."""
    import torch

    rows = [
        torch.nn.functional.cross_entropy(row.float(), target, reduction="none")
        for row, target in zip(logits, targets, strict=True)
    ]
    return torch.stack(rows)
