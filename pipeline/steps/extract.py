"""`extract`: the first step of every run, which readers carry out."""

from typing import ClassVar

from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.papers import RESILIPARSE, TRAFILATURA
from tamis.schemas.extract import EXTRACT_RULES, ExtractConfig
from tamis.schemas.paper import Paper

__all__ = ["ExtractStep"]

_ENGINES = {"resiliparse": RESILIPARSE, "trafilatura": TRAFILATURA}


class ExtractStep(ExtractConfig, Step):
    """HTML to text; applies to records of WARC files and to inputs marked `html: true`."""

    papers: ClassVar[tuple[Paper, ...]] = (RESILIPARSE, TRAFILATURA)

    @property
    def cites(self) -> tuple[Paper, ...]:
        """The engine's."""
        return (_ENGINES[self.engine],) if self.engine in _ENGINES else self.papers

    @property
    def rule_names(self) -> tuple[str, ...]:
        """Why readers and extraction refuse a record."""
        return EXTRACT_RULES

    @property
    def does_something(self) -> bool:
        """It makes the text."""
        return True
