"""One rule: a column, a comparison, a threshold, and the reason a document is rejected for."""

from typing import Literal

from pydantic import Field

from tamis.schemas.base import Model

__all__ = ["Op", "Rule"]

Op = Literal["min", "max", "above", "below"]
"""What must hold of a kept document's value: `min` >=, `max` <=, `above` >, `below` < the threshold."""


class Rule(Model):
    """A document falls if its value in `column` breaks `op` and `threshold`; `reason` names the rule.

    A document without a value (null or NaN) doesn't fall: a rule decides about what was computed.
    """

    column: str = Field(min_length=1, description="a column of numbers that is there before, or that the step computes")
    op: Op = Field(
        description="what kept values are: min: at least the threshold; max: at most; above and below: not equal"
    )
    threshold: float = Field(allow_inf_nan=False, description="the number that values are held against")
    reason: str = Field(min_length=1, description="the rule's name in rejected/, manifest and summary")
