"""`sample`: documents drawn at random, the same ones whatever the order, the batches and the runner."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

import pyarrow as pa
from pydantic import Field, model_validator

from tamis.pipeline.steps.base import Earlier, Step
from tamis.schemas.keep import Keep
from tamis.schemas.step import NAME, Decides
from tamis.schemas.tables import described
from tamis.scorers.base import Annotator

__all__ = ["SampleStep"]

DOCUMENTS = 1000


class _Draw:
    """A uniform number for each document, by a keyed hash of its id."""

    requires = ("doc_id",)

    def __init__(self, column: str, seed: int):
        self._seed = seed
        told = f"uniform number in (0, 1) that the sample of seed {seed} is drawn by, a keyed hash of doc_id"
        self.schema = pa.schema([described(column, pa.float64(), told)])

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the draws."""
        from tamis.scorers.text.noise import uniform_noise

        draws = uniform_noise(self._seed, "sample", batch.column("doc_id"))
        return pa.RecordBatch.from_arrays([pa.array(draws)], schema=self.schema)


class SampleStep(Step):
    """Draws documents at random by a keyed hash of their ids: so many, or a share; the others are rejected."""

    verb: ClassVar[str] = "sample"
    documents: Annotated[int | None, Decides] = Field(default=None, ge=1, description="how many; 1000 by default")
    fraction: Annotated[float | None, Decides] = Field(default=None, gt=0, le=1, description="share of the documents")
    seed: int = Field(default=0, ge=0, lt=2**63, description="another one draws others")
    max_draw: Annotated[float | None, Decides] = Field(
        default=None,
        gt=0,
        lt=1,
        description="the largest draw that is kept, as an earlier run's manifest has it, in place of what `documents` "
        "and `fraction` come to in this corpus",
    )
    name: str = Field(default="sample", pattern=NAME, description="tells several such steps and their columns apart")

    @model_validator(mode="after")
    def _one(self) -> "SampleStep":
        if self.documents is not None and self.fraction is not None:
            msg = "give either `documents` or `fraction`"
            raise ValueError(msg)
        return self

    @property
    def label(self) -> str:
        """The verb, or verb and name."""
        return self.verb if self.name == self.verb else f"{self.verb}.{self.name}"

    @property
    def kept(self) -> Keep:
        """The smallest draws: a larger sample of a seed holds a smaller one."""
        if self.max_draw is not None:
            return Keep(max=self.max_draw)
        documents = DOCUMENTS if self.documents is None and self.fraction is None else self.documents
        return Keep(documents=documents, fraction=self.fraction, best="low")

    def frozen(self, earlier: Earlier) -> Self:
        """Keep what draws up to the largest that was kept."""
        kind = self.kept.share
        found = None if kind is None else earlier.thresholds.get(self.keep_rule(kind))
        return self if found is None else self.changed(max_draw=found)

    @property
    def kept_column(self) -> str:
        """The draw."""
        return f"{self.name}_draw"

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return what draws."""
        del models
        return _Draw(self.kept_column, self.seed)
