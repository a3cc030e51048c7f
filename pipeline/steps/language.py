"""`language`: language identification."""

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, PrivateAttr, field_validator, model_validator

from tamis.pipeline.steps.base import FoundFile
from tamis.pipeline.steps.files import digest_path
from tamis.pipeline.steps.labelled import LabelledStep
from tamis.pipeline.steps.loaded import annotator_of
from tamis.pipeline.steps.papers import LID
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.errors import ConfigError
from tamis.schemas.guide import WEB, Guide
from tamis.schemas.paper import Paper
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.scorers.annotators import OverText
from tamis.scorers.base import Annotator
from tamis.scorers.statistics.language_rules import FINEWEB2, LanguageTable, packaged_table, read_language_table

if TYPE_CHECKING:
    from tamis.scorers.language.identify import LanguageIdentifier

__all__ = ["LanguageStep"]

_GUIDE = Guide(
    formula="""\
label, score  =  argmax, max over l of P(l | first `prefix` characters)          fastText, softmax
label         =  the best one written in the text's letters, where the best isn't      `scripts`
label         =  und, score 0, for texts without letters
kept          =  label in `keep` and score >= `min_score`""",
    follows="""\
lid.176 as fastText computes it: the same labels and probabilities on the same characters. A whole text and its
first 2,000 characters differ rarely; `prefix` says how many are looked at. `min_score: fineweb2` has FineWeb-2's
thresholds.""",
    example="""\
- language: {keep: [en, de], min_score: 0.5}""",
    query="SELECT language, fate, count(*) AS documents FROM documents GROUP BY ALL ORDER BY documents DESC, "
    "language, fate LIMIT 8",
    inputs=(WEB,),
)


class LanguageStep(LabelledStep):
    """Language identification with a fastText model, lid.176 unless `model` names another, or with the package eldc."""

    verb: ClassVar[str] = "language"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (LID,)
    name: str = Field(default="language", pattern=NAME, description="of the columns, `<name>` and `<name>_score`")
    keep: Annotated[tuple[str, ...] | None, Decides] = Field(
        default=None, description="language codes to keep; all if absent"
    )
    min_score: Annotated[float | str, Decides, FilePath] = Field(
        default=0.0,
        description="a number from 0 to 1; or a table by language as of `heuristics: {rules: PATH}`, whose "
        "`language_score` counts, `fineweb2` for the packaged one; languages that it doesn't name pass",
    )
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

    _table: LanguageTable | None = PrivateAttr(default=None)

    @field_validator("min_score", mode="before")
    @classmethod
    def _number_or_path(cls, value: Any) -> Any:
        try:
            number = float(value)
        except (TypeError, ValueError):
            return value
        if not 0 <= number <= 1:
            msg = f"a share from 0 to 1, or a table by language, got {value!r}"
            raise ValueError(msg)
        return number

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
        from tamis.scorers.language.identify import DEFAULT_PREFIX, LanguageIdentifier

        return OverText(
            LanguageIdentifier(
                models.get("model"),
                engine=self.engine,
                prefix=self.prefix or DEFAULT_PREFIX,
                check_scripts=self.scripts,
                merge=self.merge,
                name=self.name,
            )
        )

    @property
    def languages_kept(self) -> tuple[str, ...] | None:
        """Those that `keep` names."""
        return self.keep

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find the model, or the table of scores."""
        if option == "min_score" and reference == FINEWEB2:
            path = str(packaged_table())
            return {option: FoundFile(reference, path, *digest_path(path))}
        return super().find(option, reference)

    def resolved(self, models: Mapping[str, FoundFile]) -> Self:
        """Return the step with its table of scores read."""
        if not isinstance(self.min_score, str):
            return self
        step = self.model_copy()
        try:
            step._table = read_language_table(models["min_score"].path, self.min_score)
        except ConfigError as error:
            msg = f"step {self.label}: min_score: {error}"
            raise ConfigError(msg) from None
        return step

    def _least(self, batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
        """Return the least score of each row's language."""
        if self._table is None:
            return np.full(batch.num_rows, self.min_score if isinstance(self.min_score, float) else 0.0)
        least: dict[str | None, float] = {}
        labels = batch.column(self.name).to_pylist()
        for label in dict.fromkeys(labels):
            key = self._table.find(label)
            least[label] = 0.0 if key is None else self._table.figures[key].language_score or 0.0
        return np.array([least[label] for label in labels], np.float64)

    @property
    def bounds(self) -> dict[str, Any]:
        """The least score of each language, where a table says it."""
        if self._table is None:
            return super().bounds
        figures = self._table.figures
        scores = {key: figures[key].language_score for key in figures if figures[key].language_score is not None}
        return {f"{self.name}_score_min": scores}

    @property
    def can_reject(self) -> bool:
        """Whether labels or a least score are given."""
        return self.keep is not None or self.min_score != 0

    def apply(self, index: int, batch: pa.RecordBatch, state: RowState) -> None:
        """Let other languages and unsure ones fall."""
        self.let_fall(index, batch, state, self._least(batch), keep=self.keep)

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Refuse a language that the model doesn't have, since every document would fall.

        Raises:
            ConfigError: naming the nearest one that it has.
        """
        from tamis.scorers.language.identify import UNDETERMINED

        del available
        if self.keep is None:
            return
        identifier = cast("LanguageIdentifier", cast("OverText", annotator_of(self, models)).scorer)
        known = [*identifier.languages, UNDETERMINED]
        for code in self.keep:
            if code not in known:
                low = code.lower().replace("-", "_").partition("_")[0]
                close = [low] if low in known else difflib.get_close_matches(low, known, n=3, cutoff=0.3)
                hint = f", such as {', '.join(close)}" if close else ""
                msg = f"step {self.label}: keep: the model has no language {code!r}; it has {len(known)} codes{hint}"
                raise ConfigError(msg)
