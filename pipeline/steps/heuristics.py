"""`heuristics`: text statistics, and rules over them."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tamis.pipeline.steps.base import FoundFile, Step
from tamis.pipeline.steps.files import find_file
from tamis.pipeline.steps.papers import C4, FINEWEB, GOPHER
from tamis.schemas.paper import Paper
from tamis.schemas.rule import Rule
from tamis.schemas.step import Decides, FilePath
from tamis.scorers.annotators import OverText
from tamis.scorers.base import Annotator
from tamis.scorers.statistics.columns import DEFAULT_TEXT_COLUMNS, TEXT_COLUMNS
from tamis.scorers.statistics.rule_presets import resolve_rules

__all__ = ["HeuristicsStep"]


class HeuristicsStep(Step):
    """Text statistics, and rules over them: presets, thresholds that override theirs, and rules of one's own."""

    verb: ClassVar[str] = "heuristics"
    papers: ClassVar[tuple[Paper, ...]] = (GOPHER, C4, FINEWEB)
    presets: Annotated[tuple[str, ...], Decides] = ()
    thresholds: Annotated[dict[str, float | None], Decides] = Field(default_factory=dict)
    rules_: Annotated[tuple[Rule, ...], Decides] = Field(default=(), alias="rules")
    splitter: Literal["fast", "spacy"] = "fast"
    statistics: Annotated[Literal["all", "rules"], Decides] = Field(
        default="all", description="rules: only the columns that rules need"
    )
    bad_words: Annotated[str | None, FilePath] = Field(default=None, description="a file with a word or phrase a line")

    @property
    def cites(self) -> tuple[Paper, ...]:
        """The papers of the presets that it takes."""
        named = {"gopher": GOPHER, "c4": C4, "fineweb": FINEWEB}
        return tuple(paper for word, paper in named.items() if any(word in preset for preset in self.presets))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Those of the presets, with the thresholds given, then the user's own."""
        return resolve_rules(self.presets, self.thresholds, self.rules_)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The statistics to compute: those that rules need, and unless told otherwise all that follow the papers."""
        needed = dict.fromkeys(rule.column for rule in self.rules if rule.column in TEXT_COLUMNS)
        if self.statistics == "rules" and needed:
            return tuple(needed)
        return tuple(dict.fromkeys([*DEFAULT_TEXT_COLUMNS, *needed]))

    def scoring_options(self) -> dict[str, Any]:
        """Return what the columns follow from: which they are, whatever rules ask for them."""
        return {**super().scoring_options(), "columns": self.text_columns}

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the statistics."""
        from tamis.scorers.statistics.text_statistics import TextStatistics

        bad_words = models.get("bad_words")
        return OverText(TextStatistics(self.text_columns, splitter=self.splitter, bad_words=bad_words))

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find the list of bad words."""
        return {option: find_file(self.label, option, reference)}
