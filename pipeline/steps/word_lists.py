"""`word_lists`: documents in which no word is of the language that they are taken for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tamis.pipeline.steps.base import FoundFile, Memory, Step
from tamis.pipeline.steps.files import find_file
from tamis.pipeline.steps.papers import FINEWEB_2
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError, InputError
from tamis.schemas.guide import FORUM, PROSE, Guide
from tamis.schemas.paper import Paper
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.schemas.tables import described
from tamis.scorers.base import Annotator

__all__ = ["WordListsStep"]


_GUIDE = Guide(
    formula="""\
share  =  different words of the document that are in its language's list / its different words
kept   =  documents with share > `min_share`, or whose URL has one of the language's `urls`; all of other languages""",
    follows="""\
FineWeb-2's filter of its small languages, whose lists hold the words that occur in the language at least 85 % of the
times they occur at all; capitals count, as there.""",
    example="""\
- language: {}
- word_lists: {lists: {en: examples/recipes/lists/english_words.txt}, min_share: 0.1}""",
    query="SELECT fate, count(*) AS documents, round(min(words_share), 2) AS least, round(max(words_share), 2) AS most "
    "FROM documents GROUP BY ALL ORDER BY ALL",
    inputs=(FORUM, PROSE),
)


class WordListsStep(Step):
    """Rejects documents of a language in which too few words are of that language alone, unless the address names it.

    FineWeb-2's last filter, for languages of which over a tenth is something else: their lists have the words that
    occur in the language at least 85 % of the times. Documents of languages without a list pass.
    """

    verb: ClassVar[str] = "word_lists"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (FINEWEB_2,)
    lists: Annotated[dict[str, str], FilePath] = Field(
        min_length=1, description="language, in any form: file with a word a line; capitals count"
    )
    urls: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="language of `lists`: words in addresses that name it; with a dot before it: the ending of a host",
    )
    min_share: Annotated[float, Decides] = Field(
        default=0.0, ge=0, lt=1, description="of a document's different words: it stays with more than that in the list"
    )
    by: str = Field(default="language", description="column with the document's language")
    name: str = Field(default="words", pattern=NAME, description="begins the columns' names")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        from tamis.scorers.language.labels import parse_label

        for label in self.lists:
            if parse_label(label) is None:
                msg = f"lists: {label!r} is no language: write a code such as bar or bar_Latn"
                raise ValueError(msg)
        for label, words in self.urls.items():
            if label not in self.lists:
                msg = f"urls: {label!r} is none of `lists`{nearest(label, list(self.lists))}"
                raise ValueError(msg)
            wrong = [word for word in words if not word.removeprefix(".").replace(".", "").replace("/", "").isalnum()]
            if wrong:
                msg = f"urls: {label}: a word to look for in addresses is letters and digits, not {wrong[0]!r}"
                raise ValueError(msg)
        return self

    @property
    def references(self) -> dict[str, str]:
        """Every list by its language."""
        return {f"lists.{label}": path for label, path in self.lists.items()}

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find a list.

        Raises:
            ModelError: if there is none.
        """
        return {option: find_file(self.label, option, reference)}

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return what looks for words.

        Raises:
            ConfigError: if a list holds no word, or what finds the words of a language isn't installed.
            InputError: if a list can't be read.
        """
        return _Listed(self, models)

    def memory(self, documents: int, models: Mapping[str, FoundFile]) -> Memory:
        """Estimate the lists, which each worker reads: lines as Python has them, and as columns."""
        del documents
        return Memory(worker=10 * sum(model.bytes for model in models.values()))

    @property
    def rule_names(self) -> tuple[str, ...]:
        """Too few words of the language."""
        return (f"{self.name}_of_other_languages",)

    @property
    def reads(self) -> tuple[str, ...]:
        """Its own columns."""
        return (f"{self.name}_share", f"{self.name}_in_url")

    def apply(self, index: int, batch: pa.RecordBatch, state: RowState) -> None:
        """Let the documents fall that neither a word nor the address gives to their language."""
        share = batch.column(f"{self.name}_share").to_numpy(zero_copy_only=False).astype(np.float64)
        named = pc.fill_null(batch.column(f"{self.name}_in_url"), fill_value=False).to_numpy(zero_copy_only=False)
        state.fall(index, (share <= self.min_share) & ~named, 0, share, self.min_share)

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Refuse a column of languages that holds no text.

        Raises:
            ConfigError: naming it.
        """
        del models
        kind = available[self.by].type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            msg = f"step {self.label}: by: {self.by!r} holds {kind}, and languages are text"
            raise ConfigError(msg)


def _words(step: WordListsStep, label: str, path: str) -> pa.Array:
    where = f"step {step.label}: lists.{label}: {step.lists[label]}"
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{where} can't be read: {error}"
        raise InputError(msg) from None
    found = sorted({line.strip() for line in lines if line.strip()})
    if not found:
        msg = f"{where} holds no word"
        raise ConfigError(msg)
    return pa.array(found, pa.large_string())


class _Listed:
    """The share of a document's words that are in its language's list, and whether its address names the language."""

    def __init__(self, step: WordListsStep, models: Mapping[str, str]):
        from tamis.scorers.language.labels import LanguageLabels, parse_label
        from tamis.scorers.language.word_lists import UrlEvidence
        from tamis.scorers.statistics.language_words import language_words

        self._by = step.by
        self._labels = LanguageLabels(step.lists)
        self._known: dict[str, tuple[Any, pa.Array, UrlEvidence]] = {}
        for label in step.lists:
            try:
                finder = language_words(label)
            except ConfigError as error:
                msg = f"step {step.label}: lists.{label}: {error}"
                raise ConfigError(msg) from None
            parsed = parse_label(label)
            code = label if parsed is None else parsed.language
            listed = _words(step, label, models[f"lists.{label}"])
            self._known[label] = finder, listed, UrlEvidence(code, step.urls.get(label, ()))
        self.requires = tuple(dict.fromkeys(["text", "url", step.by]))
        told = "share of the text's different words that are in its language's list; null without a list"
        self.schema = pa.schema(
            [
                described(f"{step.name}_share", pa.float64(), told),
                described(f"{step.name}_in_url", pa.bool_(), "whether the address names the language"),
            ]
        )

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from tamis.scorers.language.word_lists import listed_share

        meant = np.array([self._labels.find(label) for label in batch.column(self._by).to_pylist()], object)
        share = np.full(batch.num_rows, np.nan)
        named = np.zeros(batch.num_rows, np.bool_)
        for label, (finder, listed, urls) in self._known.items():
            rows = np.flatnonzero(meant == label)
            if len(rows):
                taken = batch.take(pa.array(rows))
                share[rows] = listed_share(taken.column("text"), finder, listed)
                named[rows] = urls.names(taken.column("url").to_pylist())
        none = np.isnan(share)
        return pa.RecordBatch.from_arrays([pa.array(share, mask=none), pa.array(named, mask=none)], schema=self.schema)
