"""`paragraph_dedup`: lines or paragraphs that the corpus has again, taken out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from tamis.pipeline.corpus.context import Corpus, Decision
from tamis.pipeline.steps.base import DOCUMENT_BYTES, FoundFile, Memory
from tamis.pipeline.steps.papers import CCNET
from tamis.pipeline.steps.repeats import RepeatsStep
from tamis.pipeline.steps.seen import IndexedStep
from tamis.schemas.guide import WEB, Guide
from tamis.schemas.paper import Paper
from tamis.schemas.step import Decides
from tamis.scorers.annotators import OverText
from tamis.scorers.base import Annotator

if TYPE_CHECKING:
    from tamis.scorers.dedup.paragraphs import RepeatedParagraphs

__all__ = ["ParagraphDedupStep"]

_GUIDE = Guide(
    formula="""\
unit     =  a line, or a paragraph (text between two or more line breaks)
key      =  64-bit hash of its folded words; `simplified`: lower case, no accents or punctuation, digits alike
goes     =  every copy but the first in order of doc_id and place (`keep: first`), or all (`keep: none`),
            of units with >= `min_words` words that stand in >= `min_documents` documents
kept     =  documents with >= `min_characters` characters left""",
    follows="""\
cc_net's deduplication, by the same folding, but over the whole input rather than a few shards at a time, and with a
64-bit hash in place of the first 8 bytes of SHA-1.""",
    example="""\
- paragraph_dedup: {unit: lines, min_words: 3, spans: true}""",
    query="SELECT count(*) AS documents, sum(text_removed_chars)::BIGINT AS taken_out, "
    "sum(text_left_chars)::BIGINT AS left_over FROM documents",
    inputs=(WEB,),
)


class ParagraphDedupStep(RepeatsStep, IndexedStep):
    """Takes out lines or paragraphs that stand elsewhere in the whole input too, all copies but the first or all.

    Later steps and the output have the text that is left, rejected documents the text as it came. The first copy is
    the one in the document of smallest `doc_id`, or that of an earlier run which `index` names.
    """

    verb: ClassVar[str] = "paragraph_dedup"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (CCNET,)
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

    def options(self) -> "RepeatedParagraphs":
        """Return what counts as a repeat, and what goes."""
        from tamis.scorers.dedup.paragraphs import RepeatedParagraphs

        return RepeatedParagraphs(self.unit, self.keep, self.folding, self.min_words, self.min_documents)

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the hashes of lines or paragraphs."""
        from tamis.pipeline.corpus.remove_paragraphs import ParagraphColumns

        del models
        return OverText(ParagraphColumns(self.options(), name=self._prefix))

    def decide(self, corpus: Corpus) -> Decision:
        """Find the copies, and take them out."""
        from tamis.pipeline.corpus.earlier import IndexOptions
        from tamis.pipeline.corpus.remove_paragraphs import RemoveParagraphs, remove_paragraphs

        index = IndexOptions.of(corpus.stage, corpus.output, self.index_settings(), write=self.write_index)
        wanted = RemoveParagraphs(self.options(), self._prefix, self.min_characters, self.spans, index)
        return remove_paragraphs(corpus, wanted)

    def memory(self, documents: int, models: Mapping[str, FoundFile]) -> Memory:
        """The different lines or paragraphs of a shard, or of a partition."""
        from tamis.pipeline.corpus.remove_paragraphs import paragraph_memory

        # A row of an index has 10 bytes or so: hashes can't be compressed, counts can.
        seen = sum(model.bytes for model in models.values()) // 10
        return Memory(worker=paragraph_memory(documents * DOCUMENT_BYTES, seen))

    def index_settings(self) -> dict[str, Any]:
        """Return what makes hashes comparable."""
        return {"unit": self.unit, "folding": self.folding, "min_words": self.min_words}
