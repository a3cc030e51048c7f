"""`sample`: documents drawn at random, the same ones whatever the order, the batches and the runner."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from tamis.pipeline.steps.base import Earlier, Step
from tamis.schemas.errors import ConfigError, DataError
from tamis.schemas.guide import Guide
from tamis.schemas.keep import Keep
from tamis.schemas.step import NAME, Decides
from tamis.schemas.tables import described
from tamis.scorers.base import Annotator

__all__ = ["SampleStep"]

DOCUMENTS = 1000


class _Draw:
    """A number for each document, by a keyed hash of its id: uniform, or exponential over the document's weight.

    The smallest of the latter are a sample without replacement in proportion to weights (Efraimidis and Spirakis 2006,
    doi:10.1016/j.ipl.2005.11.003, whose keys are these by another name).
    """

    def __init__(self, step: "SampleStep"):
        self._seed = seed = step.seed
        self._label = step.label
        self._weight = step.weight
        self.requires = ("doc_id",) if step.weight is None else ("doc_id", step.weight)
        told = f"uniform number in (0, 1) that the sample of seed {seed} is drawn by, a keyed hash of doc_id"
        if step.weight is not None:
            told = f"exponential number over {step.weight} that the sample of seed {seed} is drawn by, of doc_id"
        column = step.kept_column
        self.schema = pa.schema([described(column, pa.float64(), told)])

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the draws; null for documents that weigh nothing.

        Raises:
            DataError: if a weight is no number from 0 on.
        """
        from tamis.scorers.kernels.portable_log import natural_logs
        from tamis.scorers.text.noise import uniform_noise

        draws = uniform_noise(self._seed, "sample", batch.column("doc_id"))
        if self._weight is None:
            return pa.RecordBatch.from_arrays([pa.array(draws)], schema=self.schema)
        weights = batch.column(self._weight).cast(pa.float64()).to_numpy(zero_copy_only=False)
        wrong = weights[(weights < 0) | np.isinf(weights)]
        if len(wrong):
            msg = f"step {self._label}: a document's {self._weight} is {wrong[0]:g}, and weights are numbers from 0 on"
            raise DataError(msg)
        some = weights > 0
        found = np.divide(-natural_logs(draws), weights, out=np.zeros(len(draws)), where=some)
        return pa.RecordBatch.from_arrays([pa.array(found, mask=~some)], schema=self.schema)


_GUIDE = Guide(
    formula="""\
draw      =  hash(seed, doc_id) in [0, 1)
kept      =  the `documents` with the smallest draws, or those of the share `fraction`""",
    follows="""\
Bottom-k sampling: a document's draw is its own, so a sample of 100 lies within that of 1,000 of the same seed, in
any order and on any runner.""",
    example="""\
- sample: {documents: 50, seed: 3}""",
    query="SELECT fate, count(*) AS documents, round(max(sample_draw), 3) AS largest_draw FROM documents GROUP "
    "BY fate ORDER BY fate",
)


class SampleStep(Step):
    """Draws documents at random by a keyed hash of their ids: so many, or a share; the others are rejected."""

    verb: ClassVar[str] = "sample"
    guide: ClassVar[Guide] = _GUIDE
    documents: Annotated[int | None, Decides] = Field(default=None, ge=1, description="how many; 1000 by default")
    fraction: Annotated[float | None, Decides] = Field(default=None, gt=0, le=1, description="share of the documents")
    weight: str | None = Field(
        default=None, description="column of numbers: documents are drawn in proportion to it, never those of 0 or none"
    )
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
        return _Draw(self)

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Refuse a weight that is no number.

        Raises:
            ConfigError: naming the column.
        """
        del models
        if self.weight is None:
            return
        kind = available[self.weight].type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            msg = f"step {self.label}: weight: {self.weight!r} holds {kind}, and weights are numbers"
            raise ConfigError(msg)
