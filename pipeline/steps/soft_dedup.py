"""`soft_dedup`: weights of documents by how common they are in the corpus, in place of taking any out."""

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from tamis.pipeline.corpus.context import Corpus, Decision
from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.papers import SOFT_DEDUP
from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError
from tamis.schemas.guide import Guide
from tamis.schemas.paper import Paper
from tamis.schemas.step import NAME
from tamis.schemas.tables import described

__all__ = ["SoftDedupStep"]


_GUIDE = Guide(
    formula="""\
commonness =  1 / perplexity: the geometric mean of the probabilities of the document's tokens
segment    =  one of `segments` parts of equally many documents, by commonness
weight     ~  1 / commonness of the segment's middle document, at least the largest / `ratio`; 1 on average""",
    follows="""\
SoftDedup (He et al. 2024), whose model is of 4-grams with Kneser-Ney smoothing: `tamis train lm` over the corpus itself
gives it. The weights' mean is 1, so that the corpus keeps its size; `repeat` and `sample` draw by them.""",
    example="""\
- perplexity: {model: examples/models/quality}
- soft_dedup: {column: quality_perplexity, segments: 5, ratio: 4}""",
    query="SELECT soft_segment, count(*) AS documents, round(min(quality_perplexity), 1) AS least, "
    "round(any_value(soft_weight), 2) AS weight FROM documents GROUP BY ALL ORDER BY ALL",
)


class SoftDedupStep(Step):
    """Weighs documents by how common they are under a language model of the corpus itself, and drops none.

    The model is one from `tamis train lm` over the same inputs, and a step `perplexity` before this one has the column.
    A step `repeat` or `sample` after it takes documents by the weight.
    """

    verb: ClassVar[str] = "soft_dedup"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (SOFT_DEDUP,)
    column: str = Field(description="of perplexities, such as quality_perplexity: one by a document's commonness")
    segments: int = Field(
        default=20, ge=1, le=500, description="of equally many documents by commonness; each has one weight"
    )
    ratio: float = Field(
        default=10.0, ge=1, allow_inf_nan=False, description="of the largest weight to the smallest, at most"
    )
    by: tuple[str, ...] = Field(
        default=(), description="columns whose groups have segments of their own, such as [language]"
    )
    name: str = Field(default="soft", pattern=NAME, description="begins the columns' names")

    @property
    def over_corpus(self) -> bool:
        """Segments are those of the corpus."""
        return True

    @property
    def can_reject(self) -> bool:
        """No document falls."""
        return False

    @property
    def corpus_columns(self) -> pa.Schema:
        """Commonness, segment and weight."""
        fields = [
            described(f"{self.name}_commonness", pa.float64(), f"1 / {self.column}: a token's probability, on average"),
            described(f"{self.name}_segment", pa.int64(), "by commonness, 0 the rarest documents"),
            described(f"{self.name}_weight", pa.float64(), "how often the document is to count, 1 on average"),
        ]
        return pa.schema(fields)

    def decide(self, corpus: Corpus) -> Decision:
        """Find the segments, and weigh."""
        from tamis.pipeline.corpus.soften import Softening, soften

        return soften(corpus, Softening(self.column, self.segments, self.ratio, self.by, self.corpus_columns))

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Refuse a column that isn't there or holds no perplexities.

        Raises:
            ConfigError: naming the column.
        """
        del models
        for option, names in (("column", (self.column,)), ("by", self.by)):
            for name in names:
                if name not in available or name in self.corpus_columns.names:
                    others = [known for known in available if known not in self.corpus_columns.names]
                    msg = f"step {self.label}: {option}: no column {name!r} at this point{nearest(name, others)}"
                    raise ConfigError(msg)
        if not pa.types.is_floating(available[self.column].type):
            msg = f"step {self.label}: column: {self.column!r} holds {available[self.column].type}, and no perplexities"
            raise ConfigError(msg)
