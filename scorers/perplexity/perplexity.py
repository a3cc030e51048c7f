"""Perplexity of documents under an n-gram language model, with the conventions of cc_net, OSCAR and KenLM.

A perplexity is `10 ** (-log10_prob / tokens)`, and the same text under the same model has as many of them as there
are conventions for what a sentence and a token are. So the columns hold the parts: `<name>_log10_prob`, the log10
probability of all sentences with their ends; `<name>_tokens`, what that mode divides by: **the words (or pieces) as
the mode counts them plus one end for each sentence**; and `<name>_oov`, how many words the model doesn't know. In
every mode

    <name>_perplexity = 10 ** (-<name>_log10_prob / <name>_tokens)

in float64 (with `oscar` to seven digits: the reference computes in float32). All but `oov` and `tokens`, which are 0,
are null where a text has no sentence to score.

* `ccnet` (arXiv:1911.00359): the whole document is one sentence (the normaliser deletes its line breaks). The model
  splits it at ASCII white space; words are counted by `str.split`, which knows more of it, or as pieces if there is a
  tokenizer. An empty text, or one without a piece, has nothing to score.
* `oscar` (ungoliant 2.0, `harmful_pp`): the whole document is one sentence, line breaks count as blanks. Words are
  split and counted at Unicode's White_Space. An empty text is an empty sentence, and is scored.
* `kenlm`: every line is a sentence, words are split and counted at ASCII white space. A text without a line has nothing
  to score.

A NUL separates words, as it does when lmplz trains; KenLM's `Model.score` would drop what follows it.
"""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import ConfigError
from tamis.schemas.tables import described
from tamis.scorers.models.folder import MODEL_FILE, ModelFolder, read_model_folder
from tamis.scorers.models.hub import resolve
from tamis.scorers.ngram.model import SentenceModel, open_ngram_model
from tamis.scorers.perplexity.normalize import NONE, Normalizer, NormalizerSpec, parse_normalizer
from tamis.scorers.perplexity.pairing import (
    check_normalizer,
    check_tokenizer,
    refuse_other_normalizer,
    refuse_other_tokenizer,
)
from tamis.scorers.perplexity.sentence_pieces import PieceScorer, PieceTokenizer
from tamis.scorers.text.spans import Spans, line_spans, text_spans
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["LM_KIND", "Mode", "NgramPerplexity", "Policy"]

Mode = Literal["ccnet", "oscar", "kenlm"]
Policy = Literal["document", "lines", "nonblank_lines"]

LM_KIND = "ngram_lm"
"""The kind of model folder that holds an n-gram model."""


class _Convention(NamedTuple):
    """What a mode fixes; the module's text says why."""

    policy: Policy = "document"
    normalizer: Normalizer = NONE
    unicode_split: bool = False
    python_count: bool = False
    trailing: bool = True
    """Whether a last "\\n" starts one more (empty) line."""
    empty_is_null: bool = False


_CONVENTIONS: Mapping[Mode, _Convention] = {
    "ccnet": _Convention(normalizer=Normalizer("ccnet"), python_count=True, empty_is_null=True),
    "oscar": _Convention(unicode_split=True),
    "kenlm": _Convention(policy="lines", trailing=False),
}
_POLICIES: tuple[Policy, ...] = ("document", "lines", "nonblank_lines")
_LANGUAGE_MODEL = re.compile(r"(?P<language>.+)\.arpa(?:\.trie)?(?:\.bin)?")


class NgramPerplexity:
    """Scores texts with an n-gram model.

    Attributes:
        model: the language model.
        tokenizer: the SentencePiece model, or None for words.
        normalizer: the normaliser.
        policy: what a sentence is.
        mode: whose conventions are followed.
        folder: the model folder, if the model came from one.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        tokenizer: str | Path | None = None,
        normalizer: NormalizerSpec = None,
        policy: Policy | None = None,
        mode: Mode | None = None,
        name: str = "quality",
        precision: Literal["library", "exact"] = "library",
        check: bool = True,
    ) -> None:
        """Open the model.

        Args:
            model: a model folder, an ARPA file or a KenLM binary:
                a path or whatever `tamis.scorers.models.hub.resolve` takes.
            tokenizer: a SentencePiece model, likewise; None for the folder's own, or `LANG.sp.model` beside a model
                called `LANG.arpa.bin` (the layout of published models), else words; `"none"` for words.
            normalizer: a normaliser or its name; None for the folder's own, else the mode's.
            policy: `document` (one sentence), `lines` (each line one sentence, blank ones too) or `nonblank_lines`;
                None for the folder's own, else the mode's.
            mode: `ccnet`, `oscar` or `kenlm`; None for the folder's own, else `ccnet`.
            name: the columns are called `<name>_log10_prob` and so on.
            precision: how a sentence's words are added up: `library` in float32 as KenLM's library does, bit for bit;
                `exact` in float64, which differs from the seventh digit on, in very long documents from the fifth.
            check: refuse a tokenizer or normaliser that the model's words show it wasn't trained with.

        Raises:
            ModelError: if the model or tokenizer is missing, damaged, or not what the other was trained with.
            ConfigError: for an unknown mode, policy or normaliser.
        """
        self._arguments: dict[str, Any] = {
            "tokenizer": tokenizer,
            "normalizer": normalizer,
            "policy": policy,
            "mode": mode,
            "name": name,
            "precision": precision,
            "check": check,
        }
        self._reference = model
        path = resolve(model)
        self.folder: ModelFolder | None = None
        settings: Mapping[str, Any] = {}
        if path.is_dir() or path.name == MODEL_FILE:
            self.folder = read_model_folder(path if path.is_dir() else path.parent, kind=LM_KIND)
            settings = self.folder.settings
            path = self.folder.file(settings["model"])
        self.mode: Mode = mode or settings.get("mode") or "ccnet"
        if self.mode not in _CONVENTIONS:
            msg = f"there is no perplexity mode {self.mode!r}; there are {', '.join(_CONVENTIONS)}"
            raise ConfigError(msg)
        self._convention = _CONVENTIONS[self.mode]
        self.policy: Policy = policy or settings.get("policy") or self._convention.policy
        if self.policy not in _POLICIES:
            msg = f"there is no perplexity policy {self.policy!r}; there are {', '.join(_POLICIES)}"
            raise ConfigError(msg)
        if precision not in ("library", "exact"):
            msg = f"the precision of a perplexity is library or exact, not {precision!r}"
            raise ConfigError(msg)
        self._exact = precision == "exact"
        self.normalizer = self._choose_normalizer(normalizer)
        self.tokenizer = self._choose_tokenizer(tokenizer, path)
        self.model: SentenceModel = open_ngram_model(path)
        self._pieces = None if self.tokenizer is None else PieceScorer(self.model, self.tokenizer)
        if check and self.folder is None:
            check_tokenizer(self.model, self.tokenizer, name=str(model))
            check_normalizer(self.model, self.normalizer, named=normalizer is not None, name=str(model))
        self.schema = pa.schema(
            [
                described(f"{name}_log10_prob", pa.float64(), "log10 probability of all sentences with their ends"),
                described(f"{name}_tokens", pa.int64(), "words or pieces, and one end a sentence", nullable=False),
                described(f"{name}_oov", pa.int64(), "words that the model doesn't know", nullable=False),
                described(f"{name}_perplexity", pa.float64(), "10 ^ (-log10_prob / tokens); lower is likelier"),
            ]
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by reference: the process that unpickles it maps the same file."""
        return functools.partial(type(self), **self._arguments), (self._reference,)

    def _choose_normalizer(self, normalizer: NormalizerSpec) -> Normalizer:
        if self.folder is None:
            return self._convention.normalizer if normalizer is None else parse_normalizer(normalizer)
        own = parse_normalizer(self.folder.settings["normalizer"])
        if normalizer is not None and parse_normalizer(normalizer) != own:
            refuse_other_normalizer(self.folder, own, parse_normalizer(normalizer))
        return own

    def _choose_tokenizer(self, tokenizer: str | Path | None, model: Path) -> PieceTokenizer | None:
        if self.folder is not None:
            own = self.folder.settings.get("tokenizer")
            if tokenizer is not None:
                other = None if str(tokenizer) == "none" else resolve(tokenizer)
                refuse_other_tokenizer(self.folder, own, other)
            return None if own is None else PieceTokenizer(self.folder.file(own))
        if tokenizer is not None:
            return None if str(tokenizer) == "none" else PieceTokenizer(resolve(tokenizer))
        match = _LANGUAGE_MODEL.fullmatch(model.name)
        beside = model.with_name(f"{match['language']}.sp.model") if match else model
        if match and not beside.exists() and str(self._reference).startswith("hf://"):
            beside = resolve(str(self._reference).removesuffix(model.name) + beside.name)
        return PieceTokenizer(beside) if match and beside.exists() else None

    def score(self, texts: "Texts | TextBuffer") -> pa.RecordBatch:
        """Return the four columns, one row a text; a null text counts as an empty one.

        Raises:
            DataError: if a text holds a lone surrogate.
        """
        buffer = as_buffer(texts)
        convention = self._convention
        if self.policy == "document":
            spans, lines = text_spans(buffer), np.ones(len(buffer), np.int64)
        else:
            blank = self.policy == "lines"
            spans, lines = line_spans(buffer, blank=blank, trailing=blank and convention.trailing)
        options = {
            "unicode_split": convention.unicode_split,
            "python_count": convention.python_count,
            "exact": self._exact,
        }
        normal: Spans = self.normalizer.apply(spans)
        scored = lines > 0
        if self._pieces is None:
            sentences = self.model.score(normal, **options)
            if convention.empty_is_null:
                scored &= np.diff(buffer.offsets) > 0
        else:
            sentences, filled = self._pieces.score(normal, **options)
            if convention.empty_is_null:
                scored &= _per_text(filled, lines) > 0
        log10_prob = _per_text(sentences.log10_prob, lines)
        tokens = np.where(scored, _per_text(sentences.words, lines).astype(np.int64) + lines, 0)
        oov = np.where(scored, _per_text(sentences.oov, lines).astype(np.int64), 0)
        columns = [
            pa.array(log10_prob, mask=~scored),
            pa.array(tokens),
            pa.array(oov),
            pa.array(self._perplexity(log10_prob, tokens), mask=~scored),
        ]
        return pa.record_batch(columns, schema=self.schema)

    def _perplexity(
        self, log10_prob: npt.NDArray[np.float64], tokens: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        count = np.maximum(tokens, 1)
        if self.mode == "oscar" and not self._exact:
            exponent = -log10_prob.astype(np.float32) / count.astype(np.float32)
            return np.power(10.0, exponent.astype(np.float64)).astype(np.float32).astype(np.float64)
        return np.power(10.0, -log10_prob / count)


def _per_text(values: npt.NDArray[Any], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Add up the values of each text's sentences, in order."""
    return np.asarray(np.bincount(np.repeat(np.arange(len(counts)), counts), values, len(counts)), np.float64)
