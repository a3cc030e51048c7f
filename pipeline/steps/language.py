"""`language`: language identification."""

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.papers import LID
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.errors import ConfigError
from tamis.schemas.paper import Paper
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.scorers.annotators import OverText
from tamis.scorers.base import Annotator

if TYPE_CHECKING:
    from tamis.scorers.language.identify import LanguageIdentifier

__all__ = ["LanguageStep"]


class LanguageStep(Step):
    """Language identification with a fastText model, lid.176 unless `model` names another, or with the package eldc."""

    verb: ClassVar[str] = "language"
    papers: ClassVar[tuple[Paper, ...]] = (LID,)
    name: str = Field(default="language", pattern=NAME, description="of the columns, `<name>` and `<name>_score`")
    keep: Annotated[tuple[str, ...] | None, Decides] = Field(
        default=None, description="language codes to keep; all if absent"
    )
    min_score: Annotated[float, Decides] = Field(default=0.0, ge=0, le=1, description="of the label; lower ones fall")
    engine: Literal["fasttext", "eldc"] = Field(
        default="fasttext", description="eldc: 60 languages, better on short texts; needs the extra `eldc`"
    )
    model: Annotated[str | None, FilePath] = Field(
        default=None, description="of the engine fasttext; the packaged lid.176 if absent"
    )
    prefix: int | None = Field(default=None, gt=0, description="characters looked at; 2,000 if absent")
    scripts: bool = Field(
        default=True,
        description="a label that isn't written in the text's letters gives way to one that is; no letters: und",
    )
    merge: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="new label to the labels that it takes in, such as `zh: [zh, yue, wuu]`"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.engine == "eldc" and self.model is not None:
            msg = "the engine eldc has a model of its own: leave `model` out, or the engine"
            raise ValueError(msg)
        return self

    @field_validator("keep", mode="before")
    @classmethod
    def _quoted_codes(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and not value:
            msg = "keeps no language: name some, or leave `keep` out"
            raise ValueError(msg)
        if isinstance(value, list | tuple) and any(isinstance(code, bool) for code in value):
            msg = "YAML reads the bare word no as false: quote language codes, such as 'no'"
            raise ValueError(msg)
        return value

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the identifier."""
        return OverText(self._identifier(models))

    def _identifier(self, models: Mapping[str, str]) -> "LanguageIdentifier":
        from tamis.scorers.language.identify import DEFAULT_PREFIX, LanguageIdentifier

        return LanguageIdentifier(
            models.get("model"),
            engine=self.engine,
            prefix=self.prefix or DEFAULT_PREFIX,
            check_scripts=self.scripts,
            merge=self.merge,
            name=self.name,
        )

    @property
    def label(self) -> str:
        """Verb, and name if it is another: there may be several."""
        return self.verb if self.name == self.verb else f"{self.verb}.{self.name}"

    @property
    def languages_kept(self) -> tuple[str, ...] | None:
        """Those that `keep` names."""
        return self.keep

    @property
    def rule_names(self) -> tuple[str, ...]:
        """Another language, and a language that isn't sure."""
        return (self.name, f"{self.name}_score_min")

    @property
    def reads(self) -> tuple[str, ...]:
        """Its own columns."""
        return (self.name, f"{self.name}_score")

    def apply(self, index: int, batch: pa.RecordBatch, state: RowState) -> None:
        """Let other languages and unsure ones fall."""
        score = batch.column(f"{self.name}_score").to_numpy(zero_copy_only=False).astype(np.float64)
        if self.keep is not None:
            wanted = pc.is_in(batch.column(self.name), value_set=pa.array(self.keep, pa.string()))
            state.fall(index, ~wanted.to_numpy(zero_copy_only=False), 0, score)
        state.fall(index, score < self.min_score, 1, score, self.min_score)

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Refuse a language that the model doesn't have, since every document would fall.

        Raises:
            ConfigError: naming the nearest one that it has.
        """
        from tamis.scorers.language.identify import UNDETERMINED

        del available
        if self.keep is None:
            return
        known = [*self._identifier(models).languages, UNDETERMINED]
        for code in self.keep:
            if code not in known:
                close = difflib.get_close_matches(code, known, n=3, cutoff=0.3)
                hint = f", such as {', '.join(close)}" if close else ""
                msg = f"step {self.label}: keep: the model has no language {code!r}; it has {len(known)} codes{hint}"
                raise ConfigError(msg)
