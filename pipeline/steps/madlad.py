"""`madlad`: documents of which too many sentences are questionable, by MADLAD-400's rules."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tamis.pipeline.steps.base import FoundFile, Step
from tamis.pipeline.steps.files import find_file
from tamis.pipeline.steps.papers import MADLAD
from tamis.schemas.errors import ConfigError, InputError
from tamis.schemas.guide import PROSE, Guide
from tamis.schemas.paper import Paper
from tamis.schemas.rule import Rule
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.schemas.tables import described
from tamis.scorers.base import Annotator
from tamis.scorers.statistics.sentence_rules import CURSED, SENTENCE_RULES, SentenceRule, questionable, split_sentences

__all__ = ["MadladStep"]

_TOLD: dict[SentenceRule, str] = {
    "language": "in another language than the document",
    "case": "of at least 12 words, more than half of them with a capital letter",
    "lengths": "of fewer than 20 or more than 500 characters",
    "technical": "with more than a fifth of digits and of {}+/()>",
    "cursed": "with one of the patterns",
}


_GUIDE = Guide(
    formula="""\
sentence      =  text up to a . ! or ? before white space
questionable  =  a sentence by any of `rules`:
  language    =  identified as another language than the document's
  case        =  >= 12 words, more than half of which begin with a capital letter
  lengths     =  < 20 or > 500 characters
  technical   =  more than 1/5 of digits and of { } + / ( ) >
  cursed      =  matches one of `patterns`
kept          =  sentences >= `min_sentences`, and questionable / sentences < `max_share`""",
    follows="""\
MADLAD-400, appendix A.2 of the paper, whose code isn't public. Dolma 3 takes the rules case and cursed alone.""",
    example="""\
- madlad: {rules: [case, lengths, technical, cursed], max_share: 0.2}""",
    query="SELECT fate, rule, count(*) AS documents, round(avg(madlad_questionable), 2) AS questionable FROM documents "
    "GROUP BY ALL ORDER BY ALL",
    inputs=(PROSE,),
)


class MadladStep(Step):
    """Rejects documents of which too many sentences are questionable by MADLAD-400's rules, or that have too few.

    Sentences are questionable that are in another language than the document, have most words in capitals as lists do,
    are too short or long, have technical characters, or a pattern of questionable text. Dolma 3 takes
    `rules: [case, cursed]`.
    """

    verb: ClassVar[str] = "madlad"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (MADLAD,)
    rules_: tuple[SentenceRule, ...] = Field(
        alias="rules", default=("case", "lengths", "technical", "cursed"), min_length=1,
        description="of sentences; language needs a step `language` before",
    )  # fmt: skip
    max_share: Annotated[float, Decides] = Field(
        default=0.2, gt=0, le=1, description="of sentences questionable by any rule: documents from it on are rejected"
    )
    min_sentences: Annotated[int, Decides] = Field(
        default=5, ge=0, description="documents of fewer sentences are rejected"
    )
    patterns: Annotated[str | None, FilePath] = Field(
        default=None,
        description="of the rule cursed: file with a regular expression (RE2) a line; the paper's if absent",
    )
    model: Annotated[str | None, FilePath] = Field(
        default=None, description="of the rule language: fastText model; the packaged lid.176 if absent"
    )
    by: str = Field(default="language", description="of the rule language: column with the document's language")
    name: str = Field(default="madlad", pattern=NAME, description="begins the columns' names")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for option, rule in (("patterns", "cursed"), ("model", "language"), ("by", "language")):
            if option in self.model_fields_set and rule not in self.rules_:
                msg = f"{option} is of the rule {rule}, which isn't among `rules`"
                raise ValueError(msg)
        return self

    @property
    def wanted(self) -> tuple[SentenceRule, ...]:
        """The rules, in the paper's order."""
        return tuple(rule for rule in SENTENCE_RULES if rule in self.rules_)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Too few sentences, and too many questionable ones."""
        return (
            Rule(column=f"{self.name}_sentences", op="min", threshold=self.min_sentences, reason="too_few_sentences"),
            Rule(
                column=f"{self.name}_questionable",
                op="below",
                threshold=self.max_share,
                reason="questionable_sentences",
            ),
        )

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find the patterns, or a model of languages."""
        if option == "patterns":
            return {option: find_file(self.label, option, reference)}
        return super().find(option, reference)

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return what looks at sentences.

        Raises:
            ConfigError: if the file of patterns holds none, or what is none.
            InputError: if it can't be read.
        """
        return _Sentences(self, models)


def _patterns(step: MadladStep, models: Mapping[str, str]) -> tuple[str, ...]:
    if step.patterns is None:
        return CURSED
    where = f"step {step.label}: patterns: {step.patterns}"
    try:
        lines = Path(models["patterns"]).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{where} can't be read: {error}"
        raise InputError(msg) from None
    found = tuple(line for line in lines if line)  # blanks at the ends count
    if not found:
        msg = f"{where} holds no pattern"
        raise ConfigError(msg)
    for pattern in found:
        try:
            pc.match_substring_regex(pa.array([""]), pattern=pattern)
        except pa.ArrowInvalid:
            msg = f"{where}: {pattern!r} is no regular expression as RE2 knows them"
            raise ConfigError(msg) from None
    return found


class _Sentences:
    """How many sentences a document has, and how many are questionable by each rule and by any."""

    def __init__(self, step: MadladStep, models: Mapping[str, str]):
        self._rules = step.wanted
        self._by = step.by
        self._patterns = _patterns(step, models)
        self._identifier = None
        self.requires: tuple[str, ...] = ("text",)
        if "language" in self._rules:
            from tamis.scorers.language.identify import LanguageIdentifier

            self._identifier = LanguageIdentifier(models.get("model"), prefix=None)
            self.requires = ("text", step.by)
        name = step.name
        fields = [described(f"{name}_sentences", pa.int64(), "sentences of the text")]
        fields += [described(f"{name}_{rule}", pa.int64(), f"sentences {_TOLD[rule]}") for rule in self._rules]
        told = "share of sentences that are questionable by any rule; null without a sentence"
        self.schema = pa.schema([*fields, described(f"{name}_questionable", pa.float64(), told)])

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        found = split_sentences(batch.column("text"))
        count = found.counted(np.ones(len(found), np.bool_), batch.num_rows)
        bad = np.zeros(len(found), np.bool_)
        columns = [pa.array(count)]
        for rule in self._rules:
            if self._identifier is not None and rule == "language":
                own = self._identifier.score(found.sentences).column(0)
                of = pc.cast(batch.column(self._by), pa.string()).take(pa.array(found.texts))
                marks = pc.fill_null(pc.not_equal(own, of), fill_value=False).to_numpy(zero_copy_only=False)
            else:
                marks = questionable(found, rule, cursed=self._patterns)
            columns.append(pa.array(found.counted(marks, batch.num_rows)))
            bad |= marks
        share = found.counted(bad, batch.num_rows) / np.maximum(count, 1)
        return pa.RecordBatch.from_arrays([*columns, pa.array(share, mask=count == 0)], schema=self.schema)
