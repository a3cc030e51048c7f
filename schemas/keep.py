"""What a step keeps: fixed bounds, a percentile range per group, a fraction, or a number of documents."""

from typing import Literal

from pydantic import Field, model_validator

from tamis.schemas.base import Model

__all__ = ["SHARES", "Keep", "Unit"]

Unit = Literal["documents", "characters", "bytes", "tokens"]
SHARES = ("percentile", "fraction", "documents", "bytes", "tokens")
"""What is decided over the whole corpus, or over each group."""


class Keep(Model):
    """Which documents a scoring step keeps, by its column.

    `min` and `max` are inclusive bounds. `percentile`, `fraction` and `documents` need the whole corpus and are exact:
    they don't depend on order, batching, number of workers or runner. `percentile: [lo, hi]` keeps the documents whose
    value lies between those percentiles, `fraction` the best share of the documents alive, measured in `of`, and
    `documents` the best so many, `bytes` and `tokens` the best until they have so many, the one that reaches it
    included; each of all documents, or of each group (`by`).
    """

    min: float | None = Field(default=None, description="smallest value kept")
    max: float | None = Field(default=None, description="largest value kept")
    percentile: tuple[float, float] | None = Field(default=None, description="[lo, hi], in percent: 0 to 100")
    by: tuple[str, ...] = Field(
        default=(), description="columns, such as language: each group of equal values is decided on apart"
    )
    fraction: float | None = Field(default=None, gt=0, le=1, description="the best share that is kept, 0 to 1")
    of: Unit = Field(
        default="documents", description="what `fraction` is a share of; tokens are those that the step counts"
    )
    documents: int | None = Field(default=None, ge=0, description="the best so many that are kept")
    bytes: int | None = Field(default=None, ge=0, description="so many bytes of text, as it was read, of the best")
    tokens: int | None = Field(default=None, ge=0, description="so many tokens, as the step counts them, of the best")
    best: Literal["high", "low"] | None = Field(
        default=None, description="which values shares and amounts keep; high, but of perplexities low"
    )

    @model_validator(mode="after")
    def _one_global_rule(self) -> "Keep":
        given = [kind for kind in SHARES if getattr(self, kind) is not None]
        if len(given) > 1:
            msg = f"give only one of {' and '.join(given)}"
            raise ValueError(msg)
        if self.percentile is not None and not 0 <= self.percentile[0] < self.percentile[1] <= 100:
            msg = f"percentile must be [lo, hi] with 0 <= lo < hi <= 100, got {list(self.percentile)}"
            raise ValueError(msg)
        if self.of != "documents" and self.fraction is None:
            msg = "`of` says what a `fraction` is measured in: give `fraction` too"
            raise ValueError(msg)
        if self.by and not given:
            msg = f"`by` is about each group of a corpus: give one of {', '.join(SHARES)} too"
            raise ValueError(msg)
        if self.min is not None and self.max is not None and self.min > self.max:
            msg = f"min {self.min} is above max {self.max}: nothing could be kept"
            raise ValueError(msg)
        return self

    @property
    def share(self) -> str | None:
        """The kind of what is decided over the corpus, such as `fraction`; None if nothing is."""
        return next((kind for kind in SHARES if getattr(self, kind) is not None), None)

    @property
    def unit(self) -> Unit:
        """What documents are measured in."""
        return "bytes" if self.bytes is not None else "tokens" if self.tokens is not None else self.of

    @property
    def needs_corpus(self) -> bool:
        """Whether the decision needs a pass over the whole corpus."""
        return self.share is not None
