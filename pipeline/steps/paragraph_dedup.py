"""`paragraph_dedup`: lines or paragraphs that the corpus has again, taken out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from tamis.pipeline.corpus.context import Corpus, Decision
from tamis.pipeline.steps.base import DOCUMENT_BYTES, FoundFile, Memory, Step
from tamis.pipeline.steps.papers import CCNET
from tamis.schemas.paper import Paper
from tamis.schemas.step import NAME, Decides
from tamis.scorers.annotators import OverText
from tamis.scorers.base import Annotator

if TYPE_CHECKING:
    from tamis.scorers.dedup.paragraphs import RepeatedParagraphs

__all__ = ["ParagraphDedupStep"]


class ParagraphDedupStep(Step):
    """Takes out lines or paragraphs that stand elsewhere in the whole input too, all copies but the first or all.

    Later steps and the output have the text that is left, rejected documents the text as it came. The first copy is
    the one in the document of smallest `doc_id`.
    """

    verb: ClassVar[str] = "paragraph_dedup"
    rewrites: ClassVar[bool] = True
    papers: ClassVar[tuple[Paper, ...]] = (CCNET,)
    name: str | None = Field(default=None, pattern=NAME, description="begins the columns' names, in place of text")
    unit: Literal["lines", "paragraphs"] = Field(
        default="paragraphs", description="lines end at a line break, paragraphs at two or more"
    )
    folding: Literal["simplified", "folded", "none"] = Field(
        default="simplified",
        description="simplified: lower case, no accents, no punctuation, digits alike; folded: digits as they are; "
        "none: words as they are",
    )
    min_words: int = Field(default=1, ge=1, description="lines or paragraphs of fewer words stay")
    min_documents: Annotated[int, Decides] = Field(
        default=1, ge=1, description="copies in fewer different documents stay"
    )
    keep: Annotated[Literal["first", "none"], Decides] = Field(
        default="first", description="first: one copy stays; none: all copies go"
    )
    min_characters: Annotated[int, Decides] = Field(
        default=1, ge=0, description="documents of which fewer are left are rejected (white space at the ends aside)"
    )
    spans: Annotated[bool, Decides] = Field(default=False, description="keep what was taken out of where in a column")

    @property
    def label(self) -> str:
        """Verb, and name if there is one: there may be several."""
        return self.verb if self.name is None else f"{self.verb}.{self.name}"

    @property
    def _prefix(self) -> str:
        return "text" if self.name is None else self.name

    def options(self) -> "RepeatedParagraphs":
        """Return what counts as a repeat, and what goes."""
        from tamis.scorers.dedup.paragraphs import RepeatedParagraphs

        return RepeatedParagraphs(self.unit, self.keep, self.folding, self.min_words, self.min_documents)

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the hashes of lines or paragraphs."""
        from tamis.pipeline.corpus.remove_paragraphs import ParagraphColumns

        del models
        return OverText(ParagraphColumns(self.options(), name=self._prefix))

    @property
    def rule_names(self) -> tuple[str, ...]:
        """A document of which too little is left."""
        return ("nothing_left",)

    @property
    def over_corpus(self) -> bool:
        """Copies may lie anywhere."""
        return True

    @property
    def corpus_columns(self) -> pa.Schema:
        """What was taken out."""
        from tamis.pipeline.corpus.rewrite_text import cut_schema

        return cut_schema(self._prefix, spans=self.spans)

    def decide(self, corpus: Corpus) -> Decision:
        """Find the copies, and take them out."""
        from tamis.pipeline.corpus.remove_paragraphs import RemoveParagraphs, remove_paragraphs

        wanted = RemoveParagraphs(self.options(), self._prefix, self.min_characters, self.spans)
        return remove_paragraphs(corpus, wanted)

    def memory(self, documents: int, models: Mapping[str, FoundFile]) -> Memory:
        """The different lines or paragraphs of a shard, or of a partition."""
        from tamis.pipeline.corpus.remove_paragraphs import paragraph_memory

        del models
        return Memory(worker=paragraph_memory(documents * DOCUMENT_BYTES))
