"""`tamis train proxy`: a small causal language model of the pool, to compute influence with, in minutes on a CPU."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tamis.jobs.documents import Observer, documents, ignore
from tamis.jobs.provenance import version
from tamis.jobs.train.training_files import training_files
from tamis.pipeline.formats.options import ReadOptions
from tamis.schemas.errors import DataError
from tamis.scorers.causal.training import TrainingOptions
from tamis.scorers.models.folder import MODEL_FILE, ModelFolder, read_model_folder, write_model_folder
from tamis.scorers.text.noise import keyed_hash

__all__ = ["TrainedProxy", "train_proxy"]

KIND = "proxy"
HELD_OUT = 64
"""Documents that the loss is measured on, at most; a tenth of a smaller sample."""
PACKAGES = ("torch", "transformers", "tokenizers")


@dataclass(frozen=True)
class TrainedProxy:
    """A trained proxy.

    Attributes:
        folder: where it lies, with digests and provenance.
        documents: that it was trained on.
        parameters: of the model.
        loss: nats a token on documents held out; None if there are none.
        bits_per_byte: the same in bits a byte, which doesn't depend on the vocabulary.
    """

    folder: ModelFolder
    documents: int
    parameters: int
    loss: float | None
    bits_per_byte: float | None


def train_proxy(
    files: Sequence[str],
    folder: Path,
    training: TrainingOptions | None = None,
    *,
    text: str = "text",
    most: int = 10_000,
    threads: int = 1,
    observe: Observer = ignore,
) -> TrainedProxy:
    """Draw documents of the pool, train on them, and write the model's folder.

    The same files and options give the same documents whatever their order, and the same model on one kind of machine.

    Args:
        files: documents of the pool: files, folders, globs.
        folder: for model, tokenizer and `model.json`.
        training: of the model.
        text: the text field.
        most: documents drawn.
        threads: of the CPU; another number changes the model's last bits.
        observe: told of records that can't be read.

    Raises:
        ConfigError: if torch or transformers is missing.
        DataError: if there are no documents, or too few.
        InputError: if files can't be read.
        ModelError: if the folder holds another kind of model, or the training fails.
    """
    import torch

    from tamis.scorers.causal.bits_per_character import measure_losses
    from tamis.scorers.causal.training import train_causal_model

    chosen = training or TrainingOptions()
    if (folder / MODEL_FILE).exists():
        read_model_folder(folder, kind=KIND, verify=False)  # another kind of model is left alone
    texts = _draw(files, text, most, chosen.seed, observe)
    held = texts[: min(HELD_OUT, len(texts) // 10)]
    own = texts[len(held) :]
    (folder / MODEL_FILE).unlink(missing_ok=True)  # no model while it is half of the old and half of the new
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        made = train_causal_model(own, chosen, folder=folder)
        losses = measure_losses(made.model, held, tokenizer=made.tokenizer) if held else None
    finally:
        torch.set_num_threads(before)
    loss = bits = None
    if losses is not None:
        nats = float(losses.nats.sum())
        loss = nats / float(losses.tokens.sum())
        bits = nats / sum(len(one.encode()) for one in held) / 0.6931471805599453
    provenance: dict[str, Any] = {
        "tamis": version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "files": training_files(files),
        "documents": len(own),
        "held_out": {"documents": len(held), "nats_a_token": loss, "bits_a_byte": bits},
        "training": asdict(chosen),
        "threads": threads,
    }
    names = [path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    told = write_model_folder(folder, kind=KIND, files=names, settings={"text": text}, provenance=provenance)
    parameters = sum(parameter.numel() for parameter in made.model.parameters())
    return TrainedProxy(told, len(own), parameters, loss, bits)


def _draw(files: Sequence[str], text: str, most: int, seed: int, observe: Observer) -> list[str]:
    """Return the texts of the documents of least key, in that order."""

    def keyed() -> Iterator[tuple[int, str, str]]:
        for batch in documents(files, ReadOptions(text=text), "pool", observe=observe):
            ids = batch.column("doc_id")
            keys = keyed_hash(seed, "proxy-sample", ids).tolist()
            yield from zip(keys, ids.to_pylist(), batch.column("text").to_pylist(), strict=True)

    chosen = heapq.nsmallest(most, (one for one in keyed() if one[2]))
    if not chosen:
        msg = f"no document with a text in {', '.join(files)} (the text field is {text!r})"
        raise DataError(msg)
    return [one for _, _, one in chosen]
