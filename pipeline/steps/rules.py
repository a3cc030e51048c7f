"""`rules`: rules over columns that earlier steps computed."""

from typing import Annotated, ClassVar

from pydantic import Field

from tamis.pipeline.steps.base import Step
from tamis.schemas.rule import Rule
from tamis.schemas.step import NAME, Decides

__all__ = ["RulesStep"]


class RulesStep(Step):
    """Rules over columns that earlier steps computed; computes nothing itself."""

    verb: ClassVar[str] = "rules"
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
