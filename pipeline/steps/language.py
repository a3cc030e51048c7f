"""`language`: language identification."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.papers import LID
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.errors import ConfigError
from tamis.schemas.paper import Paper
from tamis.schemas.step import Decides, FilePath
from tamis.scorers.annotators import OverText
from tamis.scorers.base import Annotator

__all__ = ["LanguageStep"]


class LanguageStep(Step):
    """Language identification with a fastText model; lid.176 unless `model` names another."""

    verb: ClassVar[str] = "language"
    papers: ClassVar[tuple[Paper, ...]] = (LID,)
    keep: Annotated[tuple[str, ...] | None, Decides] = Field(
        default=None, description="language codes to keep; all if absent"
    )
    min_score: Annotated[float, Decides] = Field(default=0.0, ge=0, le=1)
    model: Annotated[str | None, FilePath] = None
    prefix: int | None = Field(default=None, gt=0, description="characters looked at; the scorer's default if absent")

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
        from tamis.scorers.language.identify import LanguageIdentifier

        options = {} if self.prefix is None else {"prefix": self.prefix}
        return OverText(LanguageIdentifier(models.get("model"), **options))

    @property
    def rule_names(self) -> tuple[str, ...]:
        """Another language, and a language that isn't sure."""
        return ("language", "language_score_min")

    @property
    def reads(self) -> tuple[str, ...]:
        """Its own columns."""
        return ("language", "language_score")

    def apply(self, index: int, batch: pa.RecordBatch, state: RowState) -> None:
        """Let other languages and unsure ones fall."""
        score = batch.column("language_score").to_numpy(zero_copy_only=False).astype(np.float64)
        if self.keep is not None:
            wanted = pc.is_in(batch.column("language"), value_set=pa.array(self.keep, pa.string()))
            state.fall(index, ~wanted.to_numpy(zero_copy_only=False), 0, score)
        state.fall(index, score < self.min_score, 1, score, self.min_score)

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Refuse a language that the model doesn't have, since every document would fall.

        Raises:
            ConfigError: naming the nearest one that it has.
        """
        from tamis.scorers.language.identify import UNDETERMINED, LanguageIdentifier

        del available
        if self.keep is None:
            return
        known = [*LanguageIdentifier(models.get("model")).languages, UNDETERMINED]
        for code in self.keep:
            if code not in known:
                close = difflib.get_close_matches(code, known, n=3, cutoff=0.3)
                hint = f", such as {', '.join(close)}" if close else ""
                msg = f"step language: keep: the model has no language {code!r}; it has {len(known)} codes{hint}"
                raise ConfigError(msg)
