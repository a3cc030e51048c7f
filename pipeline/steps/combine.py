"""`combine`: a column from others, row by row or by the quantiles of groups."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from tamis.pipeline.corpus.context import Corpus, Decision
from tamis.pipeline.steps.base import Earlier, Step
from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError
from tamis.schemas.guide import FORUM, PROSE, Guide
from tamis.schemas.keep import Keep
from tamis.schemas.step import NAME, Decides
from tamis.schemas.tables import described
from tamis.scorers.base import Annotator

__all__ = ["CombineStep"]

_WEIGHTED = ("mean", "sum")
_UNITS = {"documents": None, "characters": "text_chars", "bytes": "text_bytes"}
"""What quantiles can have equally much of without a step that counts it; of the text as it was read."""

_GUIDE = Guide(
    formula="""\
min, max        =  over the columns of a row
mean            =  sum(w_c x_c) / sum(w_c);   sum  =  sum(w_c x_c)
buckets         =  floor(buckets x share of the group's documents (bytes, tokens) below the row)
kept            =  as `keep` says of the new column""",
    follows="""\
DCLM's and Nemotron-CC's ensembles of classifiers are means and maxima of scores; Dolma 3's vigintiles of quality
are `how: buckets, buckets: 20` within each topic.""",
    example="""\
- language: {}
- preselect: {model: examples/models/preselect}
- combine: {columns: [preselect_score, language_score], how: min, name: smaller, keep: {fraction: 0.5}}""",
    query="SELECT fate, count(*) AS documents, round(min(smaller), 3) AS least, round(max(smaller), 3) AS most "
    "FROM documents GROUP BY fate ORDER BY fate",
    inputs=(
        FORUM,
        PROSE,
    ),
)


class CombineStep(Step):
    """A column from others: their minimum, maximum, mean or weighted sum, or the quantile that one of them lies in.

    Quantiles are those of the documents alive, of the whole corpus or of each group.
    """

    verb: ClassVar[str] = "combine"
    guide: ClassVar[Guide] = _GUIDE
    columns_: tuple[str, ...] = Field(
        alias="columns", min_length=1, description="columns of numbers that are there before the step"
    )
    name: str = Field(pattern=NAME, description="the new column")
    how: Literal["min", "max", "mean", "sum", "buckets"] = Field(
        default="mean",
        description="buckets: 0 for the documents with the smallest values, `buckets` - 1 for the largest",
    )
    weights: dict[str, float] = Field(
        default_factory=dict, description="of mean and sum: what a column counts, 1 if absent; of sums any number"
    )
    missing: Literal["empty", "skip"] = Field(
        default="empty", description="where a column has no value: empty: nor has the new one; skip: the others count"
    )
    buckets: int | None = Field(
        default=None, ge=2, le=1000, description="how many quantiles, such as 20 (vigintiles) or 100 (percentiles)"
    )
    of: str = Field(
        default="documents",
        description="of buckets: what quantiles have equally much of: documents, characters, bytes, or a column of "
        "whole numbers such as quality_tokens",
    )
    by: tuple[str, ...] = Field(default=(), description="of buckets: columns whose groups have quantiles of their own")
    cuts: Annotated[dict[str, tuple[float | None, ...]] | None, Decides] = Field(
        default=None,
        description="of buckets: the values between quantiles that an earlier run found, as its manifest has them, by "
        "group: they hold in place of those of this corpus",
    )
    keep: Annotated[Keep, Decides] = Field(default=Keep(), description="by the new column; not with buckets")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problem = self._problem()
        if problem is not None:
            raise ValueError(problem)
        return self

    def _problem(self) -> str | None:
        if len(set(self.columns_)) < len(self.columns_):
            return "columns: a column stands there twice: give it a weight instead"
        if self.name in self.columns_:
            return f"name: the column {self.name} is one of those combined: call the new one otherwise"
        foreign = [name for name in self.weights if name not in self.columns_]
        if foreign:
            return f"weights: {foreign[0]!r} is none of `columns`{nearest(foreign[0], self.columns_)}"
        if self.weights and self.how not in _WEIGHTED:
            return f"weights are of `how: mean` and `how: sum`; this is `how: {self.how}`"
        weights = [self.weights.get(name, 1.0) for name in self.columns_]
        if not np.isfinite(weights).all() or (self.how == "mean" and (min(weights) < 0 or sum(weights) == 0)):
            return "weights must be finite, and those of a mean not below 0 and not all 0"
        if (self.how == "buckets") != (self.buckets is not None):
            return "`how: buckets` and `buckets: N` go together"
        if self.how == "buckets" and len(self.columns_) > 1:
            return "buckets are of one column: combine several first"
        if self.how == "buckets" and (self.keep != Keep() or self.missing == "skip"):
            option = "missing" if self.missing == "skip" else "keep"
            return f"{option}: not with `how: buckets`; reject by buckets with a step `rules` after it"
        if self.cuts is not None and any(len(cuts) + 1 != self.buckets for cuts in self.cuts.values()):
            return "cuts: so many values a group as lie between `buckets`, one fewer than there are buckets"
        if (self.by or self.of != "documents") and self.how != "buckets":
            return f"{'by' if self.by else 'of'} is of `how: buckets`; this is `how: {self.how}`"
        if self.keep.unit == "tokens":
            return "keep: a combined column counts no tokens: measure in documents, characters or bytes"
        return None

    @property
    def kept_column(self) -> str:
        """The new column."""
        return self.name

    @property
    def _field(self) -> pa.Field:
        given = ", ".join(self.columns_)
        if self.how == "buckets":
            group = f" of its group by {', '.join(self.by)}" if self.by else ""
            told = f"which of {self.buckets} quantiles{group} the document lies in by {given}, 0 the lowest"
            return described(self.name, pa.int64(), told)
        return described(self.name, pa.float64(), f"{self.how} of {given}")

    def values_of(self, column: str) -> int | None:
        """Return the number of buckets, for their column."""
        return self.buckets if column == self.name else None

    def annotator(self, models: Mapping[str, str]) -> Annotator | None:
        """Return what combines row by row; buckets are the corpus's affair."""
        del models
        return None if self.how == "buckets" else _Combined(self, self._field)

    @property
    def over_corpus(self) -> bool:
        """Buckets, and a `keep` that needs the corpus."""
        return self.how == "buckets" or self.keep.needs_corpus

    @property
    def corpus_columns(self) -> pa.Schema:
        """The buckets."""
        return pa.schema([self._field] if self.how == "buckets" else [])

    def decide(self, corpus: Corpus) -> Decision:
        """Put into buckets, or keep."""
        from tamis.pipeline.corpus.quantiles import QuantileBuckets, quantile_buckets

        if self.buckets is None:
            return super().decide(corpus)
        unit = _UNITS.get(self.of, self.of)
        wanted = QuantileBuckets(self.columns_[0], unit, self.buckets, self.by, self._field, self.cuts)
        return quantile_buckets(corpus, wanted)

    def frozen(self, earlier: Earlier) -> Self:
        """Hold the cuts between quantiles fast, or the thresholds of `keep`."""
        if self.how == "buckets":
            cuts = earlier.thresholds.get(self.name)
            return self.changed(cuts=cuts) if cuts else self
        return self if self.keep.share is None else self._with_thresholds(earlier)

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Refuse a column that isn't there or holds no numbers.

        Raises:
            ConfigError: naming the column.
        """
        del models
        weighed = () if self.of in _UNITS else (self.of,)
        for option, names in (("columns", self.columns_), ("by", self.by), ("of", weighed)):
            for name in names:
                if name not in available or name == self.name:
                    others = [known for known in available if known != self.name]
                    msg = f"step {self.label}: {option}: no column {name!r} at this point{nearest(name, others)}"
                    raise ConfigError(msg)
        for name in self.columns_:
            _require_numbers(self.label, name, available[name].type)
        for name in weighed:
            if not pa.types.is_integer(available[name].type):
                msg = f"step {self.label}: of: {name!r} holds {available[name].type}, and whole numbers weigh"
                raise ConfigError(msg)


def _require_numbers(label: str, name: str, kind: pa.DataType) -> None:
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        msg = f"step {label}: columns: {name!r} holds {kind}, and numbers are combined"
        raise ConfigError(msg)


class _Combined:
    """The combination of some columns in each row, as 64-bit numbers."""

    def __init__(self, step: CombineStep, field: pa.Field):
        self._step = step
        self.requires = step.columns_
        self.schema = pa.schema([field])

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        step = self._step
        columns = []
        for name in step.columns_:
            column = batch.column(name)
            _require_numbers(step.label, name, column.type)
            columns.append(column.cast(pa.float64()).to_numpy(zero_copy_only=False))  # NaN where there is no value
        weights = np.array([step.weights.get(name, 1.0) for name in step.columns_])
        found = _combine(np.stack(columns), step.how, weights, skip=step.missing == "skip")
        return pa.RecordBatch.from_arrays([pa.array(found, mask=np.isnan(found))], schema=self.schema)


def _combine(
    values: npt.NDArray[np.float64], how: str, weights: npt.NDArray[np.float64], *, skip: bool
) -> npt.NDArray[np.float64]:
    """Combine columns, float64 (columns, rows); NaN is no value."""
    absent = np.isnan(values)
    if how == "min":
        found = np.where(absent, np.inf, values).min(axis=0)
    elif how == "max":
        found = np.where(absent, -np.inf, values).max(axis=0)
    else:
        found = np.zeros(values.shape[1])
        total = np.zeros(values.shape[1])
        for column, gone, weight in zip(values, absent, weights.tolist(), strict=True):  # in the order of the config
            if weight:
                found = found + np.where(gone, 0.0, column) * weight
            total = total + np.where(gone, 0.0, weight)
        if how == "mean":
            found = np.divide(found, total, out=np.full(len(found), np.nan), where=total > 0)
    return np.where(absent.all(axis=0) if skip else absent.any(axis=0), np.nan, found)
