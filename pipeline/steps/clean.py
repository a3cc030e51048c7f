"""`clean`: the lines taken out that C4's rules take out."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.papers import C4
from tamis.schemas.guide import WEB, Guide
from tamis.schemas.paper import Paper
from tamis.schemas.rule import Rule
from tamis.schemas.step import NAME
from tamis.schemas.tables import described
from tamis.scorers.base import Annotator

__all__ = ["CleanStep"]

_GUIDE = Guide(
    formula="""\
line stays   =  words >= 5 and it ends in . ? ! or a quotation mark                             paper
                words >= 3, none over 1,000 characters, and it ends so                          datatrove
                words >= 3, none over 1,000 characters                                          datatrove_fineweb
goes always  =  lines that mention javascript or a policy; marks such as [1] or [citation needed]
kept         =  texts with a character left""",
    follows="""\
The line rules of C4's paper (`variant: paper`), of datatrove's C4 filter, or of FineWeb's use of it without
terminal punctuation (`datatrove_fineweb`). What C4 does to whole documents is the preset `c4` of `heuristics`.""",
    example="""\
- clean: {variant: datatrove_fineweb}""",
    query="SELECT source, count(*) AS documents, sum(clean_characters)::BIGINT AS left_over FROM documents "
    "GROUP BY source",
    inputs=(WEB,),
)


class CleanStep(Step):
    """Takes lines out of the text as C4's rules do; later steps and the output have the text that is left."""

    verb: ClassVar[str] = "clean"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (C4,)
    rewrites: ClassVar[bool] = True
    name: str = Field(default="clean", pattern=NAME, description="begins the column's name: `<name>_characters`")
    variant: Literal["paper", "datatrove", "datatrove_fineweb"] = Field(
        default="paper", description="C4 as its paper has it, or as datatrove does, or as FineWeb was made with"
    )

    @property
    def label(self) -> str:
        """Verb, and name if it is another: there may be several."""
        return self.verb if self.name == self.verb else f"{self.verb}.{self.name}"

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return what cleans."""
        del models
        return _Cleaner(self)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """A document of which nothing is left falls."""
        return (Rule(column=f"{self.name}_characters", op="min", threshold=1, reason="nothing_left"),)


class _Cleaner:
    """The text without the lines that C4's rules take out, and how many characters are left."""

    requires = ("text",)

    def __init__(self, step: CleanStep):
        self._variant = step.variant
        text = described("text", pa.large_string(), "the text that is left")
        left = described(f"{step.name}_characters", pa.int64(), "code points that cleaning left")
        self.schema = pa.schema([text, left])

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from tamis.scorers.statistics.text_statistics import c4_clean

        cleaned = c4_clean(batch.column("text"), self._variant)
        return pa.RecordBatch.from_arrays([cleaned, pc.utf8_length(cleaned)], schema=self.schema)
