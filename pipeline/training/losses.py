"""Measures what documents cost a language model: one column file a model and shard, so that a rerun goes on there."""

import time
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile, write_table
from tamis.schemas.tables import described
from tamis.scorers.causal.bits_per_character import measure_losses
from tamis.scorers.causal.models import CausalModel, load_causal_model, resolve_device

__all__ = ["LossTask", "MeasureLosses", "forget_models", "loss_file"]

LOSS_SCHEMA = pa.schema(
    [
        described("bits_per_character", pa.float64(), "loss of the document in bits a code point", nullable=False),
        described("tokens", pa.int64(), "tokens of the document by the model's tokenizer", nullable=False),
    ]
)
"""One row a document of the sample shard."""

_held: dict[tuple[Any, ...], CausalModel] = {}


@dataclass(frozen=True)
class LossTask:
    """One shard for one model.

    Attributes:
        shard: a file with a column `text`, without empty texts.
        path: where the column file goes.
    """

    shard: str
    path: str


@dataclass(frozen=True)
class MeasureLosses:
    """The work of a pass over shards with one model; a process loads it once.

    Attributes:
        model: its local folder or GGUF file.
        gguf_file: name of a GGUF file in the folder.
        context: tokens in a window; None: what the model takes.
        stride: tokens that a further window counts; None: half a window.
        batch_tokens: most tokens in a batch.
        device: as PyTorch calls it, or `auto`.
        dtype: of the model's numbers.
        threads: of the CPU, for each worker.
    """

    model: str
    gguf_file: str | None = None
    context: int | None = None
    stride: int | None = None
    batch_tokens: int = 4096
    device: str = "auto"
    dtype: str = "float32"
    threads: int = 1

    def __call__(self, task: LossTask) -> dict[str, Any]:
        """Write the shard's column file.

        Returns:
            What was measured: `tokens`, CPU-seconds and wall seconds, and the device; loading the model isn't counted.

        Raises:
            ConfigError: if torch or transformers is missing, or an option doesn't fit the model.
            ModelError: if the model can't be loaded, or a loss isn't finite.
        """
        import torch

        held = self._load()
        with ColumnFile(task.shard, ["text"]) as file:
            texts = file.read().column("text")
            before = torch.get_num_threads()
            torch.set_num_threads(self.threads)
            try:
                began, cpu = time.monotonic(), time.process_time()
                found = measure_losses(
                    held.model,
                    texts,
                    tokenizer=held.tokenizer,
                    context=self.context,
                    stride=self.stride,
                    batch_tokens=self.batch_tokens,
                )
                seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu
            finally:
                torch.set_num_threads(before)
        table = pa.Table.from_arrays([pa.array(found.bits_per_character), pa.array(found.tokens)], schema=LOSS_SCHEMA)
        write_table(task.path, table)
        tokens = int(found.tokens.sum())
        return {"tokens": tokens, "seconds": seconds, "cpu_seconds": cpu_seconds, "device": held.model.device.type}

    def _load(self) -> CausalModel:
        device = resolve_device(self.device)
        key = (self.model, self.gguf_file, device, self.dtype)
        if key not in _held:
            forget_models()  # two large models may not fit
            _held[key] = load_causal_model(self.model, gguf_file=self.gguf_file, device=device, dtype=self.dtype)
        return _held[key]


def forget_models() -> None:
    """Drop the loaded model, so that its memory can be used otherwise."""
    _held.clear()


def loss_file(folder: str, model: str, shard: str) -> str:
    """Return the path of the column file of a model and a shard, both named by digests."""
    return filesystem.join(folder, model, f"{shard}.arrow")
