"""`extract`: the first step of every run, which readers carry out."""

from typing import ClassVar

from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.papers import RESILIPARSE, TRAFILATURA
from tamis.schemas.extract import EXTRACT_RULES, ExtractConfig
from tamis.schemas.guide import WEB, Guide
from tamis.schemas.paper import Paper

__all__ = ["ExtractStep"]

_ENGINES = {"resiliparse": RESILIPARSE, "trafilatura": TRAFILATURA}

_GUIDE = Guide(
    formula="""\
HTML with markup      -> main content (engine), one paragraph a line
engine auto           -> resiliparse; trafilatura where that finds next to nothing of a page that has text
encoding              -> byte order mark, then the HTTP header, then the page's own word, as browsers do
time over `timeout`, size over `max_page_bytes`, nesting too deep -> an error record, never a stop""",
    follows="""\
resiliparse's and trafilatura's own extraction, each in a process of its own, so that a page that hangs or crashes a
parser costs that page alone. Texts that come as text (JSONL, WET, Parquet) pass unchanged.""",
    example="""\
- extract: {engine: resiliparse, min_characters: 400}""",
    query="SELECT rule, count(*) AS documents, avg(length(text))::INT AS characters FROM rejected GROUP BY "
    "rule ORDER BY ALL",
    inputs=(WEB,),
)


class ExtractStep(ExtractConfig, Step):
    """HTML to text; applies to records of WARC files and to inputs marked `html: true`."""

    guide: ClassVar[Guide] = _GUIDE
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
