"""Small causal language models trained on a CPU in minutes: proxies, for which a large model would be too dear.

A Llama of a few hundred thousand to some million parameters over bytes or a small BPE vocabulary. The same texts,
options and number of threads give the same model on one kind of processor; another kind may differ in the last bits.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.schemas.wording import install_extra
from tamis.scorers.causal.models import CausalModel, quiet_transformers, text_tokens
from tamis.scorers.text.texts import Texts, as_list

__all__ = ["TrainingOptions", "byte_tokenizer", "train_causal_model"]

_START = "<s>"


@dataclass(frozen=True)
class TrainingOptions:
    """The model and its training.

    Attributes:
        dimensions: width of the model.
        layers: number of layers.
        heads: of attention; must divide `dimensions` into even parts.
        context: tokens in a row.
        vocabulary: its size; 257 are the bytes and the start token, more are learned from the texts (BPE).
        steps: of the optimiser (AdamW, cosine schedule with a warm-up of a tenth).
        batch: rows in a step.
        rate: highest learning rate.
        decay: of the weights.
        seed: of the start values and of the order of rows.

    Raises:
        ConfigError: if a value is out of range.
    """

    dimensions: int = 128
    layers: int = 2
    heads: int = 4
    context: int = 128
    vocabulary: int = 257
    steps: int = 300
    batch: int = 16
    rate: float = 3e-3
    decay: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        lows = {"dimensions": 2, "layers": 1, "heads": 1, "context": 2, "vocabulary": 257, "steps": 0, "batch": 1}
        for name, low in lows.items():
            if getattr(self, name) < low:
                msg = f"{name} must be at least {low} to train a language model, got {getattr(self, name)}"
                raise ConfigError(msg)
        if self.dimensions % (2 * self.heads):
            msg = f"dimensions ({self.dimensions}) must be a multiple of twice the heads ({self.heads})"
            raise ConfigError(msg)
        if not (0 < self.rate < math.inf and 0 <= self.decay < 1 and 0 <= self.seed < 2**31):
            msg = (
                "rate must be above 0, decay in [0, 1) and seed in [0, 2^31), "
                f"got {self.rate}, {self.decay} and {self.seed}"
            )
            raise ConfigError(msg)


def byte_tokenizer(texts: Texts = (), vocabulary: int = 257) -> Any:
    """Return a transformers tokenizer over UTF-8 bytes; a vocabulary above 257 adds merges learned from `texts`."""
    try:
        import tokenizers
        import transformers
    except ImportError as error:
        msg = f"language models need the packages torch and transformers: {install_extra('lm')}"
        raise ConfigError(msg) from error
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    if vocabulary == 257:
        names = {_START: 0, **{letter: i for i, letter in enumerate(alphabet, 1)}}
        whole = tokenizers.Tokenizer(tokenizers.models.BPE(names, []))
    else:
        whole = tokenizers.Tokenizer(tokenizers.models.BPE())
    whole.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.decoder = tokenizers.decoders.ByteLevel()
    if vocabulary > 257:
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=vocabulary, special_tokens=[_START], initial_alphabet=alphabet, show_progress=False
        )
        whole.train_from_iterator(as_list(texts), trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=whole, bos_token=_START)


def train_causal_model(
    texts: Texts,
    options: TrainingOptions | None = None,
    *,
    folder: str | Path | None = None,
    start: CausalModel | None = None,
) -> CausalModel:
    """Train a model on texts, in their order as one stream with a start token before each, rows of it shuffled.

    Args:
        texts: what to train on.
        options: of model and training.
        folder: where to save model and tokenizer as transformers does; None: nowhere.
        start: a model to go on from, which is changed; its tokenizer and context are used.

    Raises:
        ConfigError: if torch or transformers is missing.
        DataError: if the texts are shorter than a row.
        ModelError: if the loss isn't finite.
    """
    chosen = options or TrainingOptions()
    try:
        import torch
        import transformers
    except ImportError as error:
        msg = f"language models need the packages torch and transformers: {install_extra('lm')}"
        raise ConfigError(msg) from error
    documents = as_list(texts)
    generator = torch.Generator().manual_seed(chosen.seed)
    if start is None:
        tokenizer = byte_tokenizer(documents, chosen.vocabulary)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(chosen.seed)
            model = transformers.LlamaForCausalLM(_config(transformers, chosen, len(tokenizer)))
    else:
        model, tokenizer = start
    rows = _rows(tokenizer, documents, chosen.context)
    optimiser = torch.optim.AdamW(model.parameters(), lr=chosen.rate, weight_decay=chosen.decay, betas=(0.9, 0.95))
    model.train()
    for step, chosen_rows in enumerate(_order(len(rows), chosen, generator)):
        for group in optimiser.param_groups:
            group["lr"] = chosen.rate * _schedule(step, chosen.steps)
        tokens = torch.tensor(rows[chosen_rows], device=model.device)
        logits = model(input_ids=tokens, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        if not bool(torch.isfinite(loss)):
            msg = f"the loss of the language model isn't finite after {step} steps: lower the rate ({chosen.rate})"
            raise ModelError(msg)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    model.eval()
    if folder is not None:
        with quiet_transformers(transformers):
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    return CausalModel(model, tokenizer)


def _config(transformers: Any, options: TrainingOptions, vocabulary: int) -> Any:
    return transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=options.dimensions,
        intermediate_size=3 * options.dimensions,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        max_position_embeddings=options.context,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,
    )


def _rows(tokenizer: Any, documents: list[str], context: int) -> npt.NDArray[np.int64]:
    """Return the stream of tokens in rows; the rest that fills no row is left out."""
    stream: list[int] = []
    for document in documents:
        if document:
            stream.append(tokenizer.bos_token_id)
            stream.extend(text_tokens(tokenizer, document))
    count = len(stream) // context
    if count == 0:
        msg = (
            f"the texts have {len(stream)} tokens, less than a row of {context}: give more to train a language model on"
        )
        raise DataError(msg)
    return np.array(stream[: count * context], np.int64).reshape(count, context)


def _order(rows: int, options: TrainingOptions, generator: Any) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of each step: all rows in a random order, then all in another, and so on."""
    import torch

    waiting = np.zeros(0, np.int64)
    for _ in range(options.steps):
        while len(waiting) < options.batch:
            waiting = np.concatenate([waiting, torch.randperm(rows, generator=generator).numpy()])
        yield waiting[: options.batch]
        waiting = waiting[options.batch :]


def _schedule(step: int, steps: int) -> float:
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
