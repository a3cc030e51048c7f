"""`label`: a fastText classifier's best label."""

import difflib
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from tamis.pipeline.steps.labelled import LabelledStep
from tamis.pipeline.steps.papers import FASTTEXT
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.errors import ConfigError
from tamis.schemas.guide import FORUM, PROSE, Guide
from tamis.schemas.paper import Paper
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.schemas.tables import described
from tamis.scorers.base import Annotator

__all__ = ["LabelStep"]

_GUIDE = Guide(
    formula="""\
h         =  mean of the vectors of the text's words and n-grams
P(l)      =  softmax(W h)_l
label     =  argmax P;   <name>_score = max P
kept      =  label in `keep`, not in `drop`, and score >= `min_score`""",
    follows="""\
fastText's `predict`, the same label and probability to the last float32 digit, quantised models too.""",
    example="""\
- label: {model: examples/models/preselect/model.bin, name: quality, min_score: 0.8}""",
    query="SELECT quality, fate, count(*) AS documents, round(avg(quality_score), 3) AS mean FROM documents "
    "GROUP BY ALL ORDER BY ALL",
    inputs=(
        FORUM,
        PROSE,
    ),
)


class LabelStep(LabelledStep):
    """A fastText classifier's best label and its probability: topics, formats, quality classes, of any number."""

    verb: ClassVar[str] = "label"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (FASTTEXT,)
    model: Annotated[str, FilePath] = Field(description="a supervised fastText model (.bin or .ftz), or hf://")
    newline: Literal["blank", "glue"] = Field(default="blank", description="what a newline becomes: a blank or nothing")
    prefix: int | None = Field(default=None, gt=0, description="characters looked at; all if absent")
    keep: Annotated[tuple[str, ...] | None, Decides] = Field(
        default=None, min_length=1, description="labels to keep, without `__label__`; all if absent"
    )
    drop: Annotated[tuple[str, ...], Decides] = Field(default=(), description="labels that fall, instead of `keep`")
    min_score: Annotated[float, Decides] = Field(
        default=0.0, ge=0, le=1, description="documents whose best label is less probable fall"
    )
    name: str = Field(
        default="label", pattern=NAME, description="the label's column; its probability's is `<name>_score`"
    )

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if self.keep is not None and self.drop:
            msg = "give either `keep` or `drop`: what one doesn't name, the other means"
            raise ValueError(msg)
        return self

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the classifier."""
        return _BestLabel(self, models["model"])

    @property
    def can_reject(self) -> bool:
        """Whether labels or a least score are given."""
        return self.keep is not None or bool(self.drop) or self.min_score > 0

    def apply(self, index: int, batch: pa.RecordBatch, state: RowState) -> None:
        """Let other labels and unsure ones fall; without a label, `keep` and `min_score` keep nothing."""
        self.let_fall(index, batch, state, self.min_score, keep=self.keep, drop=self.drop)

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Refuse a label that the model doesn't have.

        Raises:
            ConfigError: naming the nearest ones that it has.
        """
        del available
        if not (self.keep or self.drop):
            return
        known = _labels(models["model"])
        for label in self.keep or self.drop:
            if label not in known:
                close = difflib.get_close_matches(label, known, n=3, cutoff=0.3)
                hint = f", such as {', '.join(close or known[:3])}"
                option = "keep" if self.keep else "drop"
                msg = f"step {self.label}: {option}: the model has no label {label!r}; it has {len(known)}{hint}"
                raise ConfigError(msg)


def _labels(model: str) -> list[str]:
    """Return a model's labels without fastText's prefix."""
    from tamis.scorers.fasttext.model import LABEL_PREFIX, FastTextModel

    return [label.removeprefix(LABEL_PREFIX) for label in FastTextModel(model).labels]


class _BestLabel:
    """The most probable label; null, with a probability of 0, for a text without a feature that the model knows."""

    requires = ("text",)

    def __init__(self, step: LabelStep, model: str):
        from tamis.scorers.fasttext.model import LABEL_PREFIX, FastTextModel

        self._step = step
        self._model = FastTextModel(model)
        self._labels = pa.array([label.removeprefix(LABEL_PREFIX) for label in self._model.labels], pa.string())
        self.schema = pa.schema(
            [
                described(step.name, pa.string(), "the fastText classifier's best label"),
                described(f"{step.name}_score", pa.float32(), "its probability; 0 without a label"),
            ]
        )

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        step = self._step
        found = self._model.top(batch.column("text"), newline=step.newline, strip=True, prefix=step.prefix)
        ids = found.ids[:, 0]
        labels = self._labels.take(pa.array(ids, mask=ids < 0))
        return pa.RecordBatch.from_arrays([labels, pa.array(found.probabilities[:, 0])], schema=self.schema)
