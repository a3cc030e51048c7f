"""The config of an experiment: arms of equal tokens, seeds, evaluation sets, proxies."""

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from tamis.schemas.base import Model, nearest, validate
from tamis.schemas.mixture import MixtureConfig, ProxyConfig

__all__ = ["ArmConfig", "EvaluationConfig", "ExperimentConfig", "NgramProxy", "Proxy", "TransformerProxy"]

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_. -]*$"


class ArmConfig(Model):
    """What a proxy model is trained on."""

    run: str | None = Field(default=None, description="a finished run's folder")
    mixture: str | None = Field(default=None, description="a materialised mixture's folder")
    of: Literal["selected", "documents"] = Field(
        default="selected", description="what of the run: what it selected, or all that it read (with rejected ones)"
    )
    where: str | None = Field(default=None, description="SQL condition over its columns, such as `text_words >= 100`")
    mix: MixtureConfig | None = Field(default=None, description="a mixture of the run's selection")
    shuffle: Literal["words", "lines"] | None = Field(
        default=None, description="within each document: a control that must lose"
    )

    @model_validator(mode="after")
    def _one_source(self) -> "ArmConfig":
        if (self.run is None) == (self.mixture is None):
            msg = "an arm is of a run or of a mixture: give one of `run` and `mixture`"
            raise ValueError(msg)
        if self.mixture is not None and (self.mix is not None or self.of != "selected"):
            msg = "`mix` and `of` belong to an arm of a `run`"
            raise ValueError(msg)
        if self.mix is not None and (self.where is not None or self.of != "selected"):
            msg = "`mix` takes what the run selected: leave `where` and `of` out"
            raise ValueError(msg)
        return self


class EvaluationConfig(Model):
    """Documents that losses are measured on: files, or documents of a run, which then no arm trains on."""

    path: tuple[str, ...] | None = Field(default=None, description="a file, folder, glob or URL, or a list of them")
    text: str = Field(default="text", description="field of the text in these files")
    run: str | None = Field(default=None, description="a finished run's folder: documents held out of it, by hash")
    where: str | None = Field(default=None, description="SQL condition on the run's selected documents")
    mb: float = Field(default=0.5, gt=0, allow_inf_nan=False, description="text that is measured, in 10^6 bytes")

    @field_validator("path", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_source(self) -> "EvaluationConfig":
        if (self.path is None) == (self.run is None):
            msg = "an evaluation set is of files or of a run: give one of `path` and `run`"
            raise ValueError(msg)
        if self.where is not None and self.run is None:
            msg = "`where` is a condition on a run's documents: give `run`"
            raise ValueError(msg)
        return self


class NgramProxy(Model):
    """Word n-gram models: seconds, no torch; they say how alike texts are, not what a large model learns."""

    kind: Literal["ngram"] = "ngram"
    order: int = Field(default=3, ge=1, le=6, description="the longest n-grams")
    vocabulary: int = Field(default=50_000, ge=1, description="words that are tokens; all others are spelled")


class TransformerProxy(ProxyConfig):
    """Small causal transformers (extra `lm`): minutes on a CPU, ready for a GPU."""

    kind: Literal["transformer"] = "transformer"


Proxy: TypeAlias = NgramProxy | TransformerProxy
_PROXIES: dict[str, type[Model]] = {"ngram": NgramProxy, "transformer": TransformerProxy}


class ExperimentConfig(Model):
    """Does a selection teach? Proxies trained on each arm at equal tokens, compared with a baseline over seeds."""

    name: str = Field(default="experiment", description="of the experiment, in what it leaves")
    arms: dict[str, ArmConfig] = Field(min_length=2, description="name to what it trains on")
    baseline: str = Field(description="the arm that the others are compared with")
    evaluation: dict[str, EvaluationConfig] = Field(min_length=1, description="name to documents")
    proxy: Proxy = NgramProxy()
    tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="of each arm; words with n-grams. Absent: what the smallest arm has"
    )
    max_epochs: float = Field(
        default=1.0, ge=1, allow_inf_nan=False, description="an arm with less is repeated so often"
    )
    seeds: int = Field(default=3, ge=1, description="of documents, weights and order; one says nothing of noise")
    first_seed: int = Field(default=0, ge=0, lt=2**31)
    confidence: float = Field(default=0.95, gt=0, lt=1, description="of intervals and verdict")
    output: str = Field(default="runs/experiment", min_length=1, description="the experiment's folder")

    @field_validator("proxy", mode="before")
    @classmethod
    def _by_kind(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kind = value.get("kind", "ngram")
        if kind not in _PROXIES:
            msg = f"unknown kind {kind!r}{nearest(str(kind), list(_PROXIES))}"
            raise ValueError(msg)
        return validate(_PROXIES[str(kind)], value, f"proxy ({kind})")

    @model_validator(mode="after")
    def _fits(self) -> "ExperimentConfig":

        if self.baseline not in self.arms:
            msg = f"baseline: there is no arm {self.baseline!r}{nearest(self.baseline, list(self.arms))}"
            raise ValueError(msg)
        for name in (*self.arms, *self.evaluation):
            if not re.match(_NAME, name):
                msg = f"{name!r}: names of arms and evaluation sets have letters, digits, blanks and `_.-`"
                raise ValueError(msg)
        if "mean" in self.evaluation:
            msg = "evaluation: `mean` is what the mean of all sets is called: choose another name"
            raise ValueError(msg)
        return self
