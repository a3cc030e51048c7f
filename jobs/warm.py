"""Compiles kernels beforehand, so that an image, or a machine's first run, doesn't wait for them.

Each part of the program that has kernels is run once on a few small texts, with tiny models made on the spot: kernels
are compiled for the types of arguments that real runs give them. With a config only the parts that its steps need are
run, and its steps themselves with their own models.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.jobs.warm_parts import MORE_PARTS
from tamis.schemas.config import Config
from tamis.schemas.tables import DOCUMENT_SCHEMA
from tamis.scorers.kernels.jit import KernelState, kernel_states
from tamis.scorers.kernels.machine_code import machine_code_folder

__all__ = ["WarmReport", "warm"]

_SENTENCES = (
    "The committee met on the 3rd of May, and it didn't agree to the U.S. plan [1] that they had of it.",
    "Nobody in the town of Elm Grove could say where the river had been, nor with whom the children went.",
    "See http://example.org/a?b=1 for the terms of use; JavaScript is needed. «Ça va», dit-elle – Σίσυφος.",
    "- A list of 12,345 items…\n- Another one of them\n\n彼は東京に住んでいます。 Всё смешалось в доме.",
)
_MANY_WORDS = 40_000
_TEXTS = tuple(
    "\n".join(_SENTENCES[(i + j) % 4] for j in range(5)) + f"\nDocument {i} of the collection has {i * i} parts."
    for i in range(24)
)


@dataclass(frozen=True)
class WarmReport:
    """What `warm` has done.

    Attributes:
        kernels: the state of all kernels that this process has now.
        folder: where their machine code is kept; None if no folder can be written to.
        seconds: how long it took.
    """

    kernels: tuple[KernelState, ...]
    folder: str | None
    seconds: float

    @property
    def compiled(self) -> tuple[KernelState, ...]:
        """Those of which something was compiled; the others were found compiled, or aren't needed."""
        return tuple(state for state in self.kernels if state.compiled)


def warm(config: Config | None = None) -> WarmReport:
    """Compile all kernels, or those that a run of `config` needs, and keep them for later processes.

    Args:
        config: the config of a run whose inputs may be absent; its models must be there.

    Raises:
        ModelError: if a model of the config is missing or broken.
        ConfigError: if a step's options contradict its model.
    """
    begin = time.perf_counter()
    names = list(PARTS) if config is None else _parts_of(config)
    with tempfile.TemporaryDirectory(prefix="tamis-warm-") as scratch:
        for name in names:
            folder = Path(scratch) / name
            folder.mkdir()
            PARTS[name](folder)
    if config is not None:
        _run_steps(config)
    return WarmReport(tuple(kernel_states()), machine_code_folder(), time.perf_counter() - begin)


def _parts_of(config: Config) -> list[str]:
    """Return the parts that a run needs beyond its steps' annotators."""
    needed = {"documents", "selection", "extract"}
    for step in config.steps:
        if step.verb == "dsir":
            needed.add(f"dsir_{getattr(step, 'hash', 'fast')}")
            if getattr(step, "tokenizer", None) is not None:
                needed.add("dsir_pieces")
        if step.verb in ("cluster", "quad"):
            needed.add("embeddings")
        if step.verb == "perplexity" and str(getattr(step, "model", "")).endswith((".arpa", ".gz")):
            needed.add("ngram_training")
    return [name for name in PARTS if name in needed]


def _run_steps(config: Config) -> None:
    """Score a few texts with each step that has its models before the run begins."""
    from tamis.pipeline.steps.base import Step
    from tamis.pipeline.steps.loaded import annotator_of

    batch = _documents()
    for step in config.steps:
        if not isinstance(step, Step) or (step.fits and "model" not in step.references):
            continue
        scorer = annotator_of(step, {name: found.path for name, found in step.find_all().items()})
        if scorer is not None and set(scorer.requires) <= set(batch.schema.names):
            scorer.annotate(batch)


def _documents() -> pa.RecordBatch:
    """Return the texts as documents of a language that any step may ask for."""
    known: Mapping[str, Any] = {
        "text": pa.array(_TEXTS, pa.large_string()),
        "source": pa.array(["warm"] * len(_TEXTS)),
        "doc_id": pa.array(_ids()),
    }
    fields = [*DOCUMENT_SCHEMA, pa.field("language", pa.string())]
    columns = [known.get(field.name, pa.nulls(len(_TEXTS), field.type)) for field in fields]
    columns[-1] = pa.array(["en"] * len(_TEXTS))
    columns = [column if column.type == field.type else column.cast(field.type)
               for column, field in zip(columns, fields, strict=True)]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _ids() -> list[str]:
    return [hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest() for i in range(len(_TEXTS))]


def _array() -> pa.LargeStringArray:
    return pa.array(_TEXTS, pa.large_string())


# --- the parts ---


def _warm_documents(folder: Path) -> None:
    """Noise and the writing of texts."""
    del folder
    from tamis.scorers.kernels.gather import scatter_texts
    from tamis.scorers.text.noise import gumbel_noise, keyed_hash, uniform_noise
    from tamis.scorers.text.texts import as_buffer

    for noise in (gumbel_noise, keyed_hash, uniform_noise):
        noise(0, "warm", _ids())
    data, offsets = as_buffer(_array())
    rows = np.arange(len(_TEXTS))
    scatter_texts(data, offsets, rows, offsets[:-1].copy(), np.empty(len(data), np.uint8))


def _warm_selection(folder: Path) -> None:
    """Thresholds over the corpus."""
    del folder
    from tamis.scorers.selection.selection import PercentileRange, Selection, TopFraction, TopWeight

    apart = np.arange(len(_TEXTS)) % 5 / 4.0
    for values in (apart, np.ones(len(_TEXTS))):  # few values that lie apart are counted in another way
        for rule in (TopFraction(0.5), TopWeight(0.5), PercentileRange(10.0, 90.0)):
            selection = Selection(rule)
            while (task := selection.next_pass()) is not None:
                selection.advance(task.accumulate(values, _ids()))
            selection.decision().keep(values, _ids())


def _warm_extract(folder: Path) -> None:
    """Text of pages."""
    del folder
    from tamis.scorers.extraction.html import html_to_text, looks_binary, plain_to_text

    page = f"<html><head><title>A</title></head><body><p>{'</p><p>'.join(_SENTENCES)}</p></body></html>"
    html_to_text(page)
    plain_to_text(_TEXTS[0])
    looks_binary(page.encode())


def _warm_encodings(folder: Path) -> None:
    """East Asian encodings; with a config they are left to the first page that has one."""
    del folder
    from tamis.scorers.text.encoding import decode_as

    for encoding in ("gb18030", "euc-jp", "iso-2022-jp", "big5"):
        decode_as(b"A \xb0\xa1 B", encoding)


def _warm_exact_dedup(folder: Path) -> None:
    del folder
    from tamis.scorers.dedup.text_hash import TextHash

    TextHash().score(_array())
    TextHash(normalize="words").score(_array())


def _warm_language(folder: Path) -> None:
    del folder
    from tamis.scorers.language.identify import LanguageIdentifier

    LanguageIdentifier(check_scripts=True).score(_array())


def _warm_classifier(folder: Path) -> None:
    """Classifiers of few labels, also with glued lines."""
    from tamis.scorers.fasttext.model import FastTextModel
    from tamis.scorers.fasttext.training import FastTextOptions, train_classifier

    labels = [str(i % 2) for i in range(len(_TEXTS))]
    options = FastTextOptions(dim=8, epoch=1, bucket=1000)
    train_classifier(_TEXTS, labels, folder, options=options, held_out=0.0)
    FastTextModel(folder).score(_array(), label="1", newline="glue", strip=True)


def _warm_heuristics(folder: Path) -> None:
    """All statistics, and the text that C4 leaves."""
    del folder
    from tamis.scorers.statistics.columns import BAD_WORDS_COLUMN, TEXT_COLUMNS
    from tamis.scorers.statistics.language_words import language_words
    from tamis.scorers.statistics.text_statistics import TextStatistics, c4_clean

    TextStatistics([name for name in TEXT_COLUMNS if name != BAD_WORDS_COLUMN]).score(_array())
    language_words("deu_Latn").find(_array())
    c4_clean(_array())


def _warm_ngram_training(folder: Path) -> None:
    """Training a language model, reading it as ARPA, scoring with it."""
    from tamis.scorers.ngram.arpa import read_arpa
    from tamis.scorers.ngram.estimate import estimate
    from tamis.scorers.perplexity.perplexity import NgramPerplexity
    from tamis.scorers.perplexity.training import train_lm
    from tamis.scorers.text.spans import text_spans

    many = " ".join(map(str, range(_MANY_WORDS)))  # so many that tables grow
    estimate([text_spans([many])], order=2, discount_fallback=True)
    train_lm(_TEXTS, folder, order=3, normalizer="ccnet", policy="lines", use_lmplz=False)
    read_arpa(folder / "lm.arpa")
    NgramPerplexity(folder).score(_array())


def _warm_dsir(name: str) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        """Fitting, weights and the draw."""
        from tamis.scorers.dsir.features import HashName, NgramFeatures
        from tamis.scorers.dsir.model import DsirModel, ngram_counts
        from tamis.scorers.dsir.sampling import DsirSampling
        from tamis.scorers.selection.selection import TopDocuments

        hashes: Mapping[str, HashName] = {"dsir_fast": "fast", "dsir_sha256": "sha256"}
        features = NgramFeatures(hash=hashes.get(name, "fast"))
        if name == "dsir_pieces":
            features = NgramFeatures(tokens=_piece_tokenizer(folder))
        counts = ngram_counts(_array().slice(0, 8), features), ngram_counts(_array().slice(8), features)
        model = DsirModel.fit(*counts, hash=features.hash, tokens=features.tokens)
        weights, lengths = model.weights_and_lengths(_array())
        sampling = DsirSampling(TopDocuments(5), seed=0, min_tokens=1)
        while (task := sampling.next_pass()) is not None:
            sampling.advance(task.accumulate(weights, _ids(), lengths))
        sampling.decision().choose(weights, _ids(), lengths)

    return run


def _piece_tokenizer(folder: Path) -> Any:
    import sentencepiece

    from tamis.scorers.dsir.piece_tokens import PieceTokenizer

    options: Any = {"vocab_size": 120, "hard_vocab_limit": False, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_SENTENCES * 6), model_prefix=str(folder / "pieces"), **options
    )
    return PieceTokenizer(folder / "pieces.model")


def _with_texts(name: str) -> Callable[[Path], None]:
    return lambda folder: MORE_PARTS[name](folder, _TEXTS)


PARTS: Mapping[str, Callable[[Path], None]] = {
    "documents": _warm_documents,
    "selection": _warm_selection,
    "extract": _warm_extract,
    "encodings": _warm_encodings,
    "exact_dedup": _warm_exact_dedup,
    "language": _warm_language,
    "classifier": _warm_classifier,
    "heuristics": _warm_heuristics,
    "ngram_training": _warm_ngram_training,
    **{name: _warm_dsir(name) for name in ("dsir_fast", "dsir_sha256", "dsir_pieces")},
    **{name: _with_texts(name) for name in MORE_PARTS},
}
"""Parts of the program that have kernels; each is handed an empty folder."""
