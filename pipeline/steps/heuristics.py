"""`heuristics`: text statistics, and rules over them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, PrivateAttr, field_validator, model_validator

from tamis.pipeline.steps.base import FoundFile, Step
from tamis.pipeline.steps.files import digest_path, find_file, find_model
from tamis.pipeline.steps.papers import C4, FINEWEB, FINEWEB_2, GOPHER
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.errors import ConfigError
from tamis.schemas.guide import Guide
from tamis.schemas.paper import Paper
from tamis.schemas.rule import Rule
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.scorers.annotators import OverText, Renamed
from tamis.scorers.base import Annotator
from tamis.scorers.language.labels import is_english
from tamis.scorers.selection.rules import decide
from tamis.scorers.statistics.columns import DEFAULT_TEXT_COLUMNS, TEXT_COLUMNS
from tamis.scorers.statistics.language_rules import (
    ENGLISH_FIGURES,
    FINEWEB2,
    LanguageTable,
    packaged_table,
    read_language_table,
)
from tamis.scorers.statistics.presets import ENGLISH, PRESETS
from tamis.scorers.statistics.rule_presets import resolve_rules

__all__ = ["HeuristicsStep"]

BY_LANGUAGE = "by_language"
"""What goes before the reasons of a table of one's own."""
OTHER = "other"
_OWN = "text"
"""What the columns' names begin with unless the step has a name."""

_GUIDE = Guide(
    formula="""\
text_*        =  statistics of the text: words, lines, repetitions, signs; see the columns below
falls         =  at the first rule, in the order of `presets` and `rules`, that the text breaks:
                 column < threshold of a minimum, column > threshold of a maximum
fineweb2      =  the same with thresholds and stop words of the document's language""",
    follows="""\
Gopher's, C4's and FineWeb's rules as their papers have them; the presets `datatrove_*` agree with datatrove on
every document, `fineweb2` with FineWeb-2's own tables. Where papers and code differ, the preset's description says
which it is.""",
    example="""\
- heuristics: {presets: [gopher_quality, c4], thresholds: {gopher_quality.min_word_count: 30}}""",
    query="SELECT rule, count(*) AS documents, round(avg(value), 3) AS value, any_value(threshold) AS "
    "threshold FROM rejected GROUP BY rule ORDER BY documents DESC, rule",
)


class HeuristicsStep(Step):
    """Text statistics, and rules over them: presets, thresholds that override theirs, and rules of one's own.

    With the preset `fineweb2` or a table by language, a document is held to the rules of its language, by its words.
    """

    verb: ClassVar[str] = "heuristics"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (GOPHER, C4, FINEWEB, FINEWEB_2)
    name: str = Field(
        default=_OWN, pattern=NAME, description="begins the columns' names: `<name>_words` in place of `text_words`"
    )
    presets: Annotated[tuple[str, ...], Decides] = Field(
        default=(), description="named sets of rules, in the order of decision, listed below; fineweb2: by language"
    )
    thresholds: Annotated[dict[str, float | None], Decides] = Field(
        default_factory=dict, description="`preset.reason` to another threshold, or null: without the rule"
    )
    rules_: Annotated[str | tuple[Rule, ...], FilePath, Decides] = Field(
        default=(),
        alias="rules",
        description="rules of one's own; or the path of a table by language: FineWeb-2's `deu_Latn.yml`, a folder of "
        "such files, a YAML file of label to such keys, or a table of tab-separated values",
    )
    splitter: Literal["fast", "spacy"] = Field(
        default="fast", description="of the `datatrove_*` columns' words; spacy is exact and slow, and an extra"
    )
    statistics: Annotated[Literal["all", "rules"], Decides] = Field(
        default="all", description="rules: only the columns that rules need"
    )
    bad_words: Annotated[str | None, FilePath] = Field(default=None, description="a file with a word or phrase a line")
    ellipsis: Literal["joined", "spaced"] = Field(
        default="joined", description="spaced: dots with a blank between them (`. . .`) are an ellipsis too"
    )
    by: str = Field(
        default="language", min_length=1, description="of rules by language: the column whose values the table names"
    )
    languages: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="of rules by language: those of the table to use; all if absent"
    )
    other: Annotated[Literal["keep", "reject"], Decides] = Field(
        default="keep", description="of rules by language: what becomes of documents in languages that have none"
    )
    _table: LanguageTable | None = PrivateAttr(default=None)

    @field_validator("languages", mode="before")
    @classmethod
    def _quoted(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and any(isinstance(code, bool) for code in value):
            msg = "YAML reads the bare word no as false: quote language codes, such as 'no'"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _one_table(self) -> Self:
        if FINEWEB2 in self.presets and isinstance(self.rules_, str):
            msg = f"give either the preset {FINEWEB2} or a path of rules by language: a document has one set of them"
            raise ValueError(msg)
        if not self._prefix:
            given = [name for name in ("by", "languages", "other") if name in self.model_fields_set]
            if given:
                msg = f"{given[0]} is of rules by language: give the preset {FINEWEB2}, or `rules: PATH`"
                raise ValueError(msg)
        return self

    @property
    def _prefix(self) -> str:
        """What goes before the reasons of rules by language; empty if there are none."""
        if FINEWEB2 in self.presets:
            return FINEWEB2
        return BY_LANGUAGE if isinstance(self.rules_, str) else ""

    @property
    def references(self) -> dict[str, str]:
        """The bad words, and the table by language."""
        found = {} if self.bad_words is None else {"bad_words": self.bad_words}
        if isinstance(self.rules_, str):
            found["rules"] = self.rules_
        if FINEWEB2 in self.presets:
            found[FINEWEB2] = FINEWEB2
        return found

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find the list of bad words or the table by language."""
        if option == FINEWEB2:
            path = str(packaged_table())
            return {option: FoundFile(reference, path, *digest_path(path))}
        if option == "rules":
            return {option: find_model(self.label, option, reference)}
        return {option: find_file(self.label, option, reference)}

    def _read(self, models: Mapping[str, str]) -> LanguageTable | None:
        path = models.get(FINEWEB2) or models.get("rules")
        if path is None or not self._prefix:
            return None
        where = FINEWEB2 if FINEWEB2 in models else str(self.rules_)
        try:
            table = read_language_table(path, where)
            return table if self.languages is None else table.only(self.languages)
        except ConfigError as error:
            msg = f"step {self.label}: {error}"
            raise ConfigError(msg) from None

    def resolved(self, models: Mapping[str, FoundFile]) -> Self:
        """Return the step with its table by language read."""
        step = self.model_copy()
        step._table = self._read({option: found.path for option, found in models.items()})
        return step

    @property
    def cites(self) -> tuple[Paper, ...]:
        """The papers of the presets that it takes."""
        named = {"gopher": GOPHER, "c4": C4, "fineweb": FINEWEB}
        found = [paper for word, paper in named.items() if any(word in preset for preset in self.presets)]
        return (*found, FINEWEB_2) if FINEWEB2 in self.presets else tuple(found)

    # --- columns ---

    def _named(self, column: str) -> str:
        """Return how a statistic is called here."""
        return f"{self.name}_{column.removeprefix(f'{_OWN}_')}"

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The statistics to compute: those that rules need, and unless told otherwise all that follow the papers."""
        known = {self._named(column): column for column in TEXT_COLUMNS}
        needed = dict.fromkeys(known[rule.column] for rule in self.rules if rule.column in known)
        if self.statistics == "rules" and needed:
            return tuple(needed)
        return tuple(dict.fromkeys([*DEFAULT_TEXT_COLUMNS, *needed]))

    def scoring_options(self) -> dict[str, Any]:
        """Return what the columns follow from: which they are, whatever rules ask for them."""
        options = {**super().scoring_options(), "columns": self.text_columns}
        if not self._prefix:  # without rules by language they are what they were before there were any
            del options["by"], options["languages"]
        return options

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the statistics."""
        from tamis.scorers.statistics.language_statistics import StatisticsByLanguage
        from tamis.scorers.statistics.text_statistics import TextStatistics

        table = self._read(models)
        bad_words = models.get("bad_words")
        made: Annotator
        if table is not None:
            made = StatisticsByLanguage(
                self.text_columns,
                table,
                by=self.by,
                splitter=self.splitter,
                bad_words=bad_words,
                ellipsis=self.ellipsis,
            )
        else:
            made = OverText(
                TextStatistics(self.text_columns, splitter=self.splitter, bad_words=bad_words, ellipsis=self.ellipsis)
            )
        return made if self.name == _OWN else Renamed(made, self._named)

    # --- rules ---

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Those of the presets, with the thresholds given, then the user's own.

        Of rules by language the columns and reasons are those of every language, the thresholds Gopher's and FineWeb's.
        """
        own = () if isinstance(self.rules_, str) else self.rules_
        presets = self.presets
        if self._prefix == BY_LANGUAGE:
            presets = (*presets, BY_LANGUAGE)
        known = {**PRESETS, self._prefix: ENGLISH_FIGURES} if self._prefix else PRESETS
        resolve_rules(presets, self.thresholds, own, known)  # which finds reasons that are given twice
        found = resolve_rules(presets, self.thresholds, known=known)
        return (*(rule.model_copy(update={"column": self._named(rule.column)}) for rule in found), *own)

    def _of_language(self, rule: Rule) -> bool:
        return bool(self._prefix) and rule.reason.startswith(f"{self._prefix}.")

    def _threshold(self, rule: Rule, thresholds: Mapping[str, float]) -> float | None:
        """Return the threshold of a rule by language: the config's, or the language's."""
        bare = rule.reason.partition(".")[2]
        if rule.reason in self.thresholds or bare in self.thresholds:
            return rule.threshold
        return thresholds.get(bare)

    def _rules_of(self, key: str | None) -> tuple[Rule, ...]:
        """Return the rules that a language's documents are held to; None: of one that has none by language."""
        thresholds = self._table.figures[key].thresholds() if self._table is not None and key is not None else {}
        found = []
        for rule in self.rules:
            if not self._of_language(rule):
                found.append(rule)
            elif key is not None:
                threshold = self._threshold(rule, thresholds)
                if threshold is not None:
                    found.append(rule.model_copy(update={"threshold": threshold}))
        return tuple(found)

    @property
    def bounds(self) -> dict[str, Any]:
        """Reason to threshold; of rules by language to those of each."""
        if self._table is None:
            return super().bounds
        found: dict[str, Any] = {}
        for rule in self.rules:
            found[rule.reason] = {} if self._of_language(rule) else rule.threshold
        for key in self._table.figures:
            for rule in self._rules_of(key):
                if self._of_language(rule):
                    found[rule.reason][key] = rule.threshold
        return found

    @property
    def rule_names(self) -> tuple[str, ...]:
        """The reasons; that of a language without rules stands before those by language."""
        names = [rule.reason for rule in self.rules]
        if self._prefix and self.other == "reject":
            first = next((i for i, rule in enumerate(self.rules) if self._of_language(rule)), 0)
            names.insert(first, f"{self._prefix}.{OTHER}")
        return tuple(names)

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of rules, and the language."""
        return (*super().reads, self.by) if self._prefix else super().reads

    def apply(self, index: int, batch: pa.RecordBatch, state: RowState) -> None:
        """Let the rows fall that break a rule, of their language where there are such."""
        if self._table is None:
            super().apply(index, batch, state)
            return
        groups: dict[str | None, list[int]] = {}
        for row, label in enumerate(batch.column(self.by).to_pylist()):
            groups.setdefault(self._table.find(label), []).append(row)
        for key, found in groups.items():
            self._apply_to(index, key, np.array(found), batch, state)

    def _apply_to(
        self, index: int, key: str | None, rows: npt.NDArray[np.int64], batch: pa.RecordBatch, state: RowState
    ) -> None:
        """Let those of a language's rows fall that break a rule."""
        names = list(self.rule_names)
        rules = self._rules_of(key)
        decision = decide(batch.take(pa.array(rows)), rules, len(rows))
        positions = np.array([names.index(rule.reason) for rule in rules], np.int16)
        thresholds = np.array([rule.threshold for rule in rules])
        reason = np.full(batch.num_rows, -1, np.int16)
        value, threshold = np.full(batch.num_rows, np.nan), np.full(batch.num_rows, np.nan)
        fell = decision.rule >= 0
        reason[rows[fell]] = positions[decision.rule[fell]]
        value[rows[fell]] = decision.value[fell]
        threshold[rows[fell]] = thresholds[decision.rule[fell]]
        other = f"{self._prefix}.{OTHER}"
        if key is None and other in names:
            # Rules of presets that come before have the first word.
            late = rows[(reason[rows] < 0) | (reason[rows] > names.index(other))]
            reason[late], value[late], threshold[late] = names.index(other), np.nan, np.nan
        state.fall(index, reason >= 0, reason, value, threshold)

    # --- before a run ---

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Refuse a column of languages that holds no text.

        Raises:
            ConfigError: naming it.
        """
        del models
        if self._prefix and self.by in available:
            kind = available[self.by].type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                msg = f"step {self.label}: by: {self.by!r} holds {kind}, and languages are text"
                raise ConfigError(msg)

    def check_after(self, earlier: Sequence[Step], models: Mapping[str, str]) -> None:
        """Refuse languages whose words can't be found, but for those that an earlier step lets none of through.

        Raises:
            ConfigError: naming them, and what to install.
        """
        from tamis.scorers.statistics.language_statistics import check_words

        table = self._read(models)
        if table is None:
            return
        kept = kept_languages(earlier)
        if kept is not None and self.by == "language":
            wanted = {table.find(label) for label in kept}
            table = LanguageTable({key: table.figures[key] for key in table.figures if key in wanted}, table.where)
        try:
            check_words(table, self.splitter)
        except ConfigError as error:
            msg = f"step {self.label}: {error}"
            raise ConfigError(msg) from None

    def notes(self, before: Sequence[Step]) -> tuple[str, ...]:
        """Say which presets are meant for English, unless English alone comes to the step."""
        kept = [step.languages_kept for step in before if step.languages_kept is not None]
        if any(all(map(is_english, codes)) for codes in kept):
            return ()
        meant = [preset for preset in dict.fromkeys(self.presets) if preset in ENGLISH]
        return tuple(
            f"step {self.label}: the preset {preset} is meant for English: {ENGLISH[preset]}; "
            f"`presets: [{FINEWEB2}]` and `rules: PATH` are for other languages"
            for preset in meant
        )


def kept_languages(earlier: Sequence[Step]) -> tuple[str, ...] | None:
    """Return the labels that earlier steps let through in the column `language`; None if any may come."""
    found = [step.languages_kept for step in earlier if step.languages_kept is not None]
    return found[-1] if found else None
