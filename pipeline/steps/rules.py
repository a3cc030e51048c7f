"""`rules`: rules over columns that earlier steps computed."""

from typing import Annotated, ClassVar

from pydantic import Field

from tamis.pipeline.steps.base import Step
from tamis.schemas.guide import Guide
from tamis.schemas.rule import Rule
from tamis.schemas.step import NAME, Decides

__all__ = ["RulesStep"]

_GUIDE = Guide(
    formula="""\
falls     =  at the first rule whose column x breaks it:   min: x < threshold     max: x > threshold
                                                       above: x <= threshold  below: x >= threshold
a row without a value breaks no rule""",
    follows="""\
Nothing but itself: it decides about columns of the input (`columns:`) and of earlier steps.""",
    example="""\
- heuristics: {statistics: all}
- rules:
    rules:
      - {column: text_digit_fraction, op: max, threshold: 0.1, reason: digits}
      - {column: text_words, op: min, threshold: 40, reason: short}""",
    query="SELECT step, rule, count(*) AS documents FROM rejected GROUP BY ALL ORDER BY ALL",
)


class RulesStep(Step):
    """Rules over columns that earlier steps computed; computes nothing itself."""

    verb: ClassVar[str] = "rules"
    guide: ClassVar[Guide] = _GUIDE
    rules_: Annotated[tuple[Rule, ...], Decides] = Field(
        alias="rules", min_length=1, description="in order: a document falls to the first that it breaks"
    )
    name: str = Field(default="rules", pattern=NAME, description="tells several such steps apart")

    @property
    def label(self) -> str:
        """The name, so that several such steps can be told apart."""
        return self.name

    @property
    def rules(self) -> tuple[Rule, ...]:
        """As given."""
        return self.rules_
