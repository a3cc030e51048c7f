"""`preselect`: a fastText classifier's probability of a label."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.papers import FASTTEXT, PRESELECT
from tamis.schemas.keep import Keep
from tamis.schemas.paper import Paper
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.scorers.annotators import OverText
from tamis.scorers.base import Annotator

__all__ = ["PreselectStep"]


class PreselectStep(Step):
    """A fastText classifier's probability of a label; PreSelect's by default."""

    verb: ClassVar[str] = "preselect"
    papers: ClassVar[tuple[Paper, ...]] = (PRESELECT, FASTTEXT)
    model: Annotated[str, FilePath] = Field(description="a fastText classifier: a folder, .bin or .ftz, or hf://")
    label_scored: str = Field(
        default="__label__1", alias="label", description="the label whose probability is the score"
    )
    newline: Literal["blank", "glue"] = Field(default="blank", description="glue: as the reference filters, words fuse")
    name: str = Field(default="preselect", pattern=NAME, description="begins the columns' names")
    keep: Annotated[Keep, Decides] = Field(default=Keep(), description="by the probability; the highest are the best")

    @property
    def label(self) -> str:
        """The verb, or verb and name if it scores something else."""
        return self.verb if self.name == "preselect" else f"{self.verb}.{self.name}"

    @property
    def kept_column(self) -> str:
        """The probability."""
        return f"{self.name}_score"

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the classifier."""
        from tamis.scorers.fasttext.label_score import LabelScorer

        scorer = LabelScorer(models["model"], label=self.label_scored, newline=self.newline, name=self.name)
        return OverText(scorer)
