"""`sample`: documents drawn at random, the same ones whatever the order, the batches and the runner."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import pyarrow as pa
from pydantic import Field, model_validator

from tamis.pipeline.steps.base import Step
from tamis.schemas.guide import Guide
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
    seed: int = Field(default=0, ge=0, lt=2**63, description="another one draws others")
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
        documents = DOCUMENTS if self.documents is None and self.fraction is None else self.documents
        return Keep(documents=documents, fraction=self.fraction, best="low")

    @property
    def kept_column(self) -> str:
        """The draw."""
        return f"{self.name}_draw"

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return what draws."""
        del models
        return _Draw(self.kept_column, self.seed)
