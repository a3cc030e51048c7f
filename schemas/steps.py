"""The config of every step: one class a verb, with defaults that can be run as they are."""

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tamis.schemas.base import Model, nearest, validate
from tamis.schemas.errors import ConfigError
from tamis.schemas.keep import Keep
from tamis.scorers.statistics.rule_presets import Rule

__all__ = [
    "STEPS",
    "CleanStep",
    "DsirStep",
    "ExactDedupStep",
    "ExtractStep",
    "HeuristicsStep",
    "LanguageStep",
    "PerplexityStep",
    "PreselectStep",
    "RulesStep",
    "StepConfig",
    "parse_step",
]

NAME = r"^[A-Za-z][A-Za-z0-9_]*$"


class StepConfig(Model):
    """Base of all steps: `verb` is the key in the config, `references` name the models and files it reads."""

    verb: ClassVar[str]

    @property
    def label(self) -> str:
        """The step's name in tables and the manifest, unique within a run."""
        return self.verb

    @property
    def references(self) -> dict[str, str]:
        """Option name to the model or file it names; resolved and digested before the run."""
        return {}


class ExtractStep(StepConfig):
    """HTML to text; applies to records of WARC files and to inputs marked `html: true`."""

    verb: ClassVar[str] = "extract"
    engine: Literal["resiliparse", "trafilatura"] = "resiliparse"
    main_content: bool = True
    max_page_bytes: int = Field(default=16 << 20, gt=0)
    timeout: float = Field(default=10.0, gt=0, description="seconds a page")
    min_characters: int = Field(default=1, ge=0)
    statuses: tuple[int, ...] = (200,)
    content_types: tuple[str, ...] = ("text/html", "application/xhtml+xml", "text/plain")


class LanguageStep(StepConfig):
    """Language identification with a fastText model; lid.176 unless `model` names another."""

    verb: ClassVar[str] = "language"
    keep: tuple[str, ...] | None = Field(default=None, description="language codes to keep; all if absent")
    min_score: float = Field(default=0.0, ge=0, le=1)
    model: str | None = None
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

    @property
    def references(self) -> dict[str, str]:
        """The model, if it isn't the packaged one."""
        return {} if self.model is None else {"model": self.model}


class ExactDedupStep(StepConfig):
    """Exact deduplication over the whole input by a 128-bit hash of the (normalised) text."""

    verb: ClassVar[str] = "exact_dedup"
    normalize: Literal["none", "whitespace"] = Field(
        default="whitespace", description="whitespace: runs of white space count as one blank, ends are cut"
    )


class HeuristicsStep(StepConfig):
    """Text statistics, and rules over them: presets, thresholds that override theirs, and rules of one's own."""

    verb: ClassVar[str] = "heuristics"
    presets: tuple[str, ...] = ()
    thresholds: dict[str, float | None] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    splitter: Literal["fast", "spacy"] = "fast"
    statistics: Literal["all", "rules"] = Field(default="all", description="rules: only the columns that rules need")
    bad_words: str | None = Field(default=None, description="a file with a word or phrase a line")

    @property
    def references(self) -> dict[str, str]:
        """The word list, if there is one."""
        return {} if self.bad_words is None else {"bad_words": self.bad_words}


class CleanStep(StepConfig):
    """Takes lines out of the text as C4's rules do; later steps and the output have the text that is left."""

    verb: ClassVar[str] = "clean"
    variant: Literal["paper", "datatrove", "datatrove_fineweb"] = Field(
        default="paper", description="C4 as its paper has it, or as datatrove does, or as FineWeb was made with"
    )


class RulesStep(StepConfig):
    """Rules over columns that earlier steps computed; computes nothing itself."""

    verb: ClassVar[str] = "rules"
    rules: tuple[Rule, ...] = Field(min_length=1)
    name: str = Field(default="rules", pattern=NAME)

    @property
    def label(self) -> str:
        """The name, so that several such steps can be told apart."""
        return self.name


class PerplexityStep(StepConfig):
    """Perplexity under an n-gram language model (KenLM), for quality or for harmful content."""

    verb: ClassVar[str] = "perplexity"
    model: str = Field(description="model folder, ARPA or KenLM binary, or hf://; may hold {language}")
    tokenizer: str | None = Field(default=None, description="SentencePiece model, or none: words; may hold {language}")
    normalizer: str | None = None
    policy: Literal["document", "lines", "nonblank_lines"] | None = None
    mode: Literal["ccnet", "oscar", "kenlm"] | None = None
    name: str = Field(default="quality", pattern=NAME)
    languages: tuple[str, ...] | None = Field(default=None, description="languages that {language} may take")
    keep: Keep = Keep()
    threshold: Literal["model"] | None = Field(
        default=None, description="model: keep what the model's own calibrated threshold doesn't call harmful"
    )
    bucket: Literal["none", "corpus", "model", "ccnet"] = Field(
        default="none", description="head/middle/tail column: by corpus percentiles, the model's table, or cc_net's"
    )
    bucket_percentiles: tuple[float, float] = (30, 60)
    bucket_by: tuple[str, ...] = ("language", "source")

    @model_validator(mode="after")
    def _consistent(self) -> "PerplexityStep":
        if self.threshold is not None and self.keep.min is not None:
            msg = "give either `threshold: model` or `keep: {min: ...}`"
            raise ValueError(msg)
        if not 0 <= self.bucket_percentiles[0] < self.bucket_percentiles[1] <= 100:
            msg = f"bucket_percentiles must be [lo, hi] with 0 <= lo < hi <= 100, got {list(self.bucket_percentiles)}"
            raise ValueError(msg)
        if self.bucket == "ccnet" and self.bucket_percentiles != (30, 60):
            msg = "cc_net's table has the percentiles 30 and 60 only: leave bucket_percentiles out"
            raise ValueError(msg)
        if "{language}" in self.model and not self.languages:
            msg = "a model path with {language} needs `languages: [...]`, the codes there are models for"
            raise ValueError(msg)
        return self

    @property
    def label(self) -> str:
        """Verb and name: there may be several."""
        return f"{self.verb}.{self.name}"

    @property
    def references(self) -> dict[str, str]:
        """Model and tokenizer, one of each for every language where the path holds {language}."""
        named = {"model": self.model}
        if self.tokenizer not in (None, "none"):
            named["tokenizer"] = str(self.tokenizer)
        found: dict[str, str] = {}
        for option, path in named.items():
            if "{language}" in path:
                found |= {f"{option}.{code}": path.replace("{language}", code) for code in self.languages or ()}
            else:
                found[option] = path
        return found


class DsirStep(StepConfig):
    """Importance resampling towards a target corpus (Xie et al. 2023)."""

    verb: ClassVar[str] = "dsir"
    target: str | dict[str, str] | None = Field(
        default=None, description="files of the target corpus; name: files for several targets"
    )
    model: str | None = Field(default=None, description="a model folder from `tamis train dsir`, instead of a target")
    proportions: dict[str, float] | None = Field(
        default=None, description="shares of several targets, in any unit; their sizes in n-grams if absent"
    )
    text: str = Field(default="text", description="the text field of the target files")
    ngrams: int = Field(default=2, ge=1, le=16)
    buckets: int = Field(default=10_000, ge=1)
    hash: Literal["fast", "sha256"] = "fast"
    smoothing: float = Field(default=0.0, ge=0)
    min_tokens: int = Field(default=100, ge=0)
    normalise: Literal["none", "token", "chunk"] = "none"
    chunk_tokens: int = Field(default=128, gt=0, description="of `normalise: chunk`")
    tokens: Literal["wordpunct", "words"] = "wordpunct"
    tokenizer: str | None = Field(default=None, description="SentencePiece or tokenizer.json file whose pieces count")
    max_ngrams: int | None = Field(default=None, gt=0, description="n-grams to fit each side on; all if absent")
    top_k: bool = Field(default=False, description="take the largest weights instead of sampling")
    keep: Keep = Keep()

    @model_validator(mode="after")
    def _target_or_model(self) -> "DsirStep":
        if (self.target is None) == (self.model is None):
            msg = "give either `target` (files to resemble) or `model` (a folder from `tamis train dsir`)"
            raise ValueError(msg)
        if self.keep.percentile is not None or self.keep.min is not None or self.keep.max is not None:
            msg = "dsir samples: keep a `fraction` or a number of `documents`"
            raise ValueError(msg)
        if isinstance(self.target, dict) and not self.target:
            msg = "`target` names no files"
            raise ValueError(msg)
        if self.proportions is not None and (
            not isinstance(self.target, dict) or set(self.proportions) != set(self.target)
        ):
            msg = "`proportions` needs one share for each name in `target`"
            raise ValueError(msg)
        if isinstance(self.target, dict) and self.keep.of != "documents":
            msg = "several targets share out documents: `of` must be documents"
            raise ValueError(msg)
        return self

    @property
    def targets(self) -> dict[str, str]:
        """Target name to files; a single target is called "target"."""
        if self.target is None:
            return {}
        return self.target if isinstance(self.target, dict) else {"target": self.target}

    @property
    def references(self) -> dict[str, str]:
        """The model, or the target files."""
        if self.model is not None:
            return {"model": self.model}
        pieces = {"tokenizer": self.tokenizer} if self.tokenizer is not None else {}
        return pieces | {f"target.{name}": path for name, path in self.targets.items()}


class PreselectStep(StepConfig):
    """A fastText classifier's probability of a label; PreSelect's by default."""

    verb: ClassVar[str] = "preselect"
    model: str
    label_scored: str = Field(default="__label__1", alias="label")
    newline: Literal["blank", "glue"] = Field(default="blank", description="glue: as the reference filters, words fuse")
    name: str = Field(default="preselect", pattern=NAME)
    keep: Keep = Keep()

    @property
    def label(self) -> str:
        """The verb, or verb and name if it scores something else."""
        return self.verb if self.name == "preselect" else f"{self.verb}.{self.name}"

    @property
    def references(self) -> dict[str, str]:
        """The model."""
        return {"model": self.model}


STEPS: dict[str, type[StepConfig]] = {
    step.verb: step
    for step in (
        ExtractStep,
        LanguageStep,
        ExactDedupStep,
        HeuristicsStep,
        CleanStep,
        RulesStep,
        PerplexityStep,
        DsirStep,
        PreselectStep,
    )
}
"""Verb to config class."""


def parse_step(value: Any, where: str) -> StepConfig:
    """Build a step from `{verb: {options}}`, `{verb: null}` or the bare verb.

    Raises:
        ConfigError: for an unknown verb, more than one verb, or wrong options.
    """
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, dict) or len(value) != 1:
        msg = f"{where}: expected one step such as `language: {{keep: [en]}}`, got {value!r}"
        raise ConfigError(msg)
    verb, options = next(iter(value.items()))
    if verb not in STEPS:
        msg = f"{where}: unknown step {verb!r}{nearest(str(verb), list(STEPS))}"
        raise ConfigError(msg)
    return validate(STEPS[verb], {} if options is None else options, f"{where}.{verb}")
