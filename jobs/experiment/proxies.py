"""Trains one proxy on what was drawn of an arm, and measures it on all evaluation sets."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tamis.jobs.experiment.sources import read_texts
from tamis.jobs.mix.train import packed_texts, proxy_tokenizer, trainer_options
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import ColumnFile
from tamis.schemas.errors import DataError
from tamis.schemas.experiment import NgramProxy, Proxy, TransformerProxy
from tamis.scorers.causal.models import resolve_device
from tamis.scorers.mixture.mixmin import score_tokens
from tamis.scorers.mixture.rows import pack_rows
from tamis.scorers.ngram.closed_vocabulary import ClosedVocabulary
from tamis.scorers.ngram.estimate import estimate
from tamis.scorers.ngram.kenlm_binary import ProbingModel, write_probing
from tamis.scorers.text.spans import text_spans

__all__ = ["TrainProxy", "TrainTask", "proxy_unit"]


def proxy_unit(proxy: Proxy) -> str:
    """Return what losses are measured in."""
    return "nats a byte" if isinstance(proxy, NgramProxy) else "nats a token"


@dataclass(frozen=True)
class TrainTask:
    """One arm with one seed.

    Attributes:
        arm: its name.
        seed: of weights and order.
        drawn: column file of its texts.
        path: where the result goes, a JSON file.
    """

    arm: str
    seed: int
    drawn: str
    path: str


@dataclass(frozen=True)
class TrainProxy:
    """Trains proxies.

    Attributes:
        proxy: what is trained.
        tokens: that each is trained on.
        evaluation: name of each set to its column file of texts.
        vocabulary: file of the words that n-gram models share, one a line.
    """

    proxy: Proxy
    tokens: int
    evaluation: Mapping[str, str]
    vocabulary: str

    def __call__(self, task: TrainTask) -> dict[str, Any]:
        """Train and measure, unless the result is there; return arm, seed, losses, tokens and parameters."""
        if filesystem.exists(task.path):
            with filesystem.open_binary(task.path) as stream:
                found: dict[str, Any] = json.loads(stream.read())
            return found
        if isinstance(self.proxy, NgramProxy):
            result = self._ngram(self.proxy, task)
        else:
            result = self._transformer(self.proxy, task)
        told = {"arm": task.arm, "seed": task.seed, **result}
        with filesystem.write_atomically(task.path) as stream:
            stream.write(json.dumps(told).encode())
        return told

    def _ngram(self, proxy: NgramProxy, task: TrainTask) -> dict[str, Any]:
        with filesystem.open_binary(self.vocabulary) as stream:
            vocabulary = ClosedVocabulary(frozenset(stream.read().decode().splitlines()))
        texts = list(self._cut(task))
        lines = text_spans([vocabulary.primer(), *vocabulary.sentences(texts)])
        made = estimate([lines], order=proxy.order, discount_fallback=True, skip_symbols=True)
        losses = {}
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.binary"
            write_probing(made.arpa, path)
            model = ProbingModel(path)
            for name, file in self.evaluation.items():
                held = [text for _, text in read_texts(file)]
                scores = score_tokens(model, text_spans(list(vocabulary.sentences(held))))
                size = sum(len(line.encode()) + 1 for text in held for line in text.split("\n") if line.strip())
                losses[name] = float(-scores.log10_prob.sum() * math.log(10) / size)
        parameters = sum(len(table.log10_prob) for table in made.arpa.orders)
        return {"losses": losses, "tokens": sum(len(text.split()) for text in texts), "parameters": parameters}

    def _cut(self, task: TrainTask) -> Iterator[str]:
        """Yield texts until they have exactly so many words, repeated if there are too few; the last one is cut."""
        left = self.tokens
        while left > 0:
            before = left
            for _, text in read_texts(task.drawn):
                number = len(text.split())
                if number <= left:
                    yield text
                    left -= number
                else:
                    yield _first_words(text, left)
                    left = 0
                if left == 0:
                    return
            if left == before:
                msg = f"arm {task.arm} has no word to train on"
                raise DataError(msg)

    def _transformer(self, proxy: TransformerProxy, task: TrainTask) -> dict[str, Any]:
        resolve_device(proxy.device)  # says what is missing
        import torch

        from tamis.scorers.mixture.trainer import CausalTrainer

        torch.set_num_threads(proxy.threads)
        tokenizer = proxy_tokenizer(proxy)
        with ColumnFile(task.drawn, ["doc_id", "pass", "text"]) as file:
            drawn = file.read()
        # A document that is there again needs an id of its own.
        ids = [_other_id(i, n) for i, n in zip(*(drawn.column(c).to_pylist() for c in ("doc_id", "pass")), strict=True)]
        rows = pack_rows(
            task.arm,
            list(tokenizer.documents(drawn.column("text").to_pylist())),
            ids,
            context=proxy.context,
            end=tokenizer.end,
            validation_rows=0,
            seed=task.seed,
        )
        steps = max(1, self.tokens // (proxy.context * proxy.batch_rows))
        extra = {}
        for name, path in self.evaluation.items():
            held = list(read_texts(path))
            extra[name] = packed_texts(proxy, name, [i for i, _ in held], [t for _, t in held], 0)
        trainer = CausalTrainer(trainer_options(proxy, steps, task.seed), [rows], extra=extra)
        trainer.train([1.0], steps)
        losses = dict(zip(extra, trainer.evaluate(list(extra)), strict=True))
        tokens = steps * proxy.context * proxy.batch_rows
        return {"losses": losses, "tokens": tokens, "parameters": trainer.parameters, "epochs": trainer.epochs[0]}


def _other_id(doc_id: str, number: int) -> str:
    return f"{(int(doc_id, 16) + number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % (1 << 128):032x}"


def _first_words(text: str, number: int) -> str:
    """Return the beginning of a text with so many words, its lines as they are."""
    kept = []
    for line in text.split("\n"):
        words = line.split()
        kept.append(" ".join(words[:number]))
        number -= min(number, len(words))
        if number == 0:
            break
    return "\n".join(kept)
