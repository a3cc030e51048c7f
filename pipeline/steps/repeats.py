"""What the steps share that take repeated text out: their columns, and the rule of what has too little left."""

from typing import Annotated, ClassVar, Self

import pyarrow as pa
from pydantic import Field

from tamis.pipeline.steps.base import Earlier, Step
from tamis.schemas.step import NAME, Decides

__all__ = ["RepeatsStep"]


class RepeatsStep(Step):
    """Takes out what the whole input has again."""

    rewrites: ClassVar[bool] = True
    name: str | None = Field(default=None, pattern=NAME, description="begins the columns' names, in place of text")
    min_characters: Annotated[int, Decides] = Field(
        default=1, ge=0, description="documents of which fewer are left are rejected (white space at the ends aside)"
    )
    spans: Annotated[bool, Decides] = Field(default=False, description="keep what was taken out of where in a column")

    @property
    def _prefix(self) -> str:
        return "text" if self.name is None else self.name

    @property
    def rule_names(self) -> tuple[str, ...]:
        """A document of which too little is left."""
        return ("nothing_left",)

    @property
    def over_corpus(self) -> bool:
        """Copies may lie anywhere."""
        return True

    def frozen(self, earlier: Earlier) -> Self:
        """Nothing is found but copies."""
        del earlier
        return self

    @property
    def corpus_columns(self) -> pa.Schema:
        """What was taken out."""
        from tamis.pipeline.corpus.rewrite_text import cut_schema

        return cut_schema(self._prefix, spans=self.spans)
