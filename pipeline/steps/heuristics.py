"""`heuristics`: text statistics, and rules over them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tamis.pipeline.steps.base import FoundFile, Step
from tamis.pipeline.steps.files import find_file
from tamis.pipeline.steps.papers import C4, FINEWEB, GOPHER
from tamis.schemas.paper import Paper
from tamis.schemas.rule import Rule
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.scorers.annotators import OverText, Renamed
from tamis.scorers.base import Annotator
from tamis.scorers.statistics.columns import DEFAULT_TEXT_COLUMNS, TEXT_COLUMNS
from tamis.scorers.statistics.presets import ENGLISH
from tamis.scorers.statistics.rule_presets import resolve_rules

__all__ = ["HeuristicsStep"]

_OWN = "text"
"""What the columns' names begin with unless the step has a name."""


class HeuristicsStep(Step):
    """Text statistics, and rules over them: presets, thresholds that override theirs, and rules of one's own."""

    verb: ClassVar[str] = "heuristics"
    papers: ClassVar[tuple[Paper, ...]] = (GOPHER, C4, FINEWEB)
    name: str = Field(
        default=_OWN, pattern=NAME, description="begins the columns' names: `<name>_words` in place of `text_words`"
    )
    presets: Annotated[tuple[str, ...], Decides] = Field(
        default=(), description="named sets of rules, in the order of decision; they are listed below"
    )
    thresholds: Annotated[dict[str, float | None], Decides] = Field(
        default_factory=dict, description="`preset.reason` to another threshold, or null: without the rule"
    )
    rules_: Annotated[tuple[Rule, ...], Decides] = Field(
        default=(), alias="rules", description="your own, over any column so far"
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

    @property
    def label(self) -> str:
        """Verb, and name if there is one: there may be several."""
        return self.verb if self.name == _OWN else f"{self.verb}.{self.name}"

    def _named(self, column: str) -> str:
        """Return how a statistic is called here."""
        return f"{self.name}_{column.removeprefix(f'{_OWN}_')}"

    @property
    def cites(self) -> tuple[Paper, ...]:
        """The papers of the presets that it takes."""
        named = {"gopher": GOPHER, "c4": C4, "fineweb": FINEWEB}
        return tuple(paper for word, paper in named.items() if any(word in preset for preset in self.presets))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Those of the presets, with the thresholds given, then the user's own."""
        presets = resolve_rules(self.presets, self.thresholds)
        named = [rule.model_copy(update={"column": self._named(rule.column)}) for rule in presets]
        resolve_rules(self.presets, self.thresholds, self.rules_)  # which finds reasons that are given twice
        return (*named, *self.rules_)

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
        return {**super().scoring_options(), "columns": self.text_columns}

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the statistics."""
        from tamis.scorers.statistics.text_statistics import TextStatistics

        made = OverText(
            TextStatistics(
                self.text_columns,
                splitter=self.splitter,
                bad_words=models.get("bad_words"),
                ellipsis=self.ellipsis,
            )
        )
        return made if self.name == _OWN else Renamed(made, self._named)

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find the list of bad words."""
        return {option: find_file(self.label, option, reference)}

    def notes(self, before: Sequence[Step]) -> tuple[str, ...]:
        """Say which presets are meant for English, unless English alone comes to the step."""
        kept = [step.languages_kept for step in before if step.languages_kept is not None]
        if any(set(codes) <= {"en", "eng", "eng_Latn"} for codes in kept):
            return ()
        meant = [preset for preset in dict.fromkeys(self.presets) if preset in ENGLISH]
        return tuple(
            f"step {self.label}: the preset {preset} is meant for English: {ENGLISH[preset]}" for preset in meant
        )
