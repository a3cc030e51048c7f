"""Trains n-gram language models into model folders: texts in, everything that scoring needs out."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from tamis.schemas.errors import ConfigError
from tamis.scorers.models.folder import ModelFolder, write_model_folder
from tamis.scorers.ngram.arpa import Arpa, read_arpa, write_arpa
from tamis.scorers.ngram.estimate import estimate
from tamis.scorers.ngram.kenlm_binary import write_probing
from tamis.scorers.ngram.lmplz import find_lmplz, run_lmplz
from tamis.scorers.perplexity.normalize import NormalizerSpec, parse_normalizer
from tamis.scorers.perplexity.perplexity import LM_KIND, Mode, Policy
from tamis.scorers.perplexity.sentence_pieces import PieceTokenizer
from tamis.scorers.text.spans import Spans, line_spans, text_spans
from tamis.scorers.text.texts import Texts

__all__ = ["TextStream", "TrainedModel", "TrainingDetails", "train_lm", "train_tokenizer"]

TextStream: TypeAlias = "Iterable[str | Texts]"
"""Texts one by one, or batches of them."""

_ARPA, _BINARY, _TOKENIZER = "lm.arpa", "lm.binary", "tokenizer.model"
_BATCH_TEXTS = 1000
_LMPLZ_FROM = 1 << 29
"""From this much text (bytes) on, lmplz takes over if there is one: it sorts on disk."""
_PIECE_BYTES = 1 << 27
"""A tokenizer is trained on the first so many bytes: more text doesn't change its pieces much, and takes memory."""
_PIECE_CHARACTERS = 1000
"""Longer lines are cut: at four bytes a character they stay below the trainer's limit of 4,192."""


@dataclass(frozen=True, slots=True)
class TrainingDetails:
    """What the estimation of a model counted; only lmplz keeps it to itself.

    Attributes:
        estimator: `tamis` or `lmplz`.
        sentences: sentences counted.
        tokens: words or pieces.
        discounts: D1, D2, D3+ of each order.
        fallback: the orders that got the fallback discounts.
        skipped_symbols: how often `<s>`, `</s>` or `<unk>` was left out.
    """

    estimator: str
    sentences: int | None = None
    tokens: int | None = None
    discounts: tuple[tuple[float, float, float], ...] | None = None
    fallback: tuple[int, ...] | None = None
    skipped_symbols: int | None = None


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A trained model.

    Attributes:
        folder: its model folder.
        documents: texts read.
        details: what its estimation counted.
    """

    folder: ModelFolder
    documents: int
    details: TrainingDetails


def train_lm(
    texts: TextStream,
    folder: Path,
    *,
    order: int = 5,
    normalizer: NormalizerSpec = "ccnet",
    mode: Mode = "ccnet",
    policy: Policy = "document",
    tokenizer: Path | None = None,
    pieces: int | None = None,
    discount_fallback: bool | tuple[float, float, float] = True,
    skip_symbols: bool = True,
    use_lmplz: bool | None = None,
    lmplz_memory: str = "50%",
    keep_arpa: bool = True,
    settings: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> TrainedModel:
    """Train a model and write its folder: ARPA and binary, tokenizer, and `model.json` with digests and provenance.

    Args:
        texts: the training documents; read once.
        folder: the folder to write; made if need be.
        order: the longest n-grams, 1 to 6 (2 to 6 for KenLM to read the binary).
        normalizer: applied to every sentence, and stored: scoring uses the same.
        mode: the convention that scoring follows by default (see `tamis.scorers.perplexity.perplexity`).
        policy: what a sentence is, in training and by default in scoring.
        tokenizer: a SentencePiece model whose pieces are the words; copied into the folder.
        pieces: train such a tokenizer with this many pieces (unigram model, 0.9995 of the characters, as cc_net).
        discount_fallback: as in `tamis.scorers.ngram.estimate.estimate`.
        skip_symbols: likewise.
        use_lmplz: True for KenLM's `lmplz` on the PATH, False for the estimator here, None for lmplz where there is
            one and more than 512 MiB of text.
        lmplz_memory: lmplz's `-S`.
        keep_arpa: keep the ARPA file, the portable form; scoring needs the binary alone.
        settings: more settings to store.
        provenance: where the texts come from, to store.

    Raises:
        ConfigError: for an order out of range, both `tokenizer` and `pieces`, or a missing lmplz.
        DataError: if there is no text, or the discounts can't be estimated.
    """
    if tokenizer is not None and pieces is not None:
        msg = "give a tokenizer or a number of pieces to train one with, not both"
        raise ConfigError(msg)
    if use_lmplz and find_lmplz() is None:
        msg = "there is no lmplz on the PATH; build it from KenLM's source, or let Tamis estimate the model itself"
        raise ConfigError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    rules = parse_normalizer(normalizer)
    files = [_BINARY]
    counter = _Counter(texts)
    with tempfile.TemporaryDirectory(prefix=".training-", dir=folder) as scratch:
        work = Path(scratch)
        stream: Iterator[Spans] = (rules.apply(spans) for spans in _sentences(counter, policy))
        spool: Path | None = None
        if pieces is not None or (use_lmplz is not False and find_lmplz() is not None):
            spool = _spooled(stream, work / "sentences.txt")
            stream = _unspooled(spool)
        encoder = None
        if pieces is not None and spool is not None:
            (folder / _TOKENIZER).write_bytes(_train_pieces(spool, pieces))
        elif tokenizer is not None:
            (folder / _TOKENIZER).write_bytes(tokenizer.read_bytes())
        if pieces is not None or tokenizer is not None:
            encoder = PieceTokenizer(folder / _TOKENIZER)
            files.append(_TOKENIZER)
            stream = map(encoder.apply, stream)
        if spool is not None and (use_lmplz or (use_lmplz is None and spool.stat().st_size > _LMPLZ_FROM)):
            text = spool if encoder is None else _spooled(stream, work / "pieces.txt")
            run_lmplz(
                text,
                work / _ARPA,
                order=order,
                discount_fallback=discount_fallback,
                skip_symbols=skip_symbols,
                memory=lmplz_memory,
            )
            arpa, details = read_arpa(work / _ARPA), TrainingDetails("lmplz")
        else:
            found = estimate(stream, order=order, discount_fallback=discount_fallback, skip_symbols=skip_symbols)
            arpa = found.arpa
            details = TrainingDetails(
                "tamis",
                found.sentences,
                found.tokens,
                found.discounts,
                found.fallback,
                found.skipped_symbols,
            )
        _write(arpa, folder, files, keep_arpa=keep_arpa)
    stored = {
        "model": _BINARY,
        "order": order,
        "normalizer": rules.spec,
        "mode": mode,
        "policy": policy,
        "tokenizer": None if encoder is None else _TOKENIZER,
        **(settings or {}),
    }
    origin = {**asdict(details), "documents": counter.documents, **(provenance or {})}
    written = write_model_folder(folder, kind=LM_KIND, files=files, settings=stored, provenance=origin)
    return TrainedModel(written, counter.documents, details)


def train_tokenizer(
    texts: TextStream,
    path: Path,
    *,
    pieces: int,
    normalizer: NormalizerSpec = "ccnet",
    policy: Policy = "document",
) -> None:
    """Train a SentencePiece model for several n-gram models to share, as `train_lm` does for one of its own.

    Args:
        texts: the documents of all of them.
        path: the file to write.
        pieces: their number.
        normalizer: as in `train_lm`.
        policy: likewise.

    Raises:
        ConfigError: if so many pieces can't be made of the texts.
    """
    rules = parse_normalizer(normalizer)
    with tempfile.TemporaryDirectory(prefix=".training-", dir=path.parent) as scratch:
        stream = (rules.apply(spans) for spans in _sentences(_Counter(texts), policy))
        path.write_bytes(_train_pieces(_spooled(stream, Path(scratch) / "sentences.txt"), pieces))


class _Counter:
    """Passes batches of texts on and counts them."""

    def __init__(self, texts: TextStream) -> None:
        self._texts, self.documents = texts, 0

    def __iter__(self) -> Iterator[Texts]:
        single: list[str] = []
        for item in self._texts:
            if isinstance(item, str):
                single.append(item)
                if len(single) == _BATCH_TEXTS:
                    self.documents += len(single)
                    yield single
                    single = []
            else:
                self.documents += len(item)
                yield item
        if single:
            self.documents += len(single)
            yield single


def _sentences(batches: Iterable[Texts], policy: Policy) -> Iterator[Spans]:
    """Yield the sentences of each batch; empty documents are no sentences, and a last line break begins none."""
    for batch in batches:
        if policy == "document":
            spans = text_spans(batch)
            full = spans.ends > spans.starts
            yield Spans(spans.data, spans.starts[full], spans.ends[full])
        else:
            yield line_spans(batch, blank=policy == "lines", trailing=False)[0]


def _spooled(batches: Iterable[Spans], path: Path) -> Path:
    """Write a sentence a line; line breaks inside one become blanks, which separate words all the same."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for spans in batches:
            file.writelines(text.replace("\n", " ") + "\n" for text in spans.texts())
    return path


def _unspooled(path: Path) -> Iterator[Spans]:
    with path.open(encoding="utf-8", newline="\n") as file:
        while lines := file.readlines(1 << 22):
            yield line_spans(pa.array(["".join(lines)], pa.large_string()), trailing=False)[0]


def _train_pieces(path: Path, pieces: int) -> bytes:
    """Train a SentencePiece model on the sentences of a file, on one thread so that it comes out the same again."""
    import io

    import sentencepiece

    model = io.BytesIO()
    with path.open(encoding="utf-8", newline="\n") as file:
        try:
            sentencepiece.SentencePieceTrainer.Train(
                sentence_iterator=_short(file),
                model_writer=model,
                vocab_size=pieces,
                model_type="unigram",
                character_coverage=0.9995,
                hard_vocab_limit=False,
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            msg = (
                f"a tokenizer of {pieces:,} pieces can't be trained on this text: {error}; ask for another number "
                "of pieces"
            )
            raise ConfigError(msg) from error
    return model.getvalue()


def _short(lines: Iterable[str]) -> Iterator[str]:
    """Cut long lines at blanks, for the trainer leaves out those above its limit, and stop after `_PIECE_BYTES`."""
    size = 0
    for line in lines:
        if size > _PIECE_BYTES:
            return
        size += len(line.encode())
        start, end = 0, len(line.rstrip("\n"))
        while end - start > _PIECE_CHARACTERS:
            stop = line.rfind(" ", start, start + _PIECE_CHARACTERS) + 1 or start + _PIECE_CHARACTERS
            yield line[start:stop].rstrip()
            start = stop
        if end > start:
            yield line[start:end]


def _write(arpa: Arpa, folder: Path, files: list[str], *, keep_arpa: bool) -> None:
    write_probing(arpa, folder / _BINARY)
    if keep_arpa:
        write_arpa(arpa, folder / _ARPA)
        files.append(_ARPA)
