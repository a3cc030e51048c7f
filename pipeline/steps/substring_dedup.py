"""`substring_dedup`: substrings of at least so many bytes that the corpus has again, taken out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from tamis.pipeline.corpus.context import Corpus, Decision
from tamis.pipeline.steps.base import DOCUMENT_BYTES, FoundFile, Memory
from tamis.pipeline.steps.papers import SUBSTRINGS
from tamis.pipeline.steps.repeats import RepeatsStep
from tamis.schemas.guide import WEB, Guide
from tamis.schemas.paper import Paper
from tamis.schemas.step import Decides
from tamis.scorers.annotators import OverText
from tamis.scorers.base import Annotator

if TYPE_CHECKING:
    from tamis.scorers.dedup.substrings import RepeatedSubstrings

__all__ = ["SubstringDedupStep"]

_GUIDE = Guide(
    formula="""\
window   =  `min_bytes` consecutive bytes of one document
copy     =  a window equal to one earlier in order of doc_id and place
goes     =  all bytes of copies, but for those that a first window has; whole characters only;
            gaps of <= `fill_gaps` bytes between two such stretches too
kept     =  documents with >= `min_characters` characters left""",
    follows="""\
The definition of Lee et al.'s deduplicate-text-datasets without a suffix array: the same bytes are found by
winnowing and hashes of windows, in memory that a partition bounds. Their tool takes out every copy; here one stays.""",
    example="""\
- substring_dedup: {min_bytes: 200, spans: true}""",
    query="SELECT count(*) AS documents, sum(text_removed_chars)::BIGINT AS taken_out, "
    "sum(text_left_chars)::BIGINT AS left_over FROM documents",
    inputs=(WEB,),
)


class SubstringDedupStep(RepeatsStep):
    """Takes out substrings that stand elsewhere in the whole input too, byte for byte, and leaves one copy of each.

    Later steps and the output have the text that is left, rejected documents the text as it came. The copy that stays
    is the one in the document of smallest `doc_id`. Characters that are repeated in part only stay.
    """

    verb: ClassVar[str] = "substring_dedup"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (SUBSTRINGS,)
    min_bytes: int = Field(default=500, ge=16, le=1 << 20, description="shorter repeats stay, UTF-8")
    anchor_bytes: int | None = Field(
        default=None,
        ge=1,
        description="of the pieces by which repeats are found, half of `min_bytes` if absent: changes time and memory, "
        "never what is found",
    )
    fill_gaps: Annotated[int, Decides] = Field(
        default=0, ge=0, description="bytes between two repeats of a document that go too, if there are no more"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.anchor_bytes is not None and self.anchor_bytes > self.min_bytes:
            msg = f"anchor_bytes ({self.anchor_bytes}) can't be above min_bytes ({self.min_bytes})"
            raise ValueError(msg)
        return self

    def options(self) -> "RepeatedSubstrings":
        """Return what counts as a repeat."""
        from tamis.scorers.dedup.substrings import RepeatedSubstrings

        return RepeatedSubstrings(self.min_bytes, self.fill_gaps, self.anchor_bytes)

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the anchors of texts."""
        from tamis.pipeline.corpus.remove_substrings import AnchorColumns

        del models
        return OverText(AnchorColumns(self.options(), name=self._prefix))

    def decide(self, corpus: Corpus) -> Decision:
        """Find the copies, and take them out."""
        from tamis.pipeline.corpus.remove_substrings import RemoveSubstrings, remove_substrings

        wanted = RemoveSubstrings(self.options(), self._prefix, self.min_characters, self.spans)
        return remove_substrings(corpus, wanted)

    def memory(self, documents: int, models: Mapping[str, FoundFile]) -> Memory:
        """Anchors or windows of a partition, or windows of a shard."""
        from tamis.pipeline.corpus.remove_substrings import substring_memory

        del models
        return Memory(worker=substring_memory(documents * DOCUMENT_BYTES))
