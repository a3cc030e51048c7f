"""`extract`: the first step of every run, which readers carry out."""

from tamis.pipeline.steps.base import Step
from tamis.schemas.extract import EXTRACT_RULES, ExtractConfig

__all__ = ["ExtractStep"]


class ExtractStep(ExtractConfig, Step):
    """HTML to text; applies to records of WARC files and to inputs marked `html: true`."""

    @property
    def rule_names(self) -> tuple[str, ...]:
        """Why readers and extraction refuse a record."""
        return EXTRACT_RULES

    @property
    def does_something(self) -> bool:
        """It makes the text."""
        return True
