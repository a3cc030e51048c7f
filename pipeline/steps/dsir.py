"""`dsir`: importance resampling towards a target corpus."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import BeforeValidator, Field, model_validator

from tamis.pipeline.corpus.context import Corpus, Decision, Fit
from tamis.pipeline.steps.base import Earlier, FoundFile, Step
from tamis.pipeline.steps.files import find_documents, find_model
from tamis.pipeline.steps.papers import DSIR
from tamis.pipeline.storage.folders import local_folder
from tamis.schemas.errors import ModelError
from tamis.schemas.guide import FORUM, PROSE, Guide
from tamis.schemas.keep import SHARES, Keep
from tamis.schemas.paper import Paper
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.scorers.annotators import OverText, Renamed
from tamis.scorers.base import Annotator

if TYPE_CHECKING:
    from tamis.pipeline.corpus.resample import Resampling

__all__ = ["DsirStep"]

NEAR_RANDOM = (
    "`normalise: token` makes weights that differ by less than the noise of sampling, so that the draw is near random: "
    "take `normalise: chunk`, or `top_k: true`"
)


def _without_reference(value: Any) -> Any:
    """Take the name of what the authors' package does for that of the option."""
    return "none" if value == "reference" else value


_GUIDE = Guide(
    formula="""\
p_b, q_b           =  share of bucket b among the hashed n-grams of the target, of the pool
log weight of d    =  sum over its n-grams of ln(p_b + 1e-8) - ln(q_b + 1e-8)              normalise: none
                      the same x `chunk_tokens` / tokens of d, of documents longer than a chunk   normalise: chunk
drawn              =  the k largest of log weight + Gumbel noise, the noise a keyed hash of doc_id""",
    follows="""\
The authors' package data-selection, exactly, with `hash: sha256` and `normalise: reference`; `fast` differs in the
hash alone. Drawing is without replacement, as theirs.""",
    example="""\
- dsir: {target: examples/corpus/target.jsonl.zst, min_tokens: 50, keep: {fraction: 0.4}}""",
    query="SELECT source, fate, count(*) AS documents, round(avg(dsir_log_weight), 1) AS mean_weight FROM "
    "documents GROUP BY ALL ORDER BY ALL",
    inputs=(
        FORUM,
        PROSE,
    ),
)


class DsirStep(Step):
    """Importance resampling towards a target corpus (Xie et al. 2023)."""

    verb: ClassVar[str] = "dsir"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (DSIR,)
    name: str = Field(default="dsir", pattern=NAME, description="begins the columns' names: `<name>_log_weight`")
    target: Annotated[str | dict[str, str] | None, FilePath] = Field(
        default=None, description="files of the target corpus; name: files for several targets"
    )
    model: Annotated[str | None, FilePath] = Field(
        default=None, description="a model folder from `tamis train dsir`, instead of a target"
    )
    proportions: Annotated[dict[str, float] | None, Decides] = Field(
        default=None, description="shares of several targets, in any unit; their sizes in n-grams if absent"
    )
    text: str = Field(default="text", description="the text field of the target files")
    ngrams: int = Field(default=2, ge=1, le=16, description="the longest n-grams that are counted")
    buckets: int = Field(default=10_000, ge=1, description="that n-grams are hashed to")
    hash: Literal["fast", "sha256"] = Field(default="fast", description="sha256: the authors' own, eight times slower")
    smoothing: float = Field(
        default=0.0, ge=0, description="pseudo-count of the target's buckets; helps where the target is small"
    )
    min_tokens: Annotated[int, Decides] = Field(default=100, ge=0, description="shorter documents are never drawn")
    normalise: Annotated[Literal["chunk", "none", "token"], BeforeValidator(_without_reference)] = Field(
        default="chunk",
        description="how length enters a weight. chunk: what a chunk of the document weighs on average, as the paper "
        "draws chunks; none (or reference): the plain sum of the authors' package, exactly, by which a small target "
        "draws short documents; token: the mean of a token, for `top_k` and for rules of your own",
    )
    chunk_tokens: int = Field(default=128, gt=0, description="of `normalise: chunk`")
    tokens: Literal["wordpunct", "words"] = Field(
        default="wordpunct",
        description="wordpunct: runs of letters and of marks apart; words: whatever stands between blanks",
    )
    tokenizer: Annotated[str | None, FilePath] = Field(
        default=None, description="SentencePiece or tokenizer.json file whose pieces count"
    )
    max_ngrams: int | None = Field(default=None, gt=0, description="n-grams to fit each side on; all if absent")
    top_k: Annotated[bool, Decides] = Field(default=False, description="take the largest weights instead of sampling")
    keep: Annotated[Keep, Decides] = Field(
        default=Keep(),
        description="a `fraction`, or so many `documents`, `bytes` or `tokens` to draw, `by` groups too; else all",
    )

    write_model: Annotated[bool, Decides] = Field(
        default=False, description="leave the model that is fitted in `models/` of the run's folder, for `model`"
    )

    @model_validator(mode="after")
    def _target_or_model(self) -> Self:
        if (self.target is None) == (self.model is None):
            msg = "give either `target` (files to resemble) or `model` (a folder from `tamis train dsir`)"
            raise ValueError(msg)
        if self.write_model and self.target is None:
            msg = "`write_model` leaves a model that is fitted to a `target`: there is one already"
            raise ValueError(msg)
        if self.keep.percentile is not None or self.keep.min is not None or self.keep.max is not None:
            msg = "dsir samples: keep a `fraction` or so many `documents`, `bytes` or `tokens`"
            raise ValueError(msg)
        if isinstance(self.target, dict) and not self.target:
            msg = "`target` names no files"
            raise ValueError(msg)
        if self.proportions is not None and (
            not isinstance(self.target, dict) or set(self.proportions) != set(self.target)
        ):
            msg = "`proportions` needs one share for each name in `target`"
            raise ValueError(msg)
        if isinstance(self.target, dict) and self.keep.by:
            msg = "several targets share out all documents: draw `by` groups for one target alone"
            raise ValueError(msg)
        if isinstance(self.target, dict) and self.keep.unit != "documents":
            msg = "several targets share out documents: `of` must be documents"
            raise ValueError(msg)
        return self

    @property
    def label(self) -> str:
        """Verb, and name if it is another: there may be several."""
        return self.verb if self.name == self.verb else f"{self.verb}.{self.name}"

    @property
    def targets(self) -> dict[str, str]:
        """Target name to files; a single target is called "target"."""
        if self.target is None:
            return {}
        return self.target if isinstance(self.target, dict) else {"target": self.target}

    @property
    def _names(self) -> tuple[str, ...]:
        """The names that the columns of targets have; none for a single target without a name."""
        return tuple(self.target) if isinstance(self.target, dict) else ()

    @property
    def references(self) -> dict[str, str]:
        """The model, or the target files."""
        if self.model is not None:
            return {"model": self.model}
        pieces = {"tokenizer": self.tokenizer} if self.tokenizer is not None else {}
        return pieces | {f"target.{name}": path for name, path in self.targets.items()}

    def _named(self, column: str) -> str:
        """Return how a column or rule is called here."""
        return f"{self.name}{column.removeprefix(self.verb)}"

    @property
    def kept_column(self) -> str:
        """The log weight."""
        return self._named("dsir_log_weight")

    @property
    def rule_names(self) -> tuple[str, ...]:
        """Too short to be drawn, and not drawn."""
        return (self._named("dsir_tokens_min"), *(self.keep_rule(kind) for kind in SHARES if kind != "percentile"))

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the weights under a model: given, or fitted by the run.

        Raises:
            ModelError: if it isn't fitted yet.
        """
        from tamis.scorers.dsir.model import DsirModel, DsirScorer

        if "model" not in models:
            msg = f"step {self.label}: the target distribution isn't fitted yet; a run does it, or `tamis train dsir`"
            raise ModelError(msg)
        if self.fits:
            from tamis.pipeline.corpus.resample import fitted_model

            model = fitted_model(models["model"])
        else:
            model = DsirModel.load(local_folder(models["model"]))
        scorer = DsirScorer(model, normalise=self.normalise, chunk_tokens=self.chunk_tokens)
        return Renamed(OverText(scorer), self._named)

    def columns(self, models: Mapping[str, str]) -> pa.Schema:
        """Return weights and lengths, known before the fit."""
        from tamis.scorers.dsir.model import dsir_schema

        if self.model is not None:
            return super().columns(models)
        return pa.schema([field.with_name(self._named(field.name)) for field in dsir_schema(self._names)])

    @property
    def corpus_columns(self) -> pa.Schema:
        """With several targets, which one drew the document."""
        from tamis.pipeline.corpus.resample import TARGET_FIELD

        return pa.schema([TARGET_FIELD.with_name(self._named(TARGET_FIELD.name))] if len(self._names) > 1 else [])

    @property
    def fits(self) -> bool:
        """Whether targets are given."""
        return self.target is not None

    def fit(self, corpus: Corpus) -> Fit:
        """Count the rows alive and the target files."""
        from tamis.pipeline.corpus.resample import fit_ratio

        return fit_ratio(corpus, self._resampling(corpus))

    @property
    def leaves_model(self) -> bool:
        """Where one is fitted."""
        return self.fits

    def leaving(self) -> Self:
        """Leave the model."""
        return self.changed(write_model=True) if self.fits else self

    def frozen(self, earlier: Earlier) -> Self:
        """Take the model that was fitted, and draw by the thresholds that were found."""
        step = self
        if self.fits and earlier.model is not None:
            without = {"target": None, "proportions": None, "tokenizer": None, "write_model": False}
            step = self.changed(**without, model=earlier.model)
        return step if self.keep.share is None else step._with_thresholds(earlier)

    def decide(self, corpus: Corpus) -> Decision:
        """Draw."""
        from tamis.pipeline.corpus.resample import resample
        from tamis.scorers.dsir.model import DsirModel

        names, shares = self._names, None
        if self.model is not None:
            model = DsirModel.load(local_folder(corpus.stage.model_paths("")["model"]))
            names = tuple(model.targets)
            shares = model.proportions.tolist() if names else None
        elif self.proportions is not None:
            shares = [self.proportions[name] for name in names]
        return resample(corpus, self._resampling(corpus), names, shares)

    def _resampling(self, corpus: Corpus) -> "Resampling":
        from tamis.pipeline.corpus.given import Given
        from tamis.pipeline.corpus.resample import Resampling
        from tamis.pipeline.corpus.select import unit_column
        from tamis.scorers.dsir.features import NgramFeatures
        from tamis.scorers.selection.selection import rule_of

        models = corpus.stage.model_paths("")
        features = NgramFeatures(self.ngrams, self.buckets, self.hash, self.tokens)
        if "tokenizer" in models:
            from tamis.scorers.dsir.piece_tokens import PieceTokenizer

            pieces = PieceTokenizer(Path(models["tokenizer"]))
            features = NgramFeatures(self.ngrams, self.buckets, self.hash, pieces)
        elif self.model is not None:
            from tamis.scorers.dsir.model import DsirModel

            features = DsirModel.load(local_folder(models["model"])).features
        return Resampling(
            name=self.name,
            features=features,
            targets=self.targets,
            several=isinstance(self.target, dict),
            text=self.text,
            smoothing=self.smoothing,
            max_ngrams=self.max_ngrams,
            rule=rule_of(self.keep) if self.keep.needs_corpus else None,
            unit=unit_column(self),
            top_k=self.top_k,
            min_tokens=self.min_tokens,
            keep_rule=self.keep_rule(self.keep.share or "documents"),
            by=self.keep.by,
            near_random=NEAR_RANDOM if self._is_near_random else None,
            given=Given(self.keep.thresholds),
            write_model=self.write_model,
        )

    @property
    def _is_near_random(self) -> bool:
        return self.normalise == "token" and not self.top_k and self.keep.needs_corpus

    def notes(self, before: Sequence[Step]) -> tuple[str, ...]:
        """Say that a draw will be near random."""
        del before
        return (f"step {self.label}: {NEAR_RANDOM}",) if self._is_near_random else ()

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find the model, or the files of a target, with the field of their text.

        Raises:
            ModelError: if there are none, or no document in them.
        """
        if not option.startswith("target."):
            return {option: find_model(self.label, option, reference)}
        return {option: find_documents(self.label, "target", reference, self.text)}
