"""Trains a family of tiny language models on the sample corpus, for the tutorial of `tamis train preselect`.

    python examples/preselect/build_models.py [--output runs/preselect/models]
    python examples/preselect/build_models.py --score MODEL        the score of another model, a folder or GGUF file

Five Llama-style models share a tokenizer and differ in size, in training, and in what they read: the smaller ones more
code, the larger ones more prose. Each is scored on `target.jsonl.zst`, prose that none was trained on: the percentage
that it saves against eight bits a character. That is the benchmark here; for models of a useful size take the average
of downstream benchmarks instead. Takes a minute of one core.
"""

import argparse
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.jobs.documents import texts
from tamis.pipeline.formats.options import ReadOptions
from tamis.scorers.causal.bits_per_character import bits_per_character

__all__ = ["FAMILY", "Member", "benchmark", "build", "main"]

CORPUS = Path(__file__).resolve().parent.parent / "corpus"
CONTEXT = 128
HELD_OUT = 60
VOCABULARY = 1024
START = "<|endoftext|>"


@dataclass(frozen=True)
class Member:
    """A model of the family.

    Attributes:
        name: its folder.
        width: of the hidden states.
        layers: number of layers.
        steps: batches of training.
        prose: share of prose in what it reads; the rest is code.
    """

    name: str
    width: int
    layers: int
    steps: int
    prose: float


FAMILY = (
    Member("nano", 32, 1, 60, 0.1),
    Member("micro", 48, 1, 100, 0.3),
    Member("mini", 64, 2, 140, 0.5),
    Member("small", 80, 2, 200, 0.7),
    Member("base", 96, 3, 280, 0.95),
)


def build(
    output: Path, family: Sequence[Member] = FAMILY, *, batch: int = 8, held_out: int = HELD_OUT, seed: int = 0
) -> dict[str, float]:
    """Train the models, save each in a folder of its own, and return their scores, weakest first as given.

    Args:
        output: where the folders go.
        family: what to train.
        batch: sequences a step.
        held_out: documents to score on.
        seed: of weights and order of texts.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    with _one_thread():
        prose, code = _texts("books.jsonl.zst", "body") + _texts("encyclopedia.parquet"), _texts("code.jsonl.gz")
        tokenizer = _tokenizer([*prose, *code])
        tokens = {"prose": _stream(tokenizer, prose, seed), "code": _stream(tokenizer, code, seed)}
        scores = {}
        for member in family:
            model = _train(member, tokenizer, tokens, batch, seed)
            folder = output / member.name
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            scores[member.name] = benchmark(model, tokenizer, held_out)
        return scores


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute in one thread: with several, sums differ in the last bits from machine to machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def benchmark(model: Any, tokenizer: Any = None, held_out: int = HELD_OUT) -> float:
    """Return the percentage that a model saves against eight bits a character on prose that the family hasn't read.

    Args:
        model: the model, its folder or GGUF file.
        tokenizer: its tokenizer; None: the one in the folder.
        held_out: number of documents.
    """
    documents = _texts("target.jsonl.zst")[:held_out]
    bits = bits_per_character(model, documents, tokenizer=tokenizer, stride=CONTEXT - 1, batch_tokens=1024)
    return round(100 * (1 - float(bits.mean()) / 8), 2)


def _texts(name: str, field: str = "text") -> list[str]:
    batches = texts([str(CORPUS / name)], ReadOptions(text=field), name)
    return [text for batch in batches for text in batch.to_pylist()]


def _tokenizer(documents: Sequence[str]) -> Any:
    import tokenizers
    import transformers

    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[START],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(documents, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=START, eos_token=START)


def _stream(tokenizer: Any, documents: list[str], seed: int) -> list[int]:
    """Return the tokens of all documents in a random order, a start token before each."""
    order = random.Random(seed).sample(documents, len(documents))
    encoded = tokenizer(order, add_special_tokens=False, verbose=False)["input_ids"]
    return [token for document in encoded for token in (tokenizer.bos_token_id, *document)]


def _train(member: Member, tokenizer: Any, tokens: Mapping[str, Sequence[int]], batch: int, seed: int) -> Any:
    """Train one model: sequences begin anywhere in the tokens of prose or of code."""
    import torch
    import transformers

    torch.manual_seed(seed)
    draw = random.Random(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=member.width,
        intermediate_size=2 * member.width,
        num_hidden_layers=member.layers,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = transformers.LlamaForCausalLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=member.steps)
    for _ in range(member.steps):
        rows = []
        for _ in range(batch):
            stream = tokens["prose" if draw.random() < member.prose else "code"]
            start = draw.randrange(len(stream) - CONTEXT)
            rows.append(stream[start : start + CONTEXT])
        ids = torch.tensor(rows)
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def main() -> None:
    """Build the family and print the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/preselect/models"))
    parser.add_argument("--score", type=Path, metavar="MODEL")
    options = parser.parse_args()
    if options.score:
        with _one_thread():
            print(f"{options.score.name} {benchmark(options.score):.2f}")
        return
    scores = build(options.output)
    for name, score in scores.items():
        print(f"{name:6} {score:6.2f}")
    if list(scores.values()) != sorted(scores.values()):
        print("the order isn't that of train.yaml: put these scores there")


if __name__ == "__main__":
    main()
