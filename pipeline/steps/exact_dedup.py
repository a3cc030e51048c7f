"""`exact_dedup`: one document of each text."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from tamis.pipeline.corpus.context import Corpus, Decision
from tamis.pipeline.steps.base import FoundFile, Memory, Step
from tamis.scorers.annotators import OverText
from tamis.scorers.base import Annotator

__all__ = ["ExactDedupStep"]


class ExactDedupStep(Step):
    """Exact deduplication over the whole input by a 128-bit hash of the (normalised) text."""

    verb: ClassVar[str] = "exact_dedup"
    normalize: Literal["none", "whitespace"] = Field(
        default="whitespace", description="whitespace: runs of white space count as one blank, ends are cut"
    )

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the hash of texts."""
        from tamis.scorers.dedup.text_hash import TextHash

        del models
        return OverText(TextHash(normalize=self.normalize))

    @property
    def rule_names(self) -> tuple[str, ...]:
        """A copy of a document that is kept."""
        return ("duplicate",)

    @property
    def over_corpus(self) -> bool:
        """Copies may lie anywhere."""
        return True

    @property
    def corpus_columns(self) -> pa.Schema:
        """The group of copies."""
        from tamis.pipeline.corpus.deduplicate_exact import CLUSTER_SCHEMA

        return CLUSTER_SCHEMA

    def decide(self, corpus: Corpus) -> Decision:
        """Keep the smallest `doc_id` of each group."""
        from tamis.pipeline.corpus.deduplicate_exact import deduplicate_exact

        return deduplicate_exact(corpus)

    def memory(self, documents: int, models: Mapping[str, FoundFile]) -> Memory:
        """One partition of the hash space, with its sorted copy."""
        from tamis.pipeline.corpus.deduplicate_exact import ROWS_PER_PARTITION

        del models
        return Memory(worker=min(documents, ROWS_PER_PARTITION) * 6 * 8 * 3)
