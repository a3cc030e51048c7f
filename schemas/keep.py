"""What a step keeps: fixed bounds, or of the corpus or each group a percentile range, a share, or so much."""

from typing import Literal

from pydantic import Field, model_validator

from tamis.schemas.base import Model

__all__ = ["SHARES", "Keep", "Unit"]

SHARES = ("percentile", "fraction", "documents", "bytes", "tokens")
"""What is decided over the whole corpus, or over each group."""

Unit = Literal["documents", "characters", "bytes", "tokens"]


class Keep(Model):
    """Which documents a scoring step keeps, by its column.

    `min` and `max` are inclusive bounds. `percentile`, `fraction` and `documents` need the whole corpus and are exact:
    they don't depend on order, batching, number of workers or runner. `percentile: [lo, hi]` keeps the documents whose
    value lies between those percentiles. `fraction` keeps the best share of the documents alive, measured in `of`;
    `documents` keeps the best so many; `bytes` and `tokens` the best until they have so many, the one that reaches it
    included. With `by` each group of equal values of those columns has percentiles, a share or so much of its own.
    """

    min: float | None = None
    max: float | None = None
    percentile: tuple[float, float] | None = None
    by: tuple[str, ...] = Field(
        default=(), description="columns whose groups are decided about each by itself; not of `min` and `max`"
    )
    fraction: float | None = Field(default=None, gt=0, le=1)
    of: Unit = "documents"
    documents: int | None = Field(default=None, ge=0)
    bytes: int | None = Field(default=None, ge=0, description="of text as it was read")
    tokens: int | None = Field(default=None, ge=0, description="as the step counts them")
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
            msg = f"`by` groups what is kept: give one of {', '.join(SHARES)} too"
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
