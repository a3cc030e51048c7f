"""Tokens a second at which texts are measured under a causal language model: a CPU-second of one core, and on a GPU.

    taskset -c 1 python benchmarks/bits_per_character.py [--model FOLDER_OR_GGUF] [--documents FILE] [--dtype float32]

Without `--model` it is a Llama of 1 million parameters with random weights, which costs what a trained one does. On the
CPU it is one thread and CPU-seconds; on a GPU (`--device cuda`, taken where there is one) wall seconds. A first batch,
in which libraries warm up, isn't counted.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are

from tamis.jobs.documents import texts
from tamis.pipeline.formats.options import ReadOptions
from tamis.scorers.causal.bits_per_character import measure_losses
from tamis.scorers.causal.models import load_causal_model, resolve_device


def tiny_model(folder: Path, documents: list[str]) -> None:
    """Save a small model with a tokenizer of the documents."""
    import tokenizers
    import transformers

    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=4096, special_tokens=["<s>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(documents, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>")
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure(model: Any, tokenizer: Any, documents: list[str], batch_tokens: int, context: int | None) -> None:
    """Print a line for one batch size."""
    import torch

    on_gpu = model.device.type == "cuda"
    clock = time.monotonic if on_gpu else time.process_time
    measure_losses(model, documents[:2], tokenizer=tokenizer, batch_tokens=batch_tokens, context=context)
    began = clock()
    found = measure_losses(model, documents, tokenizer=tokenizer, batch_tokens=batch_tokens, context=context)
    seconds = clock() - began
    tokens, characters = int(found.tokens.sum()), int(found.characters.sum())
    memory = f"{torch.cuda.max_memory_allocated() / 1e9:6.1f} GB" if on_gpu else ""
    print(
        f"batch {batch_tokens:7,}  {tokens:9,} tokens  {seconds:8.2f} s  {tokens / seconds:10,.0f} tokens/s  "
        f"{characters / seconds:10,.0f} characters/s  {found.bits_per_character.mean():6.3f} bits/character {memory}",
        flush=True,
    )


def main() -> None:
    """Print a line a batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder or a GGUF file")
    parser.add_argument("--documents", default=str(ROOT / "examples/corpus/target.jsonl.zst"))
    parser.add_argument("--text", default="text")
    parser.add_argument("--limit", type=int, default=16, help="documents")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--context", type=int)
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[1024, 4096])
    options = parser.parse_args()
    import torch

    device = resolve_device(options.device)
    torch.set_num_threads(1)
    batches = texts([options.documents], ReadOptions(text=options.text), "documents")
    documents = [text for batch in batches for text in batch.to_pylist()][: options.limit]
    with tempfile.TemporaryDirectory(prefix="tamis-bench-") as folder:
        if options.model is None:
            tiny_model(Path(folder), documents)
        model, tokenizer = load_causal_model(options.model or folder, device=device, dtype=options.dtype)
    size = sum(parameter.numel() for parameter in model.parameters())
    where = torch.cuda.get_device_name() if device.startswith("cuda") else "one core"
    print(f"{options.model or 'tiny model'}: {size / 1e6:.1f} M parameters, {options.dtype}, {where}")
    for batch_tokens in options.batch_tokens:
        measure(model, tokenizer, documents, batch_tokens, options.context)


if __name__ == "__main__":
    main()
