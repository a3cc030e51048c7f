"""`repeat`: how often each document is to be taken, and which are taken not at all."""

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from tamis.pipeline.corpus.context import Corpus, Decision
from tamis.pipeline.steps.base import Earlier, Step
from tamis.pipeline.steps.papers import FINEWEB_2
from tamis.schemas.base import Model, nearest
from tamis.schemas.errors import ConfigError
from tamis.schemas.guide import PROSE, Guide
from tamis.schemas.paper import Paper
from tamis.schemas.step import NAME, Decides
from tamis.schemas.tables import described
from tamis.scorers.selection.upsampling import REHYDRATION

__all__ = ["CurveOptions", "RepeatStep"]

_UNITS = {"documents": None, "characters": "text_chars", "bytes": "text_bytes"}


class CurveOptions(Model):
    """Dolma 3's quality-aware curve over ranges by quality, such as `combine: {how: buckets}` numbers."""

    times: float = Field(gt=0, allow_inf_nan=False, description="tokens wanted per token there is, of each group")
    cap: float = Field(default=7.0, gt=0, allow_inf_nan=False, description="the largest mean factor of the best range")
    throwaway: float = Field(default=0.4, ge=0, lt=1, description="of the tokens: the lowest ranges in it fall")
    continuous: bool = Field(default=False, description="any exponent that fits, not one of the paper's 20")
    of: str = Field(
        default="bytes", description="what counts as tokens: documents, characters, bytes, or a column of whole numbers"
    )
    by: tuple[str, ...] = Field(default=(), description="columns whose groups have curves of their own, such as topics")


_GUIDE = Guide(
    formula="""\
factor    =  the column itself, or `table`'s value from the largest bound that isn't above it, or the curve's
curve     =  mean of C x^p exp(lambda x) over the document's range of quality, x the share of text below it
copies    =  floor(factor) + [u < factor - floor(factor)],   u = keyed hash of doc_id in [0, 1)
falls     =  copies = 0""",
    follows="""\
FineWeb-2's rehydration (`table: fineweb2`) and Dolma 3's upsampling curve (`curve`), whose factors agree with those
of its own code.""",
    example="""\
- near_dedup: {preset: fineweb}
- repeat: {column: dup_cluster_size, table: {1: 1, 2: 1.5, 3: 3}}""",
    query="SELECT dup_cluster_size, copies, count(*) AS documents FROM selected GROUP BY ALL ORDER BY ALL",
    inputs=(PROSE,),
)


class RepeatStep(Step):
    """How often each document is to be taken, as a column; documents that are taken not at all fall.

    A factor's whole part is sure, its fraction the chance of one more, by a keyed hash of the document's id. Documents
    are written once, with the number; the manifest counts the copies apart from the documents.
    """

    verb: ClassVar[str] = "repeat"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (FINEWEB_2,)
    column: str = Field(description="of numbers: the factor itself, or what `table` or `curve` make it of")
    table: Annotated[Literal["fineweb2"] | dict[float, float] | None, Decides] = Field(
        default=None,
        description="least value to the factor from it on, and 0 below all; fineweb2: by the size of a cluster, "
        "1 to 3 as often as it is large, 4: 3, from 5: 5, from 100: 8, from 1000: once",
    )
    curve: Annotated[CurveOptions | None, Decides] = Field(default=None, description="instead of `table`")
    missing: Annotated[float, Decides] = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="the factor of documents without a value"
    )
    name: str = Field(default="copies", pattern=NAME, description="the new column")

    @field_validator("table")
    @classmethod
    def _ascending(cls, value: str | dict[float, float] | None) -> str | dict[float, float] | None:
        if isinstance(value, dict):
            numbers = [*value, *value.values()]
            if not value or not np.isfinite(numbers).all() or min(value.values()) < 0:
                msg = "needs values to factors, which are finite, and factors from 0 on"
                raise ValueError(msg)
            return dict(sorted(value.items()))
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.table is not None and self.curve is not None:
            msg = "give either `table` or `curve`, or neither where the column is the factor"
            raise ValueError(msg)
        if self.name == self.column:
            msg = f"name: the column {self.name} is what factors follow from: call the new one otherwise"
            raise ValueError(msg)
        return self

    @property
    def cites(self) -> tuple[Paper, ...]:
        """FineWeb-2's where its table is taken."""
        return self.papers if self.table == "fineweb2" else ()

    @property
    def rule_names(self) -> tuple[str, ...]:
        """No copy."""
        return (f"{self.name}_min",)

    @property
    def over_corpus(self) -> bool:
        """A draw, by the run's seed."""
        return True

    def frozen(self, earlier: Earlier) -> Self:
        """A table is the config's; a curve follows from the corpus.

        Raises:
            ConfigError: if there is a curve.
        """
        if self.curve is not None:
            return super().frozen(earlier)
        return self

    @property
    def _field(self) -> pa.Field:
        return described(self.name, pa.int64(), f"how often the document is to be taken, by {self.column}")

    @property
    def corpus_columns(self) -> pa.Schema:
        """The number of copies."""
        return pa.schema([self._field])

    def decide(self, corpus: Corpus) -> Decision:
        """Draw the copies."""
        from tamis.pipeline.corpus.repeat import Curve, Repetition, repeat

        curve = self.curve
        pairs: Iterable[tuple[float, float]] | None = None
        if self.table is not None:
            pairs = self.table.items() if isinstance(self.table, dict) else REHYDRATION
        return repeat(
            corpus,
            Repetition(
                column=self.column,
                table=None if pairs is None else tuple((float(low), float(factor)) for low, factor in pairs),
                curve=None
                if curve is None
                else Curve(
                    curve.times, curve.cap, curve.throwaway, curve.continuous, _UNITS.get(curve.of, curve.of), curve.by
                ),
                missing=self.missing,
                field=self._field,
                rule=0,
            ),
        )

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Refuse a column that isn't there or isn't of its kind.

        Raises:
            ConfigError: naming the column.
        """
        del models
        curve = self.curve
        weighed = () if curve is None or curve.of in _UNITS else (curve.of,)
        by = () if curve is None else curve.by
        for option, names in (("column", (self.column,)), ("curve.by", by), ("curve.of", weighed)):
            for name in names:
                if name not in available or name == self.name:
                    others = [known for known in available if known != self.name]
                    msg = f"step {self.label}: {option}: no column {name!r} at this point{nearest(name, others)}"
                    raise ConfigError(msg)
        kind = available[self.column].type
        whole = pa.types.is_integer(kind)
        if not (whole or pa.types.is_floating(kind)) or (curve is not None and not whole):
            told = "ranges are numbered by whole numbers" if curve is not None else "factors are numbers"
            msg = f"step {self.label}: column: {self.column!r} holds {kind}, and {told}"
            raise ConfigError(msg)
        for name in weighed:
            if not pa.types.is_integer(available[name].type):
                msg = f"step {self.label}: curve.of: {name!r} holds {available[name].type}, and whole numbers weigh"
                raise ConfigError(msg)
