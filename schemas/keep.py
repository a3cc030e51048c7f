"""What a step keeps: fixed bounds, a percentile range per group, a fraction, or a number of documents."""

from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from tamis.schemas.base import Model

__all__ = ["SHARES", "GivenThresholds", "Keep", "Unit"]

Unit = Literal["documents", "characters", "bytes", "tokens"]
Bounds: TypeAlias = float | tuple[float | None, float | None] | None
GivenThresholds: TypeAlias = Bounds | dict[str, Bounds]
"""A number, or low and high; or these by the name of a group, its values joined by a slash: as manifests have them."""
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
    thresholds: GivenThresholds = Field(
        default=None,
        description="numbers that an earlier run found for this rule, as its manifest has them: they hold in place of "
        "those of this corpus, by group if there are groups; a group without one has its own",
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
        if self.thresholds is not None:
            problem = self._given_problem(given)
            if problem is not None:
                raise ValueError(problem)
        if self.min is not None and self.max is not None and self.min > self.max:
            msg = f"min {self.min} is above max {self.max}: nothing could be kept"
            raise ValueError(msg)
        return self

    def _given_problem(self, given: list[str]) -> str | None:
        if not given:
            return f"`thresholds` are what one of {', '.join(SHARES)} came to in an earlier run: give that too"
        grouped = isinstance(self.thresholds, dict)
        found = list(self.thresholds.values()) if isinstance(self.thresholds, dict) else [self.thresholds]
        pairs = [isinstance(one, tuple) for one in found if one is not None]
        if any(pair != (self.percentile is not None) for pair in pairs):
            wanted = "[low, high], as of a percentile range" if self.percentile is not None else "one number each"
            return f"`thresholds` of `{given[0]}` are {wanted}"
        if self.by and not grouped:
            return "`thresholds` with `by` are by group: {group: number}"
        return None

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
