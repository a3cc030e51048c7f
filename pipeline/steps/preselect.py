"""`preselect`: a fastText classifier's probability of a label."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.papers import FASTTEXT, PRESELECT
from tamis.schemas.guide import FORUM, PROSE, Guide
from tamis.schemas.keep import Keep
from tamis.schemas.paper import Paper
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.scorers.annotators import OverText
from tamis.scorers.base import Annotator

__all__ = ["PreselectStep"]

_GUIDE = Guide(
    formula="""\
h                  =  mean of the vectors of the text's words and n-grams
<name>_score       =  softmax(W h) at `label`
kept               =  as `keep` says of the score; the largest are the best""",
    follows="""\
fastText's probability to the last float32 digit. PreSelect trains the classifier on documents by whose losses
models rank as on benchmarks (`tamis train preselect`); DCLM's and FineWeb-Edu's classifiers of this kind load as
well.""",
    example="""\
- preselect: {model: examples/models/preselect, keep: {fraction: 0.5}}""",
    query="SELECT source, fate, count(*) AS documents, round(avg(preselect_score), 3) AS mean FROM documents "
    "GROUP BY ALL ORDER BY ALL",
    inputs=(
        FORUM,
        PROSE,
    ),
)


class PreselectStep(Step):
    """A fastText classifier's probability of a label; PreSelect's by default."""

    verb: ClassVar[str] = "preselect"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (PRESELECT, FASTTEXT)
    model: Annotated[str, FilePath] = Field(description="a fastText classifier: a folder, .bin or .ftz, or hf://")
    label_scored: str = Field(
        default="__label__1", alias="label", description="the label whose probability is the score"
    )
    newline: Literal["blank", "glue"] = Field(default="blank", description="glue: as the reference filters, words fuse")
    name: str = Field(default="preselect", pattern=NAME, description="begins the columns' names")
    keep: Annotated[Keep, Decides] = Field(default=Keep(), description="by the probability; the highest are the best")

    @property
    def kept_column(self) -> str:
        """The probability."""
        return f"{self.name}_score"

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the classifier."""
        from tamis.scorers.fasttext.label_score import LabelScorer

        scorer = LabelScorer(models["model"], label=self.label_scored, newline=self.newline, name=self.name)
        return OverText(scorer)
