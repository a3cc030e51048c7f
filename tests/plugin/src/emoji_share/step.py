"""The step: its options, its column, its rule."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from tamis.pipeline.steps.base import Step
from tamis.schemas.rule import Rule
from tamis.schemas.step import Decides
from tamis.scorers.annotators import OverText
from tamis.scorers.base import Annotator

__all__ = ["EmojiStep"]


class EmojiStep(Step):
    """Rejects documents of which too much is emoji."""

    verb: ClassVar[str] = "emoji"
    max_share: Annotated[float, Decides] = Field(default=0.1, ge=0, le=1, description="of characters")

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the share of emoji."""
        from emoji_share.scorer import EmojiShare

        del models
        return OverText(EmojiShare())

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Too much emoji."""
        return (Rule(column="emoji_share", op="max", threshold=self.max_share, reason="too_much_emoji"),)
